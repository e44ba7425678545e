"""What becomes of each event of a batch, without gRPC and Kafka around it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from circles.common.v1 import common_pb2 as common
from circles.failures.v1 import failed_event_pb2
from circles.participation.v1.participation_event_envelope_pb2 import ParticipationEventEnvelope
from circles.participation.v1.participation_service_pb2 import PostParticipationEventsResponse

from services.ingestion.doors import Door, doors
from services.ingestion.envelopes import body_hash, signed
from services.ingestion.intake import Intake, Taken
from services.ingestion.keys import Tenant
from services.ingestion.outbox import Round
from services.ingestion.pseudonyms import Pseudonymiser
from services.ingestion.recent import Recent
from services.ingestion.responses import post_response, stream_response
from tests.fakes.bad_input import answered, attended, bad_events, good_events

DOORS = {door.topic.event.full_name: door for door in doors()}
TENANT = Tenant("a-tenant", common.DATA_CLASS_LIVE)
BAD = list(bad_events())
T = TypeVar("T")


class OneRound:
    """An outbox whose round never leaves."""

    def __init__(self) -> None:
        self.only = Round()

    def round(self) -> Round:
        return self.only


class Desk:
    """An intake to hand batches to."""

    def __init__(self) -> None:
        self.outbox = OneRound()
        self.recent = Recent(1000)
        outbox: Any = self.outbox
        self.intake = Intake(
            Pseudonymiser(bytes(32)),
            self.recent,
            outbox,
            seal=lambda data: b"sealed:" + data,
            max_events=500,
            max_event_bytes=32 * 1024,
        )

    def take(self, *events: Any) -> Taken:
        door = door_of(events[0])
        data = door.post_request(events=events).SerializeToString()
        return self.intake.take(door, door.post_request, TENANT, data)

    def acknowledge(self, taken: Taken) -> None:
        self.recent.add(TENANT.tenant_id, taken.fresh)


def door_of(event: Any) -> Door:
    return DOORS[event.DESCRIPTOR.full_name]


def at_a_desk(work: Callable[[Desk], T]) -> T:
    async def run() -> T:
        return work(Desk())

    return asyncio.run(run())


def test_the_corpus_has_at_least_sixty_kinds() -> None:
    assert len({bad.name for bad in BAD}) == len(BAD) >= 60


@pytest.mark.parametrize("name", [bad.name for bad in BAD])
def test_a_bad_event_is_refused_with_field_and_rule_and_its_neighbours_are_not(name: str) -> None:
    (bad,) = [each for each in bad_events() if each.name == name]  # made now: some are about the time
    (neighbour,) = [event for event in good_events() if type(event) is type(bad.event)]

    def work(desk: Desk) -> Taken:
        return desk.take(neighbour, type(bad.event).FromString(bad.event.SerializeToString()))

    taken = at_a_desk(work)
    assert set(taken.others) == {1} and taken.count_acknowledged == 1
    result = taken.others[1]
    assert result.status == common.EVENT_STATUS_REFUSED
    found = {(each.field, each.rule) for each in result.violations}
    assert any(field == bad.field and bad.words in rule for field, rule in found), found
    assert set(taken.fresh) == {neighbour.event_id.encode()}


def test_an_event_is_known_when_kafka_has_it_and_not_before() -> None:
    def work(desk: Desk) -> list[int]:
        event = attended()
        copies = [type(event).FromString(event.SerializeToString()) for _ in range(4)]
        copies[3].session_attended.minutes = 9
        first = desk.take(copies[0])
        second = desk.take(copies[1])
        desk.acknowledge(first)
        third, fourth = desk.take(copies[2]), desk.take(copies[3])
        assert not second.others
        return [
            third.others[0].status,
            fourth.others[0].status,
            third.count_acknowledged,
            fourth.count_acknowledged,
        ]

    assert at_a_desk(work) == [common.EVENT_STATUS_DUPLICATE, common.EVENT_STATUS_CONFLICT, 1, 0]


def test_a_late_event_is_accepted_and_flagged() -> None:
    def work(desk: Desk) -> tuple[Taken, list[bytes]]:
        late = attended()
        late.occurred_at.FromSeconds(int(time.time()) - 8 * 86_400)
        taken = desk.take(attended(), late)
        return taken, [each.value for each in desk.outbox.only.envelopes()]

    taken, (value,) = at_a_desk(work)
    assert taken.others[1].is_late and taken.others[1].status == common.EVENT_STATUS_ACCEPTED
    assert [each.is_late for each in ParticipationEventEnvelope.FromString(value).events] == [False, True]
    assert taken.counts() == {"accepted": 2} and taken.count_acknowledged == 2


def test_an_unknown_instrument_is_deferred_with_everything_that_replay_needs() -> None:
    event = answered()
    event.questionnaire_answered.instrument = "new-scale"

    def work(desk: Desk) -> tuple[Taken, list[Any]]:
        return desk.take(event), desk.outbox.only.envelopes()

    taken, (record,) = at_a_desk(work)
    assert taken.others[0].status == common.EVENT_STATUS_DEFERRED and taken.count_acknowledged == 1
    assert "new-scale" in taken.others[0].violations[0].value
    failed = failed_event_pb2.FailedEvent.FromString(record.value)
    assert record.topic == "failed-events" and failed.topic == "outcome-events"
    assert failed.reason == failed_event_pb2.FAILURE_REASON_DEFERRED
    assert failed.body_hash == signed(body_hash(failed.event_bytes))
    assert (failed.tenant_id, failed.event_id) == ("a-tenant", event.event_id)
    assert b'"p1' not in failed.event_bytes and b"prt_" in failed.event_bytes


def test_a_field_of_a_newer_contract_is_kept_under_the_operators_key() -> None:
    def work(desk: Desk) -> list[Any]:
        newer = type(attended()).FromString(attended().SerializeToString() + bytes([0x82, 0x7D, 3]) + b"new")
        desk.take(newer)
        return desk.outbox.only.envelopes()

    (record,) = at_a_desk(work)
    (accepted,) = ParticipationEventEnvelope.FromString(record.value).events
    assert b"new" not in accepted.event.SerializeToString()
    assert accepted.sealed_event.startswith(b"sealed:") and accepted.sealed_event.endswith(b"new")
    assert b'"p1' not in accepted.sealed_event
    assert accepted.body_hash == signed(body_hash(accepted.sealed_event.removeprefix(b"sealed:")))


def test_a_response_cut_by_hand_is_what_protobuf_reads() -> None:
    def work(desk: Desk) -> Taken:
        bad = attended()
        bad.group_ref = "a b"
        return desk.take(*[attended() for _ in range(200)], bad, attended())

    taken = at_a_desk(work)
    results = PostParticipationEventsResponse.FromString(post_response(taken)).results
    assert [each.index for each in results] == list(range(202))
    assert [each.event_id.encode() for each in results] == taken.event_ids
    assert [each.index for each in results if each.status != common.EVENT_STATUS_ACCEPTED] == [200]
    door = door_of(attended())
    answer = door.stream_response.FromString(
        stream_response(door, replace(taken, sequence=7), taken.count_acknowledged, 16)
    )
    assert (answer.acknowledged_sequence, answer.count_acknowledged, answer.window_batches) == (7, 201, 16)
    assert [each.index for each in answer.results] == [200]


def test_a_batch_of_refusals_sends_nothing() -> None:
    def work(desk: Desk) -> Taken:
        bad = attended()
        bad.event_id = str(uuid.uuid4()).upper()
        return desk.take(bad)

    taken = at_a_desk(work)
    assert taken.round is None and taken.event_ids == [b""]
