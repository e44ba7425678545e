"""The gateway's small parts: limits, memory, room, shared rounds, certificates, instruments."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from circles.common.v1 import common_pb2
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestion import errors, tls
from services.ingestion.envelopes import Envelope
from services.ingestion.errors import CallError
from services.ingestion.keys import Limits, Tenant
from services.ingestion.limits import BURST_SECONDS, HOLD_SECONDS, MAX_HELD_BYTES, TenantLimits
from services.ingestion.outbox import Outbox
from services.ingestion.recent import Recent, event_row
from services.ingestion.room import Room
from services.ingestion.sender import NotAcknowledged
from services.runtime.instruments import OWN, is_known, read_instrument
from services.runtime.settings import IngestionSettings


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def tenant(name: str = "t", **limits: float) -> Tenant:
    return Tenant(name, common_pb2.DATA_CLASS_LIVE, Limits(**limits))  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0, 3)), min_size=1, max_size=60))
def test_no_tenant_gets_more_than_its_rate_and_its_burst(batches: list[tuple[int, float]]) -> None:
    clock, rate = Clock(), 100.0
    limits = TenantLimits(Limits(rate, None, None), 1.0, clock)
    who, taken = tenant(), 0
    for count, pause in batches:
        clock.now += pause
        if limits.owed_seconds(who) == 0:
            limits.take(who, count, 1)
            taken += count
        # One batch may be overdrawn.
        assert taken <= rate * (clock.now + BURST_SECONDS) + 500


def test_refusals_wait_as_long_as_there_is_room_for_them() -> None:
    limits = TenantLimits(Limits(), 1.0, Clock())
    with (
        limits.held(tenant(), MAX_HELD_BYTES) as first,
        limits.held(tenant(), 1) as second,
        limits.held(tenant("another"), 1) as others,
    ):
        assert (first, second, others) == (HOLD_SECONDS, 0.0, HOLD_SECONDS)
    with limits.held(tenant(), 1) as again:
        assert again == HOLD_SECONDS


def test_what_is_owed_is_the_time_until_the_next_batch() -> None:
    clock = Clock()
    limits = TenantLimits(Limits(100.0, None, None), 1.0, clock)
    limits.take(tenant(), 500, 1)
    assert limits.owed_seconds(tenant()) == pytest.approx(3.0)
    assert limits.owed_seconds(tenant("another")) == 0
    clock.now = 3.0
    assert limits.owed_seconds(tenant()) == 0


def test_a_tenants_own_limit_wins_and_a_process_has_its_share() -> None:
    clock = Clock()
    limits = TenantLimits(Limits(100.0, 1e9, 4), 0.5, clock)
    limits.take(tenant(events_per_second=10), 20, 1)
    assert limits.owed_seconds(tenant(events_per_second=10)) == pytest.approx(2.0)
    assert limits.owed_seconds(tenant(events_per_second=1e6)) == 0  # changed: begins anew
    assert [limits.open_stream(tenant()) for _ in range(3)] == [True, True, False]
    limits.close_stream(tenant())
    assert limits.open_stream(tenant()) and limits.open_stream(tenant("another"))


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 60)), max_size=200))
def test_memory_is_bounded_and_knows_the_newest(posted: list[tuple[str, int]]) -> None:
    recent = Recent(20)

    def known(who: str, number: int) -> bool:
        found = recent.body_hash(who, str(uuid.UUID(int=number)))
        assert found in (None, number)
        return found is not None

    for who, number in posted:
        recent.add(who, np.array([event_row(0, str(uuid.UUID(int=number)), number)], np.uint64))
        assert known(who, number)
        assert sum(known(each, other) for each in "ab" for other in range(61)) <= 20
    for who, number in posted[-10:]:
        assert known(who, number)


def test_a_body_that_came_again_takes_the_place_of_the_first() -> None:
    recent, event_id = Recent(100), str(uuid.uuid4())
    for body in (7, 2**64 - 1):
        recent.add("a", np.array([event_row(0, event_id, body)], np.uint64))
    assert recent.body_hash("a", event_id) == 2**64 - 1


def test_room_is_refused_to_calls_and_given_to_streams_in_turn() -> None:
    async def run() -> list[str]:
        room, order = Room(100), []

        async def stream(name: str, size: int) -> None:
            await room.take(size)
            order.append(name)

        with room.taken_now(60):
            with pytest.raises(CallError) as refused, room.taken_now(50):
                pass
            assert refused.value.retry_seconds
            tasks = [asyncio.create_task(stream("first", 90)), asyncio.create_task(stream("second", 10))]
            await asyncio.sleep(0)
            assert order == []  # the second one waits behind the first
        await asyncio.gather(*tasks)
        gone = asyncio.create_task(stream("gone", 50))
        await asyncio.sleep(0)
        gone.cancel()
        room.give_back(100)
        with room.taken_now(100):
            return order

    assert asyncio.run(run()) == ["first", "second"]


class SlowSender:
    """Acknowledges when it is told to."""

    def __init__(self) -> None:
        self.sendings: list[tuple[Sequence[Envelope], asyncio.Future[None]]] = []

    async def send(self, records: Sequence[Envelope]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sendings.append((records, done))
        await done


def test_what_comes_meanwhile_shares_the_next_round() -> None:
    async def run() -> None:
        sender = SlowSender()
        outbox = Outbox(sender, rounds_in_flight=1, linger_seconds=0.001)  # type: ignore[arg-type]
        rounds = []
        for number in range(5):
            filling = outbox.round()
            filling.add_record(Envelope("t", 0, b"", bytes([number])))
            rounds.append(filling)
            await asyncio.sleep(0.01)
        assert [len(records) for records, _ in sender.sendings] == [1]
        assert len(set(map(id, rounds))) == 2
        sender.sendings[0][1].set_result(None)
        await rounds[0].acknowledged
        await asyncio.sleep(0.01)
        assert [len(records) for records, _ in sender.sendings] == [1, 4]
        sender.sendings[1][1].set_exception(NotAcknowledged())
        with pytest.raises(NotAcknowledged):
            await rounds[4].acknowledged
        await outbox.drain()
        assert outbox.round() is not rounds[4]

    asyncio.run(run())


def test_an_error_says_in_details_what_its_words_say() -> None:
    error = errors.over_limit("t", 1.5)
    found: dict[type, Any] = {type(each): each for each in error.details()}
    assert found[error_details_pb2.ErrorInfo].reason == "TENANT_RATE"
    assert found[error_details_pb2.RetryInfo].retry_delay.ToMilliseconds() == error.retry_milliseconds == 1500
    assert found[error_details_pb2.QuotaFailure].violations[0].subject == "tenant:t"
    size: dict[type, Any] = {type(each): each for each in errors.wrong_size(0, 500).details()}
    assert size[error_details_pb2.BadRequest].field_violations[0].field == "events"
    assert errors.broken().code == grpc.StatusCode.INTERNAL


def test_every_instrument_of_the_product_can_be_read() -> None:
    known = {path.stem: read_instrument(path) for path in OWN.glob("*.yaml")}
    assert is_known("phq-9", "1") and not is_known("phq-9", "2") and not is_known("nothing", "1")
    assert {each.licence for each in known.values()} == {"open", "non_commercial", "registered", "closed"}
    for each in known.values():
        assert each.direction and each.source
        assert each.is_scored == (each.items.is_scored is not False), f"{each.code}: items make other totals"


@pytest.mark.parametrize("text", ["", "name: x", "items: {count: x}", "{", "versions: 1"])
def test_a_wrong_instrument_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"mine\.yaml"):
        read_instrument(path)


def test_tls_needs_files_that_fit(tmp_path: Path, home: Path) -> None:
    assert tls.server_credentials(IngestionSettings.load()) is None
    missing = tmp_path / "nothing.pem"
    with pytest.raises(tls.Unusable, match="both"):
        tls.server_credentials(IngestionSettings.load(tls_certificate_file=missing))
    with pytest.raises(tls.Unusable, match=r"nothing\.pem"):
        tls.server_credentials(IngestionSettings.load(tls_certificate_file=missing, tls_key_file=missing))
    with pytest.raises(tls.Unusable, match="certificate and key of the gateway"):
        tls.server_credentials(IngestionSettings.load(tls_client_ca_file=missing))
