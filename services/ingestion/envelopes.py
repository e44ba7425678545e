"""Accepted events to Kafka records: one envelope per partition, with the identity of each event.

The events' bytes are put into the envelope as they are, tag and length before them, so that nothing
is serialised twice and fields unknown to this version survive. Sending is `sender`'s.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from services.ingestion.keys import Tenant
from services.kafka.topics import Topic

# Wire tags: field number × 8 + wire type (1: eight bytes, 2: length first).
_TAG_BODY_HASH = bytes([1 << 3 | 1])  # Accepted….body_hash
_TAG_EVENT = bytes([2 << 3 | 2])  # Accepted….event


class Envelope(NamedTuple):
    """A Kafka record to be: key and value, and the partition where it must go."""

    partition: int
    key: bytes
    value: bytes


class EnvelopeBuilder:
    """Collects one request's accepted events, in order, per partition."""

    def __init__(self, topic: Topic, tenant: Tenant) -> None:
        self._topic = topic
        self._tenant = tenant
        self._tag = bytes([topic.message.fields_by_name["events"].number << 3 | 2])
        self._events: dict[int, list[bytes]] = {}

    def add(self, event: Any) -> None:
        """Adds a pseudonymised event."""
        body = event.SerializeToString(deterministic=True)
        accepted = _TAG_BODY_HASH + body_hash(body) + _TAG_EVENT + _varint(len(body)) + body
        partition = partition_of(self._topic, self._tenant.tenant_id, event)
        self._events.setdefault(partition, []).append(self._tag + _varint(len(accepted)) + accepted)

    def envelopes(self) -> Iterator[Envelope]:
        """One envelope per partition that got events. Call once, when all are added."""
        head = self._topic.message_class()
        head.tenant_id = self._tenant.tenant_id  # type: ignore[attr-defined]
        head.data_class = self._tenant.data_class  # type: ignore[attr-defined]
        head.received_at.GetCurrentTime()  # type: ignore[attr-defined]
        head_bytes = head.SerializeToString()
        key = self._tenant.tenant_id.encode()
        for partition, events in self._events.items():
            yield Envelope(partition, key, head_bytes + b"".join(events))


def body_hash(body: bytes) -> bytes:
    """Eight bytes that tell two bodies of one event_id apart."""
    return hashlib.blake2b(body, digest_size=8).digest()


def partition_of(topic: Topic, tenant_id: str, event: Any) -> int:
    """CRC-32 of tenant and reference: the same in every gateway and every version."""
    _, field = topic.partitioned_by
    return zlib.crc32(f"{tenant_id}\0{getattr(event, field)}".encode()) % topic.partitions


def _varint(number: int) -> bytes:
    """Protobuf's length prefix: seven bits a byte, lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
