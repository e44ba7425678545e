"""Rules of candidate evidence tables, on rows made by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pipelines.builds.evidence import suite_of
from pipelines.evidence.rows import CARERS_CONTROLLED, GROUP_ENGAGEMENT
from pipelines.quality.expectations import check
from pipelines.quality.rules import BLOCK
from pipelines.quality.suites.evidence import USUAL, against_published

SUITE = suite_of(CARERS_CONTROLLED)
KEY = GROUP_ENGAGEMENT.key


def row(**changes: Any) -> dict[str, Any]:
    """A mean difference of two arms of a randomised trial."""
    return dict.fromkeys(SUITE.columns) | {
        "system": "carers_controlled", "study": "beat-the-blues", "protocol_version": "1",
        "post_hoc": True, "tenant": "t", "data_class": "public", "source_kind": "own", "release_id": 1,
        "population": "people", "estimate_name": "mean_difference", "arm": "a", "reference_arm": "b",
        "contrast": "a − b: difference between arms as randomised", "estimate": 1.0, "ci_low": 0.5,
        "ci_high": 1.5, "n": 30, "n_arm": 14, "n_reference": 16, "denominator": 30,
        "denominator_unit": "people with a score", "n_consented": 40, "method": "m", "design": "randomised",
        "period": "2026-01-01/2026-02-01", "suppressed": False, "lake_snapshot": 1, "code_version": "1",
        "computed_at": pd.Timestamp("2026-03-01", tz="UTC"), "looks": 3,
        "anytime_reason": "fixed-sample only: 30 of 100 independent units",
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, None),
        ({"n": 41, "denominator": 41}, "people_fit_their_wholes"),
        ({"n_arm": 31}, "people_fit_their_wholes"),
        ({"data_class": "live"}, None),
        ({"data_class": "live", "n_arm": 0}, None),
        ({"data_class": "live", "n_arm": 9}, "no_shown_cell_is_below_the_threshold"),
        (
            {"data_class": "live", "n": 0, "n_arm": 0, "n_reference": 0},
            "no_shown_cell_is_below_the_threshold",
        ),
        ({"denominator": 29}, "people_fit_their_wholes"),
        ({"denominator": 29, "denominator_unit": "threads"}, None),
        ({"period": "2026-02-01/2026-01-01"}, "period_is_in_order"),
        ({"period": None}, None),
        ({"study": "another"}, "study_has_a_protocol"),
        ({"se": -1.0}, "se_is_not_negative"),
        ({"anytime_low": 0.4, "anytime_high": 1.6, "anytime_reason": None}, None),
        ({"anytime_reason": None}, "no_anytime_interval_says_why"),
        ({"anytime_low": 0.4, "anytime_high": 1.6}, "no_anytime_interval_says_why"),
        ({"anytime_low": 0.4, "anytime_reason": None}, "no_anytime_interval_says_why"),
        (
            {"anytime_low": 0.6, "anytime_high": 1.6, "anytime_reason": None},
            "anytime_interval_contains_the_fixed_one",
        ),
        ({"looks": 0}, "looks_are_counted_from_1"),
        ({"contrast": "a causes b", "design": "cohort"}, "only_randomised_designs_speak_of_effects"),
    ],
)
def test_one_bad_row_breaks_its_rule_for_its_tenant(changes: dict[str, Any], rule: str | None) -> None:
    good, other = row(tenant="u"), row(arm="c", **changes)
    found = check(SUITE.derive(pd.DataFrame([good, other], dtype=object)), SUITE, "tenant")
    broken = {each.rule: (each.by_tenant, each.severity) for each in found if not each.passed}
    assert broken == ({rule: ({"t": 1}, BLOCK)} if rule else {})


def published(tenant: str, rows: int, estimate: float | None) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"tenant": tenant, "study": "s", "group_id": f"g{i}", "estimate_name": "n", "estimate": estimate}
            for i in range(rows)
        ],
        columns=[*KEY, "estimate"],
        dtype=object,
    )


@pytest.mark.parametrize(
    ("rows", "estimate", "broken"),
    [
        (20, 1.4, set()),
        (15, 1.0, {"volume_is_usual"}),
        (41, 1.0, {"volume_is_usual"}),
        (20, 2.1, {"estimates_are_usual"}),
        (20, None, set()),
        (0, 1.0, {"volume_is_usual"}),
    ],
)
def test_a_tenants_rows_are_held_against_those_that_are_published(
    rows: int, estimate: float | None, broken: set[str]
) -> None:
    before = pd.concat([published("t", 20, 1.0), published("small", 19, 1.0)])
    now = pd.concat([published("t", rows, estimate), published("new", 50, 1.0)])
    frame, count_not_judged = against_published(now, before, KEY)
    assert count_not_judged == 2
    results = check(frame, USUAL, "tenant")
    assert {each.rule for each in results if not each.passed} == broken
    assert all(set(each.by_tenant) <= {"t"} for each in results)
