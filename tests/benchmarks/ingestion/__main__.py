"""`make bench-ingestion`, or `python -m tests.benchmarks.ingestion`: measures, prints one table, and judges.

Exit code 0: every must holds. 1: one does not. 2: it could not be measured.
"""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.ingestion import contention, table
from tests.benchmarks.ingestion.golang import FOLDER, PROGRAMS, CannotRun, build, go_version, module_version
from tests.benchmarks.ingestion.load import Figures, medians
from tests.benchmarks.ingestion.rows import Row, in_measuring_order, rows
from tests.benchmarks.ingestion.servers import REPOSITORY, Bench, bench

RESULTS = FOLDER / "RESULTS.md"
PYTHON_PACKAGES = ("grpcio", "protobuf", "kafka-python", "confluent-kafka")


def main() -> int:
    options = _options()
    wanted = [row for row in rows() if _is_wanted(row, options.only)]
    if not wanted:
        print(f"No row matches. There are: {', '.join(row.name for row in rows())}", file=sys.stderr)
        return 2
    try:
        report, failures = _run(wanted, options)
    except CannotRun as reason:
        print(reason, file=sys.stderr)
        return 2
    print("\n".join(report))
    if options.record:
        RESULTS.write_text("\n".join(["# Results of `make bench-ingestion`", "", *report, ""]))
    for each in failures:
        print(f"FAILS: {each}", file=sys.stderr)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-ingestion", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="measurements per row; the median is shown")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement, after its warm-up")
    parser.add_argument(
        "--only", action="append", metavar="PATTERN", help="rows by name, as 'gateway-*-100'; may be repeated"
    )
    parser.add_argument("--record", action="store_true", help=f"write the result to {RESULTS.name} as well")
    return parser.parse_args()


def _is_wanted(row: Row, patterns: list[str] | None) -> bool:
    return patterns is None or any(fnmatch.fnmatch(row.name, each) for each in patterns)


def _run(wanted: list[Row], options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The report's lines, and what must hold and does not."""
    load_before = os.getloadavg()
    _say("building the Go programs: minutes the first time")
    for program in PROGRAMS:
        build(program)
    _say("starting a stack")
    with bench() as running:
        for server in dict.fromkeys(row.server for row in wanted):
            _say(f"starting {server}")
            running.start(server)
        measured = _measured(running, wanted, options)
        report = [*_conditions(measured, options, load_before), "", *table.lines(measured), ""]
        report += [f"{each}\n" for each in table.footnotes(measured, running.event_bytes)]
        failures = [*table.failures(measured), *table.troubles(measured)]
        if options.only is None:
            _say("one tenant at ten times its limit")
            beside = contention.measure(running, options.rounds, options.seconds)
            report += ["## One tenant at ten times its limit", "", *beside.lines()]
            failures += [] if beside.holds else ["p99 of one tenant beside another"]
    return report, failures


def _measured(running: Bench, wanted: list[Row], options: argparse.Namespace) -> dict[Row, Figures]:
    """Medians by row. Each row comes once a round, so that a change of the machine meets all of them."""
    _discard_first(running, wanted)
    found: dict[Row, list[Figures]] = {row: [] for row in wanted}
    for number in range(1, options.rounds + 1):
        for place, row in enumerate(in_measuring_order(wanted), start=1):
            figures = running.measure(row, options.seconds)
            found[row].append(figures)
            _say(
                f"round {number}/{options.rounds}, row {place}/{len(wanted)}: {row.name}: "
                f"{figures.events_per_second:,.0f} events/s, {figures.server_cpu:.1f} CPU-s/M "
                f"(generator {figures.generator_cpu:.1f}), others {figures.others_cores:.1f} cores"
                + (f", {figures.first_error}" if figures.first_error else "")
            )
    return {row: medians(each) for row, each in found.items()}


def _discard_first(running: Bench, wanted: list[Row]) -> None:
    """The broker compiles its code in the first seconds, and every server opens its connections."""
    for server in dict.fromkeys(row.server for row in wanted):
        _say(f"warming up {server}")
        running.measure(max((row for row in wanted if row.server == server), key=lambda row: row.batch), 2.0)


def _conditions(
    measured: dict[Row, Figures], options: argparse.Namespace, load_before: tuple[float, float, float]
) -> list[str]:
    others = [figures.others_cores for figures in measured.values()]
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PYTHON_PACKAGES)
    collector = module_version("collector", "go.opentelemetry.io/collector/receiver/otlpreceiver")
    before, after = (" ".join(f"{each:.1f}" for each in found) for found in (load_before, os.getloadavg()))
    return [
        f"* {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}; "
        f"medians of {options.rounds} rounds of {options.seconds:g} s per row",
        f"* Python {platform.python_version()}, {packages}; Collector {collector}; Go {go_version()}, "
        f"grpc-go {module_version('load', 'google.golang.org/grpc')}; Kafka {_kafka_version()}",
        f"* {os.cpu_count()} cores ({_processor()}) for servers, broker and generator together; "
        f"load average before {before}, after {after}; other programs kept "
        f"{sum(others) / len(others):.2f} cores busy in the mean row, {max(others):.2f} in the worst",
    ]


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty= with changes"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout.strip()


def _kafka_version() -> str:
    lock = (REPOSITORY / "infra" / "local" / "kafka-jars.lock").read_text()
    return lock.partition("org.apache.kafka:kafka-server:")[2].split()[0]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
