"""How old a table may be before its page says so. Nothing is started by it."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

LANDED = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=1), fail_window=timedelta(hours=3))
"""Of a raw table that has all of its topic Dagster is told every half hour."""

BUILT = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=26), fail_window=timedelta(hours=50))
"""There is a build a day, also without anything new: one is missing, two are."""

KEPT_IN_ORDER = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(hours=3), fail_window=timedelta(hours=12)
)
"""Hourly. The lake stands half a day without upkeep before it gets slow."""
