"""Upkeep of the lake beside its writers and readers, step by step.

Each step is one or more short transactions of DuckLake: killed anywhere, the lake is as it was before or
after, and the next run goes on. What meets another writer's change is tried again and then left for the next
run. What may be forgotten is decided by `policy`; when this runs, by `pipelines.defs` and `circles maintain`.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from pipelines.maintenance.policy import STAGED_IN, kept_for_releases, raw_cutoffs
from pipelines.publication.release import named_snapshots
from services.runtime.lake import open_lake
from services.runtime.layout import METADATA, sort_by
from services.runtime.postgres import locked
from services.runtime.settings import LakeSettings, PostgresSettings, RetentionSettings

log = logging.getLogger(__name__)

MAINTENANCE_LOCK = 0x6D61696E  # "main": one maintenance per lake

ATTEMPTS = 4
PAUSE_SECONDS = 0.5
REWRITE_SHARE = 0.2
"""A file of which more rows than this share are deleted is written anew without them."""
SNAPSHOTS_AT_ONCE = 1000

SORTED_BY = {
    ("staging", "stg_participation__events"): ("tenant_id", "group_id", "occurred_at"),
    ("staging", "stg_groups__events"): ("tenant_id", "group_id", "occurred_at"),
    ("staging", "stg_outcomes__events"): ("tenant_id", "participant_id", "occurred_at"),
    ("marts", "fct_participation"): ("tenant_id", "group_id", "occurred_at"),
}
"""Tables of events grow by a file a build. Merged in this order, a history is in one part of one file, and to
look at a few groups opens little else. dbt makes them; it has no word for the order."""


class AlreadyUnderWay(Exception):
    """Another process maintains this lake."""


class LiveFileTaken(Exception):
    """DuckLake called a file an orphan that its own catalog names. Nothing was deleted."""


@dataclass(frozen=True)
class Size:
    """The lake at a moment."""

    count_files: int
    """Files of the newest snapshot, deletions included."""
    bytes_of_files: int
    count_on_disk: int
    """Beside those: files of older snapshots, files that wait to be deleted, orphans."""
    bytes_on_disk: int
    count_snapshots: int


@dataclass(frozen=True)
class Step:
    """What one step did."""

    name: str
    before: Size
    after: Size
    seconds: float
    count: int
    """What `UNITS` says of this step. In a dry run: how many it would be."""
    left: tuple[str, ...] = ()
    """What conflicted with other writers and is left for the next run, each with the reason."""


@dataclass
class _Work:
    """What the steps share. `left` is the current step's."""

    lake: duckdb.DuckDBPyConnection
    lake_settings: LakeSettings
    postgres: PostgresSettings
    retention: RetentionSettings
    is_dry_run: bool
    left: list[str] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.lake.execute(statement, list(values)).fetchall()

    def tables(self) -> list[tuple[str, str]]:
        """All but landing's fence: its one row changes with each commit, which would conflict."""
        return self.rows(
            "SELECT schema_name, table_name FROM duckdb_tables() "
            "WHERE database_name = 'lake' AND table_name <> 'landing_fence' ORDER BY ALL"
        )

    def despite_conflicts(self, subject: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the statement; none, and an entry in `left`, when other writers were always first."""
        return self.tried(subject, lambda: self.rows(statement, *values))

    def tried(self, subject: str, write: Callable[[], list[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
        for attempt in range(ATTEMPTS):
            try:
                return write()
            except (duckdb.TransactionException, duckdb.CatalogException) as conflict:
                # CatalogException: dbt has just put another table in this one's place.
                reason = str(conflict).splitlines()[0]
                log.info("%s, attempt %d: %s", subject, attempt + 1, reason)
                time.sleep(PAUSE_SECONDS * 2**attempt)
        self.left.append(f"{subject}: {reason}")
        return []


def maintain(
    lake_settings: LakeSettings,
    postgres: PostgresSettings,
    retention: RetentionSettings,
    *,
    is_dry_run: bool = False,
    steps: Collection[str] = (),
    on_begin: Callable[[str], None] = lambda name: None,
) -> Generator[Step, None, None]:
    """Does each step, or those of `steps`, and yields what it did. A dry run changes nothing.

    Raises AlreadyUnderWay, ValueError for a wrong setting or an unknown step, LiveFileTaken, duckdb.Error or
    psycopg2.Error when the lake or PostgreSQL is away: then the next run does what this one did not.
    """
    raw_cutoffs(retention.raw_days, datetime.now(UTC))
    if unknown := set(steps) - STEPS.keys():
        raise ValueError(f"{', '.join(sorted(unknown))} is no step of maintenance: {', '.join(STEPS)}")
    with _only_one(postgres), contextlib.closing(open_lake(lake_settings, postgres)) as lake:
        lake.execute(f"SET ducklake_target_file_size = '{lake_settings.target_file_mib}MiB'")
        work = _Work(lake, lake_settings, postgres, retention, is_dry_run)
        before = measure(lake, lake_settings.data_path)
        for name, run in ((name, run) for name, run in STEPS.items() if not steps or name in steps):
            on_begin(name)
            started = time.monotonic()
            work.left = []
            count = run(work)
            seconds = time.monotonic() - started
            after = measure(lake, lake_settings.data_path)
            yield Step(name, before, after, seconds, count, tuple(work.left))
            before = after


def measure(lake: duckdb.DuckDBPyConnection, data_path: Path) -> Size:
    """Counts and bytes, by the catalog and by the disk."""
    live = lake.execute(
        f"SELECT count(*), coalesce(sum(file_size_bytes), 0)::BIGINT FROM ("  # noqa: S608  # names are ours
        f"  SELECT file_size_bytes FROM {METADATA}.ducklake_data_file WHERE end_snapshot IS NULL"
        f"  UNION ALL"
        f"  SELECT file_size_bytes FROM {METADATA}.ducklake_delete_file WHERE end_snapshot IS NULL)"
    ).fetchall()[0]
    snapshots = lake.execute(f"SELECT count(*) FROM {METADATA}.ducklake_snapshot").fetchall()[0][0]  # noqa: S608
    on_disk = list(_sizes_on_disk(data_path))
    return Size(live[0], live[1], len(on_disk), sum(on_disk), snapshots)


def _sizes_on_disk(data_path: Path) -> Iterator[int]:
    for path in data_path.rglob("*.parquet"):
        with contextlib.suppress(FileNotFoundError):  # deleted since it was listed
            yield path.stat().st_size


@contextlib.contextmanager
def _only_one(postgres: PostgresSettings) -> Iterator[None]:
    """Holds the maintenance lock. It ends with its connection, also when the process is killed."""
    with locked(postgres, MAINTENANCE_LOCK, wait=False) as is_ours:
        if not is_ours:
            raise AlreadyUnderWay("Another process maintains this lake")
        yield


def _sort(work: _Work) -> int:
    found = [table for table in work.tables() if table in SORTED_BY]
    for table in found if not work.is_dry_run else ():
        with contextlib.suppress(duckdb.TransactionException, duckdb.CatalogException):  # the next run's
            sort_by(work.lake, *table, SORTED_BY[table])
    return len(found)


def _delete_raw(work: _Work) -> int:
    """Rows older than the operator wants, if their event is staged. Conflicts, blocked, pending rows stay."""
    present = set(work.tables())
    count = 0
    for table, cutoff in raw_cutoffs(work.retention.raw_days, work.now).items():
        staged = STAGED_IN[table]
        if not {("raw", table), ("staging", staged)} <= present:
            continue
        verb = "SELECT count(*)" if work.is_dry_run else "DELETE"
        statement = f"""
            {verb} FROM raw.{table} WHERE landed_at < ? AND (tenant_id, event_id, body_hash) IN
              (SELECT (tenant_id, event_id, body_hash) FROM staging.{staged})
        """  # noqa: S608  # names are ours
        rows = work.despite_conflicts(f"raw.{table}", statement, cutoff)
        count += sum(row[0] for row in rows)
    return count


def _flush(work: _Work) -> int:
    if work.is_dry_run:
        return 0
    reshaped = set(work.rows(_RESHAPED))
    count = 0
    for schema, table in work.tables():
        call = f"CALL ducklake_flush_inlined_data('lake', schema_name => '{schema}', table_name => '{table}')"
        flush = (
            partial(_flush_reshaped, work, call) if (schema, table) in reshaped else partial(work.rows, call)
        )
        count += sum(row[2] for row in work.tried(f"{schema}.{table}", flush))
    return count


_RESHAPED = f"""
  SELECT schemas.schema_name, tables.table_name
  FROM {METADATA}.ducklake_inlined_data_tables AS places
  JOIN {METADATA}.ducklake_table AS tables ON tables.table_id = places.table_id
  JOIN {METADATA}.ducklake_schema AS schemas ON schemas.schema_id = tables.schema_id
  WHERE tables.end_snapshot IS NULL AND schemas.end_snapshot IS NULL
  GROUP BY ALL HAVING count(*) > 1
"""  # noqa: S608  # names are ours
"""Tables whose columns or layout changed since they were flushed: inlined rows lie in a place per shape."""


def _flush_reshaped(work: _Work, call: str) -> list[tuple[Any, ...]]:
    """The flush drops the places of earlier shapes. A connection that has read the schema before looks there
    all the same, and breaks (DuckLake of DuckDB 1.5.5), unless the schema has changed since: so, in the same
    commit, it does.
    """
    work.lake.begin()
    try:
        rows = work.rows(call)
        work.lake.execute("CREATE OR REPLACE VIEW raw.schema_has_changed AS SELECT 1 AS one")
        work.lake.commit()
    except duckdb.Error:
        with contextlib.suppress(duckdb.Error):  # a failed commit has ended it already
            work.lake.rollback()
        raise
    work.despite_conflicts("schema", "DROP VIEW IF EXISTS raw.schema_has_changed")
    return rows


def _rewrite(work: _Work) -> int:
    call = "CALL ducklake_rewrite_data_files('lake', '{table}', schema => '{schema}', delete_threshold => "
    return 0 if work.is_dry_run else _compact(work, call + f"{REWRITE_SHARE})")


def _merge(work: _Work) -> int:
    call = "CALL ducklake_merge_adjacent_files('lake', '{table}', schema => '{schema}')"
    return 0 if work.is_dry_run else _compact(work, call)


def _compact(work: _Work, call: str) -> int:
    return sum(
        row[2]
        for schema, table in work.tables()
        for row in work.despite_conflicts(f"{schema}.{table}", call.format(schema=schema, table=table))
    )


def _expire(work: _Work) -> int:
    """Without PostgreSQL's word on the releases nothing expires: it raises."""
    named = named_snapshots(work.postgres)
    kept = kept_for_releases(named, work.now, work.retention.release_days)
    rows = work.rows(
        f"SELECT snapshot_id FROM {METADATA}.ducklake_snapshot WHERE snapshot_time < ? "  # noqa: S608
        f"AND snapshot_id < (SELECT max(snapshot_id) FROM {METADATA}.ducklake_snapshot) ORDER BY ALL",
        work.now - timedelta(hours=work.retention.snapshot_hours),
    )
    old = [row[0] for row in rows if row[0] not in kept]
    if work.is_dry_run:
        return len(old)
    count = 0
    for start in range(0, len(old), SNAPSHOTS_AT_ONCE):
        listed = old[start : start + SNAPSHOTS_AT_ONCE]
        call = f"CALL ducklake_expire_snapshots('lake', versions => {listed}::UBIGINT[])"
        count += len(work.despite_conflicts("snapshots", call))
    return count


def _clean(work: _Work) -> int:
    return len(work.despite_conflicts("old files", _deletion(work, "cleanup_old_files", work.is_dry_run)))


def _delete_orphans(work: _Work) -> int:
    orphans = {Path(path).name for (path,) in work.rows(_deletion(work, "delete_orphaned_files", True))}
    _refuse_live(work, orphans)
    if not work.is_dry_run and orphans:
        work.despite_conflicts("orphans", _deletion(work, "delete_orphaned_files", False))
    return len(orphans)


def _deletion(work: _Work, function: str, is_dry_run: bool) -> str:
    retention = work.retention
    is_orphans = function == "delete_orphaned_files"
    hours = retention.orphan_hours if is_orphans else retention.old_file_hours
    older_than = (work.now - timedelta(hours=hours)).isoformat()
    return (
        f"CALL ducklake_{function}('lake', older_than => TIMESTAMPTZ '{older_than}', dry_run => {is_dry_run})"
    )


def _refuse_live(work: _Work, orphans: set[str]) -> None:
    """Orphans are found by comparing paths as text; this asks the other way round, by name alone."""
    known = {
        Path(path).name
        for table in ("data_file", "delete_file", "files_scheduled_for_deletion")
        for (path,) in work.rows(f"SELECT path FROM {METADATA}.ducklake_{table}")  # noqa: S608
    }
    if orphans & known:
        raise LiveFileTaken(
            f"{len(orphans & known)} files that the catalog names were taken for orphans; none was deleted. "
            "Is CIRCLES_LAKE_DATA_PATH the folder that the lake was made with?"
        )


STEPS: dict[str, Callable[[_Work], int]] = {
    "sort": _sort,
    "delete raw rows": _delete_raw,
    "flush": _flush,
    "rewrite": _rewrite,
    "merge": _merge,
    "expire": _expire,
    "clean": _clean,
    "delete orphans": _delete_orphans,
}
"""In this order: what one step no longer needs, a later one removes."""

UNITS = {
    "sort": "tables in order",
    "delete raw rows": "rows",
    "flush": "rows to files",
    "rewrite": "files written anew",
    "merge": "files merged",
    "expire": "snapshots",
    "clean": "files",
    "delete orphans": "files",
}
"""What a step counts."""
