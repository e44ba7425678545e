"""The Faust worker: Faust delivers records and shares partitions; the state is ours, and so is the commit.

Twice a second, all that was delivered reaches its groups and is written, each only when the one before is
acknowledged: what was set aside and what people said of consents; state; figures; then the commit. A crash in
between repeats records that the state knows. State that is missing or cannot be read is computed again from
what is on the input topic. Decision 0016 has the reasons; where the arithmetic is, says the package.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import faust
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from circles.failures.v1 import failed_event_pb2

from services.engagement.cold import ColdGroups
from services.engagement.consents import Consents, statements
from services.engagement.messages import figures_record
from services.engagement.partitions import PartitionState
from services.engagement.reading import read
from services.engagement.state import StateWriter, restored
from services.engagement.tables import Tabulator
from services.kafka.aio import aiokafka_options
from services.kafka.batches import KeyValue, batch_producer, send_all
from services.kafka.envelopes import Unusable
from services.kafka.faust_app import Progress, commit, faust_app, highwater, or_exit
from services.kafka.records import Delivered, Record, deliver, without_tasks
from services.runtime.failures import foreign_record
from services.runtime.heartbeat import beat
from services.runtime.settings import EngagementSettings, KafkaSettings, QuarantineSettings, home

log = logging.getLogger(__name__)

SERVICE = "engagement"
INPUT = "participation-events"
OUTCOMES = "outcome-events"
CONSENTS = "consents"
STATE = "engagement-state"
METRICS = "engagement-metrics"
CONTRIBUTIONS = "engagement-contributions"
FAILED = "failed-events"
REVOKE_SECONDS = 8.0
LONGEST_PAUSE_SECONDS = 1.0
COMPUTED_RECORDS = 2000
"""Of the input, taken in at once when state is computed again."""


class Gap(Exception):
    """Records were not delivered; a new start reads them again."""


class Sent(NamedTuple):
    """What one flush has to write, in this order."""

    failed: list[bytes]
    consents: list[KeyValue]
    state: dict[int, list[KeyValue]]
    figures: dict[int, list[KeyValue]]
    contributions: dict[int, list[KeyValue]]
    unreadable: dict[int, list[KeyValue]]
    next_offsets: dict[tuple[str, int], int]


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
        self.delivered = Delivered()
        self.consents = Consents()
        self.partitions: dict[int, PartitionState] = {}
        self.count_applied = 0
        self._tabulator = Tabulator()
        self._unreadable: dict[int, list[bytes]] = {}
        self._working = asyncio.Lock()
        self._producer: AIOKafkaProducer | None = None
        self._consent_reader: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Reads all consents before anything is counted."""
        self._producer = batch_producer(self.kafka)
        await self._producer.start()
        self._consent_reader = await self._reader(TopicPartition(CONSENTS, 0))
        await self.read_consents(until_end=True)

    async def stop(self) -> None:
        for client in (self._producer, self._consent_reader):
            if client is not None:
                await client.stop()

    async def flush(self, app: faust.App, *, is_leaving: bool = False) -> None:
        """Takes in what was delivered of our partitions, writes what follows from it, and commits."""
        async with self._working:
            await self.read_consents()
            waiting = self.delivered.take()
            # Who has which partition is asked after taking: what is not ours by now comes to its new owner.
            new = set() if is_leaving else _assigned(app) - self.partitions.keys()
            for partition in sorted(new):
                self.partitions[partition] = await self._restore(partition)
            sent = self._take_in(waiting)
            await self._write(sent)
            # While partitions are taken away the consumer waits for us, and we would wait for its commit.
            if not is_leaving:
                await self._commit(app, sent.next_offsets)
            per_partition = self.settings.max_events_in_memory // max(1, len(self.partitions))
            for state in self.partitions.values():
                state.rest(per_partition)

    async def lose(self, app: faust.App) -> None:
        """Writes what can be written in time, and forgets the partitions: they have another owner now."""
        if not self.partitions:
            self.delivered.take()
            return
        try:
            async with asyncio.timeout(REVOKE_SECONDS):
                await self.flush(app, is_leaving=True)
        except Exception as error:
            # Not fatal: the next owner takes in the same records.
            log.warning("no flush before the rebalance: %s", type(error).__name__)
        self.delivered.take()
        for state in self.partitions.values():
            state.close()
        self.partitions.clear()
        self._unreadable.clear()

    async def read_consents(self, *, until_end: bool = False) -> None:
        """Follows the topic of consents, which every worker reads whole."""
        reader, place = self._consent_reader, TopicPartition(CONSENTS, 0)
        if reader is None:
            raise RuntimeError("read before start")
        end = (await reader.end_offsets([place]))[place] if until_end else 0
        while True:
            found = await reader.getmany(place, timeout_ms=500 if until_end else 0, max_records=10_000)
            records = found.get(place, [])
            for tenant, people in self.consents.take(record.value for record in records).items():
                for state in self.partitions.values():
                    state.follow(tenant, people, self.consents.withdrawn)
            if not records and await reader.position(place) >= end:
                return

    def _take_in(self, waiting: dict[tuple[str, int], list[Record]]) -> Sent:
        """What the records make to be written, at one point in time: there is no await in here."""
        sent = Sent([], [], {}, {}, {}, {}, {})
        for (topic, partition), records in waiting.items():
            if topic == OUTCOMES:
                sent.consents.extend(statements(records, partition))
            elif partition in self.partitions:
                self._tell(partition, records, sent)
            else:
                continue
            sent.next_offsets[topic, partition] = records[-1][2] + 1
            self.count_applied += len(records)
        for partition, state in self.partitions.items():
            sent.state[partition], sent.figures[partition] = [], []
            for changed, figures in state.take():
                sent.state[partition] += changed
                if figures is not None:
                    sent.figures[partition].append(
                        figures_record(figures, self.topic_id, partition, state.applied_offset)
                    )
            place = (self.topic_id, partition, state.applied_offset)
            sent.contributions[partition] = [tenant.record(*place) for tenant in state.take_tenants()]
            # What could not be read goes when what was computed in its place is written.
            sent.unreadable[partition] = [(key, None) for key in self._unreadable.pop(partition, [])]
        return sent

    def _tell(self, partition: int, records: list[Record], sent: Sent) -> None:
        state = self.partitions[partition]
        records = [record for record in records if record[2] > state.applied_offset]
        for _, _, offset in records:
            if offset > state.applied_offset + 1:
                raise Gap(f"partition {partition}: {offset} came after {state.applied_offset}")
            state.applied_offset = offset
        told, unusable = read(records)
        for (_, value, offset), error in unusable:
            sent.failed.append(self._failure(partition, offset, value, error))
        state.tell(told, self.consents.withdrawn)

    def _failure(self, partition: int, offset: int, value: bytes | None, unusable: Unusable) -> bytes:
        return foreign_record(
            stage=failed_event_pb2.FAILURE_STAGE_ENGAGEMENT,
            reason=unusable.reason,
            detail=unusable.detail,
            position=(INPUT, self.topic_id, partition, offset),
            value=value,
            quarantine_key=self.quarantine.key_file,
        ).SerializeToString()

    async def _write(self, sent: Sent) -> None:
        producer = self._producer
        if producer is None:
            raise RuntimeError("flush before start")
        aside = [await producer.send(FAILED, each, key=str(i).encode()) for i, each in enumerate(sent.failed)]
        aside += await send_all(producer, CONSENTS, 0, sent.consents)
        await asyncio.gather(*aside)
        for topic, records in (
            (STATE, sent.state),
            (METRICS, sent.figures),
            (CONTRIBUTIONS, sent.contributions),
            (STATE, sent.unreadable),
        ):
            futures = [
                future
                for partition, each in records.items()
                for future in await send_all(producer, topic, partition, each)
            ]
            await asyncio.gather(*futures)

    async def _commit(self, app: faust.App, next_offsets: dict[tuple[str, int], int]) -> None:
        for topic in (INPUT, OUTCOMES):
            offsets = {partition: offset for (of, partition), offset in next_offsets.items() if of == topic}
            if offsets:
                await commit(app, topic, offsets)

    async def _restore(self, partition: int) -> PartitionState:
        """A partition's state before the record with which the group goes on. Raises InputRecreated."""
        offset = await self._next_offset(partition)
        epoch = secrets.token_hex(4)
        cold = ColdGroups(home() / SERVICE / f"idle-{partition}-{epoch}.sqlite")
        state = PartitionState(StateWriter(epoch, self.topic_id), self._tabulator, cold)
        newest: dict[bytes, bytes] = {}
        async for record in self._records(STATE, partition):
            if record.value is None:
                newest.pop(record.key, None)
            else:
                newest[record.key] = record.value
        groups, unreadable = restored(newest, self.consents.withdrawn, self.topic_id)
        for group, written in groups:
            state.restore(group, written, self.consents.ever_withdrawn)
        if unreadable or not newest:
            await self._compute_again(state, partition, offset, len(unreadable))
            self._unreadable[partition] = unreadable
        state.applied_offset = offset - 1
        return state

    async def _next_offset(self, partition: int) -> int:
        """Where the group goes on: after what is committed, or where the topic begins by now."""
        place = TopicPartition(INPUT, partition)
        reader = await self._reader(place, group_id=SERVICE)
        try:
            committed = await reader.committed(place) or 0
            beginning = (await reader.beginning_offsets([place]))[place]
        finally:
            await reader.stop()
        if 0 < committed < beginning:
            log.error(
                "partition %d: records %d to %d of %s expired before they were counted",
                partition, committed, beginning - 1, INPUT,
            )  # fmt: skip
        return max(int(committed), int(beginning))

    async def _compute_again(
        self, state: PartitionState, partition: int, offset: int, count_unreadable: int
    ) -> None:
        """Takes in all that is still on the input topic before `offset`; what is known stays known."""
        if count_unreadable:
            log.warning("%d records of the state of partition %d cannot be read", count_unreadable, partition)
        state.doubt()
        records: list[Record] = []
        count = 0
        async for record in self._records(INPUT, partition, offset):
            records.append((record.key, record.value, record.offset))
            count += 1
            if len(records) == COMPUTED_RECORDS:
                # What cannot be used was told of when it came.
                state.tell(read(records)[0], self.consents.withdrawn)
                records.clear()
        state.tell(read(records)[0], self.consents.withdrawn)
        if count:
            log.warning("partition %d: state computed again from %d records of %s", partition, count, INPUT)

    async def _records(self, topic: str, partition: int, end: int | None = None) -> AsyncIterator[Any]:
        """Records of a partition from its beginning up to `end`, exclusive; without it to its end of now."""
        place = TopicPartition(topic, partition)
        reader = await self._reader(place)
        try:
            last = (await reader.end_offsets([place]))[place] if end is None else end
            while await reader.position(place) < last:
                for found in (await reader.getmany(place, timeout_ms=500, max_records=5000)).values():
                    for record in found:
                        if record.offset < last:
                            yield record
        finally:
            await reader.stop()

    async def _reader(self, place: TopicPartition, group_id: str | None = None) -> AIOKafkaConsumer:
        """A reader of one partition, from its beginning; it joins no group."""
        reader = AIOKafkaConsumer(
            group_id=group_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=8 * 1024 * 1024,
            **aiokafka_options(self.kafka),
        )
        await reader.start()
        reader.assign([place])
        await reader.seek_to_beginning(place)
        return reader


def create_app(
    kafka: KafkaSettings, settings: EngagementSettings, quarantine: QuarantineSettings, topic_id: str
) -> faust.App:
    """The Faust application; it starts nothing before its worker does."""
    app = faust_app(SERVICE, kafka)
    ours = Engagement(kafka, settings, quarantine, topic_id)
    for topic in (INPUT, OUTCOMES):
        deliver(app, topic, ours.delivered)

    @app.task  # type: ignore[untyped-decorator]
    async def work() -> None:
        await or_exit(ours.start())
        without_tasks(app, ours.delivered)
        progress = Progress(settings.stall_seconds)
        loop = asyncio.get_running_loop()
        while not app.should_stop:
            began = loop.time()
            await or_exit(ours.flush(app))
            lag = _lag(app, ours)
            beat(SERVICE, "ready", {"applied_records": ours.count_applied, "lag_records": lag})
            progress.check(lag, ours.count_applied)
            # Under load less often: what comes together is cheaper, because a group's figures are made once.
            pause = min(2 * (loop.time() - began), LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(max(settings.flush_seconds, pause))
        await ours.stop()

    @app.on_partitions_revoked.connect
    async def write_before_losing(*_: Any, **__: Any) -> None:
        await ours.lose(app)

    return app


def _assigned(app: faust.App) -> set[int]:
    consumer: Any = app.consumer
    return {place.partition for place in consumer.assignment() if place.topic == INPUT}


def _lag(app: faust.App, ours: Engagement) -> int:
    total = 0
    for partition, state in ours.partitions.items():
        total += max(0, (highwater(app, INPUT, partition) or 0) - state.applied_offset - 1)
    return total
