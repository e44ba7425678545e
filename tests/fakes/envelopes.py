"""Envelopes for tests that need the gateway's bytes without the gateway."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from circles.common.v1 import common_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.ingestion.envelopes import Envelope, body_hash, entry_bytes, envelopes, partition_of
from services.kafka.topics import Topic


def envelopes_of(topic: Topic, tenant_id: str, events: Iterable[Any]) -> list[Envelope]:
    """One envelope per partition, of class live, received now. The events are taken as pseudonymised."""
    received_at = Timestamp()
    received_at.GetCurrentTime()
    by_partition: dict[int, list[tuple[int, bytes]]] = {}
    for event in events:
        body = event.SerializeToString()
        partition = partition_of(topic, tenant_id, getattr(event, topic.partitioned_by[1]))
        entry = entry_bytes(topic.name, body, body_hash(body))
        by_partition.setdefault(partition, []).append((1, entry))
    return list(envelopes(topic, tenant_id, common_pb2.DATA_CLASS_LIVE, received_at, by_partition))
