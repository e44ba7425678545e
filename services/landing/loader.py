"""One landing session: reads the landed topics from where the lake stands and commits rows with offsets.

A session ends with an exception when Kafka or the lake fails, and by itself when what it was planned on has
changed: a topic's id, an offset that is gone, a gap that was accepted. The next one starts from the lake's
offsets, so a batch is landed once however often it is tried. Decoding is `decode`'s, where to go on `gaps`'.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa
from circles.failures.v1 import failed_event_pb2
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import LogTruncationError, OffsetOutOfRangeError

from services.kafka.logs import logs, present_topics
from services.kafka.positions import read_stands
from services.kafka.topics import Topic, landed_topics, topic
from services.landing.aside import Aside
from services.landing.decode import Record, Unusable, decode
from services.landing.fence import Fence, Fenced
from services.landing.gaps import Plan, plan
from services.landing.raw_tables import NEVER_LANDED
from services.landing.writing import Landing, Writer
from services.runtime.failures import foreign_record
from services.runtime.settings import LandingSettings, QuarantineSettings

log = logging.getLogger(__name__)

FAILED_EVENTS = "failed-events"
CONFLICT_PAUSE_SECONDS = 0.2
CONFLICT_RETRIES = 50
POLL_MILLISECONDS = 200
RECHECK_SECONDS = 5.0
"""How often a session with a part that waits looks whether it may go on."""


@dataclass
class Batch:
    """What one commit writes: rows per raw table, and the next offset per partition."""

    rows: defaultdict[str, list[pa.Table]]
    next_offsets: dict[TopicPartition, int]
    due_at: float
    """On the monotonic clock; it is committed earlier when it has enough rows."""
    count_rows: int = 0


class _Outdated(Exception):
    """What this session was planned on has changed."""

    def __init__(self, why: str) -> None:
        log.info("planning anew: %s", why)


class Loader:
    """Reads through `consumer`, which must not reset offsets by itself, and writes through `lake`.

    Several may live at once: a commit succeeds only for the one that took the lake over last.
    """

    def __init__(
        self,
        consumer: KafkaConsumer,
        client: KafkaAdminClient,
        lake: duckdb.DuckDBPyConnection,
        settings: LandingSettings,
        quarantine: QuarantineSettings,
        *,
        topics: Iterable[Topic] | None = None,
    ) -> None:
        self.consumer = consumer
        self.client = client
        self.lake = lake
        self.settings = settings
        self.quarantine = quarantine
        self.topics = {each.name: each for each in topics or landed_topics()}
        self.fence = Fence(lake)
        self._writer = Writer(lake)
        self.plan = Plan({}, (), (), {})
        self.planned_at = 0.0
        self.landed_seq = 0
        self.count_landed = 0

    def start(self) -> None:
        """Takes the lake over, then every partition that can go on from where the lake stands."""
        self.fence.take()
        self.landed_seq = self._newest_landed_seq()
        self.plan = self._plan()
        starts = {TopicPartition(*place): offset for place, offset in self.plan.starts.items()}
        self.consumer.assign(list(starts))
        for partition, offset in starts.items():
            self.consumer.seek(partition, offset)

    def run(self, should_stop: Callable[[], bool], on_turn: Callable[[Loader], None]) -> None:
        """Lands until `should_stop`, or until there is something to plan anew. Raises Fenced.

        While a batch is committed, the next one is read, and grows; what was read and not committed at the
        end is read again next time. `on_turn` is called after each commit, and when there was nothing to
        commit; it may use the lake.
        """
        with Aside() as commit, contextlib.suppress(_Outdated):
            batch = self._new_batch()
            while not should_stop():
                self._read_into(batch)
                if commit.is_running() and not self._is_full(batch):
                    continue
                if commit.finish():
                    self._turn(on_turn)
                if not self._is_due(batch) or should_stop():
                    continue
                self._check_topics()
                if batch.next_offsets:
                    commit.start(partial(self._commit_despite_conflicts, batch))
                else:
                    self._turn(on_turn)
                batch = self._new_batch()

    def _turn(self, on_turn: Callable[[Loader], None]) -> None:
        on_turn(self)
        if self._may_go_on():
            raise _Outdated("what waited may go on")
        if self.fence.is_worn:
            raise _Outdated("the fence is worn")

    def _check_topics(self) -> None:
        # An id never comes back. What it is after reading, it was while we read.
        if present_topics(self.client, self.topics) != self.plan.topic_ids:
            raise _Outdated("a topic was deleted or made")

    def _newest_landed_seq(self) -> int:
        rows = self.lake.execute("SELECT coalesce(max(landed_seq), 0) FROM raw.landed_offsets").fetchall()
        return int(rows[0][0])

    def _plan(self) -> Plan:
        self.planned_at = time.monotonic()
        there = logs(self.client, self.consumer, self.topics)
        return plan(self.topics.values(), read_stands(self.lake), there)

    def _may_go_on(self) -> bool:
        """Whether something that waits need not wait any more, or waits for something else."""
        if self.plan.is_whole or time.monotonic() - self.planned_at < RECHECK_SECONDS:
            return False
        found = self._plan()
        return (found.gaps, found.absent) != (self.plan.gaps, self.plan.absent)

    def lag(self) -> int:
        """Records that are on the topics and not in the lake, as far as the last fetches told."""
        total = 0
        for partition in self.consumer.assignment():
            highwater = self.consumer.highwater(partition)
            if highwater is not None:
                total += max(0, highwater - self.consumer.position(partition))
        return total

    def _new_batch(self) -> Batch:
        return Batch(defaultdict(list), {}, time.monotonic() + self.settings.commit_seconds)

    def _is_due(self, batch: Batch) -> bool:
        return batch.count_rows >= self.settings.commit_rows or time.monotonic() >= batch.due_at

    def _is_full(self, batch: Batch) -> bool:
        """A batch grows for as long as the one before is committed, up to this."""
        return batch.count_rows >= 2 * self.settings.commit_rows

    def _read_into(self, batch: Batch) -> None:
        try:
            polled = self._poll()
        except (OffsetOutOfRangeError, LogTruncationError) as error:
            raise _Outdated(type(error).__name__) from error
        for name, records in _by_topic(polled).items():
            for raw_table, table in self._decode(self.topics[name], records):
                batch.rows[raw_table].append(table)
                batch.count_rows += table.num_rows
        for partition, found in polled.items():
            batch.next_offsets[partition] = found[-1].offset + 1

    def _poll(self) -> Mapping[TopicPartition, list[Any]]:
        if not self.plan.starts:  # everything waits, and kafka-python has nothing to ask for
            time.sleep(POLL_MILLISECONDS / 1000)
            return {}
        polled: Mapping[TopicPartition, list[Any]] = self.consumer.poll(
            timeout_ms=POLL_MILLISECONDS, max_records=1000
        )
        return polled

    def _decode(self, source: Topic, records: list[Record]) -> Iterable[tuple[str, pa.Table]]:
        decoded = decode(source, records)
        topic_id = self.plan.topic_ids[source.name]
        if decoded.rows.num_rows and source.raw_table is not None:
            yield source.raw_table, self._with_position(decoded.rows, source.name, topic_id)
        if decoded.unusable:
            log.warning("set aside %d records of %s", len(decoded.unusable), source.name)
            yield "failed_events", self._failures(source, topic_id, decoded.unusable)

    def _with_position(self, rows: pa.Table, name: str, topic_id: str) -> pa.Table:
        rows = rows.drop_columns([column for column in rows.column_names if column in NEVER_LANDED])
        for column, value in (("topic", name), ("topic_id", topic_id)):
            if column not in rows.column_names:
                rows = rows.append_column(column, pa.repeat(value, rows.num_rows))
        return rows

    def _failures(self, source: Topic, topic_id: str, unusable: list[Unusable]) -> pa.Table:
        messages = [
            foreign_record(
                stage=failed_event_pb2.FAILURE_STAGE_LANDING,
                reason=each.reason,
                detail=each.detail,
                position=(source.name, topic_id, each.record.partition, each.record.offset),
                value=each.record.value,
                quarantine_key=self.quarantine.key_file,
            )
            for each in unusable
        ]
        records = [Record(0, 0, None, message.SerializeToString()) for message in messages]
        return self._with_position(decode(topic(FAILED_EVENTS), records).rows, source.name, topic_id)

    def _commit_despite_conflicts(self, batch: Batch) -> None:
        """Erasure and landing on the same table conflict; the batch, offsets inside, is tried again.

        Not when the lake has moved: then another landing has committed, or we have, without being told.
        """
        for attempt in range(CONFLICT_RETRIES):
            try:
                self._commit(batch)
                return
            except duckdb.TransactionException as conflict:
                if not self.fence.is_held():
                    raise Fenced from conflict
                self._writer.discard()
                log.info("commit conflict, attempt %d", attempt + 1)
                time.sleep(CONFLICT_PAUSE_SECONDS)
        raise RuntimeError(f"{CONFLICT_RETRIES} commits in a row conflicted with another writer")

    def _commit(self, batch: Batch) -> None:
        landing = Landing(self.landed_seq + 1, datetime.now(UTC))
        self.lake.begin()
        try:
            self._write(batch, landing)
            self.lake.commit()
        except BaseException:
            with contextlib.suppress(duckdb.Error):  # a commit that failed has rolled back already
                self.lake.rollback()
            raise
        self._writer.committed()
        self.fence.passed()
        self.landed_seq = landing.seq
        self.count_landed += batch.count_rows

    def _write(self, batch: Batch, landing: Landing) -> None:
        try:
            self.fence.pass_through()
            for raw_table, tables in batch.rows.items():
                self._writer.write(raw_table, pa.concat_tables(tables), landing)
            self._writer.write("landed_offsets", self._offsets(batch.next_offsets), landing)
        except BaseException:
            self._writer.discard()
            raise

    def _offsets(self, next_offsets: Mapping[TopicPartition, int]) -> pa.Table:
        names = [partition.topic for partition in next_offsets]
        return pa.table(
            {
                "topic": names,
                "topic_id": [self.plan.topic_ids[name] for name in names],
                "kafka_partition": pa.array([each.partition for each in next_offsets], pa.int32()),
                "next_offset": pa.array(list(next_offsets.values()), pa.int64()),
            }
        )


def _by_topic(polled: Mapping[TopicPartition, list[Any]]) -> dict[str, list[Record]]:
    records: dict[str, list[Record]] = defaultdict(list)
    for partition, found in polled.items():
        for each in found:
            record = Record(partition.partition, each.offset, each.key, each.value)
            records[partition.topic].append(record)
    return records
