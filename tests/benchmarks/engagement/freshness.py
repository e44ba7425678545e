"""How old a figure is when it can be read: from sending an envelope to the row in `live.group_engagement`.

Envelopes come at a steady rate; of some of them one group is watched, until its row has applied the envelope.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.runtime.postgres import Connection, connect
from tests.benchmarks.engagement.process import Worker, WorkerFailed
from tests.benchmarks.engagement.records import TOPIC, Record, after, opened, read, up_to
from tests.benchmarks.engagement.servers import LIVE, Bench

SIZE = 100
"""Events of an envelope."""

PART_OF_CAPACITY = 0.5
WARM_UP_EVENTS = 10_000
MOST_SECONDS = 20.0
WATCH_EVERY_SECONDS, LOOK_EVERY_SECONDS = 0.1, 0.02
PATIENCE_SECONDS = 30.0

ROWS = """
SELECT tenant_id, group_id, max(applied_offset) FROM live.group_engagement
WHERE tenant_id = ANY(%s) AND group_id = ANY(%s) GROUP BY tenant_id, group_id
"""


@dataclass(frozen=True)
class FreshFigures:
    events_per_second: float
    """Asked for."""
    sent_per_second: float
    seconds: tuple[float, ...]
    """Of each envelope that was watched; infinite for one whose row never came."""

    @property
    def p50(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p95(self) -> float:
        return sorted(self.seconds)[math.ceil(0.95 * len(self.seconds)) - 1]


@dataclass
class _Watched:
    """An envelope that was sent, and the group of it that is looked for."""

    tenant: str
    group: str
    sent_at: float
    offset: int | None = None
    seconds: float = math.inf

    def arrived(self, offset: int) -> None:
        self.offset = offset


@dataclass
class _Lookout:
    """Looks at the table now and then."""

    connection: Connection
    waiting: list[_Watched] = field(default_factory=list)
    seen: list[_Watched] = field(default_factory=list)
    looked_at: float = 0.0

    def watch(self, record: Record) -> _Watched:
        """Its busiest group: one event of it may have been told before, hardly all of them."""
        groups = Counter(each.event.group_ref for each in opened(record).events)
        ((group, _),) = groups.most_common(1)
        self.waiting.append(_Watched(record.key.decode(), group, time.monotonic()))
        return self.waiting[-1]

    def look(self) -> None:
        if not self.waiting or time.monotonic() - self.looked_at < LOOK_EVERY_SECONDS:
            return
        with self.connection.cursor() as cursor:
            tenants, groups = ({getattr(each, of) for each in self.waiting} for of in ("tenant", "group"))
            cursor.execute(ROWS, (list(tenants), list(groups)))
            applied = {(tenant, group): offset for tenant, group, offset in cursor.fetchall()}
        self.looked_at = time.monotonic()
        for each in self.waiting:
            if each.offset is not None and applied.get((each.tenant, each.group), -1) >= each.offset:
                each.seconds = self.looked_at - each.sent_at
        self.seen += [each for each in self.waiting if each.seconds < math.inf]
        self.waiting = [each for each in self.waiting if each.seconds == math.inf]


def measure(bench: Bench, path: Path, count_events: int, capacity: float) -> FreshFigures:
    """At a part of `capacity` events a second, with what `path` holds. Raises WorkerFailed."""
    rate = capacity * PART_OF_CAPACITY
    count = min(count_events - WARM_UP_EVENTS, int(rate * MOST_SECONDS))
    bench.empty()
    with closing(connect(bench.postgres, bench.postgres.database_published)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM live.group_engagement")
        with _running(bench) as processes:
            _warm_up(bench, connection, list(up_to(read(path), WARM_UP_EVENTS)), processes)
            records = list(up_to(after(read(path), WARM_UP_EVENTS), count))
            lookout = _Lookout(connection)
            sent_per_second = _paced(bench, lookout, records, rate)
            _wait(lookout)
    watched = [*lookout.seen, *lookout.waiting]
    return FreshFigures(rate, sent_per_second, tuple(each.seconds for each in watched))


@contextmanager
def _running(bench: Bench) -> Iterator[list[Worker]]:
    """Our worker and the process that writes its figures to PostgreSQL."""
    processes = [bench.start_ours().worker, bench.run(LIVE, [sys.executable, "-m", "services.live"])]
    try:
        yield processes
    finally:
        for each in processes:
            each.stop()


def _warm_up(
    bench: Bench, connection: Connection, records: Sequence[Record], processes: Sequence[Worker]
) -> None:
    """Returns when the figures of the first records can be read: both processes have found their pace."""
    lookout = _Lookout(connection)
    writer = bench.broker.writer(TOPIC.name)
    for record in records[:-1]:
        writer.put(record)
    writer.put(records[-1], lookout.watch(records[-1]).arrived)
    writer.close()
    _wait(lookout, PATIENCE_SECONDS * 2)
    if lookout.waiting:
        for each in processes:
            each.sample()  # one that has ended says why
        raise WorkerFailed("no figures in live.group_engagement")


def _paced(bench: Bench, lookout: _Lookout, records: Sequence[Record], rate: float) -> float:
    """Sends the records, each when it is due. Returns how many events a second it came to."""
    writer, done, next_watch = bench.broker.writer(TOPIC.name), 0, 0.0
    begun = time.monotonic()
    for record in records:
        while (early := begun + done / rate - time.monotonic()) > 0:
            writer.poll(min(early, LOOK_EVERY_SECONDS))
            lookout.look()
        is_watched = time.monotonic() >= next_watch
        writer.put(record, lookout.watch(record).arrived if is_watched else None)
        if is_watched:
            next_watch = time.monotonic() + WATCH_EVERY_SECONDS
        lookout.look()
        done += record.events
    took = time.monotonic() - begun
    writer.close()
    return done / took


def _wait(lookout: _Lookout, seconds: float = PATIENCE_SECONDS) -> None:
    end = time.monotonic() + seconds
    while lookout.waiting and time.monotonic() < end:
        lookout.look()
        time.sleep(LOOK_EVERY_SECONDS)
