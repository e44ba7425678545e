"""What a row says of looking every day: the sequence beside its fixed-sample interval, or why there is none.

Made in one place for all tables, as a row becomes part of a frame. Formulas are `sequences`'. How often a row
was looked at, and what voids that, is found out where candidates are made. Decision 0038.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipelines.evidence.estimates import CI_LEVEL, Estimate
from pipelines.evidence.sequences import FIXED_ONLY, Watch, beside, unless_voided

ESTIMATED, WATCH, TIGHTEST_SE, NOT_WATCHED = "_estimated", "_watch", "_tightest_se", "_not_watched"
"""Keys of a row that are no columns: its estimate and level; what its protocol declares; why units that are
independent by the method are not so here, or do not keep their value."""

GROWS = "figures of what people did so far change for people who are already in them"
MEET = "people meet in groups, and its standard error takes them for independent"
TIMES = "times of one series are not independent units"

UNWATCHED = {
    "group_engagement": GROWS,
    "professional_moderation": GROWS,
    "mens_groups": GROWS,
    "covid_change": TIMES,
    "osg_prevalence": "a survey is asked once",
}
"""Systems without sequences, and why."""


def anytime_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """Ends of the sequence, or the reason, and the method. Looks are counted where rows are released."""
    made: tuple[Estimate, float] | None = row.get(ESTIMATED)
    if made is None:
        return {"anytime_reason": f"{FIXED_ONLY}: as printed"}
    fixed, level = made
    watch = replace(row.get(WATCH) or Watch(), level=max(level, CI_LEVEL))
    sequence = beside(fixed, watch, row.get(TIGHTEST_SE))
    why_not = _why_not(row)
    if sequence.ci_low is None or why_not:
        reason = sequence.reason if sequence.ci_low is None else f"{FIXED_ONLY}: {why_not}"
        return {"anytime_low": None, "anytime_high": None, "anytime_reason": reason}
    held = unless_voided(sequence, ["post hoc"] if row["post_hoc"] else [])
    return {
        "anytime_low": held.ci_low,
        "anytime_high": held.ci_high,
        "anytime_reason": held.reason,
        "method": row["method"] + sequence.method.removeprefix(fixed.method),
    }


def _why_not(row: Mapping[str, Any]) -> str | None:
    """A row without an outcome is about what people did."""
    told: str | None = row.get(NOT_WATCHED) or UNWATCHED.get(str(row["system"]))
    return told or (None if row.get("outcome") else GROWS)
