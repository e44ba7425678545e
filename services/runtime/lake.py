"""The door to the lake: a DuckDB connection with DuckLake attached as `lake`.

The catalog is in PostgreSQL, the rows are Parquet files under the data path, the extensions come from
installed wheels. What is in the lake is decided by landing (`raw`) and by dbt and pipelines (the rest).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from services.runtime.pids import is_alive
from services.runtime.settings import LakeSettings, PostgresSettings, home


@dataclass(frozen=True)
class Snapshot:
    """A state of the lake that can still be read."""

    number: int
    made_at: datetime


class SnapshotGone(Exception):
    """The lake cannot be read as it was then: that state has expired, or there never was one."""


INLINED_ROWS = 200
"""Fewer make no file: they lie in the catalog until maintenance flushes them."""

EXTENSION_PACKAGES = ("duckdb_extension_ducklake", "duckdb_extension_postgres_scanner")


def install_extensions(directory: Path) -> None:
    """Copies the wheels' extension files to where DuckDB looks for them. Safe to repeat."""
    with duckdb.connect(":memory:") as connection:
        platform = connection.execute("PRAGMA platform").fetchall()[0][0]
    target = directory / f"v{duckdb.__version__}" / platform
    target.mkdir(parents=True, exist_ok=True)
    for package in EXTENSION_PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise RuntimeError(f"{package} is not installed: run `make setup`")
        for source in Path(next(iter(spec.submodule_search_locations))).rglob("*.duckdb_extension"):
            destination = target / source.name
            if not destination.exists() or destination.stat().st_size != source.stat().st_size:
                shutil.copy2(source, destination)


def spill_root() -> Path:
    """Where DuckDB puts what does not fit into memory: in the data folder, since these are people's rows."""
    folder = home() / "spill"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def spill_folder() -> Path:
    """A new name of a folder for one connection.

    DuckDB makes the folder when it needs it, and deletes it in the end. What a killed process left is deleted
    here: the name begins with the process.
    """
    folder = spill_root()
    for left in folder.glob("*-*"):
        if not is_alive(int(left.name.partition("-")[0])):
            shutil.rmtree(left, ignore_errors=True)
    return folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"


def open_lake(
    lake: LakeSettings | None = None,
    postgres: PostgresSettings | None = None,
    *,
    read_only: bool = False,
    snapshot: int | None = None,
) -> duckdb.DuckDBPyConnection:
    """Opens the lake as catalog `lake`, in UTC.

    Arguments: `snapshot` reads the lake as it was at that snapshot (implies read-only).
    Raises duckdb.Error when PostgreSQL is away or the snapshot has expired.
    """
    lake = lake or LakeSettings.load()
    postgres = postgres or PostgresSettings.load()
    connection = duckdb.connect(
        ":memory:",
        config={
            "extension_directory": str(lake.extension_directory),
            "autoinstall_known_extensions": "false",
            "threads": str(lake.threads),
            "memory_limit": lake.memory_limit,
            "temp_directory": str(spill_folder()),
        },
    )
    for extension in ("ducklake", "postgres_scanner"):
        connection.execute(f"LOAD {extension}")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET ducklake_max_retry_count = 100")
    inline_up_to(connection, INLINED_ROWS)
    connection.execute(_attach_statement(lake, postgres, read_only=read_only, snapshot=snapshot))
    connection.execute("USE lake")
    return connection


def inline_up_to(connection: duckdb.DuckDBPyConnection, rows: int) -> None:
    """What this connection inserts at once goes into the catalog when it is at most so many rows."""
    connection.execute(f"SET ducklake_default_data_inlining_row_limit = {int(rows)}")


def _attach_statement(
    lake: LakeSettings, postgres: PostgresSettings, *, read_only: bool, snapshot: int | None
) -> str:
    options = [f"DATA_PATH '{_quoted(str(lake.data_path))}/'"]
    if snapshot is not None:
        options.append(f"SNAPSHOT_VERSION {int(snapshot)}")
    if read_only or snapshot is not None:
        options.append("READ_ONLY")
    dsn = _quoted(postgres.dsn_with_password_file(postgres.database_lake))
    return f"ATTACH 'ducklake:postgres:{dsn}' AS lake ({', '.join(options)})"


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def current_snapshot(connection: duckdb.DuckDBPyConnection) -> int:
    """Number of the newest snapshot of the attached lake."""
    rows = connection.execute("SELECT max(snapshot_id) FROM ducklake_snapshots('lake')").fetchall()
    return int(rows[0][0])


def snapshots(connection: duckdb.DuckDBPyConnection) -> list[Snapshot]:
    """What `open_lake(snapshot=…)` can read, oldest first."""
    rows = connection.execute(
        "SELECT snapshot_id, snapshot_time FROM ducklake_snapshots('lake') ORDER BY snapshot_id"
    ).fetchall()
    return [Snapshot(*row) for row in rows]


def snapshot_of(found: Sequence[Snapshot], wanted: int | datetime) -> int:
    """The snapshot of that number, or the newest one of that moment. Raises SnapshotGone."""
    numbers = {each.number for each in found}
    if isinstance(wanted, int):
        if wanted in numbers:
            return wanted
        never = wanted > max(numbers)
        raise SnapshotGone(f"Snapshot {wanted} {'has not been made yet' if never else 'has expired'}.")
    earlier = [each for each in found if each.made_at <= wanted]
    if not earlier:
        raise SnapshotGone(f"Of {wanted:%Y-%m-%d %H:%M:%S} UTC there is no snapshot any more.")
    # Numbers have no gaps but those of expired snapshots: one of them may have been the newest at the time.
    newest = earlier[-1].number
    if newest + 1 not in numbers and newest != found[-1].number:
        raise SnapshotGone(f"The snapshot of {wanted:%Y-%m-%d %H:%M:%S} UTC has expired.")
    return newest
