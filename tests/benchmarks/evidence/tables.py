"""All evidence tables of a lake of so many events: from marts to a checked candidate, as Dagster makes it;
then again after ten thousand new events of one world's partners.

What the marts themselves cost is `bench-warehouse`'s, what their suites cost `bench-quality`'s.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.builds.evidence import judge_marts, make_candidate
from pipelines.evidence.rows import TABLES
from pipelines.publication.release import publish
from services.runtime.settings import LakeSettings, PostgresSettings
from tests.benchmarks.warehouse.costs import Cost, Meter
from tests.benchmarks.warehouse.lakes import Shape, admit_all, land_further
from tests.benchmarks.warehouse.servers import servers
from tests.benchmarks.warehouse.worlds import World
from tests.landings import OwnLake

WORLDS, FURTHER = 10, 10_000
YEARS_BEFORE = 5
"""So that the days that `synthetic-covid` asks for are among those of the worlds."""


@dataclass(frozen=True)
class Made:
    """Rows of all tables; `taken_over`: those of partners of whom nothing had changed."""

    cost: Cost
    rows: int
    taken_over: int


@dataclass(frozen=True)
class Tables:
    """`build`: what dbt used for the update between both."""

    events: int
    full: Made
    update: Made
    build: Cost


def shape(events: int) -> Shape:
    """Ten worlds, each of three partners of its own."""
    worlds = (
        World(
            number,
            events // WORLDS,
            FURTHER if number == 0 else 0,
            groups_of=number,
            years_before=YEARS_BEFORE,
            of_partners=f"-{number}",
        )
        for number in range(WORLDS)
    )
    return Shape("evidence", "ten worlds", tuple(worlds))


def measure(events: int) -> Tables:
    """Raises CannotRun, ProcessFailed."""
    asked = shape(events)
    with servers() as running:
        _say(f"a lake of {events:,} events, and its marts")
        lake = running.lake(asked.name, asked)
        builder = running.builder(lake)
        builder.build()
        _say("all tables")
        full = _made(lake, running.postgres_pid, "bench-full")
        _say(f"{full.rows:,} rows in {full.cost.cpu_seconds:,.1f} CPU-s; {FURTHER:,} new events")
        land_further(lake, asked, 0, FURTHER)
        admit_all(lake, PostgresSettings.load(), "bench-further")
        lake.disconnect()
        build = builder.build().cost
        return Tables(asked.events, full, _made(lake, running.postgres_pid, "bench-update"), build)


def _made(lake: OwnLake, server: int, run_id: str) -> Made:
    """A candidate, which is released afterwards. The verdict on the marts is there before."""
    settings = LakeSettings.load(data_path=lake.folder), PostgresSettings.load(database_lake=lake.database)
    judge_marts(*settings, run_id)
    made, cost = _measured(lambda: make_candidate(*settings, run_id), server)
    publish(settings[1], [*TABLES.values()], made.release_id)
    return Made(
        cost,
        sum(len(each) for each in made.frames.values()),
        sum(int(each["tenant"].isin([*made.unchanged[name]]).sum()) for name, each in made.frames.items()),
    )


def _measured(work: Callable[[], Any], server: int) -> tuple[Any, Cost]:
    meter, begun = Meter(server), sum(os.times()[:2])
    done = work()
    return done, meter.cost(sum(os.times()[:2]) - begun)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
