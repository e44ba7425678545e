"""What a large state costs our worker: memory, the groups that are touched, and a restart.

The workload is read from a file and written to Kafka record by record; only its end, with which groups are
touched, is held. The same end goes to a small state, for comparison.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.engagement.records import TOPIC, Record, after, groups_of, read, up_to
from tests.benchmarks.engagement.servers import Bench
from tests.benchmarks.engagement.throughput import SETTLE_SECONDS, drain
from tests.benchmarks.engagement.workload import Scale

DAYS = 28
"""As long as our worker remembers events."""

SIZE = 500
"""Events of an envelope."""

TOUCHING_EVENTS = 10_000
SMALL_STATE_EVENTS = 10_000
SLOWEST_EVENTS_PER_SECOND = 5_000
"""A worker that is slower than that is not waited for."""
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Touch:
    """What some further events cost."""

    events: int
    groups: int
    cpu_seconds: float

    @property
    def microseconds_per_event(self) -> float:
        return self.cpu_seconds / self.events * 1e6

    @property
    def microseconds_per_group(self) -> float:
        return self.cpu_seconds / self.groups * 1e6


@dataclass(frozen=True)
class StateFigures:
    """A rebuild is by the clock, from the start of the process until it has applied what waits for it."""

    events: int
    rss_bytes: int
    peak_rss_bytes: int
    touch: Touch
    touch_small: Touch
    from_nothing_seconds: float
    from_state_seconds: float
    from_small_state_seconds: float
    """How much of it is the start."""

    @property
    def touch_times(self) -> float:
        return self.touch.cpu_seconds / self.touch_small.cpu_seconds

    @property
    def from_nothing_rate(self) -> float:
        return self.events / self.from_nothing_seconds

    @property
    def from_state_rate(self) -> float:
        return self.events / self.from_state_seconds


def scale(count_events: int, groups: int, participants: int) -> Scale:
    """With what comes after `count_events`: the touching events, and some for every partition."""
    return Scale("state", count_events + 2 * TOUCHING_EVENTS, groups, participants, hours=DAYS * 24)


def measure(bench: Bench, path: Path, count_events: int, first: Path) -> StateFigures:
    """`path` holds the events of `scale`, `first` those of a small state. Raises WorkerFailed."""
    patience = PATIENCE_SECONDS + count_events / SLOWEST_EVENTS_PER_SECOND
    touching = list(up_to(after(read(path), count_events), TOUCHING_EVENTS))
    later = after(read(path), count_events + TOUCHING_EVENTS)
    one_each = list({record.partition: record for record in later}.values())
    small = _filled(bench, up_to(read(first), SMALL_STATE_EVENTS), touching, patience)
    small_again = _restarted(bench, one_each, patience)
    large = _filled(bench, up_to(read(path), count_events), touching, patience)
    large_again = _restarted(bench, one_each, patience)
    return StateFigures(
        events=count_events,
        rss_bytes=large.rss_bytes,
        peak_rss_bytes=max(large.peak_rss_bytes, large_again.peak_rss_bytes),
        touch=large.touch,
        touch_small=small.touch,
        from_nothing_seconds=large.seconds,
        from_state_seconds=large_again.seconds,
        from_small_state_seconds=small_again.seconds,
    )


class _Filled(NamedTuple):
    """A state that was made from the input alone, and then touched."""

    seconds: float
    rss_bytes: int
    peak_rss_bytes: int
    touch: Touch


def _filled(bench: Bench, records: Iterable[Record], touching: Sequence[Record], patience: float) -> _Filled:
    """Our worker on `records`, from nothing; it is ended, and what it wrote stays."""
    bench.empty()
    goal = bench.broker.write(TOPIC.name, records)
    reader = bench.start_ours()
    try:
        with closing(bench.broker.progress(reader.group, reader.topic)) as progress:
            seconds = drain(reader.worker, progress, goal, patience).at - reader.worker.started_at
            time.sleep(SETTLE_SECONDS)
            begun = reader.worker.sample()
            ended = drain(reader.worker, progress, bench.broker.write(TOPIC.name, touching), patience)
    finally:
        reader.worker.stop()
    touch = Touch(
        events=sum(each.events for each in touching),
        groups=len(groups_of(touching)),
        cpu_seconds=ended.cpu_seconds - begun.cpu_seconds,
    )
    return _Filled(seconds, begun.rss_bytes, reader.worker.peak_rss_bytes, touch)


class _Restarted(NamedTuple):
    seconds: float
    peak_rss_bytes: int


def _restarted(bench: Bench, one_each: Sequence[Record], patience: float) -> _Restarted:
    """Until a worker that was started anew has applied a record of every partition: it can only do so on the
    state of before."""
    goal = bench.broker.write(TOPIC.name, one_each)
    reader = bench.start_ours()
    try:
        with closing(bench.broker.progress(reader.group, reader.topic)) as progress:
            seconds = drain(reader.worker, progress, goal, patience).at - reader.worker.started_at
    finally:
        reader.worker.stop()
    return _Restarted(seconds, reader.worker.peak_rss_bytes)
