"""The suites, one module per table. How a suite is run is `pipelines.quality.expectations`'."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.quality.rules import Suite
from pipelines.quality.suites import (
    failed_events,
    group_events,
    outcome_events,
    participation_events,
    study_events,
)

RAW_SUITES: Mapping[str, Suite] = {
    "participation_events": participation_events.SUITE,
    "outcome_events": outcome_events.SUITE,
    "group_events": group_events.SUITE,
    "study_events": study_events.SUITE,
    "failed_events": failed_events.SUITE,
}
"""By raw table."""
