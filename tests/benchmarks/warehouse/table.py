"""The tables as a person reads them, on the terminal and in RESULTS.md alike: Markdown.

What must hold is in `rows`; what is in the tables is measured elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.bounds import Line, judged
from tests.benchmarks.tables import aligned
from tests.benchmarks.warehouse.build import Built
from tests.benchmarks.warehouse.costs import Cost
from tests.benchmarks.warehouse.lakes import Shape
from tests.benchmarks.warehouse.landing import Landed
from tests.benchmarks.warehouse.queries import Answered
from tests.benchmarks.warehouse.rows import FULL, INCREMENT, LANDING, QUERY

MIB = 1024 * 1024
MODELS_SHOWN = 25


@dataclass(frozen=True)
class Full:
    """Everything built from nothing. `empty`: the same run on a lake in which nothing has landed."""

    events: int
    build: Built
    run: Cost
    plain: Cost
    empty: Cost

    @property
    def times(self) -> float:
        """How many times as much as plain DuckDB, start-up left out."""
        return (self.run.cpu_seconds - self.empty.cpu_seconds) / self.plain.cpu_seconds


@dataclass(frozen=True)
class Increment:
    """New events on a lake: their admission, and the build after it."""

    shape: Shape
    events: int
    admission: Cost
    build: Cost
    built: Built
    """Of the last round, for the times of its models."""


@dataclass
class Found:
    """What a run has measured so far."""

    ours: Landed | None = None
    dlt: Landed | None = None
    full: Full | None = None
    increments: list[Increment] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    """Of what has no figures."""


def figures(found: Found) -> list[Line]:
    """What must hold, as far as it was measured."""
    lines = []
    if found.ours and found.dlt:
        lines.append(judged(LANDING, found.ours.rows_per_second / found.dlt.rows_per_second))
    if found.full:
        lines.append(judged(FULL, found.full.times))
    by_shape = {each.shape.name: each for each in found.increments}
    if {"small", "wide"} <= by_shape.keys():
        small, wide = by_shape["small"].build, by_shape["wide"].build
        lines.append(judged(INCREMENT, wide.cpu_seconds / small.cpu_seconds))
        lines.append(Line("the same by the clock", f"{wide.seconds / small.seconds:.2f} ×"))
        if "long" in by_shape:
            long = by_shape["long"].build.cpu_seconds / small.cpu_seconds
            lines.append(Line("on ten times as long a history ÷ on one world", f"{long:.2f} ×"))
    if found.answers:
        lines.append(judged(QUERY, max(each.p95 for each in found.answers)))
    return lines


def landing_lines(found: Found) -> list[str]:
    headings = (
        *("landing", "rows", "rows/s", "CPU-s per million"),
        *("PostgreSQL's per million", "peak MiB", "others' cores"),
    )
    named = {"landing, to the lake": found.ours, "dlt, Arrow to a DuckDB file": found.dlt}
    cells = [
        [
            name,
            f"{each.rows:,.0f}",
            f"{each.rows_per_second:,.0f}",
            f"{each.per_million(each.cost.own_cpu_seconds):.2f}",
            f"{each.per_million(each.cost.postgres_cpu_seconds):.2f}",
            f"{each.cost.peak_rss_bytes / MIB:,.0f}",
            f"{each.cost.others_cores:.2f}",
        ]
        for name, each in named.items()
        if each
    ]
    return aligned(headings, cells, {"landing"}) if cells else []


def full_lines(full: Full) -> list[str]:
    headings = ("everything from nothing", *_COST_HEADINGS)
    rows = {
        "dbt build, with its tests": full.build.cost,
        "dbt run": full.run,
        "plain DuckDB, the same statements": full.plain,
        "dbt run of an empty lake: start-up": full.empty,
    }
    cells = [[name, *_cost_cells(cost, full.events)] for name, cost in rows.items()]
    return aligned(headings, cells, {"everything from nothing"})


def increment_lines(found: Sequence[Increment]) -> list[str]:
    headings = (
        *("new events on", "events there", "new", *_COST_HEADINGS[:1], *_COST_HEADINGS[2:]),
        *("models s", "tests s", "admission CPU-s", "admission s"),
    )
    cells = []
    for each in found:
        cpu, _, *rest = _cost_cells(each.build, each.events)
        times = (each.built.model_seconds, each.built.test_seconds)
        admission = (each.admission.cpu_seconds, each.admission.seconds)
        cells.append(
            [
                each.shape.title,
                f"{each.shape.events:,}",
                f"{each.events:,}",
                cpu,
                *rest,
                *(f"{seconds:.1f}" for seconds in (*times, *admission)),
            ]
        )
    return aligned(headings, cells, {"new events on"})


def model_lines(found: Found) -> list[str]:
    """By the clock, as dbt tells: the slowest models and tests of increments, and what they took at first."""
    columns = {each.shape.name: _seconds_by_node(each.built) for each in found.increments}
    if found.full:
        columns["all from nothing"] = _seconds_by_node(found.full.build)
    first = next(iter(columns.values()), {})
    slowest = sorted(first, key=lambda name: -max(each.get(name, 0.0) for each in columns.values()))
    cells = [
        [name, *(f"{each.get(name, 0.0):.2f}" for each in columns.values())]
        for name in slowest[:MODELS_SHOWN]
    ]
    return aligned(("model or test, s", *columns), cells, {"model or test, s"}) if cells else []


def query_lines(answers: Sequence[Answered]) -> list[str]:
    cells = [
        [each.question.who, each.question.what, f"{each.lines:,}", f"{each.p50:.3f}", f"{each.p95:.3f}"]
        for each in answers
    ]
    return aligned(("who", "question", "lines", "p50 s", "p95 s"), cells, {"who", "question"})


_COST_HEADINGS = ("CPU-s", "CPU-s per million", "of it PostgreSQL", "s", "peak MiB", "others' cores")


def _cost_cells(cost: Cost, events: int) -> list[str]:
    return [
        f"{cost.cpu_seconds:,.1f}",
        f"{cost.cpu_seconds / events * 1e6:,.2f}",
        f"{cost.postgres_cpu_seconds:,.1f}",
        f"{cost.seconds:,.1f}",
        f"{cost.peak_rss_bytes / MIB:,.0f}",
        f"{cost.others_cores:.2f}",
    ]


def _seconds_by_node(built: Built) -> Mapping[str, float]:
    return {each.name: each.seconds for each in built.nodes}
