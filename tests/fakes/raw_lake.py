"""A landing by hand: puts events into the raw tables through the real decoder, without Kafka.

For tests of everything right of the raw tables. It makes no partner's event and checks nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa
import xxhash
from circles.common.v1 import common_pb2
from circles.failures.v1 import failed_event_pb2
from circles.failures.v1.failed_event_pb2 import FailedEvent
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.kafka.topics import Topic, topics
from services.landing.decode import Record, decode
from services.landing.raw_tables import ensure_raw_tables
from services.landing.writing import Landing

BATCH = 500


class RawLake:
    """Raw tables under test. Each call of `land` is one landing."""

    def __init__(self, lake: duckdb.DuckDBPyConnection) -> None:
        self.lake = lake
        ensure_raw_tables(lake)
        rows = lake.execute("SELECT coalesce(max(landed_seq), 0) FROM raw.landed_offsets").fetchall()
        self.landed_seq = int(rows[0][0])

    def land(
        self,
        raw_table: str,
        events: Sequence[Message],
        *,
        tenant: str,
        data_class: common_pb2.DataClass.ValueType,
        received_at: datetime | None = None,
    ) -> int:
        """Lands events in envelopes of at most 500. Returns the number of the landing."""
        topic = _topic_of(raw_table)
        self.landed_seq += 1
        first = self.landed_seq * 100_000
        envelopes = [
            envelope(topic, events[i : i + BATCH], tenant, data_class, received_at)
            for i in range(0, len(events), BATCH)
        ]
        records = [
            Record(0, first + i, tenant.encode(), each.SerializeToString())
            for i, each in enumerate(envelopes)
        ]
        decoded = decode(topic, records)
        assert not decoded.unusable
        self.insert(raw_table, decoded.rows)
        return self.landed_seq

    def land_failures(self, failures: Sequence[FailedEvent]) -> int:
        """Lands what stages have set aside. Returns the number of the landing."""
        self.landed_seq += 1
        records = [Record(0, i, None, each.SerializeToString()) for i, each in enumerate(failures)]
        rows = decode(_topic_of("failed_events"), records).rows
        self.insert("failed_events", rows.drop_columns(["quarantined_bytes"]))
        return self.landed_seq

    def insert(self, raw_table: str, rows: pa.Table) -> None:
        """Inserts rows as they are, as part of the current landing."""
        topic = _topic_of(raw_table)
        for name, value in (("topic", topic.name), ("topic_id", "test-topic")):
            if name not in rows.column_names:
                rows = rows.append_column(name, pa.array([value] * rows.num_rows))
        rows = Landing(self.landed_seq, datetime.now(UTC)).mark(raw_table, rows)
        self.lake.register("test_rows", rows)
        self.lake.execute(f"INSERT INTO raw.{raw_table} BY NAME SELECT * FROM test_rows")
        self.lake.unregister("test_rows")
        self.lake.execute(
            "INSERT INTO raw.landed_offsets VALUES (?, 'test-topic', 0, ?, ?, now())",
            [topic.name, (self.landed_seq + 1) * 100_000, self.landed_seq],
        )


def envelope(
    topic: Topic,
    events: Sequence[Message],
    tenant: str,
    data_class: common_pb2.DataClass.ValueType,
    received_at: datetime | None,
) -> Message:
    """What the gateway would have written to Kafka."""
    made: Any = topic.message_class(tenant_id=tenant, data_class=data_class)
    made.received_at.CopyFrom(timestamp(received_at or datetime.now(UTC)))
    oldest = made.received_at.seconds - int(topic.config["retention.ms"]) // 1000
    for event in events:
        is_late = event.occurred_at.seconds < oldest  # type: ignore[attr-defined]
        made.events.add(body_hash=body_hash(event), event=event, is_late=is_late)
    return made  # type: ignore[no-any-return]


def deferred(
    raw_table: str, event: Any, tenant: str, data_class: common_pb2.DataClass.ValueType
) -> FailedEvent:
    """What the gateway would have written to Kafka of an event whose instrument it does not know."""
    made = FailedEvent(
        stage=failed_event_pb2.FAILURE_STAGE_INGESTION,
        reason=failed_event_pb2.FAILURE_REASON_DEFERRED,
        detail="the instrument is not known yet",
        topic=_topic_of(raw_table).name,
        tenant_id=tenant,
        event_id=event.event_id,
        event_bytes=event.SerializeToString(),
        body_hash=body_hash(event),
        data_class=data_class,
    )
    made.failed_at.GetCurrentTime()
    made.received_at.CopyFrom(made.failed_at)
    return made


def body_hash(event: Message) -> int:
    """XXH64 as the signed number that the contract has."""
    digest = xxhash.xxh64_intdigest(event.SerializeToString(deterministic=True))
    return digest - 2**64 if digest >= 2**63 else digest


def timestamp(moment: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made


@cache
def _topic_of(raw_table: str) -> Topic:
    return next(each for each in topics().values() if each.raw_table == raw_table)
