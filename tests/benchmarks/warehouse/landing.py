"""Landing beside dlt: the same topic to a lake, and to a DuckDB file.

Both read everything that is there. The start of a process is not measured: landing's rate begins with its
first commit, dlt's after a first load. Nor is landing's waiting at the end. What the records are is the
benchmark of engagement's.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from services.runtime import heartbeat
from services.runtime.settings import LandingSettings
from tests.benchmarks.engagement import records
from tests.benchmarks.engagement.process import Worker, WorkerFailed
from tests.benchmarks.engagement.records import TOPIC
from tests.benchmarks.engagement.workload import Scale
from tests.benchmarks.peer_environments import CannotInstall, python_of
from tests.benchmarks.warehouse import costs
from tests.benchmarks.warehouse.costs import Cost, Meter
from tests.benchmarks.warehouse.lakes import FOLDER
from tests.benchmarks.warehouse.servers import Servers
from tests.landings import own_lake

OURS, DLT = "landing", "dlt"
ENVELOPE = 100
GROUPS, PARTICIPANTS, HOURS = 2_000, 50_000, 6
REQUIREMENTS = FOLDER / "peers" / "requirements.txt"
DLT_HOME = FOLDER / ".build" / "dlt"
PEER = "tests.benchmarks.warehouse.peers.dlt_landing"
QUIET = {"RUNTIME__DLTHUB_TELEMETRY": "false"}
"""None of dlt's reports: they would be measured, and leave the machine."""
TAIL_ROWS = 2 * LandingSettings().commit_rows
"""So many at the end of a topic are not measured: the last commit waits until its two seconds are over, which
is no work and a seventh of the time that five million events take."""
PATIENCE_SECONDS = 600.0


@dataclass(frozen=True)
class Landed:
    """Rows, and what they cost. PostgreSQL works for us only: it holds the lake's catalog."""

    rows: float
    cost: Cost

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.cost.seconds

    def per_million(self, cpu_seconds: float) -> float:
        return cpu_seconds / self.rows * 1e6


def medians(landed: Sequence[Landed]) -> Landed:
    return Landed(statistics.median(each.rows for each in landed), costs.medians([e.cost for e in landed]))


def scale(events: int) -> Scale:
    """Of the benchmark of engagement, so that both can read the same file."""
    return Scale("throughput", events, GROUPS, PARTICIPANTS, HOURS)


def record_file(events: int) -> Path:
    """Before any clock runs; it is kept."""
    return records.record_files(scale(events), [ENVELOPE])[ENVELOPE]


def fill_topic(servers: Servers, file: Path) -> None:
    servers.bench.broker.write(TOPIC.name, records.read(file))


def land(servers: Servers, name: str, events: int) -> Landed:
    """The real process, with its fence, its alarms and its commits, on a lake of its own."""
    with own_lake(servers.bench.folder / name) as lake:
        worker = servers.bench.run(
            OURS,
            [sys.executable, "-m", "services.landing"],
            CIRCLES_POSTGRES_DATABASE_LAKE=lake.database,
            CIRCLES_LAKE_DATA_PATH=str(lake.folder),
        )
        try:
            worker.sample_until(lambda: _landed(worker) > 0, "the first commit", PATIENCE_SECONDS)
            first, meter, begun = _landed(worker), _meter(servers), worker.sample()
            enough = events - TAIL_ROWS
            worker.sample_until(lambda: _landed(worker) >= enough, "nearly the end", PATIENCE_SECONDS)
            rows = _landed(worker) - first
            cost = meter.cost(worker.sample().cpu_seconds - begun.cpu_seconds, worker.peak_rss_bytes)
            worker.sample_until(lambda: _landed(worker) >= events, "the end of the topic", PATIENCE_SECONDS)
        finally:
            worker.stop()
    if not rows:
        raise WorkerFailed("landing has landed nearly all in one commit: ask for more --landing-events")
    return Landed(rows, cost)


def land_with_dlt(servers: Servers, name: str) -> Landed:
    """Raises WorkerFailed when dlt cannot be had, or does not come to its end."""
    try:
        python = python_of("dlt", REQUIREMENTS, DLT_HOME)
    except CannotInstall as reason:
        raise WorkerFailed(str(reason)) from reason
    folder = servers.bench.folder / name
    folder.mkdir()
    settings = folder / "kafka.json"
    settings.touch(mode=0o600)
    settings.write_text(json.dumps(servers.bench.broker.options))
    command = [str(python), "-m", PEER, "--folder", str(folder), "--kafka", str(settings)]
    meter = _meter(servers)
    worker = servers.bench.run(DLT, command, **QUIET)
    found = json.loads(worker.finished(PATIENCE_SECONDS))
    whole = meter.cost(worker.samples[-1].cpu_seconds, worker.peak_rss_bytes)
    shutil.rmtree(folder)
    measured = {"own_cpu_seconds": found["cpu_seconds"], "seconds": found["seconds"]}
    return Landed(found["rows"], replace(whole, postgres_cpu_seconds=0.0, **measured))


def _meter(servers: Servers) -> Meter:
    return Meter(servers.postgres_pid, [servers.bench.kafka_pid])


def _landed(worker: Worker) -> int:
    """How many rows it has committed, as its heartbeat tells."""
    beat = heartbeat.read(OURS)
    return beat.figures.get("landed_rows", 0) if beat and beat.pid == worker.process.pid else 0
