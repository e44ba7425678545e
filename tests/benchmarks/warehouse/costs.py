"""What a process costs: CPU seconds of its own and of the PostgreSQL that it asks, and time by the clock."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import psutil


class ProcessFailed(Exception):
    """A process that was to be measured ended badly. Its words are for a person."""


@dataclass(frozen=True)
class Cost:
    """Of one run, or the medians of several."""

    own_cpu_seconds: float
    postgres_cpu_seconds: float
    seconds: float
    peak_rss_bytes: float
    others_cores: float
    """Cores that programs kept busy which are neither the process, nor PostgreSQL, nor the benchmark."""

    @property
    def cpu_seconds(self) -> float:
        """Of everybody who worked for it."""
        return self.own_cpu_seconds + self.postgres_cpu_seconds


def medians(costs: Sequence[Cost]) -> Cost:
    return Cost(*(statistics.median(getattr(each, one.name) for each in costs) for one in fields(Cost)))


class Meter:
    """From its making on. `postgres` is the pid of its first process, `besides` those of other servers."""

    def __init__(self, postgres: int, besides: Sequence[int] = ()) -> None:
        self._postgres, self._self = psutil.Process(postgres), psutil.Process()
        self._besides = [psutil.Process(pid) for pid in besides]
        self._begun_at = time.monotonic()
        self._begun = self._readings()

    def cost(self, own_cpu_seconds: float, peak_rss_bytes: float = 0) -> Cost:
        """What was used since then, if what is measured used `own_cpu_seconds`."""
        seconds = time.monotonic() - self._begun_at
        busy, postgres, known = (now - then for now, then in zip(self._readings(), self._begun, strict=True))
        others = max(0.0, busy - postgres - known - own_cpu_seconds) / seconds
        return Cost(own_cpu_seconds, postgres, seconds, peak_rss_bytes, others)

    def _readings(self) -> tuple[float, float, float]:
        """CPU seconds of the whole machine, of PostgreSQL, and of the benchmark with the other servers."""
        times = psutil.cpu_times()
        busy: float = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        known = sum(_cpu_seconds(each) for each in (self._self, *self._besides))
        return busy, _cpu_seconds_of_tree(self._postgres), known


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, server: int) -> Cost:
    """Runs it to its end. Raises ProcessFailed."""
    meter = Meter(server)
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        words = log.read_text(errors="replace")[-2000:]
        raise ProcessFailed(f"{' '.join(command[:3])} … ended with {process.returncode}:\n{words}")
    return meter.cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _cpu_seconds_of_tree(first: psutil.Process) -> float:
    """Of a server with a process for each connection; those that have ended count for the first one."""
    times = first.cpu_times()
    total: float = _cpu_seconds(first) + times.children_user + times.children_system
    for each in first.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += _cpu_seconds(each)
    return total


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
