"""What fuzzing sends: good requests with their bytes changed, bombs, and connections that are no gRPC."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from services.ingestion.doors import Door, doors
from services.ingestion.envelopes import varint
from tests.fakes.bad_input import good_events
from tests.fakes.random_events import random_event
from tests.integration.test_bad_calls import RAW

DOORS = doors()
ANSWER_SECONDS = 30.0
LARGEST = 5 << 20
"""Some requests are above the gateway's 4 MiB."""

UNKNOWN, GROUP, GROUP_END = b"\x82\x7d", b"\x83\x7d", b"\x84\x7d"
"""Tags of field 2000, which no version of the contract has."""

LENGTHS = (b"\0", b"\x7f", b"\xff\x7f", b"\xff" * 4 + b"\x07", b"\xff" * 4 + b"\x0f", b"\xff" * 9 + b"\x01")
"""Varints at the ends of what 1, 2, 4 and 8 bytes hold."""


@dataclass(frozen=True)
class Shot:
    """A call with `messages` as its requests; without a path, bytes on a connection of their own."""

    path: str
    messages: tuple[bytes, ...]
    is_stream: bool = False
    compression: int = 0
    seconds: float = ANSWER_SECONDS


def shot(rng: random.Random) -> Shot:
    what, is_stream, door = rng.random(), rng.random() < 0.4, rng.choice(DOORS)
    if what < 0.02:
        return Shot("", (_connection(rng),))
    if what < 0.03:
        messages = [_bomb(rng, is_stream)]
    else:
        count = rng.randrange(1, 6) if is_stream else 1
        messages = [_request(rng, door, is_stream, number + 1) for number in range(count)]
    seconds = 0.005 if rng.random() < 0.02 else ANSWER_SECONDS  # some callers go away in the middle
    return Shot(path_of(door, is_stream), tuple(messages), is_stream, rng.choice((0, 0, 0, 1, 2)), seconds)


def path_of(door: Door, is_stream: bool) -> str:
    return f"/{door.service.full_name}/{(door.stream if is_stream else door.post).name}"


def _request(rng: random.Random, door: Door, is_stream: bool, sequence: int) -> bytes:
    """Changed within its events, whose lengths are then right, or as a whole, or both, or not at all."""
    wrongness = rng.choice((0.0, 0.03, 0.3, 1.0))
    events = [_event(rng, door, wrongness) for _ in range(rng.choice((1, 2, 5, 20)))]
    if rng.random() < 0.7:
        events[0] = _changed(rng, events[0])
    rng.shuffle(events)
    head, tag = (b"\x08" + varint(sequence), b"\x12") if is_stream else (b"", b"\x0a")
    data = head + b"".join(tag + varint(len(each)) + each for each in events)
    return (_changed(rng, data) if rng.random() < 0.3 else data)[:LARGEST]


def _event(rng: random.Random, door: Door, wrongness: float) -> bytes:
    event = random_event(door.topic.event, rng, wrongness)
    if rng.random() < 0.3:
        event = next(each for each in good_events() if each.DESCRIPTOR is door.topic.event)
    return bytes(event.SerializeToString())


def _changed(rng: random.Random, data: bytes) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        data = data[:at] + _tail(rng, data[at:] or b"\0")
    return data


def _tail(rng: random.Random, rest: bytes) -> bytes:  # noqa: PLR0911  # a table of changes
    """`rest` with its first byte or bytes changed, something put before it, or another in its place."""
    small, room = rng.randrange(1, 9), LARGEST if rng.random() < 0.02 else 50_000
    match rng.randrange(8):
        case 0:
            return bytes([rest[0] ^ 1 << small - 1]) + rest[1:]
        case 1:
            return rest[small:]
        case 2:
            return rng.randbytes(small) + rest
        case 3:
            return rng.choice(LENGTHS) + rest[1:]
        case 4:
            piece = rest[: rng.choice((1, 8, 64, len(rest)))]
            return piece * min(rng.choice((2, 3, 499, 500, 501, room)), room // len(piece)) + rest
        case 5:
            depth = rng.choice((1, 2, 98, 99, 100, 101, room // 4))
            return GROUP * depth + GROUP_END * (depth - rng.randrange(2)) + rest
        case 6:
            size = rng.choice((0, 3, 100, 1_000, 32_700, room))
            return UNKNOWN + varint(size) + rng.randbytes(size) + rest
    other = _event(rng, rng.choice(DOORS), 0.0)
    return other[rng.randrange(len(other)) :]


def _bomb(rng: random.Random, is_stream: bool) -> bytes:
    """Little when it is compressed: zeros, zeros and noise, as many empty events as a message holds."""
    empty = b"\x08\x01" + b"\x12\0" * (2 << 20) if is_stream else b"\x0a\0" * (2 << 20)
    return rng.choice((bytes(32 << 20), bytes(3 << 20) + rng.randbytes(1000), empty[: (4 << 20) - 8]))


def _connection(rng: random.Random) -> bytes:
    """What is no gRPC, or frames of any kind, with some bytes changed."""
    frames = [rng.randbytes(rng.randrange(60)) for _ in range(9)]
    heads = [struct.pack(">HBHI", 0, len(each), rng.randrange(12 << 8), rng.randrange(3)) for each in frames]
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    data = rng.choice([*RAW.values(), preface + b"".join(map(bytes.__add__, heads, frames))])
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.randrange(9)) + data[at + rng.randrange(9) :]
