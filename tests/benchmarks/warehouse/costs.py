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
    """From its making on. `server` is the pid of PostgreSQL's first process."""

    def __init__(self, server: int) -> None:
        self._server, self._self = psutil.Process(server), psutil.Process()
        self._begun_at = time.monotonic()
        self._begun = self._readings()

    def cost(self, own_cpu_seconds: float, peak_rss_bytes: float) -> Cost:
        """What was used since then, if a child that has ended meanwhile used `own_cpu_seconds`."""
        seconds = time.monotonic() - self._begun_at
        busy, postgres, ours = (
            now - before for now, before in zip(self._readings(), self._begun, strict=True)
        )
        others = max(0.0, busy - postgres - ours - own_cpu_seconds) / seconds
        return Cost(own_cpu_seconds, postgres, seconds, peak_rss_bytes, others)

    def _readings(self) -> tuple[float, float, float]:
        """CPU seconds of the whole machine, of PostgreSQL, and of this process."""
        times, own = psutil.cpu_times(), self._self.cpu_times()
        busy: float = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        return busy, _cpu_seconds_of_tree(self._server), own.user + own.system


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
    total: float = times.user + times.system + times.children_user + times.children_system
    for each in first.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system
    return total
