"""The gate between raw and staging: judges each pending slice and keeps the ledger of verdicts.

A slice is one tenant's rows of one raw table between two landings. A blocked slice stops nobody else;
a slice without a verdict, because the check itself broke, stays pending. What an operator decides about a
blocked slice is a further row of the ledger. Rules stand in `suites`; nothing here changes a raw row.
"""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import duckdb

from pipelines.quality import results
from pipelines.quality.contract import columns_of
from pipelines.quality.expectations import RuleResult, check, load, seconds_spent
from pipelines.quality.rules import Suite
from pipelines.quality.schema import check_schema, columns_in_lake
from pipelines.quality.suites import RAW_SUITES
from pipelines.quality.trailing import TRAILING, against_weeks_before
from services.runtime.postgres import locked
from services.runtime.settings import PostgresSettings

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

LEDGER = """
CREATE TABLE IF NOT EXISTS admission.slices (
  slice_id BIGINT, raw_table VARCHAR, tenant_id VARCHAR,
  first_landed_seq BIGINT, last_landed_seq BIGINT, count_rows BIGINT,
  verdict VARCHAR, reason VARCHAR, suite VARCHAR, checked_at TIMESTAMP WITH TIME ZONE, note VARCHAR
)
"""

ADMISSION_LOCK = 0x61646D69
"""Key of the advisory lock. Slice numbers must grow in the order of commits, so one run judges at a time."""


BLOCKED_ONCE = """
SELECT min(slice_id), raw_table, tenant_id, first_landed_seq, last_landed_seq, any_value(count_rows),
       CASE max_by(verdict, slice_id) WHEN 'passed' THEN 'released' ELSE max_by(verdict, slice_id) END,
       any_value(suite), min_by(reason, slice_id), max_by(checked_at, slice_id), arg_max_null(note, slice_id)
FROM admission.slices
GROUP BY raw_table, tenant_id, first_landed_seq, last_landed_seq
HAVING min_by(verdict, slice_id) = 'blocked'
ORDER BY 1
"""
"""Slices that admission has blocked, each with what became of it: its last row in the ledger decides."""

MAX_NOTE = 200
_IDENTIFIER = re.compile(r"@|\b[a-z]{3}_[0-9a-z]{6,}\b|[0-9a-f]{8}-[0-9a-f]{4}-|\d{6,}", re.IGNORECASE)
"""An address, a pseudonym, a UUID, a long number."""


class UnknownSlice(Exception):
    """No slice with this number waits for such a decision."""


class BadNote(ValueError):
    """A note that the ledger does not take."""


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
class BlockedSlice:
    """A slice that admission has blocked, and what became of it."""

    slice_id: int
    raw_table: str
    tenant_id: str
    first_landed_seq: int
    last_landed_seq: int
    count_rows: int
    state: str
    """blocked, or what an operator decided: released or rejected."""
    suite: str
    reason: str
    """The broken rules, each with how many rows break it."""
    since: datetime
    note: str | None


@dataclass(frozen=True)
class Judged:
    """A slice and how it fared. With a `problem` it stays pending: the check itself broke, or the whole table
    is not as its contract says, which is no fault of the tenant's."""

    slice: Slice
    results: tuple[RuleResult, ...]
    problem: str = ""

    @property
    def verdict(self) -> str | None:
        if self.problem or not self.results:
            return None
        return "blocked" if any(each.blocks for each in self.results) else "passed"

    @property
    def reason(self) -> str | None:
        """The broken rules that block, each with how many rows break it."""
        broken = [
            f"{each.rule}: {each.problem or f'{each.count_unexpected} of {each.count_rows} rows'}"
            for each in self.results
            if each.blocks
        ]
        return "; ".join(broken) or None


@dataclass(frozen=True)
class JudgedDay:
    """Rows of a raw table that were judged on a day (UTC), of all tenants."""

    day: date
    rows_passed: int
    rows_blocked: int


def ensure_ledger(lake: duckdb.DuckDBPyConnection) -> None:
    """Creates the table of verdicts. Safe to repeat."""
    lake.execute("CREATE SCHEMA IF NOT EXISTS admission")
    lake.execute(LEDGER)
    # A ledger of before there were notes.
    lake.execute("ALTER TABLE admission.slices ADD COLUMN IF NOT EXISTS note VARCHAR")


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


def admit(
    lake: duckdb.DuckDBPyConnection, postgres: PostgresSettings, raw_table: str, run_id: str
) -> list[Judged]:
    """Judges all pending slices of a raw table and records the verdicts, in one commit.

    The results come first: a verdict without them could not be explained, results without a verdict are
    followed by those of the next run.
    """
    suite = RAW_SUITES[raw_table]
    with locked(postgres, ADMISSION_LOCK):
        ensure_ledger(lake)
        pending = pending_slices(lake, raw_table)
        if not pending:
            return []
        load()
        started, spent = time.monotonic(), seconds_spent()
        judged = _judge_all(lake, pending, suite)
        numbered = _numbered(lake, judged)
        run = results.SuiteRun(
            "admission",
            suite.name,
            len(pending),
            sum(each.count_rows for each in pending),
            time.monotonic() - started,
            seconds_spent() - spent,
        )
        results.record(postgres, run_id, [_checked(each, number, suite) for each, number in numbered], [run])
        _record(lake, numbered)
    return judged


def judged_days(lake: duckdb.DuckDBPyConnection, raw_table: str, count: int) -> list[JudgedDay]:
    """The newest `count` days with verdicts, oldest first. What an operator decided later is not counted."""
    rows = lake.execute(
        """
        WITH judged AS (
          FROM admission.slices WHERE raw_table = ?
          QUALIFY row_number() OVER (PARTITION BY tenant_id, first_landed_seq ORDER BY slice_id) = 1
        )
        SELECT checked_at::DATE, coalesce(sum(count_rows) FILTER (verdict = 'passed'), 0)::BIGINT,
               coalesce(sum(count_rows) FILTER (verdict = 'blocked'), 0)::BIGINT
        FROM judged GROUP BY 1 ORDER BY 1 DESC LIMIT ?
        """,
        [raw_table, count],
    ).fetchall()
    return [JudgedDay(*row) for row in reversed(rows)]


def has_ledger(lake: duckdb.DuckDBPyConnection) -> bool:
    """Whether anything was ever judged by this version."""
    return "note" in columns_in_lake(lake, "admission", "slices")


def blocked_slices(lake: duckdb.DuckDBPyConnection, *, decided: bool = False) -> list[BlockedSlice]:
    """Slices that wait for an operator; with `decided` also those about which one has decided."""
    found = [BlockedSlice(*row) for row in lake.execute(BLOCKED_ONCE).fetchall()]
    return [each for each in found if decided or each.state == "blocked"]


def release(lake: duckdb.DuckDBPyConnection, postgres: PostgresSettings, slice_id: int, note: str) -> int:
    """Lets a blocked or rejected slice pass after all, under a new number, which is returned.

    The new number is what makes staging see it: staging takes slices above the highest it has seen.
    Raises UnknownSlice and BadNote.
    """
    with locked(postgres, ADMISSION_LOCK):
        return _decide(lake, slice_id, "passed", ("blocked", "rejected"), note)


def reject(lake: duckdb.DuckDBPyConnection, postgres: PostgresSettings, slice_id: int, note: str) -> int:
    """Keeps a blocked slice out: its events count as failed. Returns the number of the decision.

    A released slice cannot be rejected: what is staged stays. Raises UnknownSlice and BadNote.
    """
    with locked(postgres, ADMISSION_LOCK):
        return _decide(lake, slice_id, "rejected", ("blocked",), note)


def check_note(note: str) -> None:
    """Raises BadNote for what looks like an identifier, and for what is no short line."""
    if len(note) > MAX_NOTE or not note.isprintable():
        raise BadNote(f"A note is one line of at most {MAX_NOTE} characters")
    if _IDENTIFIER.search(note):
        raise BadNote(
            "The note seems to hold an identifier: an address, a pseudonym, a UUID or a long number"
        )


def _decide(
    lake: duckdb.DuckDBPyConnection, slice_id: int, verdict: str, from_states: tuple[str, ...], note: str
) -> int:
    check_note(note)
    ensure_ledger(lake)
    found = {each.slice_id: each for each in blocked_slices(lake, decided=True)}.get(slice_id)
    if found is None:
        raise UnknownSlice(f"There is no blocked slice {slice_id}")
    if found.state not in from_states:
        raise UnknownSlice(f"Slice {slice_id} is {found.state} already")
    number = _next_number(lake)
    lake.execute(
        """
        INSERT INTO admission.slices BY NAME
        SELECT * REPLACE (?::BIGINT AS slice_id, ? AS verdict, ?::TIMESTAMPTZ AS checked_at, ? AS note)
        FROM admission.slices WHERE slice_id = ?
        """,
        [number, verdict, datetime.now(UTC), note or None, slice_id],
    )
    return number


def _judge_all(lake: duckdb.DuckDBPyConnection, pending: Sequence[Slice], suite: Suite) -> list[Judged]:
    """What concerns the whole table is looked at once, the rows slice by slice."""
    schema = _schema(lake, suite.name, sum(each.count_rows for each in pending))
    if not schema.passed:
        problem = f"{schema.rule}: {schema.problem}"
        return [Judged(each, (schema,), problem=problem) for each in pending]
    usual = _against_weeks_before(lake, pending)
    return [_judge(lake, each, suite, schema, usual[each.tenant_id]) for each in pending]


def _schema(lake: duckdb.DuckDBPyConnection, raw_table: str, count_rows: int) -> RuleResult:
    return check_schema(columns_of(raw_table), columns_in_lake(lake, "raw", raw_table), count_rows)


def _against_weeks_before(
    lake: duckdb.DuckDBPyConnection, pending: Sequence[Slice]
) -> dict[str, list[RuleResult]]:
    """By tenant. When the look itself breaks, its rules have not passed; they only warn."""
    raw_table = pending[0].raw_table
    landings = {each.tenant_id: (each.first_landed_seq, each.last_landed_seq) for each in pending}
    try:
        return against_weeks_before(lake, raw_table, landings)
    except Exception as error:
        log.exception("the look at the weeks before of %s broke", raw_table)
        rules = TRAILING[raw_table].suite.rules
        return {
            each.tenant_id: [
                results.crashed(rule.name, error, each.count_rows, rule.severity) for rule in rules
            ]
            for each in pending
        }


def _judge(
    lake: duckdb.DuckDBPyConnection,
    pending: Slice,
    suite: Suite,
    schema: RuleResult,
    usual: Sequence[RuleResult],
) -> Judged:
    try:
        rows = check(suite.derive(_read(lake, pending, suite)), suite)
        return Judged(pending, (replace(schema, count_rows=pending.count_rows), *rows, *usual))
    except Exception as error:
        # Whatever broke, it must not stop the other tenants, and it is no verdict on these rows.
        log.exception("the check of a slice of %s broke", pending.raw_table)
        return Judged(pending, (), problem=f"the check broke: {type(error).__name__}")


def _read(lake: duckdb.DuckDBPyConnection, pending: Slice, suite: Suite) -> pd.DataFrame:
    """The slice's rows, in the columns that the suite looks at."""
    computed = (f"{each.sql} AS {name}" for name, each in suite.computed.items())
    listed = ", ".join((*suite.columns, *computed))
    return lake.execute(
        f"SELECT {listed} FROM raw.{pending.raw_table} "  # noqa: S608  # names come from the suites
        "WHERE coalesce(tenant_id, '') = ? AND landed_seq BETWEEN ? AND ?",
        [pending.tenant_id, pending.first_landed_seq, pending.last_landed_seq],
    ).df()


def _numbered(lake: duckdb.DuckDBPyConnection, judged: Sequence[Judged]) -> list[tuple[Judged, int | None]]:
    """Each with the number of its verdict. None: it has no verdict."""
    numbers = itertools.count(_next_number(lake))
    return [(each, next(numbers) if each.verdict else None) for each in judged]


def _checked(judged: Judged, number: int | None, suite: Suite) -> results.Checked:
    broke = RuleResult("check_can_be_run", False, judged.slice.count_rows, problem=judged.problem)
    return results.Checked(
        "admission",
        suite.name,
        judged.results or (broke,),
        tenant_id=judged.slice.tenant_id,
        slice_id=number,
        landings=(judged.slice.first_landed_seq, judged.slice.last_landed_seq),
    )


def _record(lake: duckdb.DuckDBPyConnection, numbered: Sequence[tuple[Judged, int | None]]) -> None:
    checked_at = datetime.now(UTC)
    rows = [
        (number, *_coordinates(each.slice), each.verdict, each.reason, each.slice.raw_table, checked_at)
        for each, number in numbered
        if number is not None
    ]
    if rows:
        lake.begin()
        lake.executemany(
            "INSERT INTO admission.slices (slice_id, raw_table, tenant_id, first_landed_seq, "
            "last_landed_seq, count_rows, verdict, reason, suite, checked_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
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
