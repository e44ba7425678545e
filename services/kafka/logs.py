"""What Kafka has of a topic now: its id, and of each partition the first offset and the end.

What a missing topic or a moved offset means is the reader's to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient


class Log(NamedTuple):
    """One partition. `end_offset` is the offset of the next record to come."""

    topic_id: str
    first_offset: int
    end_offset: int


Logs = Mapping[tuple[str, int], Log]
"""By topic and partition; without those that Kafka does not have."""


def present_topics(client: KafkaAdminClient, names: Iterable[str]) -> dict[str, str]:
    """Id of each topic that exists."""
    return {name: each["topic_id"] for name, each in _described(client, names).items()}


def logs(client: KafkaAdminClient, reader: KafkaConsumer, names: Iterable[str]) -> Logs:
    """The logs of the topics that exist. Raises KafkaError."""
    names = list(names)
    while True:
        described = _described(client, names)
        partitions = [
            TopicPartition(name, part["partition_index"])
            for name, each in described.items()
            for part in each["partitions"]
        ]
        first, end = reader.beginning_offsets(partitions), reader.end_offsets(partitions)
        # An id never comes back: the same before and after, it was the same meanwhile.
        if present_topics(client, names) == {name: each["topic_id"] for name, each in described.items()}:
            return {
                (place.topic, place.partition): Log(
                    described[place.topic]["topic_id"], first[place], end[place]
                )
                for place in partitions
            }


def _described(client: KafkaAdminClient, names: Iterable[str]) -> dict[str, Any]:
    found = client.describe_topics(list(names))
    return {each["name"]: each | {"topic_id": str(each["topic_id"])} for each in found if each["topic_id"]}
