"""`make bench-engagement`, or `python -m tests.benchmarks.engagement`: measures, prints tables, and judges.

Exit code 0: every must holds. 1: one does not. 2: it could not be measured.
"""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import importlib.metadata
import os
import platform
import re
import sys
from dataclasses import dataclass, field

from confluent_kafka import KafkaException

from tests.benchmarks import bounds
from tests.benchmarks.engagement import freshness, state, table, throughput
from tests.benchmarks.engagement.machine import processor
from tests.benchmarks.engagement.process import WorkerFailed
from tests.benchmarks.engagement.records import FOLDER, record_files
from tests.benchmarks.engagement.rows import FRESHNESS, OURS, STATE, Row, in_measuring_order, rows
from tests.benchmarks.engagement.servers import REPOSITORY, REQUIREMENTS, Bench, CannotRun, bench, commit
from tests.benchmarks.engagement.throughput import Figures
from tests.benchmarks.engagement.workload import Scale

RESULTS = FOLDER / "RESULTS.md"
PYTHON_PACKAGES = ("faust-streaming", "aiokafka", "protobuf", "numpy")

GROUPS, PARTICIPANTS, HOURS = 2_000, 50_000, 6
"""Of the rows of throughput and freshness."""

STATE_EVENTS, FULL_STATE_EVENTS = 1_000_000, 10_000_000
EVENTS_OF_A_GROUP, EVENTS_OF_A_PERSON = 100, 10
"""Of the rows of state."""


@dataclass
class Found:
    """What a run has measured so far."""

    rows: dict[Row, Figures] = field(default_factory=dict)
    figures: list[bounds.Line] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    """Of rows that are no figures in the table."""


def main() -> int:
    options = _options()
    names = [*(row.name for row in rows()), STATE, FRESHNESS]
    wanted = {name for name in names if _is_wanted(name, options.only)}
    if not wanted:
        print(f"No row matches. There are: {', '.join(names)}", file=sys.stderr)
        return 2
    try:
        report, failures = _run(wanted, options)
    except (CannotRun, KafkaException) as reason:
        print(reason, file=sys.stderr)
        return 2
    print("\n".join(report))
    if options.record:
        RESULTS.write_text("\n".join(["# Results of `make bench-engagement`", "", *report, ""]))
    for each in failures:
        print(f"FAILS: {each}", file=sys.stderr)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-engagement", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="measurements per row; the median is shown")
    parser.add_argument(
        "--events", type=int, default=400_000, help="of a row of throughput; slow workers get a part of them"
    )
    parser.add_argument("--state-events", type=int, default=STATE_EVENTS, help="of the rows of state")
    parser.add_argument(
        "--full",
        action="store_const",
        const=FULL_STATE_EVENTS,
        dest="state_events",
        help=f"the rows of state with {FULL_STATE_EVENTS:,} events; the first time they are made, in minutes",
    )
    parser.add_argument(
        "--only", action="append", metavar="PATTERN", help="rows by name, as 'ours-*'; may be repeated"
    )
    parser.add_argument("--record", action="store_true", help=f"write the result to {RESULTS.name} as well")
    return parser.parse_args()


def _is_wanted(name: str, patterns: list[str] | None) -> bool:
    return patterns is None or any(fnmatch.fnmatch(name, each) for each in patterns)


def _run(wanted: set[str], options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The report's lines, and what must hold and does not."""
    load_before, found = os.getloadavg(), Found()
    _say("making the records that are not there yet")
    _files(wanted, options)
    _say("starting a stack")
    with bench() as running:
        _measure_rows(running, wanted, options, found)
        if STATE in wanted:
            _measure_state(running, options, found)
        if FRESHNESS in wanted:
            _measure_freshness(running, options, found)
    report = [*_conditions(found, options, load_before), ""]
    if found.rows:
        report += [*table.lines(found.rows), "", *(f"{each}\n" for each in table.notes(found.rows))]
    if found.figures:
        report += [*bounds.lines(found.figures), ""]
    report += [f"{each}\n" for each in found.troubles]
    failures = [*table.failures(found.rows), *bounds.failed(found.figures), *found.troubles]
    return report, failures


def _throughput_scale(options: argparse.Namespace) -> Scale:
    return Scale("throughput", options.events, GROUPS, PARTICIPANTS, HOURS)


def _state_scale(options: argparse.Namespace) -> Scale:
    count = options.state_events
    return state.scale(count, count // EVENTS_OF_A_GROUP, count // EVENTS_OF_A_PERSON)


def _files(wanted: set[str], options: argparse.Namespace) -> None:
    """Before any clock runs."""
    record_files(_throughput_scale(options), sorted({row.size for row in rows()}))
    if STATE in wanted:
        record_files(_state_scale(options), [state.SIZE])


def _measure_rows(running: Bench, wanted: set[str], options: argparse.Namespace, found: Found) -> None:
    """Medians by row. Each row comes once a round, so that a change of the machine meets all of them."""
    asked = [row for row in rows() if row.name in wanted]
    files = record_files(_throughput_scale(options), sorted({row.size for row in asked}))
    every: dict[Row, list[Figures]] = {row: [] for row in asked}
    for number in range(1, options.rounds + 1):
        for place, row in enumerate(in_measuring_order(asked), start=1):
            figures = throughput.measure(running, row, files[row.size], options.events)
            every[row].append(figures)
            _say(f"round {number}/{options.rounds}, row {place}/{len(asked)}: {row.name}: {_brief(figures)}")
    found.rows = {row: throughput.medians(each) for row, each in every.items()}


def _brief(figures: Figures) -> str:
    if not figures.is_sound:
        return figures.trouble
    return (
        f"{figures.events_per_cpu_second:,.0f} events/CPU-s, {figures.events_per_second:,.0f} events/s, "
        f"others {figures.others_cores:.1f} cores"
    )


def _measure_state(running: Bench, options: argparse.Namespace, found: Found) -> None:
    _say(f"a state of {options.state_events:,} events")
    scale = _state_scale(options)
    path = record_files(scale, [state.SIZE])[state.SIZE]
    first = record_files(_throughput_scale(options), [state.SIZE])[state.SIZE]
    try:
        figures = state.measure(running, path, options.state_events, first)
    except WorkerFailed as reason:
        found.troubles.append(f"No figures of {STATE}: {reason}")
    else:
        found.figures += table.state_figures(figures, scale.groups, scale.participants)


def _measure_freshness(running: Bench, options: argparse.Namespace, found: Found) -> None:
    """At half of what the row of the same envelopes has shown; it is measured if it was not asked for."""
    row = Row(OURS, freshness.SIZE)
    path = record_files(_throughput_scale(options), [row.size])[row.size]
    capacity = found.rows.get(row) or throughput.measure(running, row, path, options.events)
    _say("from sending to the row in PostgreSQL")
    try:
        if not capacity.is_sound:
            raise WorkerFailed(capacity.trouble)
        figures = freshness.measure(running, path, options.events, capacity.events_per_second)
    except WorkerFailed as reason:
        found.troubles.append(f"No figures of {FRESHNESS}: {reason}")
    else:
        found.figures += table.fresh_figures(figures)


def _conditions(
    found: Found, options: argparse.Namespace, load_before: tuple[float, float, float]
) -> list[str]:
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PYTHON_PACKAGES)
    before, after = (" ".join(f"{each:.1f}" for each in load) for load in (load_before, os.getloadavg()))
    others = [figures.others_cores for figures in found.rows.values() if figures.is_sound] or [0.0]
    return [
        f"* {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, commit {commit()}; "
        f"medians of {options.rounds} rounds",
        f"* Python {platform.python_version()}, {packages}; Quix Streams {_pinned('quixstreams')}; "
        f"Kafka {_kafka_version()}",
        f"* {os.cpu_count()} cores ({processor()}) for worker, broker and benchmark together; "
        f"load average before {before}, after {after}; other programs kept "
        f"{sum(others) / len(others):.2f} cores busy in the mean row, {max(others):.2f} in the worst",
        f"* {GROUPS:,} groups of 2 tenants, {PARTICIPANTS:,} people, {HOURS} hours; 3 % of the events late "
        "by up to 26 hours, 1 % told twice",
    ]


def _kafka_version() -> str:
    lock = (REPOSITORY / "infra" / "local" / "kafka-jars.lock").read_text()
    return lock.partition("org.apache.kafka:kafka-server:")[2].split()[0]


def _pinned(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)$", REQUIREMENTS.read_text(), re.MULTILINE)
    return found[1] if found else "of no known version"


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
