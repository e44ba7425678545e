"""What becomes of each event of a batch, without gRPC and Kafka around it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import psutil
import pytest
from circles.common.v1 import common_pb2 as common
from circles.failures.v1 import failed_event_pb2
from circles.participation.v1.participation_event_envelope_pb2 import ParticipationEventEnvelope
from circles.participation.v1.participation_service_pb2 import PostParticipationEventsResponse

from services.ingestion.doors import Door, doors
from services.ingestion.envelopes import body_hash, signed
from services.ingestion.errors import CallError
from services.ingestion.intake import Taken
from services.ingestion.responses import post_response, stream_response
from tests.fakes.bad_input import answered, attended, bad_events, good_events
from tests.fakes.desk import Desk, fresh_ids

DOORS = {door.topic.event.full_name: door for door in doors()}
BAD = list(bad_events())
T = TypeVar("T")


class Events(Desk):
    """A desk that takes events as their partner's unary call."""

    def __init__(self) -> None:
        super().__init__(seal=lambda data: b"sealed:" + data)

    def post(self, *events: Any) -> Taken:
        door = door_of(events[0])
        data = door.post_request(events=events).SerializeToString()
        return self.take(door, door.post_request, data)


def door_of(event: Any) -> Door:
    return DOORS[event.DESCRIPTOR.full_name]


def at_a_desk(work: Callable[[Events], T]) -> T:
    async def run() -> T:
        return work(Events())

    return asyncio.run(run())


def test_the_corpus_has_at_least_sixty_kinds() -> None:
    assert len({bad.name for bad in BAD}) == len(BAD) >= 60


@pytest.mark.parametrize("name", [bad.name for bad in BAD])
def test_a_bad_event_is_refused_with_field_and_rule_and_its_neighbours_are_not(name: str) -> None:
    (bad,) = [each for each in bad_events() if each.name == name]  # made now: some are about the time
    (neighbour,) = [event for event in good_events() if type(event) is type(bad.event)]

    def work(desk: Events) -> Taken:
        return desk.post(neighbour, type(bad.event).FromString(bad.event.SerializeToString()))

    taken = at_a_desk(work)
    assert set(taken.others) == {1} and taken.count_acknowledged == 1
    result = taken.others[1]
    assert result.status == common.EVENT_STATUS_REFUSED
    found = {(each.field, each.rule) for each in result.violations}
    assert any(field == bad.field and bad.words in rule for field, rule in found), found
    assert fresh_ids(taken) == [neighbour.event_id]


def test_an_event_is_known_when_kafka_has_it_and_not_before() -> None:
    def work(desk: Events) -> list[int]:
        event = attended()
        copies = [type(event).FromString(event.SerializeToString()) for _ in range(4)]
        copies[3].session_attended.minutes = 9
        first = desk.post(copies[0])
        second = desk.post(copies[1])
        desk.acknowledge(first)
        third, fourth = desk.post(copies[2]), desk.post(copies[3])
        assert not second.others
        return [
            third.others[0].status,
            fourth.others[0].status,
            third.count_acknowledged,
            fourth.count_acknowledged,
        ]

    assert at_a_desk(work) == [common.EVENT_STATUS_DUPLICATE, common.EVENT_STATUS_CONFLICT, 1, 0]


def test_a_late_event_is_accepted_and_flagged() -> None:
    def work(desk: Events) -> tuple[Taken, list[bytes]]:
        late = attended()
        late.occurred_at.FromSeconds(int(time.time()) - 8 * 86_400)
        taken = desk.post(attended(), late)
        return taken, [each.value for each in desk.records()]

    taken, (value,) = at_a_desk(work)
    assert taken.others[1].is_late and taken.others[1].status == common.EVENT_STATUS_ACCEPTED
    assert [each.is_late for each in ParticipationEventEnvelope.FromString(value).events] == [False, True]
    assert taken.counts() == {"accepted": 2} and taken.count_acknowledged == 2


def test_an_unknown_instrument_is_deferred_with_everything_that_replay_needs() -> None:
    event = answered()
    event.questionnaire_answered.instrument = "new-scale"

    def work(desk: Events) -> tuple[Taken, list[Any]]:
        return desk.post(event), desk.records()

    taken, (record,) = at_a_desk(work)
    assert taken.others[0].status == common.EVENT_STATUS_DEFERRED and taken.count_acknowledged == 1
    assert "new-scale" in taken.others[0].violations[0].value
    failed = failed_event_pb2.FailedEvent.FromString(record.value)
    assert record.topic == "failed-events" and failed.topic == "outcome-events"
    assert failed.reason == failed_event_pb2.FAILURE_REASON_DEFERRED
    assert failed.body_hash == signed(body_hash(failed.event_bytes))
    assert (failed.tenant_id, failed.event_id) == ("a-tenant", event.event_id)
    assert b'"p1' not in failed.event_bytes and b"prt_" in failed.event_bytes


def test_a_deferred_event_that_comes_again_is_a_duplicate() -> None:
    event = answered(lambda event: setattr(event.questionnaire_answered, "instrument", "new-scale"))

    def work(desk: Events) -> list[int]:
        first, second = desk.post(event), desk.post(event)
        desk.acknowledge(first)
        third = desk.post(event)
        assert len(desk.records()) == 2
        return [each.others[0].status for each in (first, second, third)]

    deferred = common.EVENT_STATUS_DEFERRED
    assert at_a_desk(work) == [deferred, deferred, common.EVENT_STATUS_DUPLICATE]


def test_a_field_of_a_newer_contract_is_kept_under_the_operators_key() -> None:
    def work(desk: Events) -> list[Any]:
        newer = type(attended()).FromString(attended().SerializeToString() + bytes([0x82, 0x7D, 3]) + b"new")
        desk.post(newer)
        return desk.records()

    (record,) = at_a_desk(work)
    (accepted,) = ParticipationEventEnvelope.FromString(record.value).events
    assert b"new" not in accepted.event.SerializeToString()
    assert accepted.sealed_event.startswith(b"sealed:") and accepted.sealed_event.endswith(b"new")
    assert b'"p1' not in accepted.sealed_event
    assert accepted.body_hash == signed(body_hash(accepted.sealed_event.removeprefix(b"sealed:")))


def test_a_response_cut_by_hand_is_what_protobuf_reads() -> None:
    events = [attended() for _ in range(202)]
    events[200].group_ref = "a b"
    events[7].occurred_at.FromSeconds(int(time.time()) - 8 * 86_400)  # late, and accepted
    taken = at_a_desk(lambda desk: desk.post(*events))
    results = PostParticipationEventsResponse.FromString(post_response(taken)).results
    assert [each.index for each in results] == list(range(202))
    assert [each.event_id for each in results] == [each.event_id for each in events]
    assert [each.index for each in results if each.status != common.EVENT_STATUS_ACCEPTED] == [200]
    assert [each.index for each in results if each.is_late] == [7]
    door = door_of(attended())
    answer = door.stream_response.FromString(
        stream_response(door, replace(taken, sequence=7), taken.count_acknowledged, 16)
    )
    assert (answer.acknowledged_sequence, answer.count_acknowledged, answer.window_batches) == (7, 201, 16)
    assert [each.index for each in answer.results] == [7, 200]


def test_a_batch_of_refusals_sends_nothing() -> None:
    def work(desk: Events) -> Taken:
        bad = attended()
        bad.event_id = str(uuid.uuid4()).upper()
        return desk.post(bad)

    taken = at_a_desk(work)
    assert taken.round is None and fresh_ids(taken) == [] and taken.others[0].event_id == ""


def test_two_million_empty_events_are_counted_and_not_made() -> None:
    door = door_of(attended())
    data = b"\x0a\0" * ((4 << 20) // 2)
    before = psutil.Process().memory_info().rss

    def work(desk: Events) -> None:
        with pytest.raises(CallError, match="2097152 in the batch"):
            desk.take(door, door.post_request, data)

    at_a_desk(work)
    assert psutil.Process().memory_info().rss - before < 50 << 20


def test_an_event_beyond_all_measure_is_refused_unread_and_its_neighbour_is_not() -> None:
    def work(desk: Events) -> Taken:
        huge = answered(lambda event: event.questionnaire_answered.ClearField("total"))
        for _ in range(70_000):
            huge.questionnaire_answered.items.add(item=1)
        return desk.post(huge, answered())

    taken = at_a_desk(work)
    assert [(each.field, each.value) for each in taken.others[0].violations] == [("event", "too many bytes")]
    assert taken.others[0].status == common.EVENT_STATUS_REFUSED and len(fresh_ids(taken)) == 1
