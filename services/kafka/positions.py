"""Who reads which topic, and how far: the workers by their consumer groups, landing by the lake.

Why one stays behind is not told here: heartbeats and `services.landing` say so.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import duckdb

from services.kafka.client import admin, end_offsets
from services.kafka.logs import present_topics
from services.kafka.topics import Topic, topics
from services.runtime.settings import KafkaSettings

Place = tuple[str, int]
"""Topic and partition."""

Offsets = Mapping[Place, int]

LANDING = "services/landing"
_CONSUMER_GROUPS = {f"services/{name}": name for name in ("engagement", "live", "safeguarding")}
"""Consumers whose position is in Kafka. Landing's is in the lake."""

_PATIENCE_MS = 3000
"""Who asks about what is down must not wait for it."""


class Stand(NamedTuple):
    """How far the lake is with a partition. `landed_at` is None when none of its records ever landed."""

    topic_id: str
    next_offset: int
    landed_at: datetime | None


Stands = Mapping[Place, Stand]


@dataclass(frozen=True)
class Ends:
    """What Kafka knows: where partitions end, where consumer groups are, and the ids of topics."""

    ends: Offsets
    groups: Mapping[str, Offsets]
    ids: Mapping[str, str]


class Reading(NamedTuple):
    """A topic and one of those that read it. `lag` is how many of its messages wait for them."""

    topic: str
    messages: int
    consumer: str
    lag: int


def readings(kafka: Ends, stands: Stands) -> Iterator[Reading]:
    """Of each topic and consumer. What a service keeps for itself, as its state, has no lag."""
    positions = {LANDING: landed(stands, kafka.ids), **kafka.groups}
    for topic in topics().values():
        places = [(topic.name, number) for number in range(topic.partitions)]
        messages = sum(kafka.ends.get(each, 0) for each in places)
        for consumer in outside_consumers(topic):
            if consumer in positions:
                waiting = lag(places, kafka.ends, positions[consumer])
                yield Reading(topic.name, messages, consumer.rpartition("/")[2], waiting)


def outside_consumers(topic: Topic) -> list[str]:
    """Those that read what others write."""
    return [each for each in topic.consumers if each not in topic.producers]


def lag(places: list[Place], ends: Offsets, position: Offsets) -> int:
    """Messages that `position` has not reached. A partition never read counts whole."""
    return sum(max(0, ends.get(each, 0) - position.get(each, 0)) for each in places)


def landed(stands: Stands, ids: Mapping[str, str]) -> Offsets:
    """Of a topic that was made anew nothing has landed, whatever has of the earlier one."""
    return {
        place: stand.next_offset for place, stand in stands.items() if stand.topic_id == ids.get(place[0])
    }


def read_ends(settings: KafkaSettings) -> Ends:
    """Raises OSError or KafkaUnavailable, after seconds."""
    connect(settings.bootstrap.split(",")[0])
    ends = end_offsets(settings, topics().values(), bootstrap_timeout_ms=_PATIENCE_MS)
    with closing(admin(settings, bootstrap_timeout_ms=_PATIENCE_MS)) as client:
        groups = {name: _committed(client, group) for name, group in _CONSUMER_GROUPS.items()}
        return Ends(ends, groups, present_topics(client, topics()))


def connect(server: str) -> None:
    """Raises OSError at once where nothing listens; kafka-python would go on trying."""
    host, _, port = server.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_MS / 1000).close()


def _committed(client: Any, group: str) -> Offsets:
    try:
        offsets = client.list_group_offsets(group)
    except Exception:  # kafka-python has several kinds for a group that never was
        return {}
    offsets = offsets.get(group, offsets)
    return {(each.topic, each.partition): value.offset for each, value in offsets.items()}


def read_stands(lake: duckdb.DuckDBPyConnection) -> dict[Place, Stand]:
    """How far the lake is: the newest commit of each partition, or the gap that was accepted after it.

    Raises duckdb.CatalogException before landing's first start.
    """
    rows = lake.execute(
        """
        SELECT topic, kafka_partition, arg_max(topic_id, row(landed_seq, is_gap, moment)),
               arg_max(next_offset, row(landed_seq, is_gap, moment)), max(moment) FILTER (NOT is_gap)
        FROM (
          SELECT topic, kafka_partition, topic_id, next_offset, landed_seq,
                 false AS is_gap, landed_at AS moment
          FROM raw.landed_offsets
          UNION ALL
          SELECT topic, kafka_partition, next_topic_id, next_offset, landed_seq, true, accepted_at
          FROM raw.landing_gaps
        )
        GROUP BY topic, kafka_partition
        """
    ).fetchall()
    return {(topic, partition): Stand(*rest) for topic, partition, *rest in rows}
