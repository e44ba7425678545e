"""The Faust worker: Faust delivers records and shares partitions; facts, alerts and commit are ours.

Every flush writes, each only when what is before it is acknowledged: set-aside records and facts, alerts,
that they were issued; then it commits. A crash in between repeats records whose facts have the same keys,
and alerts that have the same ids. A worker issues alerts about the cases whose home partition it has, once
it knows all that was written before it got the partition. Arithmetic is `cases`, bytes are `messages`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import faust
from aiokafka import AIOKafkaProducer
from circles.failures.v1 import failed_event_pb2
from kafka.errors import KafkaError

from services.kafka import faust_app
from services.kafka.aio import aiokafka_options
from services.kafka.client import KafkaUnavailable, admin, topic_ids
from services.kafka.envelopes import Unusable
from services.runtime.failures import foreign_record
from services.runtime.heartbeat import beat
from services.runtime.settings import (
    KafkaSettings,
    PostgresSettings,
    QuarantineSettings,
    SafeguardingSettings,
)
from services.safeguarding.cases import (
    DAY_US,
    Alert,
    Case,
    CaseKey,
    Cases,
    Delivered,
    Issued,
    Level,
    State,
    Told,
)
from services.safeguarding.delivery import Delivery, Parcel
from services.safeguarding.duty import Duty
from services.safeguarding.ledger import CASES, InputRecreated, Ledger
from services.safeguarding.messages import (
    Place,
    Record,
    alert_body,
    alert_key,
    alert_value,
    done,
    found,
    heartbeat_key,
    heartbeat_value,
    sign_of_life_body,
)
from services.safeguarding.partitions import Partition
from services.safeguarding.rows import Rows, row_of

log = logging.getLogger(__name__)

SERVICE = "safeguarding"
INPUT = "participation-events"
ALERTS = "safeguarding-alerts"
FAILED = "failed-events"

TICK_SECONDS = 0.25
"""How often clocks are looked at. What comes in wakes the worker at once."""

LOST_SECONDS = 3.0
"""After such a pause partitions may have gone to others: what they wrote is read before anything is done."""

REVOKE_SECONDS = 8.0
EARLY_DAYS = 7
"""How long a retraction waits for its event: as long as the input keeps its records."""


class Safeguarding:
    """All cases, the partitions that this worker has, and how what follows is written."""

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: SafeguardingSettings,
        duty: Duty,
        ids: dict[str, str],
    ) -> None:
        """`ids`: of the input and of the cases' topic."""
        self.kafka = kafka
        self.settings = settings
        self.duty = duty
        self.topic_ids = ids
        self.cases = Cases(duty.clock)
        self.partitions: dict[int, Partition] = {}
        self.is_assigned = False
        self.looked_at = time.time()
        self.news = asyncio.Event()
        self.count_applied = 0
        self.heartbeat_at = 0
        self.rows = Rows(PostgresSettings.load())
        self.delivery = Delivery(settings, duty.addresses, self._on_delivered)
        input_id = None if settings.accept_recreated_input else ids[INPUT]
        self.ledger = Ledger(kafka, input_id, self._learn, self.cases.forget)
        self._quarantine = QuarantineSettings.load()
        self._failed: list[bytes] = []
        self._found: list[Record] = []
        self._committed: dict[int, int] = {}
        self._handed_over: dict[CaseKey, tuple[int, list[str]]] = {}
        """Revision and alerts of each unsettled case when it was last handed over."""
        self._flushing = asyncio.Lock()
        self._producer = AIOKafkaProducer(
            acks="all", enable_idempotence=True, max_request_size=8 * 1024 * 1024, **aiokafka_options(kafka)
        )

    async def start(self) -> None:
        await self._producer.start()
        await self.ledger.start()
        self.rows.start()

    def receive(self, partition: int, offset: int, key: bytes | None, value: bytes | None) -> None:
        """Takes one record in, or remembers it as unusable. Never raises: an exception would lose it."""
        state = self.partitions.get(partition)
        if state is None:
            return  # lost meanwhile, and not committed: whoever has the partition gets the record
        try:
            told = found(Place(self.topic_ids[INPUT], partition, offset), key, value)
        except Unusable as unusable:
            self._failed.append(self._failure(partition, offset, value, unusable))
        else:
            self._found += told.records
            state.applied_until_us = max(state.applied_until_us, told.received_at_us)
        state.applied_offset = max(state.applied_offset, offset)
        self.count_applied += 1
        if self._found or self._failed:
            self.news.set()

    def assign(self, partitions: Iterable[int]) -> None:
        """These are this worker's from now on."""
        now = time.monotonic()
        self.partitions = {partition: Partition(now) for partition in partitions}
        self.is_assigned = True

    async def lose(self, commit: Any) -> None:
        """Writes what is under way, and leaves all partitions to others."""
        try:
            async with asyncio.timeout(REVOKE_SECONDS):
                await self.flush(commit)
        except Exception as error:
            # Not fatal: the next owner finds the same facts in the same records.
            log.warning("no flush before the rebalance: %s", type(error).__name__)
        self.partitions.clear()
        self.delivery.clear()
        self._committed.clear()
        self._handed_over.clear()

    async def flush(self, commit: Any) -> None:
        """Writes what was found and what follows, then commits through `commit({partition: offset})`."""
        async with self._flushing:
            failed, self._failed = self._failed, []
            records, self._found = self._found, []
            applied = {p: each.next_offset for p, each in self.partitions.items() if each.applied_offset >= 0}
            await self._send([(FAILED, None, str(i).encode(), value) for i, value in enumerate(failed)])
            await self._write_facts(records)
            await self._look_after_cases()
            news = {p: offset for p, offset in applied.items() if self._committed.get(p) != offset}
            if news:
                await commit(news)
                self._committed |= news

    async def take_over(self, app: faust.App) -> None:
        """Makes partitions ours of which all is known that was written before, and looks how far input is."""
        self._doubt_after_a_pause()
        await self._ask_about_new()
        for number, each in self.partitions.items():
            each.first_offset = max(each.first_offset, faust_app.committed(app, INPUT, number))
            if not each.is_ours and each.ends is not None and self.ledger.has_read(each.ends):
                each.is_ours = True
                # What others saw to so far.
                self.cases.unsettled |= self.cases.at(number)
            each.see_end(faust_app.highwater(app, INPUT, number), time.monotonic())

    def _doubt_after_a_pause(self) -> None:
        """As after a laptop's sleep. By the wall clock: the monotonic one may have slept as well."""
        now = time.time()
        if abs(now - self.looked_at) > LOST_SECONDS:
            for each in self.partitions.values():
                each.ends, each.is_ours = None, False
        self.looked_at = now

    async def _ask_about_new(self) -> None:
        new = {number: each for number, each in self.partitions.items() if each.ends is None}
        if new:
            beginnings, ends = await self.ledger.beginnings(INPUT, new), await self.ledger.ends()
            for number, each in new.items():
                each.first_offset, each.ends = beginnings[number], ends

    def lag(self, app: faust.App) -> int:
        highwaters = {p: faust_app.highwater(app, INPUT, p) for p in self.partitions}
        return sum(
            max(0, (highwaters[p] or 0) - each.next_offset)
            for p, each in self.partitions.items()
            if each.ends is not None
        )

    async def send_heartbeat(self) -> None:
        """On the topic for each partition that is looked after; by webhook once for all of them."""
        now_us = _now_us()
        ours = [number for number, each in self.partitions.items() if each.is_ours]
        await self._send([(ALERTS, p, heartbeat_key(p), heartbeat_value(p, now_us)) for p in ours])
        alert_id = str(uuid.uuid4())
        if ours:
            self.delivery.sign_of_life(alert_id, sign_of_life_body("heartbeat", alert_id, now_us, ours))
        self.heartbeat_at = now_us // 1_000_000
        await self._forget_early(ours, now_us)

    def figures(self) -> dict[str, int]:
        """For `circles status`; of the partitions that this worker looks after."""
        cases = [each for each in map(self.cases.case, self.cases.unsettled) if self._is_ours(each)]
        now_us = _now_us()
        is_open = [each for each in cases if each is not None and each.state is State.OPEN]
        return {
            "open_cases": len(is_open),
            "breached_cases": sum(each.is_breached(now_us) for each in is_open),
            "undelivered_alerts": self.delivery.count_undelivered,
            "rows_waiting": self.rows.count_waiting,
            "heartbeat_at": self.heartbeat_at,
        }

    def _failure(self, partition: int, offset: int, value: bytes | None, unusable: Unusable) -> bytes:
        return foreign_record(
            stage=failed_event_pb2.FAILURE_STAGE_SAFEGUARDING,
            reason=unusable.reason,
            detail=unusable.detail,
            position=(INPUT, self.topic_ids[INPUT], partition, offset),
            value=value,
            quarantine_key=self._quarantine.key_file,
        ).SerializeToString()

    def _learn(self, key: bytes, fact: Any) -> None:
        if self.cases.add(key, fact):
            self.news.set()

    async def _write_facts(self, records: list[Record]) -> None:
        await self._send([(CASES, each.partition, each.key, each.value) for each in records])
        # Not before they are there: nobody is told of what a crash could undo.
        for each in records:
            self.cases.add(each.key, each.fact)

    async def _look_after_cases(self) -> None:
        """Issues the alerts that hold now, and hands over what is to be delivered and shown."""
        now_us = _now_us()
        holding = {case.key: (case, alerts) for case, alerts in self._holding(now_us)}
        new = [
            alert
            for case, alerts in holding.values()
            for alert in alerts
            if alert.alert_id not in self.cases.told(case.key).issued
        ]
        await self._issue(new, now_us)
        for case, alerts in holding.values():
            self._hand_over(case, alerts)
        self.delivery.start_due()

    def _holding(self, now_us: int) -> Iterator[tuple[Case, list[Alert]]]:
        undelivered_since_us = now_us - round(self.settings.escalate_minutes * 60e6)
        # Of all partitions: the answer may be on another one than the risk.
        now = time.monotonic()
        as_of_us = min((each.as_of_us(now_us, now) for each in self.partitions.values()), default=0)
        for key in list(self.cases.unsettled):
            case = self.cases.case(key)
            if case is None or not self._is_ours(case):
                self.cases.unsettled.discard(key)
            else:
                yield case, self.cases.wanted(key, as_of_us, undelivered_since_us)

    async def _issue(self, new: list[Alert], now_us: int) -> None:
        if not new:
            return
        for alert in new:
            self._say(alert)
        contact = self.duty.contact
        await self._send(
            [
                (
                    ALERTS,
                    each.case.home_partition,
                    alert_key(each),
                    alert_value(each, now_us, contact, self.cases.revision(each.case.key)),
                )
                for each in new
            ]
        )
        await self._write_facts([self._issued(each, now_us) for each in new])

    def _issued(self, alert: Alert, now_us: int) -> Record:
        targets = self.duty.targets(alert)
        return self._done(alert.case, Issued(alert.case.key, alert.alert_id, alert.level, now_us, targets))

    def _done(self, case: Case, fact: Issued | Delivered) -> Record:
        home = case.home_partition
        known = self.partitions.get(home)
        place = Place(self.topic_ids[INPUT], home, known.applied_offset if known is not None else -1)
        return done(place, home, case.data_class, fact)

    def _hand_over(self, case: Case, alerts: list[Alert]) -> None:
        told, ids = self.cases.told(case.key), [each.alert_id for each in alerts]
        news = (self.cases.revision(case.key), ids)
        if news == self._handed_over.get(case.key) or not self._is_ours(case):
            return  # nothing has changed, or the partition was lost meanwhile
        if self.cases.case(case.key) != case:
            return  # more became known while alerts were issued: the next look has it
        self._handed_over[case.key] = news
        parcels = [
            Parcel(target, each.alert_id, each.level, case.key, self._body(each, told))
            for each in alerts
            for target in told.missing_targets(each.alert_id)
        ]
        self.delivery.want(case.key, parcels)
        row = row_of(case, alerts, told, self.duty.contact, self.settings.legal_period_days)
        self.rows.offer(row._replace(topic_id=self.topic_ids[CASES], revision=self.cases.revision(case.key)))
        if case.state is not State.OPEN and not parcels:
            self.cases.unsettled.discard(case.key)
            del self._handed_over[case.key]

    def _body(self, alert: Alert, told: Told) -> bytes:
        return alert_body(alert, told.issued[alert.alert_id].issued_at_us, self.duty.contact)

    def _say(self, alert: Alert) -> None:
        """To the log: no reference, which `circles safeguarding` shows."""
        if alert.level is Level.BREACHED:
            log.error("a case was not answered in time: alert %s", alert.alert_id)
        elif alert.level is Level.ESCALATED:
            contact = self.duty.contact or "nobody is named in CIRCLES_SAFEGUARDING_CONTACT"
            log.error("nobody could be told of an open case: alert %s; call %s", alert.alert_id, contact)

    def _on_delivered(self, parcel: Parcel) -> None:
        case = self.cases.case(parcel.case)
        if case is not None:
            fact = Delivered(parcel.case, parcel.alert_id, parcel.target, _now_us())
            self._found.append(self._done(case, fact))
            self.news.set()

    async def _forget_early(self, ours: list[int], now_us: int) -> None:
        """Deletes retractions of what never came, which are most: of events that are no risks."""
        old = self.cases.forgettable(now_us - EARLY_DAYS * DAY_US)
        places = {key: each.arrival.partition for key, each in old.items() if each.arrival.partition in ours}
        await self._send([(CASES, partition, key, None) for key, partition in places.items()])
        for key in places:
            self.cases.forget(key)

    def _is_ours(self, case: Case | None) -> bool:
        state = self.partitions.get(case.home_partition) if case is not None else None
        return state is not None and state.is_ours

    async def _send(self, records: list[tuple[str, int | None, bytes, bytes | None]]) -> None:
        """Returns when all in-sync replicas have them."""
        sent = [
            await self._producer.send(topic, value, key=key, partition=partition)
            for topic, partition, key, value in records
        ]
        await asyncio.gather(*sent)


def create_app(
    kafka: KafkaSettings, settings: SafeguardingSettings, duty: Duty, ids: dict[str, str]
) -> faust.App:
    """The Faust application; it starts nothing before its worker does."""
    app = faust_app.faust_app(SERVICE, kafka)
    ours: Safeguarding | None = None
    starting = asyncio.Lock()

    async def _ours() -> Safeguarding:
        nonlocal ours
        async with starting:
            if ours is None:
                made = Safeguarding(kafka, settings, duty, ids)
                await made.start()
                ours = made
        return ours

    async def _commit(next_offsets: dict[int, int]) -> None:
        await faust_app.commit(app, INPUT, next_offsets)

    @app.agent(faust_app.source(app, INPUT), concurrency=1)
    async def apply(stream: Any) -> None:
        worker = await _ours()
        async for event in stream.noack().events():
            message = event.message
            if message.generation_id != app.consumer_generation_id:
                continue  # fetched before a rebalance; whoever has the partition now gets it again
            worker.receive(message.partition, message.offset, message.key, message.value)

    @app.task  # type: ignore[untyped-decorator]
    async def follow() -> None:
        await faust_app.or_exit(_follow((await _ours()).ledger))

    @app.task  # type: ignore[untyped-decorator]
    async def flush_regularly() -> None:
        worker = await _ours()
        progress = faust_app.Progress(settings.stall_seconds)
        while not app.should_stop:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(worker.news.wait(), TICK_SECONDS)
            worker.news.clear()
            await faust_app.or_exit(_tick(worker, app, _commit))
            progress.check(worker.lag(app), worker.count_applied)

    @app.on_partitions_assigned.connect  # type: ignore[arg-type]
    async def take(_: Any, assigned: Any, **__: Any) -> None:
        (await _ours()).assign(each.partition for each in assigned if each.topic == INPUT)

    @app.on_partitions_revoked.connect  # type: ignore[arg-type]
    async def leave(_: Any, revoked: Any, **__: Any) -> None:
        if ours is not None:
            await ours.lose(_commit)

    @app.on_before_shutdown.connect  # type: ignore[arg-type]
    async def close(_: Any, **__: Any) -> None:
        if ours is not None:
            await ours.delivery.close()

    return app


async def _tick(worker: Safeguarding, app: faust.App, commit: Any) -> None:
    await worker.take_over(app)
    await worker.flush(commit)
    is_ready = worker.is_assigned and all(each.is_ours for each in worker.partitions.values())
    if is_ready and time.time() - worker.heartbeat_at >= worker.settings.heartbeat_seconds:
        if await asyncio.to_thread(_topic_id, worker.kafka) not in (None, worker.topic_ids[INPUT]):
            _end_with_alarm()
        await worker.send_heartbeat()
    beat(SERVICE, "ready" if is_ready else "starting", {**worker.figures(), "lag_records": worker.lag(app)})


async def _follow(ledger: Ledger) -> None:
    try:
        await ledger.follow()
    except InputRecreated:
        _end_with_alarm()


def _end_with_alarm() -> None:
    log.error(
        "topic %s was deleted and made anew: what came between is not known here. Open cases are kept; "
        "CIRCLES_SAFEGUARDING_ACCEPT_RECREATED_INPUT=true goes on with them",
        INPUT,
    )
    beat(SERVICE, "waiting")
    os._exit(3)


def _topic_id(kafka: KafkaSettings) -> str | None:
    """Of the input, now; None: it cannot be asked."""
    with contextlib.suppress(KafkaUnavailable, KafkaError, KeyError), closing(admin(kafka)) as client:
        return topic_ids(client, [INPUT])[INPUT]
    return None


def _now_us() -> int:
    return time.time_ns() // 1000
