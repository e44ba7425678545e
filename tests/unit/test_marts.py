"""The suites of the marts, on tables of an in-memory DuckDB with the columns of dbt's contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import duckdb
import pytest

from pipelines.quality.mart_days import MIN_ROWS, Days, Figures, compared_with
from pipelines.quality.marts import MartChecked, look_at
from pipelines.quality.rules import BLOCK, WARN
from pipelines.quality.schema import SCHEMA
from pipelines.quality.suites.marts import FIGURES, MARTS, VOLUME, contracts

IDENTIFIERS = ("grp_secret", "prt_secret", "Mary Smith", "mary@example.org")

GOOD: dict[str, dict[str, Any]] = {
    "dim_group": {"group_id": "g", "is_registered": False, "is_closed": False},
    "dim_participant": {"participant_id": "p", "consent_basis": "recorded", "has_research_consent": False},
    "dim_study": {"study_code": "s"},
    "dim_study_attribute": {"study_code": "s", "attribute": "modality", "attribute_value": "forum"},
    "dim_study_covariate": {"study_code": "s", "covariate": "mean_age", "covariate_value": 41.5},
    "dim_participant_age": {
        "participant_id": "p", "has_research_consent": False, "age_band": "18_25", "stated_at": "2026-01-01",
    },
    "dim_participant_covariate": {
        "study_code": "s", "participant_id": "p", "has_research_consent": False, "covariate": "drug",
        "covariate_value": "yes",
    },
    "fct_cost": {
        "study_code": "s", "participant_id": "p", "has_research_consent": False, "cost_amount": 12.5,
    },
    "fct_group_engagement": {"group_id": "g", "count_members": 3, "count_consented": 2},
    "fct_group_engagement_daily": {"group_id": "g", "count_events": 4, "count_reads": 4},
    "fct_group_engagement_rolling": {"group_id": "g", "window_hours": 24},
    "fct_group_membership": {"group_id": "g", "participant_id": "p", "has_research_consent": False},
    "fct_member_gap": {
        "group_id": "g", "participant_id": "p", "has_research_consent": False,
        "first_joined_at": "2026-01-01", "gap_at": "2026-02-02",
    },
    "fct_outcome": {
        "participant_id": "p", "study_code": "s", "time_point": "baseline", "instrument": "phq-9",
        "scale": "total",
        "score": 27.0, "scoring": "total", "has_research_consent": False, "is_counted": True,
    },
    "fct_outcome_change": {
        "study_code": "s", "participant_id": "p", "has_research_consent": False, "scale": "total",
        "count_scores": 2, "first_score": 12.0, "last_score": 7.0, "improvement": 5.0,
    },
    "fct_participant_dose": {
        "group_id": "g", "participant_id": "p", "has_research_consent": False, "count_active_days": 1,
        "first_activity_at": "2026-01-01", "last_activity_at": "2026-01-01",
    },
    "fct_participation": {
        "group_id": "g", "participant_id": "p", "kind": "thread_read",
        "occurred_at": "2026-01-01 23:30:00+00", "occurred_on": "2026-01-01",
    },
    "fct_reply_edge": {
        "group_id": "g", "from_participant_id": "p", "to_participant_id": "p", "has_research_consent": False,
    },
    "fct_study_arm_change": {"study_code": "s", "arm": "a", "count_started": 4, "count_paired": 3},
    "fct_study_arm_outcome": {"study_code": "s", "arm": "a", "count_allocated": 1},
    "fct_study_arm_recovery": {"study_code": "s", "arm": "a", "count_paired": 4, "count_finished": 3},
    "fct_study_change_criterion": {"study_code": "s", "count_people": 3},
    "fct_study_report": {"study_code": "s", "kind": "arm_summarised", "arm": "a", "count_people": 3},
    "fct_thread": {
        "group_id": "g", "thread_id": "d", "starter_participant_id": "p", "started_at": "2026-01-01",
        "has_research_consent": False,
    },
    "fct_feature_authors": {
        "study_code": "s", "group_id": "g", "window_year": 2020, "feature": "home", "count_authors": 5,
        "count_before": 4, "count_after": 3, "count_both": 2, "count_about_before": 2,
        "first_posted_on": "2020-01-01", "last_posted_on": "2020-04-20",
    },
    "fct_feature_series": {
        "study_code": "s", "group_id": "g", "window_year": 2020, "feature": "home", "step_days": 7,
        "step": -1, "count_authors": 3, "count_posts": 4,
    },
    "fct_feature_trend": {
        "study_code": "s", "group_id": "g", "window_year": 2020, "feature": "home", "count_authors": 9,
        "count_authors_with_value": 8, "count_bins": 4, "slope": -0.5, "r_squared": 0.5,
        "slope_times_r_squared": -0.25,
    },
    "fct_survey_answer": {
        "survey_code": "s", "participant_id": "p", "question": "gender", "answer": "man",
        "has_research_consent": False, "survey_weight": 0.8,
    },
    "fct_theme_coding": {
        "study_code": "s", "participant_id": "p", "theme": "coping", "coder_id": "c",
        "has_research_consent": False, "is_present": True,
    },
}  # fmt: skip
"""A row of each mart that breaks no rule; counts that it does not name are 0."""

BROKEN: list[tuple[str, str, dict[str, Any]]] = [
    ("dim_group", "times_are_in_order", {"first_event_at": "2026-01-02", "last_event_at": "2026-01-01"}),
    ("dim_group", "parts_fit_their_wholes", {"registered_at": "2026-01-01"}),
    ("dim_group", "capacity_is_not_negative", {"capacity": -1}),
    ("dim_participant", "consent_has_a_basis", {"has_research_consent": True}),
    ("dim_participant", "data_class_is_known", {"data_class": "Mary Smith"}),
    ("dim_study", "publication_year_is_in_range", {"publication_year": 20026}),
    ("dim_study_attribute", "study_is_known", {"study_code": "another"}),
    ("dim_study_covariate", "covariate_is_a_number", {"covariate_value": float("nan")}),
    ("fct_group_engagement", "parts_fit_their_wholes", {"count_consented": 4}),
    ("fct_group_engagement", "counts_are_not_negative", {"count_posters_once": -1}),
    ("fct_group_engagement", "group_is_known", {"group_id": "grp_secret"}),
    ("fct_group_engagement_daily", "parts_fit_their_wholes", {"count_joined": 1}),
    ("fct_group_engagement_daily", "occurred_on_is_not_in_the_future", {"occurred_on": "2999-01-01"}),
    ("fct_group_engagement_rolling", "shares_are_between_0_and_1", {"contribution_gini": 1.5}),
    ("fct_group_engagement_rolling", "window_is_known", {"window_hours": 25}),
    ("fct_group_engagement_rolling", "medians_are_not_negative", {"first_reply_median_seconds": -1}),
    ("fct_group_membership", "consent_is_that_of_the_person", {"has_research_consent": True}),
    ("fct_group_membership", "participant_is_known", {"participant_id": "prt_secret"}),
    ("fct_outcome", "score_is_in_range_of_its_instrument", {"score": 28.0}),
    ("fct_outcome", "score_has_a_source", {"scoring": None}),
    ("fct_outcome", "score_has_a_source", {"scoring": "prorated"}),
    ("fct_outcome", "score_has_a_source", {"score": None, "scoring": None}),
    ("fct_outcome", "parts_fit_their_wholes", {"time_point": None}),
    ("fct_outcome", "study_is_known", {"study_code": "another"}),
    ("dim_participant_age", "times_are_in_order", {"next_stated_at": "2025-01-01"}),
    ("dim_participant_covariate", "consent_is_that_of_the_person", {"has_research_consent": True}),
    ("fct_cost", "amount_is_a_number", {"cost_amount": -1.0}),
    ("fct_outcome_change", "parts_fit_their_wholes", {"improvement": 4.0}),
    ("fct_outcome_change", "parts_fit_their_wholes", {"count_scores": 1}),
    ("fct_participant_dose", "parts_fit_their_wholes", {"count_active_days": 2}),
    ("fct_participation", "kind_is_known", {"kind": "mary@example.org"}),
    ("fct_participation", "times_are_in_order", {"occurred_on": "2026-01-02"}),
    ("fct_participation", "minutes_are_in_range", {"attended_minutes": 5000}),
    ("fct_reply_edge", "from_participant_is_known", {"from_participant_id": "prt_secret"}),
    ("fct_reply_edge", "consent_is_that_of_both", {"has_research_consent": True}),
    ("fct_study_arm_outcome", "parts_fit_their_wholes", {"count_scored": 1, "mean": 3.0}),
    ("fct_study_arm_change", "parts_fit_their_wholes", {"count_improved": 2, "count_deteriorated": 2}),
    ("fct_study_arm_recovery", "parts_fit_their_wholes", {"count_recovered": 1}),
    ("fct_study_change_criterion", "parts_fit_their_wholes", {"reliable_change": 6.0}),
    ("fct_study_report", "parts_fit_their_wholes", {"count_people_with_event": 4}),
    ("fct_member_gap", "times_are_in_order", {"gap_at": "2026-01-30"}),
    ("fct_member_gap", "consent_is_that_of_the_person", {"has_research_consent": True}),
    ("fct_thread", "parts_fit_their_wholes", {"first_reply_at": "2026-01-02"}),
    ("fct_thread", "consent_is_that_of_the_starter", {"has_research_consent": True}),
    ("fct_study_report", "standard_errors_are_positive", {"mean": 1.0, "sd": -1.0}),
    ("fct_feature_authors", "parts_fit_their_wholes", {"count_both_about_before": 3}),
    ("fct_feature_authors", "parts_fit_their_wholes", {"count_before": 6}),
    ("fct_feature_authors", "times_are_in_order", {"last_posted_on": "2019-12-31"}),
    ("fct_feature_series", "parts_fit_their_wholes", {"count_posts_about": 5}),
    ("fct_feature_series", "a_step_has_days", {"step_days": 0}),
    ("fct_feature_trend", "parts_fit_their_wholes", {"slope": None}),
    ("fct_feature_trend", "r_squared_is_a_share", {"r_squared": 1.5}),
    ("fct_survey_answer", "consent_is_that_of_the_person", {"has_research_consent": True}),
    ("fct_survey_answer", "weight_is_above_0", {"survey_weight": 0.0}),
    ("fct_survey_answer", "answered_at_is_not_in_the_future", {"answered_at": "2999-01-01"}),
    ("fct_theme_coding", "consent_is_that_of_the_person", {"has_research_consent": True}),
    ("fct_theme_coding", "participant_is_known", {"participant_id": "prt_secret"}),
    ("fct_theme_coding", "coded_at_is_not_in_the_future", {"coded_at": "2999-01-01"}),
]  # fmt: skip
"""A mart, the only rule that such a row of it breaks, and how the row differs from a good one."""

WARNS = {
    "capacity_is_not_negative", "publication_year_is_in_range", "occurred_on_is_not_in_the_future",
    "score_is_in_range_of_its_instrument", "study_is_known", "minutes_are_in_range",
    "weight_is_above_0", "answered_at_is_not_in_the_future", "coded_at_is_not_in_the_future",
}  # fmt: skip


@pytest.fixture
def lake() -> Iterator[duckdb.DuckDBPyConnection]:
    """All marts, each with a good row of the tenants t and u."""
    with closing(duckdb.connect()) as connection:
        connection.execute("SET TimeZone = 'UTC'; ATTACH ':memory:' AS lake; USE lake; CREATE SCHEMA marts")
        for mart, columns in contracts().items():
            listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            connection.execute(f"CREATE TABLE marts.{mart} ({listed})")
            for tenant in ("t", "u"):
                insert(connection, mart, tenant, {})
        yield connection


def insert(lake: duckdb.DuckDBPyConnection, mart: str, tenant: str, changes: dict[str, Any]) -> None:
    counts = {name: 0 for name in contracts()[mart] if name.startswith("count_")}
    row = {"tenant_id": tenant, "data_class": "live", "is_active": False} | counts | GOOD[mart] | changes
    named = {name: value for name, value in row.items() if name in contracts()[mart]}
    places = ", ".join("?" * len(named))
    lake.execute(f"INSERT INTO marts.{mart} ({', '.join(named)}) VALUES ({places})", [*named.values()])


def broken(checked: MartChecked) -> dict[str, str]:
    """Severity by rule that does not hold."""
    return {each.rule: each.severity for each in checked.results if not each.passed}


def test_every_mart_has_a_suite_and_no_other() -> None:
    assert MARTS.keys() == contracts().keys()


@pytest.mark.parametrize("mart", MARTS)
def test_good_rows_break_no_rule(lake: duckdb.DuckDBPyConnection, mart: str) -> None:
    checked = look_at(lake, MARTS[mart], {})
    assert [each.rule for each in checked.results] == [rule.name for rule in MARTS[mart].rules]
    assert (broken(checked), checked.is_judged, checked.held) == ({}, True, set())
    assert {tenant: rows for tenant, (rows, _) in checked.measured.items()} == {"t": 1, "u": 1}


@pytest.mark.parametrize(("mart", "rule", "changes"), BROKEN)
def test_one_bad_row_breaks_its_rule_for_its_tenant_alone(
    lake: duckdb.DuckDBPyConnection, mart: str, rule: str, changes: dict[str, Any]
) -> None:
    insert(lake, mart, "t", changes)
    checked = look_at(lake, MARTS[mart], {})
    severity = WARN if rule in WARNS else BLOCK
    assert broken(checked) == {rule: severity}
    (result,) = [each for each in checked.results if each.rule == rule]
    assert (result.by_tenant, result.count_rows, result.count_unexpected) == ({"t": 1}, 3, 1)
    assert checked.is_judged
    assert checked.held == ({"t"} if severity == BLOCK else set())
    told = checked.told[rule]["t"]
    assert {words.rpartition(": ")[2] for words in told} == {"not in 1 rows"}
    assert not [each for each in IDENTIFIERS if each in repr((checked.told, result))]


def test_a_mart_of_another_shape_has_no_verdict(lake: duckdb.DuckDBPyConnection) -> None:
    lake.execute("ALTER TABLE marts.dim_study DROP COLUMN doi")
    checked = look_at(lake, MARTS["dim_study"], {})
    assert not checked.is_judged
    assert not any(each.passed for each in checked.results)
    assert checked.results[0].rule == SCHEMA.name
    assert checked.results[0].problem == "doi is missing, not VARCHAR"


def test_a_check_that_breaks_has_failed(lake: duckdb.DuckDBPyConnection) -> None:
    lake.execute("DROP TABLE marts.dim_participant")
    checked = look_at(lake, MARTS["fct_outcome"], {})
    assert not checked.is_judged
    assert {each.problem for each in checked.results} == {"the check broke: CatalogException"}


def test_a_tenant_that_is_gone_is_told(lake: duckdb.DuckDBPyConnection) -> None:
    days: Days = {"gone": [(1000, {})] * 3, "t": [(MIN_ROWS * 2, {})] * 3, "u": [(1, {})]}
    checked = look_at(lake, MARTS["dim_study"], days)
    (volume,) = [each for each in checked.results if each.rule == VOLUME.name]
    assert (volume.passed, volume.severity, volume.by_tenant) == (False, WARN, {"gone": 0, "t": 1})
    assert checked.told[VOLUME.name]["gone"] == ("0 rows, 1000 before",)
    assert volume.problem == "not judged of 1 of 3 tenants, as: 1 of 3 days before have a build"
    assert checked.held == set()


@pytest.mark.parametrize(
    ("rows", "share", "volume", "moved"),
    [(1000, 0.5, 1.0, 1.0), (799, 0.5, 0.799, 1.0), (2001, 0.2, 2.001, 2.5), (1000, 1.5, 1.0, 3.0)],
)
def test_volume_and_figures_are_held_against_the_median_of_the_days_before(
    rows: int, share: float, volume: float, moved: float
) -> None:
    days = [(10, {"share": 0.1}), (1000, {"share": 0.5}), (1100, {"share": 0.6})]
    found = compared_with(rows, {"share": share, "new": 1.0}, days)
    assert [each.value for each in found] == pytest.approx([volume, moved])
    assert found[1].words == f"share {share:.3g}, 0.5 before"


def test_without_days_before_nothing_is_judged() -> None:
    histories: list[list[tuple[int, Figures]]] = [[], [(1000, {})] * 2, [(MIN_ROWS - 1, {})] * 3]
    for days in histories:
        assert [each.value for each in compared_with(10, {}, days)] == [None, None]


def test_rules_with_figures_are_those_of_marts_that_have_some() -> None:
    assert {name for name, mart in MARTS.items() if FIGURES in mart.rules} == {
        name for name, mart in MARTS.items() if mart.figures
    }
