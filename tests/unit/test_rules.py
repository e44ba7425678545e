"""What the gateway refuses, field by field, and how it says so."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from circles.outcomes.v1 import outcome_event_pb2 as outcomes
from circles.participation.v1 import participation_event_pb2 as participation
from circles.studies.v1 import study_event_pb2 as studies
from hypothesis import given
from hypothesis import strategies as st

from services.ingestion.rules import MAX_VALUE_CHARACTERS, text_rule, violation, violations

EVENT_ID = "22d04a32-f953-457d-96d6-b6637e672903"


def attended(**changes: Any) -> participation.ParticipationEvent:
    event = participation.ParticipationEvent(event_id=EVENT_ID, group_ref="g1", participant_ref="p1")
    event.occurred_at.FromSeconds(1_700_000_000)
    event.session_attended.session_ref = "s1"
    for name, value in changes.items():
        setattr(event, name, value)
    return event


def answered(**changes: Any) -> outcomes.OutcomeEvent:
    event = outcomes.OutcomeEvent(event_id=EVENT_ID, participant_ref="p1")
    event.occurred_at.FromSeconds(1_700_000_000)
    event.questionnaire_answered.instrument = "phq-9"
    event.questionnaire_answered.instrument_version = "1"
    event.questionnaire_answered.total = 12
    for name, value in changes.items():
        setattr(event.questionnaire_answered, name, value)
    return event


def fields(event: Any) -> list[str]:
    return [each.field for each in violations(event)]


def test_good_events_are_accepted() -> None:
    assert violations(attended()) == []
    assert violations(answered()) == []


@pytest.mark.parametrize("event_id", ["", "1", "NOT-A-UUID", EVENT_ID.upper(), "0" * 36])
def test_an_event_id_is_a_uuid(event_id: str) -> None:
    assert fields(attended(event_id=event_id)) == ["event_id"]


@pytest.mark.parametrize(
    "reference",
    [
        *("jane.doe@example.org", "Jane Doe", "http://example.org/u/1", "", "a" * 65, "a\0b"),
        *("x\u202ey", "'; drop", "<b>", "=1+1", "../etc", "{{x}}", "a\n"),
        *("jane.doe.gmail.com", "www.example", "https:example", "i-feel-very-sad-today"),
    ],
)
def test_a_reference_is_opaque(reference: str) -> None:
    assert fields(attended(group_ref=reference)) == ["group_ref"]


@pytest.mark.parametrize("reference", ["4711234567", "07700-900123", "user:17", "a.b-c_d", EVENT_ID])
def test_a_reference_may_be_a_number(reference: str) -> None:
    assert fields(attended(group_ref=reference)) == []


@pytest.mark.parametrize("code", ["4711234567", "1980-05-17", "07700.900123", "i-am-not-well-at-all-today"])
def test_a_code_is_no_number_of_a_person_and_no_sentence(code: str) -> None:
    assert fields(answered(study_code=code)) == ["questionnaire_answered.study_code"]
    assert fields(answered(study_code="nct01234567")) == []


def test_times_are_between_1900_and_5_minutes_ahead() -> None:
    event = attended()
    for seconds in (-2_208_988_801, int(time.time()) + 302, 253_402_300_799):
        event.occurred_at.seconds = seconds
        assert fields(event) == ["occurred_at"]
    for seconds in (-900_000_000, 0, int(time.time()) + 200):
        event.occurred_at.seconds = seconds
        assert fields(event) == []
    event.occurred_at.nanos = 1_000_000_000
    assert fields(event) == ["occurred_at.nanos"]
    event.ClearField("occurred_at")
    assert fields(event) == ["occurred_at"]


def test_exactly_one_kind() -> None:
    event = attended()
    event.ClearField("session_attended")
    (found,) = violations(event)
    assert found.field == "kind" and "session_attended" in found.rule


def test_numbers_are_finite_and_in_range() -> None:
    event = attended()
    event.session_attended.minutes = 1441
    assert fields(event) == ["session_attended.minutes"]
    for total in (math.nan, math.inf, -math.inf, 1e308):
        assert fields(answered(total=total)) == ["questionnaire_answered.total"]


def test_codes_come_from_the_vocabulary() -> None:
    event = attended()
    event.session_attended.role = 99  # type: ignore[assignment]
    (found,) = violations(event)
    assert found.field == "session_attended.role" and "ATTENDANCE_ROLE_MEMBER" in found.rule
    assert fields(answered(time_point="After the Group!")) == ["questionnaire_answered.time_point"]


def test_a_questionnaire_has_items_or_a_total() -> None:
    both = answered()
    both.questionnaire_answered.items.add(item=1, value=2)
    assert fields(both) == ["questionnaire_answered"]
    both.questionnaire_answered.ClearField("total")
    assert fields(both) == []
    both.questionnaire_answered.items.add(item=1, value=3)
    assert fields(both) == ["questionnaire_answered.items"]
    both.questionnaire_answered.items[1].item = 500
    assert fields(both) == ["questionnaire_answered.items[1].item"]


def test_who_did_it_is_needed_unless_the_group_did() -> None:
    assert fields(attended(participant_ref="")) == ["participant_ref"]
    held = attended(participant_ref="")
    held.session_held.session_ref = "s1"
    assert fields(held) == []


def test_a_reply_answers_another_act() -> None:
    event = attended()
    event.reply_posted.thread_ref = "t"
    event.reply_posted.act_ref = event.reply_posted.in_reply_to_act_ref = "a"
    assert fields(event) == ["reply_posted.in_reply_to_act_ref"]


def test_an_arm_summary_is_consistent() -> None:
    event = studies.StudyEvent(event_id=EVENT_ID, study_code="s")
    event.occurred_at.FromSeconds(1_700_000_000)
    summary = event.arm_summarised
    summary.arm, summary.outcome, summary.n, summary.events, summary.mean = "a", "b", 10, 11, 1.0
    assert fields(event) == ["arm_summarised.events", "arm_summarised"]


@given(st.text())
def test_a_shown_value_is_short_plain_ascii(value: str) -> None:
    shown = violation("f", value, "r").value
    assert len(shown) <= MAX_VALUE_CHARACTERS and shown.isascii() and shown.isprintable()


@given(st.text(max_size=80))
def test_no_reference_holds_a_space_or_an_at_sign(value: str) -> None:
    if text_rule("reference").holds(value):
        assert not set(value) & set(" @/\\<>'\"\n\0")
