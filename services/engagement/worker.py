"""The Faust worker: Faust delivers records and shares partitions; the state is ours, and so is the commit.

Every flush writes, in this order and each only when the one before is acknowledged: set-aside records,
state and figures; then the commit. A crash in between repeats records that the state knows as applied.
State that cannot be read, as an earlier version's, is computed again from what is on the input topic.
Faust's tables, windows and acknowledgements are not used; decision 0006 has the reasons. Arithmetic is
`buckets`, bytes are `messages`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import faust
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from circles.failures.v1 import failed_event_pb2
from faust.types import TP

from services.engagement.buckets import PartitionState
from services.engagement.messages import (
    UnreadableState,
    Unusable,
    acts,
    figures_key,
    figures_value,
    parsed_state,
    restore,
    state_records,
)
from services.kafka.aio import aiokafka_options
from services.runtime.failures import foreign_record
from services.runtime.heartbeat import beat
from services.runtime.settings import EngagementSettings, KafkaSettings, QuarantineSettings, home

log = logging.getLogger(__name__)

SERVICE = "engagement"
INPUT = "participation-events"
STATE = "engagement-buckets"
METRICS = "engagement-metrics"
FAILED = "failed-events"
REVOKE_SECONDS = 8.0


class InputRecreated(Exception):
    """The state belongs to an earlier topic of the same name: its offsets do not compare."""


_Record = tuple[str, int | None, bytes, bytes | None]
"""Topic, partition, key and value to write."""


class Restored(NamedTuple):
    """A partition's state, and the keys of state records that could not be read."""

    state: PartitionState
    unreadable: list[bytes]


class Engagement:
    """State of the partitions that this worker has, and how it is written."""

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: EngagementSettings,
        quarantine: QuarantineSettings,
        topic_id: str,
    ) -> None:
        self.kafka = kafka
        self.settings = settings
        self.quarantine = quarantine
        self.topic_id = topic_id
        self.partitions: dict[int, PartitionState] = {}
        self.unreadable: list[_Record] = []
        self.failed: list[bytes] = []
        self.committed: dict[int, int] = {}
        self.count_applied = 0
        self.flushing = asyncio.Lock()
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        options = aiokafka_options(self.kafka)
        self._producer = AIOKafkaProducer(
            acks="all", enable_idempotence=True, linger_ms=5, max_request_size=4 * 1024 * 1024, **options
        )
        await self._producer.start()

    async def stop(self) -> None:
        if self._producer is not None:
            await self._producer.stop()

    def receive(self, partition: int, offset: int, key: bytes | None, value: bytes | None) -> None:
        """Applies one record, or remembers it as unusable. Never raises: an exception would lose it."""
        state = self.partitions[partition]
        if offset <= state.applied_offset:
            return
        try:
            found = acts(key, value)
        except Unusable as unusable:
            self.failed.append(self._failure(partition, offset, value, unusable))
            found = []
        state.apply(found, offset)
        self.count_applied += 1

    def _failure(self, partition: int, offset: int, value: bytes | None, unusable: Unusable) -> bytes:
        return foreign_record(
            stage=failed_event_pb2.FAILURE_STAGE_ENGAGEMENT,
            reason=unusable.reason,
            detail=unusable.detail,
            position=(INPUT, self.topic_id, partition, offset),
            value=value,
            quarantine_key=self.quarantine.key_file,
        ).SerializeToString()

    async def flush(self, commit: Any) -> None:
        """Writes what changed, then commits through `commit({TP: next offset})`."""
        async with self.flushing:
            records, applied = self._cut()
            unreadable, self.unreadable = self.unreadable, []
            await self._send_all(records)
            written = {(partition, key) for topic, partition, key, _ in records if topic == STATE}
            # Not before what was computed in their place is written: they tell to compute it again.
            await self._send_all([each for each in unreadable if (each[1], each[2]) not in written])
            await self._commit(applied, commit)

    def _cut(self) -> tuple[list[_Record], dict[int, int]]:
        """All records to write, at one point in time: there is no await in here."""
        records: list[_Record] = [
            (FAILED, None, str(i).encode(), value) for i, value in enumerate(self.failed)
        ]
        self.failed = []
        applied = {}
        for partition, state in self.partitions.items():
            changes = state.take_changes()
            for key, state_value in state_records(state, changes, self.topic_id):
                records.append((STATE, partition, key, state_value))
            for each in changes.figures:
                value = figures_value(each, self.topic_id, partition, state.applied_offset)
                records.append((METRICS, partition, figures_key(each), value))
            if state.applied_offset >= 0:
                applied[partition] = state.applied_offset
        return records, applied

    async def _send_all(self, records: list[_Record]) -> None:
        if self._producer is None:
            raise RuntimeError("flush before start")
        sent = [
            await self._producer.send(topic, value, key=key, partition=partition)
            for topic, partition, key, value in records
        ]
        await asyncio.gather(*sent)

    async def _commit(self, applied: dict[int, int], commit: Any) -> None:
        news = {p: offset for p, offset in applied.items() if self.committed.get(p) != offset}
        if news:
            await commit({TP(INPUT, partition): offset + 1 for partition, offset in news.items()})
            self.committed |= news

    def adopt(self, partition: int, restored: Restored) -> None:
        """Makes the partition ours."""
        self.partitions[partition] = restored.state
        self.unreadable += [(STATE, partition, key, None) for key in restored.unreadable]

    async def restore(self, partition: int, offset: int) -> Restored:
        """A partition's state before the input record at `offset`. Raises InputRecreated."""
        state = PartitionState()
        newest: dict[bytes, bytes] = {}
        async for record in self._records(STATE, partition):
            if record.value is None:
                newest.pop(record.key, None)
            else:
                newest[record.key] = record.value
        unreadable = [key for key, value in newest.items() if not self._put_back(state, value)]
        if unreadable:
            log.warning(
                "%d of %d records of the state of partition %d cannot be read: computed again from %s",
                len(unreadable), len(newest), partition, INPUT,
            )  # fmt: skip
            await self._compute_again(state, partition, offset)
        return Restored(state, unreadable)

    def _put_back(self, state: PartitionState, value: bytes) -> bool:
        """Whether the record could be read."""
        try:
            message = parsed_state(value)
        except UnreadableState:
            return False
        if message.topic_id != self.topic_id:
            raise InputRecreated(
                f"Topic {INPUT} was deleted and made anew: its figures would be wrong. "
                f"Delete topic {STATE} too and run `circles provision` to begin again"
            )
        restore(state, message)
        return True

    async def _compute_again(self, state: PartitionState, partition: int, offset: int) -> None:
        """Applies all that is still on the input topic before `offset`; what is in `state` stays as it is."""
        async for record in self._records(INPUT, partition, offset):
            # One that cannot be used was told of when it came.
            with contextlib.suppress(Unusable):
                state.apply(acts(record.key, record.value), record.offset)
            self.count_applied += 1

    async def _records(self, topic: str, partition: int, end: int | None = None) -> AsyncIterator[Any]:
        """Records of a partition from its beginning up to `end`, exclusive; without it to its end of now."""
        place = TopicPartition(topic, partition)
        reader = AIOKafkaConsumer(
            enable_auto_commit=False, auto_offset_reset="earliest", **aiokafka_options(self.kafka)
        )
        await reader.start()
        try:
            reader.assign([place])
            await reader.seek_to_beginning(place)
            last = (await reader.end_offsets([place]))[place] if end is None else end
            while await reader.position(place) < last:
                for found in (await reader.getmany(place, timeout_ms=500, max_records=500)).values():
                    for record in found:
                        if record.offset < last:
                            yield record
        finally:
            await reader.stop()


def create_app(
    kafka: KafkaSettings, settings: EngagementSettings, quarantine: QuarantineSettings, topic_id: str
) -> faust.App:
    """The Faust application; it starts nothing before its worker does."""
    app = _faust_app(kafka)
    engagement: Engagement | None = None
    # acks=False takes the topic out of Faust's own tracking: with it on, a rebalance waits for an
    # acknowledgement that never comes.
    source = app.topic(
        INPUT, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", acks=False
    )

    async def _engagement() -> Engagement:
        nonlocal engagement
        if engagement is None:
            engagement = Engagement(kafka, settings, quarantine, topic_id)
            await engagement.start()
        return engagement

    async def _commit(offsets: dict[TP, int]) -> None:
        # Private in Faust, whose own commit knows only its own acknowledgements; a test holds it.
        consumer: Any = app.consumer
        await consumer._commit(offsets)

    @app.agent(source, concurrency=1)
    async def apply(stream: Any) -> None:
        ours = await _engagement()
        async for event in stream.noack().events():
            message = event.message
            if message.partition not in ours.partitions:
                restored = await ours.restore(message.partition, message.offset)
                if message.generation_id != app.consumer_generation_id:
                    continue  # taken away while it was restored; its new owner gets the record again
                ours.adopt(message.partition, restored)
            ours.receive(message.partition, message.offset, message.key, message.value)

    @app.task  # type: ignore[untyped-decorator]
    async def flush_regularly() -> None:
        ours = await _engagement()
        progress = Progress(settings.stall_seconds)
        while not app.should_stop:
            await asyncio.sleep(settings.flush_seconds)
            await _or_exit(ours.flush(_commit))
            lag = _lag(app, ours)
            beat(SERVICE, "ready", {"applied_records": ours.count_applied, "lag_records": lag})
            progress.check(lag, ours.count_applied)

    @app.on_partitions_revoked.connect  # type: ignore[arg-type]
    async def write_before_losing(_: Any, revoked: Any, **__: Any) -> None:
        if engagement is not None:
            try:
                async with asyncio.timeout(REVOKE_SECONDS):
                    await engagement.flush(_commit)
            except Exception as error:
                # Not fatal: the next owner applies the same records to the same buckets.
                log.warning("no flush before the rebalance: %s", type(error).__name__)
            engagement.partitions.clear()
            engagement.unreadable.clear()
            engagement.committed.clear()

    return app


class Progress:
    """Ends the process when input waits and nothing moves: Faust can hang silently after a rebalance."""

    def __init__(self, stall_seconds: float) -> None:
        self.stall_seconds = stall_seconds
        self.last_count = -1
        self.moved_at = time.monotonic()

    def check(self, lag: int, count_applied: int) -> None:
        if lag == 0 or count_applied != self.last_count:
            self.last_count, self.moved_at = count_applied, time.monotonic()
        elif time.monotonic() - self.moved_at > self.stall_seconds:
            log.error("no progress for %.0f s with %d records waiting: ending", self.stall_seconds, lag)
            os._exit(4)


async def _or_exit(flush: Any) -> None:
    """A flush that failed may have written half: only a restart, which reads what is there, is safe."""
    try:
        await flush
    except Exception:
        log.exception("flush failed: ending")
        os._exit(5)


def _lag(app: faust.App, ours: Engagement) -> int:
    consumer: Any = app.consumer
    total = 0
    for place in consumer.assignment():
        if place.topic == INPUT:
            state = ours.partitions.get(place.partition)
            applied = state.applied_offset + 1 if state is not None else 0
            done = max(applied, consumer._committed_offset.get(place) or 0)
            total += max(0, (consumer.highwater(place) or 0) - done)
    return total


def _faust_app(kafka: KafkaSettings) -> faust.App:
    credentials = None
    if kafka.security_protocol.startswith("SASL"):
        credentials = faust.SASLCredentials(
            username=kafka.username,
            password=kafka.password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
        )
    return faust.App(
        SERVICE,
        broker=[f"kafka://{each}" for each in kafka.bootstrap.split(",")],
        broker_credentials=credentials,
        datadir=str(home() / "engagement"),
        store="memory://",
        topic_disable_leader=True,
        web_enabled=False,
        broker_max_poll_records=500,
        stream_buffer_maxsize=2048,
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.0,
        consumer_max_fetch_size=4 * 1024 * 1024,
        consumer_auto_offset_reset="earliest",
        worker_redirect_stdouts=False,
    )
