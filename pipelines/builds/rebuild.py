"""Everything downstream of the raw tables once more: staging to marts by dbt, evidence, a release.

Verdicts on slices stay, an operator's among them: the same rows are staged again. What has none yet gets one
first. Raw rows are landing's to make again. Killed anywhere, each table is as it was before or after, and
running it again does the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import duckdb

from pipelines.builds.evidence import make_candidate
from pipelines.builds.one import refuse_beside_another
from pipelines.evidence.rows import TABLES
from pipelines.publication.release import publish
from pipelines.quality.admission import admit, has_ledger, pending_slices
from pipelines.quality.suites import RAW_SUITES
from services.runtime.lake import open_lake
from services.runtime.settings import LakeSettings, PostgresSettings

Transform = Callable[[Callable[[int, int], None]], int]
"""Builds all models anew and returns how many; tells of how many of how many are done."""

ROWS_PER_SECOND = {"admission": 20_000, "transform": 40_000, "evidence": 1_000_000}
SECONDS_AT_LEAST = {"admission": 10.0, "transform": 20.0, "evidence": 10.0, "release": 1.0}
"""For an estimate: what dbt and Great Expectations take to load, and rows per second on two processors."""

UNITS = {"admission": "rows judged", "transform": "models and tests", "evidence": "rows", "release": "rows"}
"""What a step counts."""


class CandidateFailed(Exception):
    """The new evidence has not passed its checks: readers go on seeing the release before."""


@dataclass(frozen=True)
class Step:
    """What one step did."""

    name: str
    count: int
    seconds: float


@dataclass(frozen=True)
class Expected:
    """What a step would work on, and roughly how long."""

    name: str
    count_rows: int
    seconds: float


def rebuild(
    lake: LakeSettings,
    postgres: PostgresSettings,
    transform: Transform,
    run_id: str,
    *,
    on_progress: Callable[[str, int, int], None] = lambda name, done, of: None,
    on_begin: Callable[[str], None] = lambda name: None,
) -> Generator[Step, None, None]:
    """Does each step and yields what it did.

    Raises BuildUnderWay before anything is done, what `transform` raises, CandidateFailed; UnknownCandidate
    when another build has released a later candidate meanwhile, which is as new as ours.
    """
    refuse_beside_another(postgres)
    on_begin("admission")
    started = time.monotonic()
    yield Step("admission", _admit(lake, postgres, run_id), time.monotonic() - started)
    on_begin("transform")
    started = time.monotonic()
    count = transform(lambda done, of: on_progress("transform", done, of))
    yield Step("transform", count, time.monotonic() - started)
    on_begin("evidence")
    started = time.monotonic()
    made = make_candidate(lake, postgres, run_id)
    yield Step("evidence", sum(map(len, made.frames.values())), time.monotonic() - started)
    if not made.has_passed:
        broken = [
            f"{name}: {each.rule}" for name, found in made.results.items() for each in found if each.blocks
        ]
        raise CandidateFailed(f"Candidate {made.release_id} breaks {', '.join(broken)}")
    on_begin("release")
    started = time.monotonic()
    published = publish(postgres, [*TABLES.values()], made.release_id)
    yield Step("release", sum(published.row_counts.values()), time.monotonic() - started)


def _admit(lake: LakeSettings, postgres: PostgresSettings, run_id: str) -> int:
    """Returns how many rows got their verdict, or were to get one."""
    with closing(open_lake(lake, postgres)) as connection:
        return sum(
            each.slice.count_rows
            for table in RAW_SUITES
            for each in admit(connection, postgres, table, run_id)
        )


def expected(lake: LakeSettings, postgres: PostgresSettings) -> Iterator[Expected]:
    """What `rebuild` would work on now. Changes nothing."""
    with closing(open_lake(lake, postgres, read_only=True)) as connection:
        counts = {
            "admission": _pending(connection),
            "transform": _count(connection, _STAGED) if has_ledger(connection) else 0,
            "evidence": sum(_count(connection, _rows_of(each)) for each in _tables(connection, "marts")),
            "release": 0,
        }
    for name, count in counts.items():
        rate = ROWS_PER_SECOND.get(name)
        yield Expected(name, count, SECONDS_AT_LEAST[name] + (count / rate if rate else 0))


def _pending(lake: duckdb.DuckDBPyConnection) -> int:
    if not has_ledger(lake):
        return sum(_count(lake, f"SELECT count(*) FROM raw.{table}") for table in RAW_SUITES)  # noqa: S608
    return sum(each.count_rows for table in RAW_SUITES for each in pending_slices(lake, table))


_STAGED = "SELECT sum(count_rows) FROM admission.slices WHERE verdict = 'passed'"


def _rows_of(table: str) -> str:
    return f'SELECT count(*) FROM marts."{table}"'  # noqa: S608  # dbt's names


def _tables(lake: duckdb.DuckDBPyConnection, schema: str) -> list[str]:
    rows = lake.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake' AND schema_name = ?", [schema]
    ).fetchall()
    return [row[0] for row in rows]


def _count(lake: duckdb.DuckDBPyConnection, statement: str) -> int:
    return int(lake.execute(statement).fetchall()[0][0] or 0)
