"""References become keyed pseudonyms, and nothing else does."""

from __future__ import annotations

import contextlib

import pytest
from circles.participation.v1 import participation_event_pb2 as participation
from hypothesis import given
from hypothesis import strategies as st

from services.ingestion.pseudonyms import MAX_REMEMBERED, NotAReference, Pseudonymiser
from services.ingestion.rules import text_rule

KEY = bytes(range(32))


def test_a_pseudonym_depends_on_key_tenant_kind_and_reference() -> None:
    made = Pseudonymiser(KEY)
    first = made.pseudonym("t", "prt", "p1")
    assert first == Pseudonymiser(KEY).pseudonym("t", "prt", "p1")
    others = [
        made.pseudonym("u", "prt", "p1"),
        made.pseudonym("t", "grp", "p1"),
        made.pseudonym("t", "prt", "p2"),
        Pseudonymiser(KEY[::-1]).pseudonym("t", "prt", "p1"),
    ]
    assert first not in others and len(set(others)) == 4
    assert first.startswith("prt_") and len(first) == 36


@pytest.mark.parametrize("text", ["", "jane@example.org", "Jane Doe", "i-feel-very-sad-today"])
def test_what_is_no_reference_has_no_pseudonym(text: str) -> None:
    with pytest.raises(NotAReference):
        Pseudonymiser(KEY).pseudonym("t", "prt", text)


def test_memory_is_bounded_and_forgetting_changes_no_pseudonym() -> None:
    names = Pseudonymiser(KEY).names("t")["prt"]
    first = names["p0"]
    for i in range(MAX_REMEMBERED + 10):
        assert names[f"p{i}"]
    assert len(names) <= MAX_REMEMBERED
    assert names["p0"] == first


def test_every_reference_is_replaced_but_the_case() -> None:
    event = participation.ParticipationEvent(group_ref="secret-g", participant_ref="secret-p")
    event.reply_posted.thread_ref = "secret-t"
    event.reply_posted.act_ref = "secret-a"
    event.reply_posted.in_reply_to_act_ref = "secret-b"
    Pseudonymiser(KEY).replace("t", event, "reply_posted")
    assert b"secret" not in event.SerializeToString()

    case = participation.ParticipationEvent(group_ref="g", participant_ref="p")
    case.risk_raised.case_ref = "case-7"
    Pseudonymiser(KEY).replace("t", case, "risk_raised")
    assert case.risk_raised.case_ref == "case-7"


def test_a_reply_finds_its_act() -> None:
    made = Pseudonymiser(KEY)
    start = participation.ParticipationEvent(group_ref="g", participant_ref="p")
    start.thread_started.act_ref = "a1"
    reply = participation.ParticipationEvent(group_ref="g", participant_ref="p")
    reply.reply_posted.in_reply_to_act_ref = "a1"
    made.replace("t", start, "thread_started")
    made.replace("t", reply, "reply_posted")
    assert start.thread_started.act_ref == reply.reply_posted.in_reply_to_act_ref


def test_a_key_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Pseudonymiser(b"short")


@given(st.text("aZ09-._: é²", max_size=70))
def test_what_is_plainly_a_reference_keeps_the_rule(text: str) -> None:
    rule = text_rule("reference").holds
    with contextlib.suppress(NotAReference):
        Pseudonymiser(KEY).pseudonym("t", "prt", text)
        assert rule(text)
        return
    assert not rule(text)
