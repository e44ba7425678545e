"""Whole batches at native speed and events one by one: the same answers, the same bytes in Kafka.

Events are made from the contract, good and wrong ones, in every domain; requests are taken apart and
damaged as well.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestion import kernels, wire
from services.ingestion.doors import Door, doors
from services.ingestion.envelopes import body_hash
from services.ingestion.errors import CallError
from services.ingestion.intake import Taken
from services.ingestion.pseudonyms import Pseudonymiser
from tests.fakes.bad_input import attended
from tests.fakes.desk import Desk
from tests.fakes.random_events import random_event

DOORS = doors()


def take(desk: Desk, door: Door, data: bytes) -> Taken | str:
    """The result, which counts as acknowledged, or the reason of a failed call."""
    try:
        taken = desk.take(door, door.stream_request, data)
    except CallError as error:
        return error.reason
    desk.acknowledge(taken)
    return taken


def sent(desk: Desk, door: Door) -> dict[int, dict[str, bytes]]:
    """Accepted events by partition and id, as they stand in envelopes."""
    found: dict[int, dict[str, bytes]] = {}
    for record in desk.records():
        if record.topic == door.topic.name:
            envelope: Any = door.topic.message_class.FromString(record.value)
            assert envelope.SerializeToString() == record.value
            ids = {each.event.event_id: each.SerializeToString() for each in envelope.events}
            found.setdefault(record.partition, {}).update(ids)
    return found


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.domain)
def test_batches_and_single_events_come_to_the_same(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(door.domain)
    requests = [_request(door, rng, number) for number in range(1, 70)]
    fast, usual = _outcome(door, requests)
    monkeypatch.setattr(wire.Reader, "read", lambda *_: None)
    slow, _ = _outcome(door, requests)
    assert fast == slow
    if door.domain == "participation":
        assert usual > 400, "hardly any event went the fast way: then nothing was compared"


def _outcome(door: Door, requests: list[bytes]) -> tuple[Any, int]:
    """Answers and what was sent; and how many events were read as good at once."""
    usual = 0
    read = wire.Found.event_ids

    def counted(found: wire.Found) -> list[bytes]:
        nonlocal usual
        ids = read(found)
        usual += len(ids)
        return ids

    async def run() -> Any:
        desk = Desk()
        answers = [_told(take(desk, door, data)) for data in requests]
        return answers, sent(desk, door)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire.Found, "event_ids", counted)
        return asyncio.run(run()), usual


def _told(taken: Taken | str) -> Any:
    if isinstance(taken, str):
        return taken
    others = {index: each.SerializeToString(deterministic=True) for index, each in taken.others.items()}
    return taken.sequence, taken.event_ids, others, taken.fresh, taken.count_acknowledged


def _request(door: Door, rng: random.Random, sequence: int) -> bytes:
    wrongness = rng.choice([0.0, 0.0, 0.01, 0.1])
    events = [random_event(door.topic.event, rng, wrongness) for _ in range(rng.choice([1, 3, 40]))]
    if door.domain == "participation" and rng.random() < 0.5:
        events += [attended(lambda each: setattr(each, "event_id", _id(rng))) for _ in range(5)]
    for event in events:
        if rng.random() < 0.9:  # recent, so that it is not late
            event.occurred_at.GetCurrentTime()
    if rng.random() < 0.2:  # a copy, and another body
        events.append(events[0])
    data: bytes = door.stream_request(sequence=sequence, events=events).SerializeToString()
    return _damaged(data, rng) if rng.random() < 0.15 else data


def _id(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128)))


def _damaged(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    how = rng.randrange(4)
    if how == 0:
        return data[:at]
    if how == 1:
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if how == 2:
        return data + bytes([0x82, 0x7D, 3]) + b"new"
    return data[:at] + rng.randbytes(2) + data[at:]


@settings(deadline=None)  # the first call compiles
@given(st.binary(max_size=200))
def test_the_hash_is_the_librarys(data: bytes) -> None:
    octets = np.frombuffer(b"xx" + data + b"y", np.uint8)
    assert kernels.xxh64(octets, 2, 2 + len(data)) == body_hash(data)


@pytest.mark.parametrize("domain", ["participation"])
def test_lengths_that_are_longer_than_they_need_are_not_read_at_once(domain: str) -> None:
    """Protobuf takes them; written anew by the kernels, they would not fit."""
    (door,) = [each for each in DOORS if each.domain == domain]
    event = attended().SerializeToString()
    group = b"\x1a\x02g1"
    assert event.count(group) == 1
    overlong = event.replace(group, b"\x1a\x82\x00g1")
    data = b"\x08\x01\x12" + bytes([len(overlong)]) + overlong

    async def run() -> tuple[Taken | str, Any]:
        desk = Desk()
        return take(desk, door, data), sent(desk, door)

    taken, records = asyncio.run(run())
    assert isinstance(taken, Taken) and taken.count_acknowledged == 1
    ((accepted,),) = [list(each.values()) for each in records.values()]
    assert b"grp_" in accepted and len(taken.fresh) == 1
    found = wire.Reader(door.topic, door.stream_request.DESCRIPTOR)
    names = Pseudonymiser(bytes(32)).names("t")
    read = found.read(data, 500, wire.References(door.topic, "t", names), 1, 2**33)
    assert read is not None and read.doubtful() == [0]


def test_references_are_remembered_beyond_their_first_table_and_forgotten_at_their_last() -> None:
    (door,) = [each for each in DOORS if each.domain == "participation"]
    names = Pseudonymiser(bytes(32)).names("t")
    references = wire.References(door.topic, "t", names)
    text = b"".join(b"%08d" % number for number in range(70_000))
    octets = np.frombuffer(text, np.uint8)
    thing = 2
    for first in range(0, 70_000, 1000):
        wanted = np.array([[8 * number, 8, thing] for number in range(first, first + 1000)], np.int32)
        rows = references.rows(text, octets, wanted)
        assert (rows >= 0).all() and len(set(rows.tolist())) == 1000
        for number in (first, first + 999):
            pseudonym = references.pseudonyms[rows[number - first]].tobytes().decode()
            assert pseudonym == names["prt"][f"{number:08d}"]
    newest = np.array([[8 * 69_999, 8, thing]] * 2, np.int32)
    rows = references.rows(text, octets, newest)
    assert rows[0] == rows[1] >= 0
    bad = np.array([[0, 3, thing]], np.int32)
    assert references.rows(b"a b", np.frombuffer(b"a b", np.uint8), bad).tolist() == [-1]
