"""Whole batches at native speed and events one by one: the same answers, the same bytes in Kafka.

Events are made from the contract, good and wrong ones, in every domain; requests are taken apart and
damaged as well.
"""

from __future__ import annotations

import asyncio
import random
import uuid
import zlib
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestion import kernels, wire
from services.ingestion.doors import Door, doors
from services.ingestion.envelopes import body_hash
from services.ingestion.errors import CallError
from services.ingestion.intake import Taken
from services.ingestion.pseudonyms import THINGS, Pseudonymiser
from services.ingestion.recent import Recent
from services.ingestion.responses import post_response
from tests.fakes.bad_input import attended
from tests.fakes.desk import Desk
from tests.fakes.random_events import random_event

DOORS = doors()
PSEUDONYMISER = Pseudonymiser(bytes(range(32)))


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
    write = wire.Found.write

    def counted(found: wire.Found) -> wire.Written:
        nonlocal usual
        usual += found.count_good
        return write(found)

    async def run() -> Any:
        desk = Desk()
        answers = [_told(take(desk, door, data)) for data in requests]
        return answers, sent(desk, door)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire.Found, "write", counted)
        return asyncio.run(run()), usual


def _told(taken: Taken | str) -> Any:
    if isinstance(taken, str):
        return taken
    others = {index: each.SerializeToString(deterministic=True) for index, each in taken.others.items()}
    fresh = taken.fresh.tolist()
    return taken.sequence, taken.count_events, others, fresh, taken.count_acknowledged, post_response(taken)


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


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.domain)
def test_a_request_is_split_where_protobuf_would(door: Door) -> None:
    rng, reader = random.Random(door.domain), wire.Reader(door.topic, door.stream_request.DESCRIPTOR, 500)
    count_read = 0
    for number in range(400):
        event = random_event(door.topic.event, rng, 0.3)
        data = door.stream_request(sequence=number << 40, events=[event] * rng.randrange(4))
        data = _damaged(data.SerializeToString(), rng) if number % 4 else data.SerializeToString()
        try:
            request = door.stream_request.FromString(data)
        except DecodeError:
            continue
        found = reader.split(data)
        assert found is not None
        sequence, count, events = found
        assert (sequence, count) == (request.sequence, len(request.events))
        assert [door.event.FromString(each) for each in events] == list(request.events)
        count_read += 1
    assert count_read > 100


@pytest.mark.parametrize(
    "data", [b"\x08", b"\x08" + b"\xff" * 10, b"\x12\x05abc", b"\x0c", b"\x1b", b"\x1e", b"\0"]
)
def test_what_is_no_request_is_not_split(data: bytes) -> None:
    (door,) = [each for each in DOORS if each.domain == "participation"]
    assert wire.Reader(door.topic, door.stream_request.DESCRIPTOR, 500).split(data) is None


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
    reader = wire.Reader(door.topic, door.stream_request.DESCRIPTOR, 500)
    read = reader.read(data, wire.References("t", Pseudonymiser(bytes(32))), Recent(1).known("t"), 1, 2**33)
    assert read is not None and read.doubtful() == [(0, overlong)]


def row_of(references: wire.References, text: bytes, thing: int) -> int | None:
    """Where the row of a reference begins; None when it is doubted."""
    octets, places = np.frombuffer(text or b"\0", np.uint8), np.zeros((1, kernels.PLACE_COLUMNS), np.int32)
    refs = np.array([[0, len(text), thing, 0, -1]], np.int32)
    places[0, kernels.COUNT_REFS] = 1
    while (made := kernels.make_references(octets, places, 0, refs, *references.tables)) == kernels.NO_ROOM:
        references.make_room()
    slots, rows, seed, *_ = references.tables
    is_known = kernels.find_references(octets, places, 0, refs, 1, 8, slots, rows, seed)
    assert is_known == (made != kernels.NO_REFERENCE)
    return int(refs[0, kernels.ROW]) if is_known else None


def pseudonym_of(references: wire.References, row: int) -> str:
    return references.rows[row + kernels.ROW_PSEUDONYM : row + kernels.ROW_LENGTH].tobytes().decode()


def test_references_are_remembered_beyond_their_first_table_and_forgotten_at_their_last() -> None:
    references, names = wire.References("t", PSEUDONYMISER), PSEUDONYMISER.names("t")["prt"]
    thing, count = THINGS.index("prt"), wire.MAX_ROWS + 1000
    rows = [row_of(references, b"%08d" % number, thing) for number in range(count)]
    assert len(references.rows) == wire.MAX_ROWS * kernels.ROW_BYTES and len(set(rows)) == wire.MAX_ROWS
    for number in (count - 1000, count - 1):
        row = row_of(references, b"%08d" % number, thing)
        assert row is not None and row == rows[number]
        assert pseudonym_of(references, row) == names[f"{number:08d}"]


@settings(deadline=None)
@given(st.sampled_from(THINGS), st.text("abcXYZ0189-._:@ é", min_size=1, max_size=70))
def test_a_row_is_what_the_library_makes_of_a_reference_and_never_of_anything_else(
    thing: str, text: str
) -> None:
    references = wire.References("a-tenant", PSEUDONYMISER)
    row = row_of(references, text.encode(), THINGS.index(thing))
    if row is not None:
        pseudonym = PSEUDONYMISER.pseudonym("a-tenant", thing, text)  # raises when it is no reference
        assert pseudonym_of(references, row) == pseudonym
        crc_at = row + kernels.ROW_CRC
        crc = int.from_bytes(references.rows[crc_at : crc_at + kernels.CRC_BYTES].tobytes(), "little")
        assert crc == zlib.crc32(f"a-tenant\0{pseudonym}".encode())


@pytest.mark.parametrize(
    "text",
    [
        "g1",
        "member-4711",
        "user.123",
        "urn:forum:7",
        "a_b-c",
        str(uuid.UUID(int=7)),
        "X" * 64,
        "forum.general",
    ],
)
def test_usual_references_are_told_at_native_speed(text: str) -> None:
    assert row_of(wire.References("t", PSEUDONYMISER), text.encode(), 0) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jane.com",
        "www.example",
        "HTTPS:x",
        "mailto:x",
        "i-am-not-well-today",
        "-a",
        "a b",
        "X" * 65,
        "a\n",
    ],
)
def test_what_may_be_no_reference_is_doubted(text: str) -> None:
    assert row_of(wire.References("t", PSEUDONYMISER), text.encode(), 0) is None
