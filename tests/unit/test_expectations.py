"""The adapter to Great Expectations, and the suites on rows made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from pipelines.quality.expectations import RuleResult, check
from pipelines.quality.rules import BLOCK, WARN, Suite, is_between, is_one_of, is_present, warns
from pipelines.quality.suites import RAW_SUITES

NOW = pd.Timestamp(datetime(2026, 5, 1, tzinfo=UTC))


def attendance(**changes: Any) -> dict[str, Any]:
    """A row of raw.participation_events, in the columns that its suite looks at."""
    row = dict.fromkeys(RAW_SUITES["participation_events"].columns)
    identity = {
        "tenant_id": "t", "event_id": "00000000-0000-4000-8000-000000000001", "body_hash": 1,
        "kind": "session_attended", "data_class": "live", "occurred_at": NOW, "received_at": NOW,
        "landed_at": NOW, "group_ref": "grp_1", "participant_ref": "prt_1",
        "session_attended__session_ref": "ses_1", "session_attended__role": "member",
        "session_attended__minutes": 60,
    }  # fmt: skip
    position = {"topic": "x", "topic_id": "y", "kafka_partition": 0, "kafka_offset": 1, "event_index": 0}
    return row | identity | position | {"landed_seq": 1} | changes


def failed(**changes: Any) -> dict[str, Any]:
    """A row of raw.failed_events: a record that a stage has set aside."""
    row = dict.fromkeys(RAW_SUITES["failed_events"].columns)
    found = {
        "stage": "landing",
        "reason": "unreadable",
        "failed_at": NOW,
        "body_hash": 0,
        "landed_seq": 1,
        "landed_at": NOW,
    }
    place = {"topic": "x", "topic_id": "y", "kafka_partition": 0, "kafka_offset": 1}
    return row | found | place | changes


DEFERRED = {
    "stage": "ingestion", "reason": "deferred", "topic_id": None, "tenant_id": "t",
    "event_id": "00000000-0000-4000-8000-000000000001", "body_hash": 7, "data_class": "live",
    "received_at": NOW, "event_bytes": b"x",
}  # fmt: skip


def broken(*rows: dict[str, Any], table: str = "participation_events") -> dict[str, RuleResult]:
    suite = RAW_SUITES[table]
    results = check(suite.derive(pd.DataFrame(list(rows))), suite)
    assert [each.rule for each in results] == [rule.name for rule in suite.rules]
    return {each.rule: each for each in results if not each.passed}


def test_a_good_row_breaks_no_rule() -> None:
    assert broken(attendance()) == {}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"event_id": None}, "event_id_is_present"),
        ({"event_id": "Mary Smith"}, "event_id_is_a_uuid"),
        ({"kind": "danced"}, "kind_is_known"),
        ({"data_class": "real"}, "data_class_is_known"),
        ({"session_attended__role": "7"}, "session_attended__role_is_known"),
        ({"session_attended__minutes": 1441}, "session_attended__minutes_is_in_range"),
        ({"session_attended__minutes": -1}, "session_attended__minutes_is_in_range"),
        ({"participant_ref": None}, "participant_ref_is_present"),
        ({"session_attended__session_ref": None}, "session_ref_is_present"),
        ({"occurred_at": NOW + timedelta(seconds=301)}, "occurred_at_is_not_in_the_future"),
        ({"occurred_at": NOW - timedelta(days=365 * 127)}, "occurred_at_is_plausible"),
    ],
)
def test_one_bad_row_breaks_its_rule_and_no_other(changes: dict[str, Any], rule: str) -> None:
    found = broken(attendance(), attendance(kafka_offset=2, **changes))
    also = {"event_id_is_a_uuid", "participant_ref_is_present", "session_ref_is_present"}
    assert rule in found
    assert set(found) - also <= {rule}
    assert found[rule].count_unexpected == 1


@pytest.mark.parametrize(
    ("row", "rules"),
    [
        (failed(), set()),
        (failed(**DEFERRED), set()),
        (failed(topic_id=None), {"topic_id_is_present"}),
        (failed(**DEFERRED | {"event_bytes": None}), {"deferred_event_is_whole"}),
        (failed(**DEFERRED | {"tenant_id": None}), {"deferred_event_is_whole"}),
        (failed(reason="other"), {"reason_is_known"}),
    ],
)
def test_a_failed_event_has_a_place_and_a_deferred_one_an_identity(
    row: dict[str, Any], rules: set[str]
) -> None:
    assert set(broken(failed(), failed(**DEFERRED), row, table="failed_events")) == rules


def test_values_that_could_identify_are_not_shown() -> None:
    found = broken(attendance(event_id="Mary Smith"), attendance(kind="danced"))
    assert found["event_id_is_a_uuid"].sample == ()
    assert found["kind_is_known"].sample == ("a text of 6 characters",)


def test_a_missing_column_breaks_the_rule_on_columns_and_stops_no_other_rule() -> None:
    suite = Suite("s", ("a", "b"), (is_present("a"), is_between("b", 0, 1), is_one_of("a", ["x"])))
    a, b, one_of = check(pd.DataFrame({"a": ["x", "y"]}), suite)
    assert (a.passed, b.passed, b.problem) == (True, False, "the rule could not be run")
    assert (one_of.passed, one_of.count_unexpected) == (False, 1)


def test_a_rule_that_warns_says_so_and_one_that_blocks_as_well() -> None:
    suite = Suite("s", ("a",), (is_present("a"), warns(is_between("a", 0, 1), "A test says so.")))
    present, between = check(pd.DataFrame({"a": [0.5, 2]}), suite)
    assert (present.severity, between.severity) == (BLOCK, WARN)
    assert (between.passed, between.blocks, between.sample) == (False, False, ("2",))
    assert suite.rules[1].meaning == "Warns. A test says so."


def test_rows_of_several_tenants_are_told_apart() -> None:
    suite = Suite("s", ("a",), (is_between("a", 0, 1), is_present("b")))
    frame = pd.DataFrame({"whose": ["x", "y", "y", "z"], "a": [2, 3, 4, 0], "b": 1})
    between, present = check(frame, suite, "whose")
    assert (between.by_tenant, between.count_unexpected) == ({"x": 1, "y": 2}, 3)
    assert present.by_tenant == {}


def test_an_empty_frame_breaks_no_rule() -> None:
    suite = Suite("s", ("a",), (is_present("a"), is_between("a", 0, 1)))
    assert all(each.passed for each in check(pd.DataFrame({"a": pd.Series([], dtype=float)}), suite))


def answer(**changes: Any) -> dict[str, Any]:
    """A row of raw.outcome_events: an answer to PHQ-9, nine items from 0 to 3."""
    suite = RAW_SUITES["outcome_events"]
    row = dict.fromkeys([*suite.columns, *suite.computed])
    return row | {
        **attendance(kind="questionnaire_answered"), "questionnaire_answered__instrument": "phq-9",
        "questionnaire_answered__total": 27.0,
    } | changes  # fmt: skip


@pytest.mark.parametrize("total", [float("inf"), float("nan"), 1000.5, None])
def test_a_score_that_is_no_number_is_refused(total: float | None) -> None:
    found = broken(answer(questionnaire_answered__total=total), table="outcome_events")
    assert found.keys() & {"questionnaire_has_items_or_total", "questionnaire_answered__total_is_in_range"}


ITEMS = {
    "questionnaire_answered__total": None,
    "count_items": 9,
    "highest_item": 9,
    "least_value": 0,
    "most_value": 3,
}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"questionnaire_answered__total": 28.0}, "total_is_in_range_of_its_instrument"),
        ({"questionnaire_answered__total": -0.5}, "total_is_in_range_of_its_instrument"),
        (ITEMS | {"least_value": -1}, "items_are_in_range_of_their_instrument"),
        (ITEMS | {"most_value": 4}, "items_are_in_range_of_their_instrument"),
        (ITEMS | {"highest_item": 10}, "items_are_in_range_of_their_instrument"),
        ({"questionnaire_answered__instrument": "our-own"}, "instrument_is_known"),
        (ITEMS, None),
    ],
)
def test_an_instrument_says_what_its_answers_may_be(changes: dict[str, Any], rule: str | None) -> None:
    found = broken(answer(), answer(**changes), table="outcome_events")
    assert [*found] == ([rule] if rule else [])
    assert {each.severity for each in found.values()} <= {WARN if rule == "instrument_is_known" else BLOCK}


@pytest.mark.parametrize(
    ("second", "rule"),
    [
        ({"landed_at": NOW - timedelta(seconds=61)}, "received_before_it_landed"),
        ({"landed_seq": 0}, "landings_go_on_with_offsets"),
        ({"received_at": NOW - timedelta(seconds=61), "occurred_at": NOW - timedelta(days=1)},
         "received_at_goes_on_with_offsets"),
        ({"received_at": NOW - timedelta(hours=2), "occurred_at": NOW - timedelta(days=1)}, None),
        ({"landed_seq": 0, "kafka_partition": 1}, None),
        ({"received_at": NOW - timedelta(seconds=59)}, None),
    ],
)  # fmt: skip
def test_arrival_only_goes_on(second: dict[str, Any], rule: str | None) -> None:
    """The second row has the higher offset; what landed hours after its receipt was replayed."""
    found = broken(attendance(kafka_offset=2, **second), attendance(kafka_offset=1))
    assert [*found] == ([rule] if rule else [])
    assert {each.severity for each in found.values()} <= {WARN}
