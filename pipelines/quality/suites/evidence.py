"""Rules of a candidate evidence table: what must hold of every table before anybody reads it, and what is
unusual against the rows that are published.

The table's columns, key, studies and thresholds are given by the caller; formulas are not checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pipelines.quality.rules import (
    Rule,
    Suite,
    has_columns,
    is_between,
    is_one_of,
    is_present,
    is_true,
    is_unique,
    warns,
)

if TYPE_CHECKING:
    import pandas as pd

ALWAYS_THERE = (
    "system",
    "study",
    "protocol_version",
    "post_hoc",
    "tenant",
    "data_class",
    "source_kind",
    "release_id",
    "population",
    "estimate_name",
    "denominator_unit",
    "method",
    "design",
    "suppressed",
    "lake_snapshot",
    "code_version",
    "computed_at",
)

DESIGNS = ("randomised", "controlled", "cohort", "cross-sectional", "descriptive")

NUMBERS = (
    *("estimate", "se", "ci_low", "ci_high", "n", "denominator", "missing_share"),
    *("anytime_low", "anytime_high", "looks"),
)

EMPTIED = ("estimate", "se", "ci_low", "ci_high", "n", "denominator")
WATCHED = ("anytime_low", "anytime_high", "anytime_reason", "looks")
"""What a suppressed row does not tell."""

PEOPLE = ("n", "n_arm", "n_reference")
"""Columns that count the people of a row. A table may lack the latter two."""

TOLERANCE = 1e-12
"""Of an interval's ends against its estimate, relative: rounding in the last bits is no fault."""


MIN_PUBLISHED = 20
"""Of a tenant with fewer published rows nothing is usual."""

USUAL = Suite(
    "evidence, against what is published",
    ("volume", "moved"),
    (
        warns(
            is_between("volume", 0.8, 2, "volume_is_usual"),
            "Groups or studies of the partner are gone, or many are new.",
        ),
        warns(
            is_between("moved", None, 0.5, "estimates_are_usual"),
            "Most estimates of the partner have moved by more than half since the last release.",
        ),
    ),
)
"""On the frame of `against_published`: one row per tenant."""


def evidence_suite(
    table: str,
    columns: Sequence[str],
    key: Sequence[str],
    *,
    studies: Sequence[str],
    threshold_of: Callable[[str], int],
) -> Suite:
    """The suite of one table. `threshold_of` gives the fewest people of a cell for a data class."""
    rules: tuple[Rule, ...] = (
        has_columns(columns),
        *(is_present(column) for column in ALWAYS_THERE),
        is_one_of("data_class", ("live", "public", "synthetic")),
        is_one_of("source_kind", ("own", "literature")),
        is_one_of("design", DESIGNS),
        is_one_of("study", studies, "study_has_a_protocol"),
        is_between("se", 0, None, "se_is_not_negative"),
        is_between("share", 0, 1, "shares_are_between_0_and_1"),
        is_between("missing_share", 0, 1, "missing_share_is_between_0_and_1"),
        is_true("is_ordered", "interval_contains_estimate"),
        is_true("is_wider", "anytime_interval_contains_the_fixed_one"),
        is_true("is_watched_or_why", "no_anytime_interval_says_why"),
        is_between("looks", 1, None, "looks_are_counted_from_1"),
        is_true("is_large_enough", "no_shown_cell_is_below_the_threshold"),
        is_true("is_emptied", "suppressed_cells_are_empty"),
        is_true("is_explained", "missing_estimates_say_why"),
        is_true("has_denominator", "every_shown_row_has_a_denominator"),
        is_true("is_within", "people_fit_their_wholes"),
        is_true("is_in_time", "period_is_in_order"),
        is_true("is_worded", "only_randomised_designs_speak_of_effects"),
        is_unique(key, "rows_are_unique"),
    )
    thresholds = {name: threshold_of(name) for name in ("live", "public", "synthetic")}
    return Suite(f"evidence.{table}", tuple(columns), rules, lambda frame: _derive(frame, thresholds))


def _derive(frame: pd.DataFrame, thresholds: Mapping[str, int]) -> pd.DataFrame:
    import pandas as pd

    frame = frame.assign(**{name: pd.to_numeric(frame[name]) for name in NUMBERS})
    is_shown = ~frame["suppressed"].astype(bool)
    is_share = frame["estimate_name"].astype(str).str.contains(r"_share$|_rate$")
    is_estimated, has_reason = frame["estimate"].notna(), frame["not_estimated_reason"].notna()
    return frame.assign(
        share=frame["estimate"].where(is_share),
        is_ordered=_is_ordered(frame),
        is_wider=_is_wider(frame),
        is_watched_or_why=~is_shown | _is_watched_or_why(frame),
        is_large_enough=~is_shown
        | (frame["source_kind"] == "literature")
        | _is_large_enough(frame, thresholds),
        is_emptied=is_shown | (frame[[*EMPTIED, *WATCHED]].isna().all(axis=1)),
        is_explained=(is_shown & (is_estimated | has_reason))
        | (~is_shown & frame["suppression_reason"].notna()),
        is_within=_is_within(frame),
        is_in_time=_is_in_time(frame),
        has_denominator=~is_shown | frame["denominator"].notna(),
        is_worded=frame["contrast"].isna()
        | (frame["design"] == "randomised")
        | frame["contrast"].astype(str).str.contains("associated with"),
    )


def _is_ordered(frame: pd.DataFrame) -> pd.Series[bool]:
    """A median that is not reached may have a lower end of its interval all the same."""
    slack, is_missing = frame["estimate"].abs() * TOLERANCE, frame["estimate"].isna()
    low = frame["ci_low"].isna() | is_missing | (frame["ci_low"] <= frame["estimate"] + slack)
    high = frame["ci_high"].isna() | is_missing | (frame["estimate"] - slack <= frame["ci_high"])
    return low & high


def _is_wider(frame: pd.DataFrame) -> pd.Series[bool]:
    slack = frame["estimate"].abs() * TOLERANCE
    low = (
        frame["anytime_low"].isna()
        | frame["ci_low"].isna()
        | (frame["anytime_low"] <= frame["ci_low"] + slack)
    )
    high = (
        frame["anytime_high"].isna()
        | frame["ci_high"].isna()
        | (frame["ci_high"] - slack <= frame["anytime_high"])
    )
    return low & high


def _is_watched_or_why(frame: pd.DataFrame) -> pd.Series[bool]:
    """Both ends or none, and a reason where there is none and nowhere else."""
    low, high, why = (frame[name].notna() for name in ("anytime_low", "anytime_high", "anytime_reason"))
    return (low == high) & (low != why)


def _is_large_enough(frame: pd.DataFrame, thresholds: Mapping[str, int]) -> pd.Series[bool]:
    import pandas as pd

    threshold = frame["data_class"].map(dict(thresholds)).fillna(max(thresholds.values()))
    people = {name: pd.to_numeric(frame[name]) for name in PEOPLE if name in frame.columns}
    # An arm without anybody tells of nobody. Nobody behind the whole row may be shown where one person may.
    enough = [
        count.isna() | (count >= threshold) | ((count == 0) & ((threshold <= 1) | (name != "n")))
        for name, count in people.items()
    ]
    return pd.concat(enough, axis=1).all(axis=1)


def _is_within(frame: pd.DataFrame) -> pd.Series[bool]:
    """Nobody is counted who is not among those who consented, nor in an arm who is not in the row."""
    import pandas as pd

    n = frame["n"]
    parts = [pd.to_numeric(frame[name]) > n for name in ("n_arm", "n_reference") if name in frame.columns]
    of_people = frame["denominator_unit"].astype(str).str.startswith("people")
    too_many = [*parts, n > pd.to_numeric(frame["n_consented"]), of_people & (n > frame["denominator"])]
    return ~pd.concat(too_many, axis=1).any(axis=1)


def _is_in_time(frame: pd.DataFrame) -> pd.Series[bool]:
    """First and last day, as text that sorts as days do."""
    ends = frame["period"].astype("string").str.extract("^(.*)/(.*)$")
    return frame["period"].isna() | (ends[0] <= ends[1]).fillna(False)


def against_published(
    rows: pd.DataFrame, published: pd.DataFrame, key: Sequence[str]
) -> tuple[pd.DataFrame, int]:
    """By tenant: rows as a multiple of the published ones, and the share of estimates that have moved by
    more than half. And of how many tenants nothing can be said, because too little is published."""
    import pandas as pd

    counts = pd.DataFrame(
        {"now": rows.groupby("tenant").size(), "before": published.groupby("tenant").size()}
    ).fillna(0)
    both = rows.merge(published, on=list(key), suffixes=("", "_before"))
    now, before = (pd.to_numeric(both[name]) for name in ("estimate", "estimate_before"))
    has_moved = (now - before).abs() > 0.5 * pd.concat([now.abs(), before.abs()], axis=1).max(axis=1)
    moved = has_moved[now.notna() & before.notna()].groupby(both["tenant"]).mean()
    is_judged = counts["before"] >= MIN_PUBLISHED
    frame = pd.DataFrame(
        {
            "tenant": counts.index,
            "volume": (counts["now"] / counts["before"]).where(is_judged).to_numpy(),
            "moved": moved.reindex(counts.index).where(is_judged).astype(float).to_numpy(),
        }
    )
    return frame, int((~is_judged).sum())
