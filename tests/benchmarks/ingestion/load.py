"""A load on a server: the generator's plan, its run, and the figures of it."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.ingestion.golang import CannotRun

CONNECTIONS = 4
WARM_UP_SECONDS = 1.5


@dataclass(frozen=True)
class Plan:
    """What the generator reads; the meaning of each field is said in load/main.go."""

    target: str
    method: str
    requests_file: str
    answer: str
    streaming: bool
    in_flight: int
    seconds: float
    authorization: str = ""
    events_per_second: float = 0.0
    connections: int = CONNECTIONS
    warm_up_seconds: float = WARM_UP_SECONDS
    server_pids: Sequence[int] = ()
    broker_pids: Sequence[int] = ()


@dataclass(frozen=True)
class Figures:
    """Of one measurement, or the medians of several. CPU seconds are per million accepted events."""

    events_per_second: float
    p50_ms: float
    p99_ms: float
    server_cpu: float
    broker_cpu: float
    generator_cpu: float
    others_cores: float
    """Cores that programs kept busy which are no part of the measurement."""
    errors: Counter[str] = field(default_factory=Counter)
    """Events that were not accepted, by the reason."""
    first_error: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether every event was accepted as a new one; else nothing may be concluded."""
        return self.events_per_second > 0 and not self.errors


def start(generator: Path, plan: Plan) -> subprocess.Popen[str]:
    running = subprocess.Popen([generator], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stdin is not None
    running.stdin.write(json.dumps(asdict(plan)))
    running.stdin.close()
    running.stdin = None  # communicate() would close it once more
    return running


def finish(running: subprocess.Popen[str]) -> Figures:
    """Waits for the generator's end. Its complaints are on the terminal."""
    printed, _ = running.communicate()
    if running.returncode != 0:
        raise CannotRun("the load generator failed")
    return _figures(json.loads(printed))


def _figures(result: dict[str, Any]) -> Figures:
    seconds, accepted = result["seconds"], result["accepted"]
    server, broker, own = (result[f"{whose}_cpu_seconds"] for whose in ("server", "broker", "own"))
    per_million = 1e6 / accepted if accepted else float("nan")
    errors = Counter(result["errors"])
    if result["repeated"]:
        errors["answered as repeated"] = result["repeated"]
    return Figures(
        events_per_second=accepted / seconds,
        p50_ms=result["p50_ms"],
        p99_ms=result["p99_ms"],
        server_cpu=server * per_million,
        broker_cpu=broker * per_million,
        generator_cpu=own * per_million,
        others_cores=max(0.0, result["busy_cpu_seconds"] - server - broker - own) / seconds,
        errors=errors,
        first_error=result["first_error"],
    )


def medians(measured: Sequence[Figures]) -> Figures:
    def median(name: str) -> float:
        values: list[float] = [getattr(each, name) for each in measured]
        return statistics.median(values)

    return Figures(
        events_per_second=median("events_per_second"),
        p50_ms=median("p50_ms"),
        p99_ms=median("p99_ms"),
        server_cpu=median("server_cpu"),
        broker_cpu=median("broker_cpu"),
        generator_cpu=median("generator_cpu"),
        others_cores=median("others_cores"),
        errors=sum((each.errors for each in measured), Counter()),
        first_error=next((each.first_error for each in measured if each.first_error), ""),
    )
