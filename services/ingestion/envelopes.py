"""Accepted events to Kafka records: envelopes of one tenant and partition, with the identity of each event.

The events' bytes are put into the envelope as they are, tag and length before them, so that nothing is
serialised twice, and events of many calls can share a record. When they are sent is `outbox`'s.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor
from google.protobuf.timestamp_pb2 import Timestamp
from xxhash import xxh64_intdigest

from services.ingestion.kernels import LENGTH_FIRST, TAG_BODY_HASH, TAG_EVENT, VARINT
from services.kafka.topics import MAX_ENVELOPE_EVENTS, Topic, event_topics

MAX_ENVELOPE_BYTES = 1024 * 1024

# Wire tags: field number × 8 + wire type.
_TAG_BODY_HASH, _TAG_EVENT = bytes([TAG_BODY_HASH]), bytes([TAG_EVENT])
_IS_LATE = bytes([3 << 3 | VARINT, 1])  # Accepted….is_late = true
_TAG_SEALED_EVENT = bytes([4 << 3 | LENGTH_FIRST])  # Accepted….sealed_event


class Envelope(NamedTuple):
    """A Kafka record to be: key and value, and the topic and partition where it must go."""

    topic: str
    partition: int
    key: bytes
    value: bytes


Entries = tuple[int, bytes]
"""Some events of one partition as they stand in an envelope: how many, and their bytes."""


class Marks(NamedTuple):
    """What an envelope says of an unusual event beside its body and hash."""

    is_late: bool = False
    sealed_event: bytes = b""


USUAL = Marks()


def entry_bytes(topic_name: str, body: bytes, body_hash: int, marks: Marks = USUAL) -> bytes:
    """The event as it stands in an envelope of its topic, with its tag: entries are simply joined."""
    size = len(body)
    accepted = _TAG_BODY_HASH + body_hash.to_bytes(8, "little") + _TAG_EVENT + varint(size) + body
    if marks is not USUAL:
        accepted += _IS_LATE if marks.is_late else b""
        if marks.sealed_event:
            accepted += _TAG_SEALED_EVENT + varint(len(marks.sealed_event)) + marks.sealed_event
    return _EVENTS_TAGS[topic_name] + varint(len(accepted)) + accepted


def envelopes(
    topic: Topic,
    tenant_id: str,
    data_class: int,
    received_at: Timestamp,
    entries: Mapping[int, Sequence[Entries]],
) -> Iterator[Envelope]:
    """Envelopes of `entries`, which are by partition. No larger than readers take."""
    head: Any = topic.message_class()
    head.tenant_id = tenant_id
    head.data_class = data_class
    head.received_at.CopyFrom(received_at)
    head_bytes, key = head.SerializeToString(), tenant_id.encode()
    for partition, listed in entries.items():
        for some in _portions(listed):
            yield Envelope(topic.name, partition, key, head_bytes + b"".join(some))


body_hash = xxh64_intdigest
"""Tells two bodies of one event_id apart: 64 bits, unsigned."""


def signed(body_hash: int) -> int:
    """The hash as `sfixed64`, which is how messages and tables have it."""
    return body_hash - (1 << 64) if body_hash >> 63 else body_hash


def partition_of(topic: Topic, tenant_id: str, reference: str) -> int:
    """CRC-32 of tenant and pseudonym: the same in every gateway and every version."""
    return zlib.crc32(f"{tenant_id}\0{reference}".encode()) % topic.partitions


def varint(number: int) -> bytes:
    """Protobuf's length prefix: seven bits a byte, lowest first."""
    return _VARINTS[number] if number < len(_VARINTS) else _varint(number)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_VARINTS = [_varint(number) for number in range(2048)]


def tag_of_events(message: Descriptor) -> int:
    """The tag of `events` in an envelope or a request."""
    return message.fields_by_name["events"].number << 3 | LENGTH_FIRST


_EVENTS_TAGS = {topic.name: bytes([tag_of_events(topic.message)]) for topic in event_topics()}


def _portions(entries: Sequence[Entries]) -> Iterator[list[bytes]]:
    portion: list[bytes] = []
    count = size = 0
    for more, octets in entries:
        if portion and (count + more > MAX_ENVELOPE_EVENTS or size + len(octets) > MAX_ENVELOPE_BYTES):
            yield portion
            portion, count, size = [], 0, 0
        portion.append(octets)
        count += more
        size += len(octets)
    yield portion
