"""What is wrong with whole calls, connections and bytes: each gets its answer, and good events go on.

Events that are wrong one by one are in tests/fakes/bad_input.py.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from circles.common.v1 import common_pb2 as common
from circles.outcomes.v1 import outcome_service_pb2 as outcome_messages
from circles.outcomes.v1.outcome_service_pb2_grpc import OutcomeServiceStub
from circles.participation.v1 import participation_service_pb2 as messages
from cryptography.fernet import Fernet
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.ingestion.doors import doors
from services.ingestion.envelopes import varint
from services.runtime.settings import QuarantineSettings
from tests.fakes.bad_input import answered, bad_events, good_events
from tests.gateways import status_details
from tests.partners import Partner, attended, lake_rows, landed, new_partner
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack

POST = "/circles.participation.v1.ParticipationService/PostParticipationEvents"
STREAM = "/circles.participation.v1.ParticipationService/StreamParticipationEvents"
MANY_CONNECTIONS = 300


def key_of(partner: Partner) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {partner.key}"),)


@contextlib.contextmanager
def channel(partner: Partner, **options: Any) -> Iterator[Any]:
    with grpc.insecure_channel(
        partner.address, options=[("grpc.max_send_message_length", -1)], **options
    ) as opened:
        yield opened


def post_bytes(partner: Partner, data: bytes, **options: Any) -> bytes:
    with channel(partner, **options) as opened:
        answer: bytes = opened.unary_unary(POST)(data, metadata=key_of(partner), timeout=30)
        return answer


def failure(partner: Partner, data: bytes, **options: Any) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        post_bytes(partner, data, **options)
    return caught.value


def test_every_bad_event_is_answered_and_every_good_one_lands_once(stack: Stack) -> None:
    """Good and bad ones in turn, in each domain, as one batch."""
    partner = new_partner(stack, "bad-input")
    good: dict[str, int] = {}
    for door in doors():
        bad = [each for each in bad_events() if each.event.DESCRIPTOR is door.topic.event]
        events = [each for one in bad for each in (_good(door.topic.event), one.event)]
        request = door.post_request(events=events)
        with channel(partner) as opened:
            method = f"/{door.service.full_name}/{door.post.name}"
            data = opened.unary_unary(method)(
                request.SerializeToString(), metadata=key_of(partner), timeout=30
            )
        results = messages.PostParticipationEventsResponse.FromString(data).results
        accepted = [each.index for each in results if each.status == common.EVENT_STATUS_ACCEPTED]
        assert accepted == list(range(0, len(events), 2))
        for one, result in zip(bad, results[1::2], strict=True):
            assert any(v.field == one.field and one.words in v.rule for v in result.violations), one.name
        good[door.topic.raw_table or ""] = len(bad)
    for table, count in good.items():
        wait_until(lambda t=table, n=count: landed(partner.tenant_id, t) == n, f"{count} rows of {table}")  # type: ignore[misc]


def _good(event: Any) -> Any:
    return next(each for each in good_events() if each.DESCRIPTOR is event)


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 50, b"\x0a\xff\xff\xff\xff\x0f", b"{}", b"\x0a\x05\x0a\x03\xed\xa0\x80", b"\0" * 100],
    ids=["noise", "a length beyond the end", "JSON", "half a surrogate", "zeros"],
)
def test_bytes_that_are_no_request(stack: Stack, data: bytes) -> None:
    partner = new_partner(stack, "no-request")
    error = failure(partner, data)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    reason: Any = status_details(error)["ErrorInfo"]
    assert reason.reason in ("UNREADABLE", "BATCH_SIZE")


def test_another_services_request_is_refused_event_by_event(stack: Stack) -> None:
    partner = new_partner(stack, "wrong-service")
    request = outcome_messages.PostOutcomeEventsRequest(events=[answered()])
    results = messages.PostParticipationEventsResponse.FromString(
        post_bytes(partner, request.SerializeToString())
    ).results
    assert [each.status for each in results] == [common.EVENT_STATUS_REFUSED]


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_bomb_is_measured_after_unpacking(stack: Stack, compression: grpc.Compression) -> None:
    partner = new_partner(stack, "bomb")
    error = failure(partner, b"\0" * 200_000_000, compression=compression)
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    good = messages.PostParticipationEventsRequest(events=[attended()])
    assert post_bytes(partner, good.SerializeToString(), compression=compression)


def test_calls_without_a_service_a_key_or_time(stack: Stack) -> None:
    partner = new_partner(stack, "odd-calls")
    data = messages.PostParticipationEventsRequest(events=[attended()]).SerializeToString()
    with channel(partner) as opened:
        for path, metadata, code in (
            ("/circles.participation.v1.ParticipationService/Nothing", key_of(partner), "UNIMPLEMENTED"),
            (POST, (), "UNAUTHENTICATED"),
            (POST, (("authorization", f"Basic {partner.key}"),), "UNAUTHENTICATED"),
            (POST, (("authorization", f"Bearer {partner.key}x"),), "UNAUTHENTICATED"),
            (POST, (*key_of(partner), ("x-long", "x" * 100_000)), "RESOURCE_EXHAUSTED"),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                opened.unary_unary(path)(data, metadata=metadata, timeout=30)
            assert caught.value.code().name == code, path
        with pytest.raises(grpc.RpcError) as caught:
            opened.unary_unary(POST)(data, metadata=key_of(partner), timeout=1e-6)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        call = opened.unary_unary(POST).future(data, metadata=key_of(partner), timeout=30)
        call.cancel()
    assert partner.call([attended()]).results


RAW = {
    "HTTP/1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS to a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60,
    "noise": bytes(range(256)) * 4,
    "half a preface": b"PRI * HTTP/2.0\r\n",
    "a frame of 16 MB": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "pings without end": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    + (b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"12345678") * 500,
}


@pytest.mark.parametrize("name", RAW)
def test_what_is_no_grpc_ends_its_own_connection_only(stack: Stack, name: str) -> None:
    partner = new_partner(stack, "no-grpc")
    host, port = partner.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw, contextlib.suppress(OSError):
        raw.sendall(RAW[name])
        raw.settimeout(0.5)
        while raw.recv(65_536):
            pass
    assert partner.call([attended()]).results


def test_idle_half_open_and_slow_connections_hinder_nobody(stack: Stack) -> None:
    partner = new_partner(stack, "idle")
    host, port = partner.address.split(":")
    with contextlib.ExitStack() as opened:
        for i in range(MANY_CONNECTIONS):
            raw = opened.enter_context(socket.create_connection((host, int(port)), timeout=5))
            if i % 3 == 0:
                raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            if i % 3 == 1:  # a reset instead of an orderly end
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert partner.call([attended()]).results
        slow = opened.enter_context(channel(partner))
        batch = messages.StreamParticipationEventsRequest(sequence=1, events=[attended()])
        answers = slow.stream_stream(STREAM)(
            iter([batch.SerializeToString()]), metadata=key_of(partner), timeout=60
        )
        assert partner.call([attended()]).results
        assert len(list(answers)) == 1  # read late
    assert stack.is_healthy("ingestion")


def test_a_newer_partners_fields_are_kept_sealed_in_raw(stack: Stack) -> None:
    partner = new_partner(stack, "newer")
    event = attended(at=int(time.time()))
    body = event.SerializeToString() + bytes([0x82, 0x7D, 3]) + b"new"
    request = b"\x0a" + varint(len(body)) + body
    (result,) = messages.PostParticipationEventsResponse.FromString(post_bytes(partner, request)).results
    assert result.status == common.EVENT_STATUS_ACCEPTED
    wait_until(lambda: landed(partner.tenant_id) == 1, "the row")
    ((sealed, is_late),) = lake_rows(
        "SELECT sealed_event, is_late FROM raw.participation_events WHERE tenant_id = ?", partner.tenant_id
    )
    opened = Fernet(QuarantineSettings.load().key_file.read_bytes().strip()).decrypt(bytes(sealed))
    assert opened.endswith(b"\x82\x7d\x03new") and b'"\x02p1' not in opened and not is_late


def test_an_unknown_instrument_is_acknowledged_and_kept_for_replay(stack: Stack) -> None:
    partner = new_partner(stack, "deferred")
    event = answered()
    event.questionnaire_answered.instrument = "a-new-scale"
    with grpc.insecure_channel(partner.address) as opened:
        request = outcome_messages.PostOutcomeEventsRequest(events=[event, answered()])
        found = OutcomeServiceStub(opened).PostOutcomeEvents(request, metadata=key_of(partner), timeout=30)
    assert [each.status for each in found.results] == [
        common.EVENT_STATUS_DEFERRED,
        common.EVENT_STATUS_ACCEPTED,
    ]
    wait_until(lambda: landed(partner.tenant_id, "failed_events") == 1, "the deferred event")
    wait_until(lambda: landed(partner.tenant_id, "outcome_events") == 1, "the other one")


def test_health_by_service_and_reflection_on_loopback(stack: Stack) -> None:
    partner = new_partner(stack, "health")
    with grpc.insecure_channel(partner.address) as opened:
        health = health_pb2_grpc.HealthStub(opened)
        for service in ("", *(door.service.full_name for door in doors())):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="circles.nothing"))
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        stub = reflection_pb2_grpc.ServerReflectionStub(opened)
        (answer,) = stub.ServerReflectionInfo(iter([asked]))
    listed = {each.name for each in answer.list_services_response.service}
    assert {door.service.full_name for door in doors()} <= listed


def test_noise_in_good_requests_breaks_nothing(stack: Stack) -> None:
    """Bytes of good requests changed at random: an answer each time, and a gateway that lives. The long
    campaign is `make soak`."""
    partner = new_partner(stack, "fuzz")
    rng = random.Random(4)
    pid, log = stack.pid("ingestion"), stack.home / "logs" / "ingestion.log"
    size_before = log.stat().st_size
    with channel(partner) as opened:
        post = opened.unary_unary(POST)
        for _ in range(300):
            data = mutated(rng, messages.PostParticipationEventsRequest(events=[attended(), attended()]))
            with contextlib.suppress(grpc.RpcError):
                post(data, metadata=key_of(partner), timeout=30)
    assert stack.pid("ingestion") == pid and partner.call([attended()]).results
    assert b"Traceback" not in log.read_bytes()[size_before:]


def mutated(rng: random.Random, request: Any) -> bytes:
    """The request's bytes with some bits, runs or lengths changed."""
    data = bytearray(request.SerializeToString())
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(data))
        what = rng.randrange(4)
        if what == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            del data[at : at + rng.randrange(1, 9)]
        elif what == 2:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:
            data[at : at + 4] = b"\xff" * 4
        if not data:
            return b"\0"
    return bytes(data)
