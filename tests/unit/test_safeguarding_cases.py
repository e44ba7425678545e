"""What is known of a case depends on what was told, not on order, copies, or who crashed meanwhile."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest
from circles.common.v1.common_pb2 import DATA_CLASS_LIVE
from circles.participation.v1.participation_event_envelope_pb2 import ParticipationEventEnvelope
from circles.participation.v1.participation_event_pb2 import (
    RISK_ANSWER_CONTACTED,
    RISK_KIND_OTHER,
    RISK_KIND_SUICIDE,
    ParticipationEvent,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.kafka.envelopes import Unusable
from services.safeguarding.cases import (
    DAY_US,
    MINUTE_US,
    Answer,
    Arrival,
    Case,
    CaseKey,
    Cases,
    Clock,
    Delivered,
    Issued,
    Level,
    Raise,
    Retractions,
    State,
)
from services.safeguarding.messages import Place, Record, done, found, parsed_fact
from services.safeguarding.partitions import PATIENCE_SECONDS, Partition

CLOCK = Clock(60, {RISK_KIND_SUICIDE: 15})
KEY = CaseKey("t", "case-1")
NEVER = 0
"""Nothing is undelivered for so long that it is escalated."""


def event_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def arrival(minute: float, place: int = 0, partition: int = 0) -> Arrival:
    return Arrival(round(minute * MINUTE_US), partition, round(minute), place)


def risk(number: int, minute: float, kind: int = RISK_KIND_OTHER, partition: int = 0) -> Raise:
    return Raise(KEY, event_id(number), arrival(minute, partition=partition), 1, "g", kind, 0)


def answer(number: int, minute: float) -> Answer:
    return Answer(KEY, event_id(number), arrival(minute), 1, RISK_ANSWER_CONTACTED, 0)


def retraction(number: int, minute: float) -> Retractions:
    return Retractions("t", 1, (event_id(number),), arrival(minute))


def known(*facts: Raise | Answer | Retractions | Issued | Delivered) -> Cases:
    cases = Cases(CLOCK)
    for i, fact in enumerate(facts):
        cases.add(str(i).encode(), fact)
    return cases


def case(*facts: Raise | Answer | Retractions) -> Case:
    found_case = known(*facts).case(KEY)
    assert found_case is not None
    return found_case


def levels(cases: Cases, minute: float) -> list[str]:
    return [each.level for each in cases.wanted(KEY, round(minute * MINUTE_US), NEVER)]


def test_a_case_is_open_until_it_is_answered_and_breached_when_its_clock_runs_out() -> None:
    assert levels(known(risk(1, 0)), 59.9) == ["opened"]
    assert levels(known(risk(1, 0)), 60) == ["opened", "breached"]
    assert levels(known(risk(1, 0), answer(2, 59)), 60) == ["closed"]
    assert not case(risk(1, 0), answer(2, 60)).is_breached(0)
    assert case(risk(1, 0), answer(2, 61)).is_breached(0)
    assert case(risk(1, 0), answer(3, 61), answer(2, 59)).closed_at_us == 59 * MINUTE_US


def test_the_clock_that_runs_out_first_counts() -> None:
    several = case(risk(1, 0), risk(2, 1), risk(3, 10, RISK_KIND_SUICIDE))
    assert (several.opened_at_us, several.due_at_us) == (0, 25 * MINUTE_US)
    assert several.risk_kind == RISK_KIND_SUICIDE


def test_an_answer_in_advance_closes_what_comes_first_and_nothing_else() -> None:
    assert known(answer(1, 0)).case(KEY) is None
    assert case(answer(1, 0), risk(2, 5)).state is State.CLOSED
    assert case(answer(1, 0), risk(2, 5), risk(3, 6)).opened_at_us == 6 * MINUTE_US


def test_a_case_is_opened_again_by_a_new_risk_only() -> None:
    copy = risk(1, 9)
    assert case(risk(1, 0), answer(2, 5), copy).state is State.CLOSED
    assert case(risk(1, 0), answer(2, 5), risk(3, 4)).state is State.CLOSED
    again = case(risk(1, 0), answer(2, 5), risk(3, 6), answer(2, 7))
    assert (again.state, again.opened_at_us) == (State.OPEN, 6 * MINUTE_US)


def test_retractions_of_risks_and_answers() -> None:
    assert case(retraction(1, 3), risk(1, 0)).state is State.RETRACTED
    assert case(risk(1, 0), retraction(1, 3)).closed_at_us == 3 * MINUTE_US
    assert case(risk(1, 0), retraction(1, 3), retraction(1, 5)).closed_at_us == 3 * MINUTE_US
    assert case(risk(1, 0), risk(2, 1), retraction(1, 3)).opened_at_us == MINUTE_US
    assert case(risk(1, 0), answer(2, 1), retraction(2, 3)).due_at_us == 60 * MINUTE_US


def test_alerts_are_new_when_what_they_say_is() -> None:
    """After an answer that was taken back everybody has to be told again; after its copy nobody."""
    before = {each.alert_id for each in known(risk(1, 0)).wanted(KEY, 0, NEVER)}
    again = {each.alert_id for each in known(risk(1, 0), risk(1, 2), risk(5, 3)).wanted(KEY, 0, NEVER)}
    reopened = known(risk(1, 0), answer(2, 1), retraction(2, 3)).wanted(KEY, 0, NEVER)
    assert again == before
    assert [each.level for each in reopened] == ["opened"]
    assert before.isdisjoint(each.alert_id for each in reopened)


def test_what_is_undelivered_is_escalated_until_it_is_delivered_or_closed() -> None:
    (opened,) = known(risk(1, 0)).wanted(KEY, 0, NEVER)
    issued = Issued(KEY, opened.alert_id, Level.OPENED, 1000, ("webhook",))
    assert [each.level for each in known(risk(1, 0), issued).wanted(KEY, 0, 999)] == ["opened"]
    assert [each.level for each in known(risk(1, 0), issued).wanted(KEY, 0, 1000)] == ["opened", "escalated"]
    delivered = Delivered(KEY, opened.alert_id, "webhook", 2000)
    assert [each.level for each in known(risk(1, 0), issued, delivered).wanted(KEY, 0, 1000)] == ["opened"]
    assert [each.level for each in known(risk(1, 0), issued, answer(2, 1)).wanted(KEY, 0, 1000)] == ["closed"]


def test_a_breach_that_was_told_of_stays_one_when_a_backlog_comes() -> None:
    _, breached = known(risk(1, 0)).wanted(KEY, 60 * MINUTE_US, NEVER)
    issued = Issued(KEY, breached.alert_id, Level.BREACHED, 1000, ())
    assert levels(known(risk(1, 0), issued), 0) == ["opened", "breached"]
    assert levels(known(risk(1, 0), issued, answer(2, 70)), 0) == ["closed"]


def test_nothing_is_erasable_before_it_is_closed_and_the_legal_period_is_over() -> None:
    assert case(risk(1, 0)).erasable_after_us(30) is None
    assert case(risk(1, 0), answer(2, 5)).erasable_after_us(30) == 5 * MINUTE_US + 30 * DAY_US


def test_the_body_that_arrived_first_counts() -> None:
    """Of two under one event id, in whichever order they become known."""
    other = risk(1, 5)._replace(key=CaseKey("t", "case-2"))
    for facts in ((risk(1, 0), other), (other, risk(1, 0))):
        cases = known(*facts)
        assert cases.case(KEY) is not None and cases.case(other.key) is None


def test_retractions_of_what_never_came_are_forgotten() -> None:
    cases = known(retraction(1, 0), retraction(2, 0), risk(2, 1))
    assert list(cases.forgettable(MINUTE_US)) == [b"0"]
    assert not cases.forgettable(0)
    cases.forget(b"0")
    cases.add(b"later", risk(1, 2))
    late = cases.case(KEY)
    assert late is not None and late.opened_at_us == 2 * MINUTE_US


def test_a_backlog_holds_a_breach_back_for_a_while_only() -> None:
    partition = Partition(behind_since=0.0, applied_until_us=50)
    partition.see_end(None, 1.0)
    assert partition.as_of_us(100, PATIENCE_SECONDS - 1) == 50
    assert partition.as_of_us(100, PATIENCE_SECONDS) == 100
    partition.applied_offset = 6
    partition.see_end(7, 2.0)
    assert partition.as_of_us(100, 2.0) == 100
    partition.see_end(9, 3.0)
    assert partition.as_of_us(100, 4.0) == 50


@pytest.mark.parametrize("ref", ["", "with\0nul", "with space", "x" * 201])
def test_a_name_that_the_gateway_does_not_let_through_is_unusable(ref: str) -> None:
    event = _event("risk_raised", 1, ref)
    with pytest.raises(Unusable):
        found(Place("topic", 0, 0), b"t", _envelope([event], 1))


def _event(kind: str, number: int, ref: str) -> ParticipationEvent:
    event = ParticipationEvent(event_id=event_id(number), group_ref="g", participant_ref="p")
    event.occurred_at.FromSeconds(5)
    if kind == "event_retracted":
        event.event_retracted.retracted_event_id = event_id(int(ref))
    elif kind == "risk_raised":
        event.risk_raised.case_ref = ref
        event.risk_raised.risk_kind = RISK_KIND_OTHER
    elif kind == "risk_answered":
        event.risk_answered.case_ref = ref
        event.risk_answered.answer = RISK_ANSWER_CONTACTED
    else:
        event.member_joined.SetInParent()
    return event


def _envelope(events: list[ParticipationEvent], minute: int) -> bytes:
    envelope = ParticipationEventEnvelope(tenant_id="t", data_class=DATA_CLASS_LIVE)
    envelope.received_at.FromSeconds(minute * 60)
    for event in events:
        envelope.events.add().event.CopyFrom(event)
    return envelope.SerializeToString()


@dataclass
class Line:
    """An event as the oracle has it in its book, in the order of arrival."""

    kind: str
    number: int
    ref: str
    minute: int


REFS = ("case-1", "case-2")


class TwoWorkers(RuleBasedStateMachine):
    """Two workers share a compacted topic. Either may be a zombie, lag behind, or begin again.

    The oracle is a book with a line per event, read whole each time it is asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.minute = 0
        self.number = 0
        self.offset = 0
        self.book: list[Line] = []
        self.topic: dict[bytes, bytes] = {}
        self.input: list[tuple[Place, bytes]] = []
        self.workers = [Cases(CLOCK), Cases(CLOCK)]
        self.alerts_sent: list[tuple[str, str]] = []

    @rule(
        worker=st.integers(0, 1),
        kind=st.sampled_from(["risk_raised", "risk_answered", "member_joined"]),
        ref=st.sampled_from(REFS),
        partition=st.integers(0, 1),
        copies=st.booleans(),
    )
    def tell(self, worker: int, kind: str, ref: str, partition: int, copies: bool) -> None:
        """An event, and perhaps a copy of it in the same envelope."""
        self.number += 1
        self.book.append(Line(kind, self.number, ref, self.minute))
        self._arrive(worker, [_event(kind, self.number, ref)] * (1 + copies), partition)

    @rule(worker=st.integers(0, 1), back=st.integers(-1, 8), partition=st.integers(0, 1))
    def take_back(self, worker: int, back: int, partition: int) -> None:
        """An event of before, or one that is to come."""
        target = max(1, self.number - back)
        self.book.append(Line("event_retracted", 10_000 + self.offset, str(target), self.minute))
        event = _event("event_retracted", 10_000 + self.offset, str(target))
        self._arrive(worker, [event], partition)

    @rule(minutes=st.integers(1, 45))
    def time_goes_on(self, minutes: int) -> None:
        self.minute += minutes

    @rule(worker=st.integers(0, 1), data=st.data())
    def read_the_topic(self, worker: int, data: st.DataObject) -> None:
        """All or a part of it, in any order."""
        values = data.draw(st.permutations(list(self.topic.items())))
        for key, value in values[: data.draw(st.integers(0, len(values)))]:
            self.workers[worker].add(key, parsed_fact(value)[1])

    @rule(worker=st.integers(0, 1))
    def begin_again(self, worker: int) -> None:
        """After kill -9."""
        self.workers[worker] = self._restored()

    @rule(worker=st.integers(0, 1), data=st.data())
    def repeat_a_record(self, worker: int, data: st.DataObject) -> None:
        """That was not committed, or is a zombie's."""
        if self.input:
            place, value = data.draw(st.sampled_from(self.input))
            self._take(worker, place, value)

    @rule(worker=st.integers(0, 1), loses_the_mark=st.booleans())
    def look_after_cases(self, worker: int, loses_the_mark: bool) -> None:
        """Sends what was not sent as far as it knows; may be killed before that is on the topic."""
        cases = self.workers[worker]
        for key in list(cases.unsettled):
            for alert in cases.wanted(key, self.minute * MINUTE_US, NEVER):
                if alert.alert_id not in cases.told(key).issued:
                    issued = Issued(key, alert.alert_id, alert.level, self.minute * MINUTE_US, ())
                    self.alerts_sent.append((key.case_ref, alert.alert_id))
                    if not loses_the_mark:
                        self._write(worker, done(Place("topic", 0, 0), 0, 1, issued))

    @invariant()
    def whoever_reads_the_topic_knows_what_the_book_says(self) -> None:
        cases = self._restored()
        for ref in REFS:
            assert self._read(cases, ref) == self._oracle(ref), ref

    def teardown(self) -> None:
        """Whoever comes last finds nothing that was not sent, and an alert has one id only."""
        self.begin_again(0)
        self.look_after_cases(0, loses_the_mark=False)
        cases = self._restored()
        for ref in REFS:
            key = CaseKey("t", ref)
            wanted = cases.wanted(key, self.minute * MINUTE_US, NEVER)
            assert all(each.alert_id in cases.told(key).issued for each in wanted)
            assert {(ref, each.alert_id) for each in wanted} <= set(self.alerts_sent)

    def _arrive(self, worker: int, events: list[ParticipationEvent], partition: int) -> None:
        place = Place("topic", partition, self.offset)
        self.offset += 1
        value = _envelope(events, self.minute)
        self.input.append((place, value))
        # So that no two envelopes have one time and the book has one order.
        self.minute += 1
        self._take(worker, place, value)

    def _take(self, worker: int, place: Place, value: bytes) -> None:
        for record in found(place, b"t", value).records:
            self._write(worker, record)

    def _write(self, worker: int, record: Record) -> None:
        """The key has this value or none: no record takes another's place."""
        if b"\0issued\0" not in record.key:
            assert self.topic.get(record.key, record.value) == record.value
        self.topic[record.key] = record.value
        self.workers[worker].add(record.key, record.fact)

    def _restored(self) -> Cases:
        cases = Cases(CLOCK)
        for key, value in self.topic.items():
            cases.add(key, parsed_fact(value)[1])
        return cases

    def _read(self, cases: Cases, ref: str) -> tuple[str, int | None] | None:
        found_case = cases.case(CaseKey("t", ref))
        if found_case is None:
            return None
        due = found_case.due_at_us // MINUTE_US if found_case.state is State.OPEN else None
        return found_case.state, due

    def _oracle(self, ref: str) -> tuple[str, int | None] | None:
        """Open is what nobody has answered since; the first of all may be answered in advance."""
        taken_back = {int(each.ref) for each in self.book if each.kind == "event_retracted"}
        lines = [each for each in self.book if each.ref == ref]
        raised = [each for each in lines if each.kind == "risk_raised"]
        standing = [each for each in raised if each.number not in taken_back]
        answers = [
            each.minute for each in lines if each.kind == "risk_answered" and each.number not in taken_back
        ]
        unanswered = [
            each.minute
            for each in standing
            if not any(minute > each.minute for minute in answers) and not (each is standing[0] and answers)
        ]
        if not raised:
            return None
        if not standing:
            return "retracted", None
        return ("open", min(unanswered) + 60) if unanswered else ("closed", None)


TestTwoWorkers = TwoWorkers.TestCase
TestTwoWorkers.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
