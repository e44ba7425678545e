"""`make bench-evidence`, or `python -m tests.benchmarks.evidence`: what statistics cost that iterate, or sort
millions, on data made by a seed, and what all tables cost on a lake. Prints a table. Exit code 1: a must does
not hold.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pipelines.evidence.gee import fit_gee
from pipelines.evidence.linear import Integers
from pipelines.evidence.mixed import fit_mixed
from pipelines.evidence.pooling import Floats, pool
from pipelines.evidence.rows import TABLES
from pipelines.evidence.survival import follow
from tests.benchmarks.bounds import Bound, Line, failed, judged, lines
from tests.benchmarks.engagement.machine import processor
from tests.benchmarks.engagement.servers import commit
from tests.benchmarks.evidence.tables import FURTHER, WORLDS, measure
from tests.benchmarks.warehouse.costs import Cost

POOLS, STUDIES = 1_000, 30
POOLING = Bound(f"REML with Hartung–Knapp, {POOLS:,} pools of {STUDIES} studies", 1.0, "CPU-s")
TAU2 = 0.05

PEOPLE, WAVES = 25_000, 4
ROWS = f"{PEOPLE * WAVES:,} person-waves"
MARGINAL = Bound(f"GEE with Kauermann and Carroll's variance, {ROWS}", 60.0, "CPU-s")
MIXED = Bound(f"Mixed model by REML, {ROWS}", 60.0, "CPU-s")

POSTS, GROUPS = 10_000_000, 5_000
REPLIES = Bound(f"First-reply curves of {POSTS:,} posts in {GROUPS:,} groups", 20.0, "CPU-s")
HOUR, DAY = 3600.0, 86_400.0

EVENTS = 10_000_000
ALL_TABLES, UPDATED = 180.0, 30.0
PARTS = ("statistics", "tables")

RESULTS = Path(__file__).with_name("RESULTS.md")
PACKAGES = ("duckdb", "numpy", "scipy", "pandas", "great-expectations")


def main() -> int:
    options, load_before = _options(), os.getloadavg()
    wanted = options.only or [*PARTS]
    found = _statistics(options.rounds) if "statistics" in wanted else []
    if "tables" in wanted:
        found += _tables(options.events)
    report = [*_conditions(options, load_before), "", *lines(found)]
    print("\n".join(report))
    if options.record:
        RESULTS.write_text("\n".join(["# Results of `make bench-evidence`", "", *report, ""]))
    broken = failed(found)
    print("\n".join(f"FAILS: {each}" for each in broken), file=sys.stderr, end="\n" if broken else "")
    return 1 if broken else 0


def _statistics(rounds: int) -> list[Line]:
    """Best of some rounds: what disturbs a round only adds to it."""
    sets, repeated, posts = _studies(), _person_waves(), _posts()
    works: list[tuple[Bound, Callable[[], object]]] = [
        (POOLING, lambda: _pool_all(sets)),
        (MARGINAL, lambda: fit_gee(*repeated, correction="Kauermann-Carroll").linear.coefficients),
        (MIXED, lambda: fit_mixed(*repeated).linear.coefficients),
        (REPLIES, lambda: _first_replies(*posts)),
    ]
    return [judged(bound, min(_cpu_seconds(work) for _ in range(rounds))) for bound, work in works]


def _tables(events: int) -> list[Line]:
    made = measure(events)
    of_lake = f"{len(TABLES)} tables of {made.events:,} events"
    after = f"the same after {FURTHER:,} new ones of three partners in thirty"
    return [
        judged(Bound(of_lake, ALL_TABLES, "CPU-s"), made.full.cost.cpu_seconds),
        _by_the_clock(of_lake, made.full.cost),
        judged(Bound(after, UPDATED, "CPU-s"), made.update.cost.cpu_seconds),
        _by_the_clock(after, made.update.cost),
        Line("rows in them", f"{made.update.rows:,}, {made.update.taken_over:,} of them taken over"),
        Line("the marts' update before it", f"{made.build.cpu_seconds:,.1f} CPU-s"),
    ]


def _by_the_clock(figure: str, cost: Cost) -> Line:
    others = f"; other programs kept {cost.others_cores:.2f} cores busy"
    return Line(f"{figure}, by the clock", f"{cost.seconds:,.0f} s{others}")


def _conditions(options: argparse.Namespace, load_before: tuple[float, float, float]) -> list[str]:
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    before, after = (" ".join(f"{each:.1f}" for each in load) for load in (load_before, os.getloadavg()))
    return [
        f"* {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, commit {commit()}; "
        f"statistics: the best of {options.rounds} rounds",
        f"* Python {platform.python_version()}, {packages}",
        f"* {os.cpu_count()} cores ({processor()}); load average before {before}, after {after}",
        f"* the lake: {WORLDS} worlds, each of three partners; the new events are those of one world",
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-evidence", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of statistics; the best of them counts")
    parser.add_argument("--events", type=int, default=EVENTS, help="of the lake whose tables are made")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part of it; may be repeated")
    parser.add_argument("--record", action="store_true", help=f"write the result to {RESULTS.name} as well")
    return parser.parse_args()


def _studies() -> list[tuple[Floats, Floats]]:
    """Effects around 0.3 that differ by τ², and their variances."""
    random = np.random.default_rng(20261130)
    variances = random.uniform(0.01, 0.2, (POOLS, STUDIES))
    return [(random.normal(0.3, np.sqrt(each + TAU2)), each) for each in variances]


def _person_waves() -> tuple[Floats, Floats, Integers]:
    """Outcome, design and person: every second one in the arm, waves, two covariates, arm by wave."""
    random = np.random.default_rng(20261130)
    people = np.repeat(np.arange(PEOPLE), WAVES)
    arm, wave = people % 2, np.tile(np.arange(WAVES), PEOPLE)
    covariates = random.normal(size=(2, len(people)))
    design = np.column_stack([np.ones(len(people)), arm, wave, *covariates, arm * wave])
    outcome = 0.1 * wave + random.normal(size=PEOPLE)[people] + random.normal(size=len(people))
    return outcome, design, people


def _pool_all(sets: Sequence[tuple[Floats, Floats]]) -> None:
    """With all that a pool tells: Q-profile, I², H² and the prediction interval as well."""
    for effects, variances in sets:
        pool(effects, variances)


def _posts() -> tuple[Floats, Integers, Integers]:
    """Seconds to a reply, a removal or the end of the data; which it was; groups, of which some are large."""
    random = np.random.default_rng(20261130)
    groups = np.minimum(random.pareto(1.0, POSTS) * 20, GROUPS - 1).astype(np.int64)
    pace = random.lognormal(0, 1, GROUPS)[groups]
    waits = random.exponential([[6 * HOUR], [30 * DAY], [60 * DAY]], (3, POSTS)) * [
        pace,
        pace,
        np.ones(POSTS),
    ]
    first = waits.argmin(axis=0)
    return np.floor(waits[first, np.arange(POSTS)]), np.array([1, 2, 0])[first], groups


def _first_replies(waits: Floats, causes: Integers, groups: Integers) -> None:
    """Medians, and what share has a reply within an hour and a day, with removals competing."""
    followed = follow(waits, causes, groups, GROUPS)
    followed.curves().quantiles()
    replied = followed.incidence(1)
    for limit in (HOUR, DAY):
        replied.at(limit)


def _cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
