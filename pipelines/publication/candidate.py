"""Candidate tables: a release that is written to PostgreSQL but that nobody sees yet.

A candidate is a schema `release_<n>` with one table per evidence table. Whether it is good enough is
decided by quality, and making it visible is `release`'.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg2 import sql
from psycopg2.extras import execute_values

from pipelines.publication.looks import Looked, count_looks, forget_looks
from pipelines.publication.shown import Fingerprints, Shown, TakenOver, shown_release, take_over
from pipelines.publication.store import KeyedTable, PublishedTable, execute, schema_of, transaction
from services.runtime.postgres import Connection
from services.runtime.settings import PostgresSettings

if TYPE_CHECKING:
    import pandas as pd


class UnknownCandidate(Exception):
    """No schema of a candidate has this number."""


@dataclass(frozen=True)
class Provenance:
    """Where a release comes from. With the snapshot and the code, it can be computed again."""

    lake_snapshot: int
    code_version: str
    computed_at: datetime


def provenance(lake_snapshot: int) -> Provenance:
    """Provenance of what is computed now, from this snapshot, by this code."""
    return Provenance(lake_snapshot, code_version(), datetime.now(UTC))


def code_version() -> str:
    """Version of the distribution and, in a checkout, the commit: `0.1.0+3f2a…`."""
    version = importlib.metadata.version("circles")
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return version
    return f"{version}+{commit}"


def write_candidate(
    postgres: PostgresSettings,
    tables: Sequence[KeyedTable],
    frames: Mapping[str, pd.DataFrame],
    source: Provenance,
    *,
    fingerprints: Fingerprints | None = None,
    looked: Looked | None = None,
    taken_over: TakenOver | None = None,
) -> int:
    """Writes each table's frame into a new schema, and what is taken over beside it, and counts its looks.
    Returns the number of the release that it may become."""
    with transaction(postgres) as connection:
        release_id = _next_release(connection)
        schema = schema_of(release_id)
        execute(connection, sql.SQL("CREATE SCHEMA {}").format(schema))
        _note(connection, release_id, {**_told(source), "fingerprints": fingerprints or {}})
        stated = _stated(release_id, source)
        for table in tables:
            _create(connection, schema, table)
            _fill(connection, schema, table, _with(frames[table.name], stated))
            take_over(connection, release_id, table, taken_over or TakenOver(), stated)
        count_looks(connection, release_id, tables, looked or Looked())
    return release_id


def read_candidate(postgres: PostgresSettings, release_id: int, table: PublishedTable) -> pd.DataFrame:
    """The candidate as it stands in PostgreSQL, in the table's columns."""
    with transaction(postgres) as connection:
        return _read(connection, schema_of(release_id), table)


def read_published(postgres: PostgresSettings, table: PublishedTable, names: Sequence[str]) -> pd.DataFrame:
    """These columns of what readers see now; no rows when the table has not been released, or lacked one of
    them then."""
    import pandas as pd

    with transaction(postgres) as connection:
        if set(names) <= _published_columns(connection, table.name):
            return _read(connection, sql.Identifier("evidence"), table, names)
    return pd.DataFrame(columns=[*names], dtype=object)


def _read(
    connection: Connection, schema: sql.Identifier, table: PublishedTable, names: Sequence[str] = ()
) -> pd.DataFrame:
    """All columns, where none are named."""
    import pandas as pd

    listed = sql.SQL(", ").join(map(sql.Identifier, names)) if names else sql.SQL("*")
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT {} FROM {}.{}").format(listed, schema, sql.Identifier(table.name)))
        found = [each.name for each in cursor.description or ()]
        return pd.DataFrame(cursor.fetchall(), columns=found, dtype=object)


def keep_published(
    postgres: PostgresSettings, release_id: int, tables: Sequence[PublishedTable], tenants: Collection[str]
) -> None:
    """Puts what readers see of these tenants now into the candidate, in place of what was made of them.

    The rows go on naming the release, the snapshot and the code that they came from. Of a tenant of whom
    nothing is published, or of a table whose columns have changed since, there is nothing to keep: then the
    tenant is not in it.
    """
    if not tenants:
        return
    with transaction(postgres) as connection:
        _forget_fingerprints(connection, release_id, tenants)
        forget_looks(connection, release_id, tenants)
        for table in tables:
            new = sql.SQL("{}.{}").format(schema_of(release_id), sql.Identifier(table.name))
            whose = sql.SQL("WHERE tenant = ANY({})").format(sql.Literal(sorted(tenants)))
            execute(connection, sql.SQL("DELETE FROM {} {}").format(new, whose))
            names = {each.name for each in table.columns}
            if names <= _published_columns(connection, table.name):
                listed = sql.SQL(", ").join(map(sql.Identifier, sorted(names)))
                published = sql.SQL("evidence.{}").format(sql.Identifier(table.name))
                statement = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} {}")
                execute(connection, statement.format(new, listed, listed, published, whose))


def _published_columns(connection: Connection, table: str) -> set[str]:
    """Columns of what readers see; none before the first release."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_schema = 'evidence' AND table_name = %s",
            (table,),
        )
        return {str(row[0]) for row in cursor.fetchall()}


def approve(postgres: PostgresSettings, release_id: int) -> None:
    """Says of a candidate that its checks have passed. Without this it cannot be released."""
    with transaction(postgres) as connection:
        _note(connection, release_id, _note_of(connection, release_id) | {"is_approved": True})


def note_of(connection: Connection, release_id: int) -> tuple[Provenance, bool]:
    """Provenance of a candidate, and whether it is approved. Raises UnknownCandidate."""
    note = _note_of(connection, release_id)
    source = Provenance(
        note["lake_snapshot"], note["code_version"], datetime.fromisoformat(note["computed_at"])
    )
    return source, note["is_approved"]


def read_shown(postgres: PostgresSettings) -> Shown:
    """The release that readers see now, with what its rows were computed from."""
    with transaction(postgres) as connection:
        release_id = shown_release(connection)
        note = {} if release_id is None else _note_of(connection, release_id)
        return Shown(release_id, note.get("fingerprints", {}))


def _forget_fingerprints(connection: Connection, release_id: int, tenants: Collection[str]) -> None:
    note = _note_of(connection, release_id)
    left = {
        table: {tenant: each for tenant, each in of_table.items() if tenant not in tenants}
        for table, of_table in note.get("fingerprints", {}).items()
    }
    _note(connection, release_id, note | {"fingerprints": left})


def _told(source: Provenance) -> dict[str, Any]:
    return {
        "lake_snapshot": source.lake_snapshot,
        "code_version": source.code_version,
        "computed_at": source.computed_at.isoformat(),
        "is_approved": False,
    }


def _note_of(connection: Connection, release_id: int) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s",
            (f"release_{release_id}",),
        )
        row = cursor.fetchone()
    if not row or not row[0]:
        raise UnknownCandidate(f"There is no candidate {release_id}")
    note: dict[str, Any] = json.loads(row[0])
    return note


def _note(connection: Connection, release_id: int, note: Mapping[str, Any]) -> None:
    statement = sql.SQL("COMMENT ON SCHEMA {} IS {}")
    execute(connection, statement.format(schema_of(release_id), sql.Literal(json.dumps(note))))


def numbers_of_schemas(connection: Connection) -> set[int]:
    """Numbers of all schemas of candidates and releases that are there."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT substring(nspname FROM '^release_([0-9]+)$')::bigint FROM pg_namespace "
            "WHERE nspname ~ '^release_[0-9]+$'"
        )
        return {int(row[0]) for row in cursor.fetchall()}


def _next_release(connection: Connection) -> int:
    """Above every number that was ever used, also by a release whose schema is gone."""
    used = numbers_of_schemas(connection)
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('evidence.releases') IS NOT NULL")
        if (cursor.fetchone() or (False,))[0]:
            cursor.execute("SELECT release_id FROM evidence.releases")
            used |= {int(row[0]) for row in cursor.fetchall()}
    return max(used, default=0) + 1


def _create(connection: Connection, schema: sql.Identifier, table: PublishedTable) -> None:
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(each.name), sql.SQL(each.sql_type)) for each in table.columns
    )
    statement = sql.SQL("CREATE TABLE {}.{} ({})")
    execute(connection, statement.format(schema, sql.Identifier(table.name), columns))


def _fill(connection: Connection, schema: sql.Identifier, table: PublishedTable, rows: pd.DataFrame) -> None:
    names = [each.name for each in table.columns]
    statement = sql.SQL("INSERT INTO {}.{} ({}) VALUES %s").format(
        schema, sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, names))
    )
    with connection.cursor() as cursor:
        execute_values(cursor, statement, _tuples(rows, names), page_size=500)


def _tuples(rows: pd.DataFrame, names: Sequence[str]) -> Iterable[tuple[object, ...]]:
    return rows[names].itertuples(index=False, name=None)


def _stated(release_id: int, source: Provenance) -> dict[str, object]:
    """What each row of a candidate says of where it comes from."""
    return {
        "release_id": release_id,
        "lake_snapshot": source.lake_snapshot,
        "code_version": source.code_version,
        "computed_at": source.computed_at,
    }


def _with(rows: pd.DataFrame, stated: Mapping[str, object]) -> pd.DataFrame:
    import pandas as pd

    return rows.assign(**{name: pd.Series([v] * len(rows), rows.index, object) for name, v in stated.items()})
