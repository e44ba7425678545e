"""A worker as a process, and what it has used of the machine: all its threads, and its children."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

SAMPLE_SECONDS = 0.05
STOP_SECONDS = 20.0


class WorkerFailed(Exception):
    """A worker ended, or did not get where it should. Its words are for a person."""


class Sample(NamedTuple):
    """At one moment; CPU since the process began."""

    at: float
    cpu_seconds: float
    rss_bytes: int


@dataclass
class Worker:
    """A running worker. Samples are taken while something is waited for."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    started_at: float
    peak_rss_bytes: int = 0
    samples: list[Sample] = field(default_factory=list)

    def sample(self) -> Sample:
        """What it has used until now. Raises WorkerFailed when it has ended."""
        if self.process.poll() is not None:
            raise WorkerFailed(f"{self.name} ended with {self.process.returncode}: {self.last_words()}")
        cpu, rss = 0.0, 0
        for each in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess), each.oneshot():
                times = each.cpu_times()
                cpu += times.user + times.system
                rss += each.memory_info().rss
        self.peak_rss_bytes = max(self.peak_rss_bytes, rss)
        self.samples.append(Sample(time.monotonic(), cpu, rss))
        return self.samples[-1]

    def sample_until(self, condition: Callable[[], bool], what: str, seconds: float) -> Sample:
        """Returns the first sample after `condition` holds. Raises WorkerFailed when it never does."""
        end = time.monotonic() + seconds
        while not condition():
            self.sample()
            if time.monotonic() > end:
                raise WorkerFailed(f"{self.name}: {what} not within {seconds:.0f} s: {self.last_words()}")
            time.sleep(SAMPLE_SECONDS)
        return self.sample()

    def finished(self, seconds: float) -> str:
        """Its last words when it has ended well by itself. Raises WorkerFailed when it does not."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(WorkerFailed):
                self.sample()
            time.sleep(SAMPLE_SECONDS)
        if self.process.poll() != 0:
            raise WorkerFailed(f"{self.name} ended with {self.process.poll()}: {self.last_words()}")
        return self.last_words()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """It does nothing meanwhile; for seconds only, or its group expels it."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_words(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][-300:] if lines else "it said nothing"

    def _processes(self) -> list[psutil.Process]:
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]


def start(
    name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
) -> Worker:
    started_at = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Worker(name, process, log, started_at)
