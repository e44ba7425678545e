"""The suites, one module per table. How a suite is run is `pipelines.quality.expectations`'."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.quality.rules import Rule, Suite
from pipelines.quality.schema import SCHEMA
from pipelines.quality.suites import (
    failed_events,
    group_events,
    outcome_events,
    participation_events,
    study_events,
)
from pipelines.quality.trailing import TRAILING

RAW_SUITES: Mapping[str, Suite] = {
    "participation_events": participation_events.SUITE,
    "outcome_events": outcome_events.SUITE,
    "group_events": group_events.SUITE,
    "study_events": study_events.SUITE,
    "failed_events": failed_events.SUITE,
}
"""By raw table: the rules of its rows."""


def raw_rules(raw_table: str) -> tuple[Rule, ...]:
    """All that a slice of the table is held against: its columns, its rows, and the weeks before it."""
    return (SCHEMA, *RAW_SUITES[raw_table].rules, *TRAILING[raw_table].suite.rules)
