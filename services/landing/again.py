"""Landing again what Kafka still has of what has landed: the same rows, decoded by the code of today.

A row is replaced by the row of its record and keeps the number and the time of its landing, so that verdicts
on slices hold. Nothing else changes. A row whose record is gone from Kafka stays as it is. What is not in the
raw table any more, because it was erased or is past its retention, does not come back. A record that landing
had set aside and that can be read today lands under a new number, and gets a verdict of its own.
"""

# ruff: noqa: S608  # names of tables and columns come from the contract

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import pyarrow as pa
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import OffsetOutOfRangeError

from services.kafka.logs import Logs, logs
from services.kafka.positions import Place, Stand, read_stands
from services.kafka.topics import Topic
from services.landing.decode import Record, decode
from services.landing.fence import Fence
from services.landing.pause import paused
from services.landing.raw_tables import LANDED_ON, NEVER_LANDED
from services.runtime.lake import open_lake
from services.runtime.settings import LakeSettings, PostgresSettings

ATTEMPTS = 5
PAUSE_SECONDS = 1.0
POLL_MILLISECONDS = 500

PLACE = ("topic_id", "kafka_partition", "kafka_offset", "event_index")
"""Which event of a topic a row is."""

TOLD = ("failed_at", "stage", "reason", "topic", "topic_id", "kafka_partition", "kafka_offset", "tenant_id",
        "event_id", "body_hash")  # fmt: skip
"""Which message a row of failed events is: it does not say where it stood on its own topic, and a stage that
is restarted tells of the same record at another time."""


@dataclass(frozen=True)
class Part:
    """What Kafka still has of what has landed of a partition: offsets `first` to before `end`."""

    partition: int
    first: int
    end: int


@dataclass(frozen=True)
class Source:
    """A topic as it is now, and the parts of it that can be landed again."""

    topic: Topic
    topic_id: str
    parts: tuple[Part, ...]

    @property
    def count_records(self) -> int:
        return sum(each.end - each.first for each in self.parts)

    @property
    def raw_table(self) -> str:
        return str(self.topic.raw_table)


@dataclass(frozen=True)
class Again:
    """What became of a raw table."""

    raw_table: str
    count_records: int
    count_again: int
    """Rows that were made again from their record."""
    count_kept: int
    """Rows that stay as they were: Kafka has their records no more, or they cannot be read any more."""
    count_left_out: int
    """Events that Kafka has and the raw table had not: erased, or past their retention. They stay out."""
    count_new: int
    """Events of records that had been set aside and can be read now."""
    seconds: float


class RecordsGone(Exception):
    """Kafka deleted records while they were read; nothing was changed."""


def sources(
    lake: duckdb.DuckDBPyConnection, client: KafkaAdminClient, reader: KafkaConsumer, topics: Iterable[Topic]
) -> list[Source]:
    """What can be landed again of each topic that Kafka has. Raises KafkaError, duckdb.CatalogException."""
    topics = list(topics)
    there, stands = logs(client, reader, [each.name for each in topics]), read_stands(lake)
    ids = {name: log.topic_id for (name, _), log in there.items()}
    return [
        Source(each, ids[each.name], tuple(_parts(each, stands, there)))
        for each in topics
        if each.name in ids
    ]


def _parts(topic: Topic, stands: Mapping[Place, Stand], there: Logs) -> Iterator[Part]:
    for (name, partition), log in sorted(there.items()):
        stand = stands.get((name, partition))
        # Of a topic that was made anew nothing has landed: its first record is landing's to take.
        if name == topic.name and stand is not None and stand.topic_id == log.topic_id:
            end = min(stand.next_offset, log.end_offset)
            if log.first_offset < end:
                yield Part(partition, log.first_offset, end)


def land_again(
    lake: LakeSettings,
    postgres: PostgresSettings,
    reader: KafkaConsumer,
    source: Source,
    on_progress: Callable[[int], None] = lambda count: None,
) -> Again:
    """Reads the source's records, then puts their rows in the place of the earlier ones, in one commit.

    A reader of the lake sees the rows of before or those of after. `on_progress` is told how many records
    were read. Raises KafkaError, RecordsGone, CannotPause, duckdb.Error, and Fenced when another landing has
    taken over all the same.
    """
    started = time.monotonic()
    with closing(open_lake(lake, postgres)) as connection:
        _read(connection, reader, source, on_progress)
        with paused(postgres):
            fence = Fence(connection)
            fence.take()
            counts = _despite_conflicts(connection, fence, source)
    return Again(source.raw_table, source.count_records, *counts, time.monotonic() - started)


def _read(
    lake: duckdb.DuckDBPyConnection, reader: KafkaConsumer, source: Source, on_progress: Callable[[int], None]
) -> None:
    """Fills the temporary table `again` with the rows of the records."""
    ends = {TopicPartition(source.topic.name, each.partition): each.end for each in source.parts}
    _append(lake, _rows(source, []))
    reader.assign(list(ends))
    for each in source.parts:
        reader.seek(TopicPartition(source.topic.name, each.partition), each.first)
    count = 0
    while any(reader.position(place) < end for place, end in ends.items()):
        try:
            polled = reader.poll(timeout_ms=POLL_MILLISECONDS)
        except OffsetOutOfRangeError as error:
            raise RecordsGone(f"Kafka has just deleted records of {source.topic.name}") from error
        records = [
            Record(place.partition, each.offset, each.key, each.value)
            for place, found in polled.items()
            for each in found
            if each.offset < ends[place]
        ]
        if records:
            _append(lake, _rows(source, records))
            count += len(records)
            on_progress(count)


def _rows(source: Source, records: list[Record]) -> pa.Table:
    rows = decode(source.topic, records).rows
    rows = rows.drop_columns([name for name in rows.column_names if name in NEVER_LANDED])
    for name, value in (("topic", source.topic.name), ("topic_id", source.topic_id)):
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.array([value] * rows.num_rows, pa.string()))
    return rows


def _append(lake: duckdb.DuckDBPyConnection, rows: pa.Table) -> None:
    lake.register("read_rows", rows)
    lake.execute("CREATE TEMP TABLE IF NOT EXISTS again AS SELECT * FROM read_rows LIMIT 0")
    lake.execute("INSERT INTO again BY NAME SELECT * FROM read_rows")
    lake.unregister("read_rows")


def _despite_conflicts(
    lake: duckdb.DuckDBPyConnection, fence: Fence, source: Source
) -> tuple[int, int, int, int]:
    """Landing stands still; maintenance and erasure do not."""
    for attempt in range(ATTEMPTS):
        try:
            return _swap(lake, fence, source)
        except duckdb.TransactionException:
            if attempt + 1 == ATTEMPTS:
                raise
            time.sleep(PAUSE_SECONDS * 2**attempt)
    raise AssertionError


def _swap(lake: duckdb.DuckDBPyConnection, fence: Fence, source: Source) -> tuple[int, int, int, int]:
    lake.begin()
    try:
        fence.pass_through()
        counts = _replace(lake, source)
        lake.commit()
    except BaseException:
        with contextlib.suppress(duckdb.Error):  # a commit that failed has rolled back already
            lake.rollback()
        raise
    fence.passed()
    return counts


def _replace(lake: duckdb.DuckDBPyConnection, source: Source) -> tuple[int, int, int, int]:
    """Counts of rows: made again, kept, left out, new."""
    table, key = source.raw_table, PLACE if source.topic.is_event_topic else TOLD
    same = " AND ".join(f"old.{name} IS NOT DISTINCT FROM again.{name}" for name in key)
    made = {row[0] for row in lake.execute("SELECT column_name FROM (DESCRIBE again)").fetchall()}
    all_columns = [
        row[0] for row in lake.execute(f"SELECT column_name FROM (DESCRIBE raw.{table})").fetchall()
    ]
    # What the contract does not have any more, a row keeps.
    carried = ", ".join(f"old.{name}" for name in all_columns if name not in made)
    before = _count(lake, f"SELECT count(*) FROM raw.{table}")
    lake.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE replaced AS
        SELECT again.*, {carried}, old.rowid AS old_row FROM again JOIN raw.{table} AS old ON {same}
        -- A log that was cut uses its offsets again: Kafka has the record that landed last.
        QUALIFY row_number() OVER (PARTITION BY {", ".join(f"again.{name}" for name in key)}
                                   ORDER BY old.landed_seq DESC) = 1
        """
    )
    lake.execute(f"DELETE FROM raw.{table} WHERE rowid IN (SELECT old_row FROM replaced)")
    lake.execute(f"INSERT INTO raw.{table} BY NAME SELECT * EXCLUDE (old_row) FROM replaced")
    count_again = _count(lake, "SELECT count(*) FROM replaced")
    count_new = _land_what_was_set_aside(lake, source) if source.topic.is_event_topic else 0
    left_out = _count(lake, "SELECT count(*) FROM again") - count_again - count_new
    return count_again, before - count_again, left_out, count_new


def _land_what_was_set_aside(lake: duckdb.DuckDBPyConnection, source: Source) -> int:
    """Records that can be read now leave the failed events and land, under a number of their own."""
    table, where = source.raw_table, [source.topic.name, source.topic_id]
    lake.execute(
        """
        CREATE OR REPLACE TEMP TABLE readable AS
        SELECT again.* FROM again SEMI JOIN raw.failed_events AS aside
          ON aside.stage = 'landing' AND aside.topic = ? AND aside.topic_id = ?
          AND aside.kafka_partition = again.kafka_partition AND aside.kafka_offset = again.kafka_offset
        ANTI JOIN replaced
          ON replaced.kafka_partition = again.kafka_partition AND replaced.kafka_offset = again.kafka_offset
        """,
        where,
    )
    count = _count(lake, "SELECT count(*) FROM readable")
    if not count:
        return 0
    lake.execute(
        """
        DELETE FROM raw.failed_events WHERE stage = 'landing' AND topic = ? AND topic_id = ?
          AND (kafka_partition, kafka_offset) IN (SELECT (kafka_partition, kafka_offset) FROM readable)
        """,
        where,
    )
    number, now = _count(lake, "SELECT max(landed_seq) + 1 FROM raw.landed_offsets"), datetime.now(UTC)
    lake.execute(
        f"INSERT INTO raw.{table} BY NAME "
        f"SELECT *, ? AS landed_seq, ? AS landed_at, ? AS {LANDED_ON} FROM readable",
        [number, now, now.date()],
    )
    # The partitions stand where they stood; the number is used up.
    lake.executemany(
        "INSERT INTO raw.landed_offsets "
        "(topic, kafka_partition, topic_id, next_offset, landed_seq, landed_at) VALUES (?, ?, ?, ?, ?, ?)",
        [
            [*place, stand.topic_id, stand.next_offset, number, now]
            for place, stand in read_stands(lake).items()
            if place[0] == source.topic.name
        ],
    )
    return count


def expected(lake: duckdb.DuckDBPyConnection, source: Source) -> tuple[int, int]:
    """Rows that would be made again, and rows that would stay, as far as counting without reading tells."""
    total = _count(lake, f"SELECT count(*) FROM raw.{source.raw_table}")
    if not source.topic.is_event_topic:
        return min(total, source.count_records), max(0, total - source.count_records)
    here = " OR ".join(
        f"(kafka_partition = {each.partition} AND kafka_offset BETWEEN {each.first} AND {each.end - 1})"
        for each in source.parts
    )
    again = _count(
        lake,
        f"SELECT count(*) FROM raw.{source.raw_table} WHERE topic_id = ? AND ({here or 'false'})",
        source.topic_id,
    )
    return again, total - again


def _count(lake: duckdb.DuckDBPyConnection, statement: str, *values: object) -> int:
    return int(lake.execute(statement, list(values)).fetchall()[0][0] or 0)
