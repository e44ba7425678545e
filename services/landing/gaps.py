"""Where landing goes on, partition by partition, and where it cannot because records are gone: gaps.

A gap keeps its partition waiting until an operator accepts it, which is a row of `raw.landing_gaps`.
Nothing here reads or writes records; the words for people are in `alarms`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

import duckdb

from services.kafka.logs import Log, Logs
from services.kafka.positions import Place, Stand
from services.kafka.topics import Topic


class Cause(StrEnum):
    EXPIRED = "expired"
    """Kafka deleted records that had not landed."""
    CUT = "cut"
    """The log ends before what has landed; its offsets will be used again."""
    RECREATED = "recreated"
    """Another topic has the name now; how many records of the earlier one had not landed is not known."""


class Gap(NamedTuple):
    """Records that no landing can get any more: of `topic_id`, from `first_missing_offset` on.

    Landing would go on at `next_offset` of `next_topic_id`. `since` is when the partition last landed.
    """

    topic: str
    partition: int
    topic_id: str
    first_missing_offset: int
    next_topic_id: str
    next_offset: int
    since: datetime | None

    @property
    def cause(self) -> Cause:
        if self.topic_id != self.next_topic_id:
            return Cause.RECREATED
        return Cause.EXPIRED if self.next_offset > self.first_missing_offset else Cause.CUT

    @property
    def count_missing(self) -> int | None:
        """How many records; None when nobody knows."""
        if self.cause is Cause.EXPIRED:
            return self.next_offset - self.first_missing_offset
        return None


@dataclass(frozen=True)
class Plan:
    """What a session reads, from where, and what waits."""

    starts: Mapping[Place, int]
    gaps: tuple[Gap, ...]
    absent: tuple[Place, ...]
    """Partitions that Kafka does not have."""
    topic_ids: Mapping[str, str]

    @property
    def is_whole(self) -> bool:
        return not self.gaps and not self.absent


def plan(topics: Iterable[Topic], stands: Mapping[Place, Stand], logs: Logs) -> Plan:
    """Compares where the lake stands with what Kafka has."""
    starts: dict[Place, int] = {}
    gaps: list[Gap] = []
    absent: list[Place] = []
    for topic in topics:
        for place in ((topic.name, number) for number in range(topic.partitions)):
            log = logs.get(place)
            if log is None:
                absent.append(place)
                continue
            stand = stands.get(place) or _untouched(place, stands, log)
            if stand.topic_id == log.topic_id and log.first_offset <= stand.next_offset <= log.end_offset:
                starts[place] = stand.next_offset
            else:
                gaps.append(_gap(place, stand, log))
    return Plan(starts, tuple(gaps), tuple(absent), {name: log.topic_id for (name, _), log in logs.items()})


def _untouched(place: Place, stands: Mapping[Place, Stand], log: Log) -> Stand:
    """Nothing of the partition ever landed: it is due from offset 0 of the topic that landing knows."""
    known = {each.topic_id for (name, _), each in stands.items() if name == place[0]}
    topic_id = log.topic_id if not known or log.topic_id in known else min(known)
    return Stand(topic_id, 0, None)


def _gap(place: Place, stand: Stand, log: Log) -> Gap:
    is_same = stand.topic_id == log.topic_id
    next_offset = (
        min(log.end_offset, max(log.first_offset, stand.next_offset)) if is_same else log.first_offset
    )
    return Gap(*place, stand.topic_id, stand.next_offset, log.topic_id, next_offset, stand.landed_at)


def accept(lake: duckdb.DuckDBPyConnection, gaps: Iterable[Gap]) -> None:
    """Records that the records of `gaps` are lost; landing goes on after them by itself.

    `landed_seq` says after which landing: commits of the partition from then on count instead of the gap.
    """
    now = datetime.now(UTC)
    lake.begin()
    for each in gaps:
        lake.execute(
            """
            INSERT INTO raw.landing_gaps
              (topic, kafka_partition, topic_id, first_missing_offset, next_topic_id, next_offset,
               last_landed_at, landed_seq, accepted_at)
            SELECT ?, ?, ?, ?, ?, ?, ?, coalesce(max(landed_seq), 0), ? FROM raw.landed_offsets
            """,
            [*each, now],
        )
    lake.commit()
