"""The gate between raw and staging: judges each pending slice and keeps the ledger of verdicts.

A slice is one tenant's rows of one raw table between two landings. A blocked slice stops nobody else;
a slice without a verdict, because the check itself broke, stays pending. Rules stand in `suites`;
nothing here changes a raw row.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import pandas as pd

from pipelines.quality.expectations import RuleResult, check
from pipelines.quality.rules import Suite
from pipelines.quality.suites import RAW_SUITES
from services.runtime.postgres import connect
from services.runtime.settings import PostgresSettings

log = logging.getLogger(__name__)

LEDGER = """
CREATE TABLE IF NOT EXISTS admission.slices (
  slice_id BIGINT, raw_table VARCHAR, tenant_id VARCHAR,
  first_landed_seq BIGINT, last_landed_seq BIGINT, count_rows BIGINT,
  verdict VARCHAR, reason VARCHAR, suite VARCHAR, checked_at TIMESTAMP WITH TIME ZONE
)
"""

ADMISSION_LOCK = 0x61646D69
"""Key of the advisory lock. Slice numbers must grow in the order of commits, so one run judges at a time."""


class UnknownSlice(Exception):
    """No blocked slice has this number."""


@dataclass(frozen=True)
class Slice:
    """Rows of one tenant in one raw table, landings `first_landed_seq` to `last_landed_seq` included."""

    raw_table: str
    tenant_id: str
    """Empty for failed events of an unknown tenant."""
    first_landed_seq: int
    last_landed_seq: int
    count_rows: int


@dataclass(frozen=True)
class Judged:
    """A slice and how it fared. `results` is empty when the check itself broke: then it stays pending."""

    slice: Slice
    results: tuple[RuleResult, ...]
    problem: str = ""

    @property
    def verdict(self) -> str | None:
        if not self.results:
            return None
        return "passed" if all(each.passed for each in self.results) else "blocked"

    @property
    def reason(self) -> str | None:
        """The broken rules, each with how many rows break it."""
        broken = [
            f"{each.rule}: {each.problem or f'{each.count_unexpected} of {each.count_rows} rows'}"
            for each in self.results
            if not each.passed
        ]
        return "; ".join(broken) or None


def ensure_ledger(lake: duckdb.DuckDBPyConnection) -> None:
    """Creates the table of verdicts. Safe to repeat."""
    lake.execute("CREATE SCHEMA IF NOT EXISTS admission")
    lake.execute(LEDGER)


def pending_slices(lake: duckdb.DuckDBPyConnection, raw_table: str) -> list[Slice]:
    """What landed after each tenant's last verdict, one slice per tenant."""
    rows = lake.execute(
        f"""
        WITH judged AS (
          SELECT tenant_id, max(last_landed_seq) AS last_landed_seq
          FROM admission.slices WHERE raw_table = ? GROUP BY tenant_id
        )
        SELECT coalesce(landed.tenant_id, ''), min(landed_seq), max(landed_seq), count(*)
        FROM raw.{raw_table} AS landed
        LEFT JOIN judged ON coalesce(landed.tenant_id, '') = judged.tenant_id
        WHERE landed.landed_seq > coalesce(judged.last_landed_seq, 0)
        GROUP BY 1 ORDER BY 1
        """,  # noqa: S608  # the table's name comes from the suites
        [raw_table],
    ).fetchall()
    return [Slice(raw_table, *row) for row in rows]


def newest_pending(lake: duckdb.DuckDBPyConnection) -> int | None:
    """Highest landing that waits for a verdict in any raw table. None: nothing waits."""
    ensure_ledger(lake)
    waiting = [each.last_landed_seq for table in RAW_SUITES for each in pending_slices(lake, table)]
    return max(waiting, default=None)


def admit(lake: duckdb.DuckDBPyConnection, postgres: PostgresSettings, raw_table: str) -> list[Judged]:
    """Judges all pending slices of a raw table and records the verdicts, in one commit."""
    with _only_one(postgres):
        ensure_ledger(lake)
        judged = [_judge(lake, each, RAW_SUITES[raw_table]) for each in pending_slices(lake, raw_table)]
        _record(lake, judged)
    return judged


def release(lake: duckdb.DuckDBPyConnection, postgres: PostgresSettings, slice_id: int, reason: str) -> int:
    """Lets a blocked slice pass after all, under a new number, which is returned. Raises UnknownSlice.

    The new number is what makes staging see it: staging takes slices above the highest it has seen.
    """
    with _only_one(postgres):
        number = _next_number(lake)
        inserted = lake.execute(
            """
            INSERT INTO admission.slices
            SELECT ?, raw_table, tenant_id, first_landed_seq, last_landed_seq, count_rows,
                   'passed', ?, suite, ?
            FROM admission.slices WHERE slice_id = ? AND verdict = 'blocked'
            """,
            [number, f"released: {reason}", datetime.now(UTC), slice_id],
        ).fetchall()
    if inserted[0][0] != 1:
        raise UnknownSlice(f"There is no blocked slice {slice_id}")
    return number


@contextlib.contextmanager
def _only_one(postgres: PostgresSettings) -> Iterator[None]:
    """Holds the admission lock. It ends with its connection, also when the process is killed."""
    connection = connect(postgres, postgres.database_lake)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (ADMISSION_LOCK,))
        yield
    finally:
        connection.close()


def _judge(lake: duckdb.DuckDBPyConnection, pending: Slice, suite: Suite) -> Judged:
    try:
        return Judged(pending, tuple(check(suite.derive(_read(lake, pending, suite)), suite)))
    except Exception as error:
        # Whatever broke, it must not stop the other tenants, and it is no verdict on these rows.
        log.exception("the check of a slice of %s broke", pending.raw_table)
        return Judged(pending, (), problem=type(error).__name__)


def _read(lake: duckdb.DuckDBPyConnection, pending: Slice, suite: Suite) -> pd.DataFrame:
    """The slice's rows with those of the suite's columns that exist; a rule tells which do not."""
    present = _columns_of(lake, pending.raw_table)
    listed = ", ".join(column for column in suite.columns if column in present)
    return lake.execute(
        f"SELECT {listed} FROM raw.{pending.raw_table} "  # noqa: S608  # names come from the suites
        "WHERE coalesce(tenant_id, '') = ? AND landed_seq BETWEEN ? AND ?",
        [pending.tenant_id, pending.first_landed_seq, pending.last_landed_seq],
    ).df()


def _columns_of(lake: duckdb.DuckDBPyConnection, raw_table: str) -> set[str]:
    rows = lake.execute(
        "SELECT column_name FROM duckdb_columns() "
        "WHERE database_name = 'lake' AND schema_name = 'raw' AND table_name = ?",
        [raw_table],
    ).fetchall()
    return {row[0] for row in rows}


def _record(lake: duckdb.DuckDBPyConnection, judged: Sequence[Judged]) -> None:
    first = _next_number(lake)
    checked_at = datetime.now(UTC)
    decided = [each for each in judged if each.verdict]
    rows = [
        (first + i, *_coordinates(each.slice), each.verdict, each.reason, each.slice.raw_table, checked_at)
        for i, each in enumerate(decided)
    ]
    if rows:
        lake.begin()
        lake.executemany("INSERT INTO admission.slices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        lake.commit()


def _coordinates(pending: Slice) -> tuple[str, str, int, int, int]:
    return (
        pending.raw_table,
        pending.tenant_id,
        pending.first_landed_seq,
        pending.last_landed_seq,
        pending.count_rows,
    )


def _next_number(lake: duckdb.DuckDBPyConnection) -> int:
    rows = lake.execute("SELECT coalesce(max(slice_id), 0) + 1 FROM admission.slices").fetchall()
    return int(rows[0][0])
