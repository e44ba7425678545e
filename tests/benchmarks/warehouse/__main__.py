"""`make bench-warehouse`, or `python -m tests.benchmarks.warehouse`: measures, prints tables, and judges.

Exit code 0: every must holds. 1: one does not. 2: it could not be measured.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import sys

from confluent_kafka import KafkaException

from services.runtime.settings import LakeSettings, PostgresSettings
from tests.benchmarks import bounds
from tests.benchmarks.engagement.machine import processor
from tests.benchmarks.engagement.process import WorkerFailed
from tests.benchmarks.engagement.servers import REPOSITORY, CannotRun, commit
from tests.benchmarks.warehouse import costs, landing, plain, queries, table
from tests.benchmarks.warehouse.build import Builder, Built
from tests.benchmarks.warehouse.costs import Cost, Meter, ProcessFailed
from tests.benchmarks.warehouse.lakes import FOLDER, Shape, admit_all, land_further, shapes
from tests.benchmarks.warehouse.queries import QuestionFailed
from tests.benchmarks.warehouse.rows import SECTIONS
from tests.benchmarks.warehouse.servers import Servers, servers
from tests.benchmarks.warehouse.table import Found, Full, Increment
from tests.landings import OwnLake
from tests.stacks import bare_environment

RESULTS = FOLDER / "RESULTS.md"
PACKAGES = ("duckdb", "dbt-core", "dbt-duckdb", "pyarrow", "ptars", "great-expectations")

WORLD_EVENTS, FURTHER = 1_000_000, 10_000
LANDING_EVENTS = 5_000_000
"""So many that the last commit, which waits for rows that do not come, weighs little."""
QUICK = {
    "world_events": 20_000,
    "further": 1_000,
    "landing_events": 1_200_000,
    "asked": 3,
    "landing_days": 60,
}
LANDING_ROUNDS, UPDATE_ROUNDS = 3, 7
"""At least. They are short, and vary by a tenth from round to round."""
EMPTY = Shape("empty", "nothing", ())


def main() -> int:
    options = _options()
    try:
        report, failures = _run(options)
    except (CannotRun, ProcessFailed, WorkerFailed, KafkaException) as reason:
        print(reason, file=sys.stderr)
        return 2
    print("\n".join(report))
    if options.record:
        RESULTS.write_text("\n".join(["# Results of `make bench-warehouse`", "", *report, ""]))
    for each in failures:
        print(f"{'would fail' if options.quick else 'FAILS'}: {each}", file=sys.stderr)
    return 1 if failures and not options.quick else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-warehouse", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="of each measurement; medians are shown")
    parser.add_argument("--world-events", type=int, default=WORLD_EVENTS, help="of one of the ten worlds")
    parser.add_argument("--further", type=int, default=FURTHER, help="new events of an incremental build")
    parser.add_argument(
        "--landing-events", type=int, default=LANDING_EVENTS, help="on the topic to be landed"
    )
    parser.add_argument("--landing-days", type=int, default=1, help="between two landings of the history")
    parser.add_argument("--asked", type=int, default=20, help="how often each question is asked")
    parser.add_argument("--full", action="store_true", help="a history that is ten times as long as well")
    parser.add_argument("--quick", action="store_true", help="a fiftieth of all; fails nothing")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="a part of it; may be repeated")
    parser.add_argument("--record", action="store_true", help=f"write the result to {RESULTS.name} as well")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    return options


def _run(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The report's lines, and what must hold and does not."""
    load_before, found = os.getloadavg(), Found()
    wanted = options.only or [*SECTIONS]
    _say("starting Kafka and PostgreSQL")
    with servers() as running:
        if "landing" in wanted:
            _measure_landing(running, options, found)
        if {"full", "increment", "queries"} & {*wanted}:
            try:
                _measure_lakes(running, options, wanted, found)
            except ProcessFailed as reason:  # what was measured before is told all the same
                found.troubles.append(f"Not everything was measured: {reason}")
    figures = table.figures(found)
    report = [*_conditions(options, load_before), "", *_tables(found), *bounds.lines(figures), ""]
    report += [f"{each}\n" for each in found.troubles]
    return report, [*bounds.failed(figures), *found.troubles]


def _rounds(options: argparse.Namespace, at_least: int) -> int:
    rounds: int = options.rounds
    return max(rounds, at_least)


def _tables(found: Found) -> list[str]:
    parts = [
        table.landing_lines(found),
        table.full_lines(found.full) if found.full else [],
        table.increment_lines(found.increments) if found.increments else [],
        table.model_lines(found),
        table.query_lines(found.answers) if found.answers else [],
    ]
    return [line for part in parts if part for line in (*part, "")]


def _measure_landing(running: Servers, options: argparse.Namespace, found: Found) -> None:
    """In turn, so that a change of the machine meets both."""
    _say("the topic that is landed")
    landing.fill_topic(running, landing.record_file(options.landing_events))
    ours, dlts = [], []
    for number in range(_rounds(options, LANDING_ROUNDS)):
        ours.append(landing.land(running, f"landing-{number}", options.landing_events))
        _say(f"landing: {ours[-1].rows_per_second:,.0f} rows/s")
        try:
            dlts.append(landing.land_with_dlt(running, f"dlt-{number}"))
            _say(f"dlt: {dlts[-1].rows_per_second:,.0f} rows/s")
        except WorkerFailed as reason:
            found.troubles.append(f"No figures of dlt: {reason}")
    found.ours = landing.medians(ours)
    found.dlt = landing.medians(dlts) if dlts else None


def _measure_lakes(running: Servers, options: argparse.Namespace, wanted: list[str], found: Found) -> None:
    further = options.further * _rounds(options, UPDATE_ROUNDS)
    small, wide, long = shapes(options.world_events, further, options.landing_days)
    asked = [small, wide, *([long] if options.full else [])] if "increment" in wanted else [wide]
    built: dict[Shape, Builder] = {}
    for shape in asked:
        _say(f"a lake of {shape.events:,} events, {shape.title}: made, and built for the first time")
        built[shape] = running.builder(running.lake(shape.name, shape))
        first = built[shape].build()
        _tell(shape, first)
        if shape is wide and "full" in wanted:
            try:
                found.full = _full(running, built[shape], first, shape, options.rounds)
            except ProcessFailed as reason:  # the rest does not hang on it
                found.troubles.append(f"No full build beside plain DuckDB: {reason}")
    if "increment" in wanted:
        found.increments = _increments(running, built, options)
    if "queries" in wanted:
        _ask(built[wide].lake, options.asked, found)


def _full(running: Servers, builder: Builder, first: Built, shape: Shape, rounds: int) -> Full:
    empty = running.builder(running.lake(EMPTY.name, EMPTY))
    database = running.bench.folder / "plain.duckdb"
    _say("the same in plain DuckDB")
    plain.copy_sources(builder.lake, database)
    builder.lake.disconnect()
    runs, plains = [], []
    for _ in range(rounds):
        runs.append(builder.run().cost)
        plains.append(_plain(running, builder, database))
    return Full(shape.events, first, costs.medians(runs), costs.medians(plains), empty.run().cost)


def _plain(running: Servers, builder: Builder, database: os.PathLike[str]) -> Cost:
    command = [sys.executable, "-m", plain.__name__, str(database), str(builder.manifest)]
    log = running.bench.folder / "plain.log"
    return costs.run(command, bare_environment(), REPOSITORY, log, running.postgres_pid)


def _increments(
    running: Servers, built: dict[Shape, Builder], options: argparse.Namespace
) -> list[Increment]:
    """The same new events on each lake, round by round."""
    measured: dict[Shape, list[tuple[Cost, Built]]] = {shape: [] for shape in built}
    for number in range(_rounds(options, UPDATE_ROUNDS)):
        for shape, builder in built.items():
            land_further(builder.lake, shape, number, options.further)
            meter, begun = Meter(running.postgres_pid), sum(os.times()[:2])
            admit_all(builder.lake, PostgresSettings.load(), f"bench-{shape.name}-{number}")
            admission = meter.cost(sum(os.times()[:2]) - begun)
            builder.lake.disconnect()
            measured[shape].append((admission, builder.build()))
            _tell(shape, measured[shape][-1][1])
    return [
        Increment(
            shape,
            options.further,
            costs.medians([admission for admission, _ in rounds]),
            costs.medians([each.cost for _, each in rounds]),
            rounds[-1][1],
        )
        for shape, rounds in measured.items()
    ]


def _ask(lake: OwnLake, times: int, found: Found) -> None:
    _say("a release, and ten questions")
    queries.release(lake)
    asked = queries.questions(lake)
    lake.disconnect()
    for each in asked:
        try:
            found.answers.append(queries.ask(each, lake, times))
        except QuestionFailed as reason:
            found.troubles.append(str(reason))


def _tell(shape: Shape, built: Built) -> None:
    cost = built.cost
    _say(
        f"{shape.title}: {cost.cpu_seconds:,.1f} CPU-s, {cost.seconds:,.1f} s; models "
        f"{built.model_seconds:,.1f}, tests {built.test_seconds:,.1f}; others {cost.others_cores:.1f} cores"
    )


def _conditions(options: argparse.Namespace, load_before: tuple[float, float, float]) -> list[str]:
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    before, after = (" ".join(f"{each:.1f}" for each in load) for load in (load_before, os.getloadavg()))
    lake = LakeSettings.load()
    return [
        f"* {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, commit {commit()}; "
        f"medians of {options.rounds} rounds, of landing {_rounds(options, LANDING_ROUNDS)}, "
        f"of updates {_rounds(options, UPDATE_ROUNDS)}",
        f"* Python {platform.python_version()}, {packages}",
        f"* {os.cpu_count()} cores ({processor()}) for everything together; DuckDB with {lake.threads} "
        f"threads and {lake.memory_limit}, plain DuckDB with {plain.MEMORY}; "
        f"load average before {before}, after {after}",
        "* a world has 500 events of a group and 20 of a person, of 3 tenants in 2 years; 3 % late by up to "
        "26 hours, 0.5 % by up to 30 days, 1 % copies, some conflicts and retractions",
    ]


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
