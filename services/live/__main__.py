"""The live process: `python -m services.live`. Commits to Kafka what PostgreSQL has; a repeat is harmless."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

import psycopg2
from circles.engagement.v1.group_engagement_pb2 import GroupEngagement
from circles.failures.v1 import failed_event_pb2
from google.protobuf.message import DecodeError
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from services.kafka.client import KafkaUnavailable, admin, consumer, producer, topic_ids
from services.kafka.topics import topic
from services.live.tenants import Tenants
from services.live.view import write, write_tenants
from services.runtime.failures import foreign_record
from services.runtime.heartbeat import beat
from services.runtime.logs import configure_logging
from services.runtime.postgres import PostgresUnavailable, connect
from services.runtime.sessions import run_sessions
from services.runtime.settings import KafkaSettings, PostgresSettings, QuarantineSettings

SERVICE = "live"
METRICS = "engagement-metrics"
CONTRIBUTIONS = "engagement-contributions"
FAILED = "failed-events"
PASSING = (KafkaUnavailable, PostgresUnavailable, KafkaError, psycopg2.Error)


def main() -> int:
    configure_logging(SERVICE)
    run_sessions(SERVICE, _session, PASSING)
    return 0


def _session(stop: threading.Event) -> None:
    kafka, postgres = KafkaSettings.load(), PostgresSettings.load()
    with contextlib.ExitStack() as stack:
        connection = connect(postgres, postgres.database_published, autocommit=False)
        stack.enter_context(contextlib.closing(connection))
        # Assigned, not subscribed: after kill -9 a group would wait for the dead member to expire. Two
        # live processes write the same figures, which is harmless.
        groups = stack.enter_context(contextlib.closing(_reader(kafka, METRICS)))
        # A tenant's figures need the contributions of all partitions, so these are read whole at each start.
        tenants = stack.enter_context(contextlib.closing(_reader(kafka, CONTRIBUTIONS)))
        tenants.seek_to_beginning()
        merged, count_written = Tenants(), 0
        merged.take(_until_end(tenants, stop))
        while not stop.is_set():
            records = _polled(groups, 500)
            figures, unreadable = _readable(records)
            if unreadable:
                _set_aside(kafka, unreadable)
            if records:
                count_written += write(connection, figures)
                groups.commit()
            merged.take(_polled(tenants, 0))
            changed = merged.changed()
            if changed:
                write_tenants(connection, changed)
                tenants.commit()  # for who looks at lags; the next start begins anew
            beat(SERVICE, "ready", {"written_figures": count_written, "lag_records": _lag(groups)})


def _reader(kafka: KafkaSettings, name: str) -> KafkaConsumer:
    reader = consumer(kafka, group_id=SERVICE, auto_offset_reset="earliest", enable_auto_commit=False)
    reader.assign([TopicPartition(name, number) for number in range(topic(name).partitions)])
    return reader


def _polled(reader: KafkaConsumer, milliseconds: int) -> list[Any]:
    found = reader.poll(timeout_ms=milliseconds, max_records=5000)
    return [each for records in found.values() for each in records]


def _until_end(reader: KafkaConsumer, stop: threading.Event) -> Iterator[Any]:
    """All that is on the topic now."""
    ends = reader.end_offsets(list(reader.assignment()))
    while not stop.is_set() and any(reader.position(place) < end for place, end in ends.items()):
        yield from _polled(reader, 500)
        beat(SERVICE, "starting")


def _readable(records: list[Any]) -> tuple[list[GroupEngagement], list[Any]]:
    figures, unreadable = [], []
    for record in records:
        try:
            figure = GroupEngagement.FromString(record.value or b"")
        except DecodeError:
            figure = GroupEngagement()
        if figure.group_id and figure.topic_id and figure.HasField("as_of"):
            figures.append(figure)
        else:
            unreadable.append(record)
    return figures, unreadable


def _set_aside(kafka: KafkaSettings, records: list[Any]) -> None:
    """Rare, so a producer is made for the occasion. Returns when Kafka has them."""
    client = admin(kafka)
    with contextlib.closing(client), contextlib.closing(producer(kafka)) as sink:
        topic_id = topic_ids(client, [METRICS])[METRICS]
        for record in records:
            failed = foreign_record(
                stage=failed_event_pb2.FAILURE_STAGE_LIVE,
                reason=failed_event_pb2.FAILURE_REASON_UNREADABLE,
                detail="not a GroupEngagement",
                position=(METRICS, topic_id, record.partition, record.offset),
                value=record.value,
                quarantine_key=QuarantineSettings.load().key_file,
            )
            sink.send(FAILED, failed.SerializeToString()).get(timeout=30)


def _lag(reader: KafkaConsumer) -> int:
    return sum(
        max(0, (reader.highwater(place) or 0) - reader.position(place)) for place in reader.assignment()
    )


if __name__ == "__main__":
    sys.exit(main())
