"""The machine under a measurement, and what other programs took of it meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import psutil


class Machine:
    """From its making on. `pids` are what is measured; this process is known."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._processes = [psutil.Process(pid) for pid in [*pids, os.getpid()]]
        self._begun_at, self._begun = time.monotonic(), self._others()

    def others_cores(self) -> float:
        """Cores that other programs kept busy since then."""
        return max(0.0, self._others() - self._begun) / (time.monotonic() - self._begun_at)

    def _others(self) -> float:
        times = psutil.cpu_times()
        busy: float = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        return busy - sum(_cpu_seconds(each) for each in self._processes)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
