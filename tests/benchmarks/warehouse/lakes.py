"""Lakes of worlds: real ones, with their catalog in PostgreSQL and raw tables as landing's code makes them.

What is in a world is `worlds`'. A lake has what landing, admission and maintenance leave behind: a landing
and a slice of each tenant a day, a file of each raw table a day. Worlds are kept in files, for the next run.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from pipelines.quality.admission import admit, ensure_ledger
from pipelines.quality.suites import RAW_SUITES
from services.kafka.topics import landed_topics
from services.landing.raw_tables import LANDED_ON, ensure_raw_tables, is_by_day
from services.runtime.settings import PostgresSettings
from tests.benchmarks.warehouse import texts, worlds
from tests.benchmarks.warehouse.worlds import DAY, DAYS, FIRST_SECOND, World, tables
from tests.fakes.raw_lake import RawLake
from tests.landings import OwnLake

FOLDER = Path(__file__).parent
CACHE = FOLDER / ".build" / "worlds"

COMMITS = 8
"""So many for each raw table, so that no commit has to sort more than fits into memory."""

BLOCKED_EVERY = 997
"""Of so many slices one is blocked."""


@dataclass(frozen=True)
class Shape:
    """A lake's worlds. The first one is the same in each, so that what comes afterwards is about the same."""

    name: str
    title: str
    worlds: tuple[World, ...]
    landing_days: int = 1
    """From one landing to the next. Each makes a file of each raw table, and a slice of each tenant."""

    @property
    def events(self) -> int:
        return sum(each.events for each in self.worlds)


def shapes(events: int, further: int, landing_days: int = 1) -> tuple[Shape, Shape, Shape]:
    """One world; ten of them; ten times as long a history of the first one's groups."""
    first = World(0, events, further)
    wide = [World(number, events, 0, groups_of=number) for number in range(1, 10)]
    long = [World(number, events, 0, years_before=2 * number) for number in range(1, 10)]
    return (
        Shape("small", "one world", (first,), landing_days),
        Shape("wide", "ten times as many groups", (first, *wide), landing_days),
        Shape("long", "ten times as long", (first, *long), landing_days),
    )


def fill(lake: OwnLake, shape: Shape) -> None:
    """Lands the worlds, and lets nearly all of it pass. Without worlds the tables stay empty."""
    folders = [_cached(each) for each in shape.worlds]
    ensure_raw_tables(lake.connection)
    ensure_ledger(lake.connection)
    if not folders:
        return
    for topic in landed_topics():
        _land(lake.connection, str(topic.raw_table), topic.name, folders, shape.landing_days * DAY)
    _judge(lake.connection, shape.landing_days * DAY)
    # Of no topic that is landed, so that a landing on this lake begins its topics anew, but not its numbers.
    lake.connection.execute(
        "INSERT INTO raw.landed_offsets BY NAME SELECT 'history' AS topic, 'history' AS topic_id, "
        "0 AS kafka_partition, 0 AS next_offset, max(last_landed_seq) AS landed_seq, "
        "max(checked_at) AS landed_at FROM admission.slices"
    )


def land_further(lake: OwnLake, shape: Shape, number: int, events: int) -> dict[str, int]:
    """Lands the next events of the first world, a table at a time. Returns how many rows by raw table."""
    raw, landed = RawLake(lake.connection), {}
    for raw_table in worlds.SHARES:
        count = worlds.SHARES[raw_table] * events
        first, last = round(count * number), round(count * (number + 1))
        rows = pq.read_table(_further(_cached(shape.worlds[0]), raw_table)).slice(first, last - first)
        if rows.num_rows:
            raw.landed_seq += 1
            raw.insert(raw_table, rows)
            landed[raw_table] = rows.num_rows
    return landed


def admit_all(lake: OwnLake, postgres: PostgresSettings, run_id: str) -> None:
    """The real admission of what waits."""
    for raw_table in RAW_SUITES:
        judged = admit(lake.connection, postgres, raw_table, run_id)
        assert all(each.verdict == "passed" for each in judged), [each.reason for each in judged]


def _cached(world: World) -> Path:
    """The folder of its files, which are made when there are none."""
    made_by = (Path(str(module.__file__)).read_bytes() for module in (worlds, texts))
    digest = hashlib.sha256(b"".join([*made_by, repr(world).encode()])).hexdigest()[:12]
    folder = CACHE / f"{world.number}-{digest}"
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        unfinished.mkdir(parents=True, exist_ok=True)
        for name, rows in tables(world).items():
            count = round(rows.num_rows * world.events / (world.events + world.further))
            pq.write_table(rows.slice(0, count), unfinished / f"{name}.parquet", row_group_size=50_000)
            if world.further:
                pq.write_table(rows.slice(count), _further(unfinished, name))
        unfinished.rename(folder)
    return folder


def _further(folder: Path, raw_table: str) -> Path:
    return folder / f"{raw_table}-further.parquet"


def _land(
    lake: duckdb.DuckDBPyConnection, raw_table: str, topic: str, folders: Sequence[Path], every_seconds: int
) -> None:
    files = [str(each / f"{raw_table}.parquet") for each in folders]
    topic_column = "" if raw_table == "failed_events" else f"'{topic}' AS topic,"
    day_column = f", landed_at::DATE AS {LANDED_ON}" if is_by_day(raw_table) else ""
    for first, last in _spans():
        lake.execute(
            f"""
            INSERT INTO raw.{raw_table} BY NAME
            SELECT *, {topic_column}
                   (epoch(received_at)::BIGINT - {FIRST_SECOND}) // {every_seconds} + 1 AS landed_seq,
                   to_timestamp({FIRST_SECOND} + landed_seq * {every_seconds}) AS landed_at {day_column}
            FROM read_parquet(?) WHERE received_at >= to_timestamp(?) AND received_at < to_timestamp(?)
            """,
            [files, first, last],
        )


def _spans() -> Iterator[tuple[int, int]]:
    """The last one takes what is late as well."""
    starts = [FIRST_SECOND + DAY * (DAYS * part // COMMITS) for part in range(COMMITS)]
    yield from itertools.pairwise([*starts, starts[0] + 10 * DAYS * DAY])


def _judge(lake: duckdb.DuckDBPyConnection, every_seconds: int) -> None:
    """Writes the verdicts as admission would have, had it run after each; it takes long for so many rows."""
    for raw_table in RAW_SUITES:
        lake.execute(
            f"""
            INSERT INTO admission.slices BY NAME
            WITH landings AS (
              SELECT coalesce(tenant_id, '') AS tenant_id, landed_seq, count(*) AS count_rows
              FROM raw.{raw_table} GROUP BY 1, 2
            ),
            numbered AS (
              SELECT *, (SELECT coalesce(max(slice_id), 0) FROM admission.slices)
                     + row_number() OVER (ORDER BY landed_seq, tenant_id) AS slice_id
              FROM landings
            )
            SELECT slice_id, '{raw_table}' AS raw_table, tenant_id, landed_seq AS first_landed_seq,
                   landed_seq AS last_landed_seq, count_rows,
                   if(slice_id % {BLOCKED_EVERY} = 0, 'blocked', 'passed') AS verdict,
                   if(verdict = 'blocked', 'kind_is_known: 1 of ' || count_rows || ' rows', NULL) AS reason,
                   '{raw_table}' AS suite,
                   to_timestamp({FIRST_SECOND} + landed_seq * {every_seconds}) AS checked_at
            FROM numbered
            """
        )
