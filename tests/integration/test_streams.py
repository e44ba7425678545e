"""Streams over the wire: acknowledged in their order, resumed where they broke, slowed and not broken."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from circles.common.v1 import common_pb2 as common
from circles.participation.v1 import participation_service_pb2 as messages
from circles.participation.v1.participation_service_pb2_grpc import ParticipationServiceStub

from services.ingestion.keys import Limits, list_keys, revoke_key, rotate_key, set_limits
from services.runtime.postgres import Connection, connect
from services.runtime.settings import IngestionSettings, PostgresSettings
from tests.gateways import gateway, status_details
from tests.partners import Partner, attended, landed, new_partner
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack


@contextlib.contextmanager
def control() -> Iterator[Connection]:
    settings = PostgresSettings.load()
    with contextlib.closing(connect(settings, settings.database_control)) as connection:
        yield connection


def batch(sequence: int, events: list[Any]) -> messages.StreamParticipationEventsRequest:
    return messages.StreamParticipationEventsRequest(sequence=sequence, events=events)


@contextlib.contextmanager
def stream(partner: Partner, requests: Any, address: str | None = None) -> Iterator[Any]:
    with grpc.insecure_channel(address or partner.address) as channel:
        metadata = (("authorization", f"Bearer {partner.key}"),)
        yield ParticipationServiceStub(channel).StreamParticipationEvents(
            requests, metadata=metadata, timeout=60
        )


class Open:
    """Requests of a stream that stays open until it is told to end."""

    def __init__(self, *first: Any) -> None:
        self.first = first
        self.ended = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        yield from self.first
        self.ended.wait(60)


def test_batches_are_acknowledged_in_order_with_only_what_is_worth_saying(stack: Stack) -> None:
    partner = new_partner(stack, "stream")
    batches = [[attended(person=f"p{i}-{j}", at=int(time.time())) for j in range(50)] for i in range(30)]
    batches[3][7].group_ref = "Jane Doe"
    batches[5][1] = batches[0][0]
    with stream(partner, (batch(i + 1, events) for i, events in enumerate(batches))) as answers:
        found = list(answers)
    acknowledged = [each.acknowledged_sequence for each in found]
    assert acknowledged == sorted(set(acknowledged)) and acknowledged[-1] == 30
    assert {each.window_batches for each in found} == {16}
    said = {
        (answer.acknowledged_sequence - 1, each.index): each.status
        for answer in found
        for each in answer.results
    }
    assert said.pop((3, 7)) == common.EVENT_STATUS_REFUSED
    # Best effort: the first copy may not have been in Kafka yet.
    assert set(said.items()) <= {((5, 1), common.EVENT_STATUS_DUPLICATE)}
    assert sum(each.count_acknowledged for each in found) == 30 * 50 - 1
    wait_until(lambda: landed(partner.tenant_id) in (1498, 1499), "the rows")


@pytest.mark.parametrize("sequences", [(0,), (1, 1), (5, 4)])
def test_a_sequence_that_does_not_rise_ends_the_stream(stack: Stack, sequences: tuple[int, ...]) -> None:
    partner = new_partner(stack, "sequence")
    with (
        stream(partner, iter([batch(each, [attended()]) for each in sequences])) as answers,
        pytest.raises(grpc.RpcError) as caught,
    ):
        list(answers)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert f"sequence: {sequences[-1]}" in str(caught.value.details())
    bad: Any = status_details(caught.value)["BadRequest"]
    assert bad.field_violations[0].field == "sequence"


def test_an_empty_batch_ends_the_stream_and_what_came_before_counts(stack: Stack) -> None:
    partner = new_partner(stack, "empty-batch")
    answered = []
    with (
        stream(partner, iter([batch(1, [attended()]), batch(2, [])])) as answers,
        pytest.raises(grpc.RpcError) as caught,
    ):
        answered += list(answers)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    wait_until(lambda: landed(partner.tenant_id) == 1, "the first batch")


def test_a_key_that_is_revoked_ends_its_open_streams_and_no_others(stack: Stack) -> None:
    partner, neighbour = new_partner(stack, "revoked-stream"), new_partner(stack, "neighbour")
    ours, theirs = Open(batch(1, [attended()])), Open(batch(1, [attended()]))
    with stream(partner, iter(ours)) as answers, stream(neighbour, iter(theirs)) as other:
        assert next(answers).acknowledged_sequence == next(other).acknowledged_sequence == 1
        with control() as connection:
            (key_id,) = [each.key_id for each in list_keys(connection) if each.tenant_id == partner.tenant_id]
            revoke_key(connection, key_id)
        with pytest.raises(grpc.RpcError) as caught:
            next(answers)
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        reason: Any = status_details(caught.value)["ErrorInfo"]
        assert (reason.reason, reason.domain) == ("API_KEY", "circles")
        theirs.ended.set()
        assert list(other) == []
        ours.ended.set()


def test_two_keys_are_live_at_once_until_the_old_one_ends(stack: Stack) -> None:
    partner = new_partner(stack, "rotated")
    with control() as connection:
        (key_id,) = [each.key_id for each in list_keys(connection) if each.tenant_id == partner.tenant_id]
        renewed = rotate_key(connection, key_id, timedelta(seconds=3))
        with pytest.raises(ValueError, match="no valid key"):
            rotate_key(connection, "00000000", timedelta(0))
    for key in (partner.key, renewed):
        assert partner.call([attended()], key=key).results
    wait_until(lambda: partner.is_refused([attended()]), "the end of the old key")
    assert partner.call([attended()], key=renewed).results

    def audit() -> str:
        return stack.circles("keys", "audit", "-n", "1000").stdout

    # What the gateway tells of calls is written now and then, and not with each of them.
    told = ("key_rotated", "key_created", "authenticated", "refused")
    wait_until(lambda: all(word in audit() for word in told), "all that happened")
    page = audit()
    assert renewed not in page and partner.key not in page


def test_over_its_limit_a_call_is_told_when_to_come_back_and_a_stream_is_slowed(stack: Stack) -> None:
    partner = new_partner(stack, "limited")
    limit(partner, Limits(events_per_second=10))
    partner.call([attended(person=f"a{i}") for i in range(500)])
    with pytest.raises(grpc.RpcError) as caught:
        partner.call([attended()])
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert partner.tenant_id in str(caught.value.details())
    details: Any = status_details(caught.value)
    assert details["ErrorInfo"].reason == "TENANT_RATE"
    assert details["RetryInfo"].retry_delay.ToMilliseconds() > 0
    assert details["QuotaFailure"].violations[0].subject == f"tenant:{partner.tenant_id}"
    pushback = [
        each.value for each in caught.value.trailing_metadata() if each.key == "grpc-retry-pushback-ms"
    ]
    assert int(pushback[0]) > 0
    limit(partner, Limits(events_per_second=200, streams=1))
    held = Open(batch(1, [attended(person=f"c{i}") for i in range(500)]), batch(2, [attended()]))
    with stream(partner, iter(held)) as answers:
        assert [next(answers).acknowledged_sequence for _ in range(2)] == [1, 2]
        with (
            stream(partner, iter([batch(1, [attended()])])) as second,
            pytest.raises(grpc.RpcError) as refused,
        ):
            list(second)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        reason: Any = status_details(refused.value)["ErrorInfo"]
        assert reason.reason == "TENANT_STREAMS"
        held.ended.set()


def limit(partner: Partner, limits: Limits) -> None:
    """The gateway knows it afterwards. It may have read the key before, also of a new tenant."""
    with control() as connection:
        assert set_limits(connection, partner.tenant_id, limits)
    time.sleep(2 * IngestionSettings.load().key_refresh_seconds)


def test_processes_share_a_port_and_one_that_dies_comes_back(stack: Stack, tmp_path: Path) -> None:
    partner = new_partner(stack, "fleet")
    with gateway(stack, tmp_path, processes=2) as fleet:
        wait_until(lambda: len(_child_ids(fleet.process.pid)) == 2, "two processes")
        for i in range(20):  # a connection each, so that both processes get some
            with stream(partner, iter([batch(1, [attended(person=f"p{i}")])]), fleet.address) as answers:
                assert [each.count_acknowledged for each in answers] == [1]
        victim = _child_ids(fleet.process.pid)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in _child_ids(fleet.process.pid), "the end of one")
        wait_until(lambda: len(_child_ids(fleet.process.pid)) == 2, "another in its place")
    wait_until(lambda: landed(partner.tenant_id) == 20, "the rows")


def _child_ids(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in listed.split()]
