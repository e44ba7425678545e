"""One row: how many events a worker takes per CPU second, with its input waiting for it.

The worker is started and given a first part, so that nothing of its start, its first state and its first
compiling is measured. Then it is held while the rest is written, and let go. Measured is from there until
it has committed all.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.engagement.broker import Offsets, Progress
from tests.benchmarks.engagement.machine import Machine
from tests.benchmarks.engagement.process import Sample, Worker, WorkerFailed
from tests.benchmarks.engagement.records import Record, after, read, up_to
from tests.benchmarks.engagement.rows import Row
from tests.benchmarks.engagement.servers import Bench, Reader

WARM_UP_PART = 20
"""The first of so many parts is not measured."""

MOST = 0.95
"""A worker commits up to some seconds after its last event, and is idle meanwhile. The rate by the clock
is therefore that of the time in which it used this part of its CPU seconds."""

MOST_HELD_SECONDS = 8.0
"""Our worker's group expels a member that is silent for 10 s."""

DRAIN_SECONDS = 300.0
SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Figures:
    """Of one measurement, or the medians of several."""

    events: int
    cpu_seconds: float
    events_per_second: float
    peak_rss_bytes: float
    others_cores: float = 0.0
    """Cores that programs kept busy which are neither the worker nor Kafka."""
    trouble: str = ""
    """Why there are no figures."""

    @property
    def is_sound(self) -> bool:
        return not self.trouble and self.cpu_seconds > 0

    @property
    def events_per_cpu_second(self) -> float:
        return self.events / self.cpu_seconds


def failed(trouble: str) -> Figures:
    return Figures(0, 0.0, 0.0, 0.0, trouble=trouble)


def measure(bench: Bench, row: Row, path: Path, count_events: int) -> Figures:
    """Never raises for what the worker does: a worker that cannot is a row that says why."""
    count = row.events(count_events)
    try:
        reader = bench.start(row.worker)
    except WorkerFailed as reason:
        return failed(str(reason))
    try:
        return _measured(bench, reader, path, count)
    except WorkerFailed as reason:
        return failed(str(reason))
    finally:
        bench.finish(reader)


def _measured(bench: Bench, reader: Reader, path: Path, count: int) -> Figures:
    worker, first = reader.worker, count // WARM_UP_PART
    with closing(bench.broker.progress(reader.group, reader.topic)) as progress:
        drain(worker, progress, bench.broker.write(reader.topic, up_to(read(path), first)))
        time.sleep(SETTLE_SECONDS)
        rest = list(up_to(after(read(path), first), count - first))
        with worker.held():
            goal = _written(bench, reader.topic, rest)
        machine = Machine([worker.process.pid, bench.kafka_pid])
        begun = worker.sample()
        ended = drain(worker, progress, goal)
    events, cpu_seconds = sum(each.events for each in rest), ended.cpu_seconds - begun.cpu_seconds
    return Figures(
        events=events,
        cpu_seconds=cpu_seconds,
        events_per_second=rate_of_most(events, [each for each in worker.samples if each.at >= begun.at]),
        peak_rss_bytes=worker.peak_rss_bytes,
        others_cores=machine.others_cores(),
    )


def drain(worker: Worker, progress: Progress, goal: Offsets, seconds: float = DRAIN_SECONDS) -> Sample:
    """Waits until the worker has committed everything."""
    return worker.sample_until(lambda: progress.has_reached(goal), "the end of its input", seconds)


def rate_of_most(events: int, samples: Sequence[Sample]) -> float:
    """Events by the clock, while the worker used `MOST` of its CPU seconds."""
    first, last = samples[0], samples[-1]
    enough = first.cpu_seconds + MOST * (last.cpu_seconds - first.cpu_seconds)
    until = next(each.at for each in samples if each.cpu_seconds >= enough)
    return MOST * events / (until - first.at) if until > first.at else float("nan")


def medians(measured: Sequence[Figures]) -> Figures:
    """Of the rounds; one that failed fails the row."""
    bad = next((each for each in measured if not each.is_sound), None)
    if bad is not None:
        return bad
    return Figures(
        events=measured[0].events,
        cpu_seconds=statistics.median(each.cpu_seconds for each in measured),
        events_per_second=statistics.median(each.events_per_second for each in measured),
        peak_rss_bytes=max(each.peak_rss_bytes for each in measured),
        others_cores=statistics.median(each.others_cores for each in measured),
    )


def _written(bench: Bench, topic: str, records: Iterable[Record]) -> Offsets:
    begun = time.monotonic()
    goal = bench.broker.write(topic, records)
    if time.monotonic() - begun > MOST_HELD_SECONDS:
        raise WorkerFailed("the input takes too long to write on this machine: ask for fewer --events")
    return goal
