"""The release: a checked candidate becomes what readers see, in one transaction, behind stable views.

A reader sees the release before or the one after, in all tables, never a mixture. What is in the tables is
decided before: by evidence, disclosure and quality.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg2.errors
from psycopg2 import sql

from pipelines.publication.candidate import Provenance, note_of, numbers_of_schemas
from pipelines.publication.looks import HISTORY, HISTORY_COMMENTS, HISTORY_DESCRIPTION, look
from pipelines.publication.store import KeyedTable, PublishedTable, is_there, schema_of, transaction
from services.runtime.postgres import Connection
from services.runtime.settings import PostgresSettings, ReaderSettings

KEPT_RELEASES = 20
"""So many of the newest releases keep their schemas; what was published can be looked up for that long."""

LOCK_SECONDS = 30.0
"""A reader's long query holds a view; rather than queue everybody behind us, give up and try again later."""

LOCK_PAUSE_SECONDS = 0.02

RELEASES = """
CREATE TABLE IF NOT EXISTS evidence.releases (
  release_id bigint PRIMARY KEY,
  released_at timestamptz NOT NULL DEFAULT now(),
  lake_snapshot bigint NOT NULL,
  code_version text NOT NULL,
  row_counts jsonb NOT NULL,
  inputs_erased boolean NOT NULL DEFAULT false,
  is_shown boolean NOT NULL DEFAULT false
);
DO $$
BEGIN
  -- A list of before there were these columns. Without the question each release would wait for readers.
  IF NOT EXISTS (
    SELECT FROM information_schema.columns
    WHERE (table_schema, table_name, column_name) = ('evidence', 'releases', 'is_shown')
  ) THEN
    ALTER TABLE evidence.releases
      ADD COLUMN IF NOT EXISTS inputs_erased boolean NOT NULL DEFAULT false,
      ADD COLUMN is_shown boolean NOT NULL DEFAULT false;
  END IF;
END $$
"""

RELEASES_COMMENTS = {
    "release_id": "Number of the release. Rows of evidence tables name it.",
    "released_at": "When readers began to see it.",
    "lake_snapshot": "Snapshot of the lake that it was computed from.",
    "code_version": "Version of the code that computed it.",
    "row_counts": "Rows per table, as JSON object.",
    "is_shown": "True: the release whose rows the tables show now. An earlier one may come back.",
    "inputs_erased": "True: data that it was computed from have been erased since. Its figures stay, and "
    "cannot be computed again.",
}

DICTIONARY = """
CREATE OR REPLACE VIEW evidence.data_dictionary AS
SELECT classes.relname::text AS table_name, columns.attname::text AS column_name,
       format_type(columns.atttypid, columns.atttypmod) AS data_type,
       col_description(classes.oid, columns.attnum) AS description
FROM pg_class AS classes
JOIN pg_namespace AS namespaces ON namespaces.oid = classes.relnamespace
JOIN pg_attribute AS columns ON columns.attrelid = classes.oid
WHERE namespaces.nspname = 'evidence' AND classes.relkind IN ('v', 'r')
  AND columns.attnum > 0 AND NOT columns.attisdropped
"""

DICTIONARY_COMMENTS = {
    "table_name": "Table or view of the schema evidence.",
    "column_name": "Column.",
    "data_type": "Type of the column.",
    "description": "Meaning of the column.",
}


class StillRead(Exception):
    """Readers have held the published tables for too long."""


class NotApproved(Exception):
    """The candidate has not passed its checks."""


@dataclass(frozen=True)
class Release:
    """What readers see from now on."""

    release_id: int
    lake_snapshot: int
    code_version: str
    row_counts: dict[str, int]


@dataclass(frozen=True)
class NamedSnapshot:
    """A snapshot of the lake that a release or a candidate was computed from."""

    release_id: int
    lake_snapshot: int
    released_at: datetime | None
    """None for a candidate."""
    is_there: bool
    """Whether its tables can still be read."""
    inputs_erased: bool = False
    """Whether data that it was computed from have been erased since."""
    is_shown: bool = False
    """Whether it is the one that readers see."""
    has_shown_rows: bool = False
    """Whether readers see rows that it has brought: also those of a tenant whose rows stayed since."""


def publish(postgres: PostgresSettings, tables: Sequence[KeyedTable], release_id: int) -> Release:
    """Lets readers see a candidate; repeating it changes nothing.

    Raises NotApproved, UnknownCandidate, and StillRead when readers do not let go.
    """
    with transaction(postgres) as connection:
        source, is_approved = note_of(connection, release_id)
        if not is_approved:
            raise NotApproved(f"Candidate {release_id} has not passed its checks: it cannot be released")
        if not _is_released(connection, release_id):
            look(connection, release_id, tables)
        _lock(connection, [*(table.name for table in tables), "releases"])
        _prepare(connection)
        counts = {table.name: _count(connection, table, release_id) for table in tables}
        _record(connection, release_id, source, counts)
        kept = _kept(connection) | {release_id}
        for table in tables:
            _replace_view(connection, table, release_id, kept)
        _grant(connection, [*(table.name for table in tables), "releases", "looks", "data_dictionary"])
        _drop_others(connection, kept, below=release_id)
    return Release(release_id, source.lake_snapshot, source.code_version, counts)


def _lock(connection: Connection, names: Sequence[str]) -> None:
    """All published tables at once, or none: whoever has read one sees no other release until its end.

    Waiting for one while holding another would be a deadlock with who reads them in another order, which
    PostgreSQL ends by failing the reader.
    """
    there = [name for name in names if is_there(connection, f"evidence.{name}")]
    deadline = time.monotonic() + LOCK_SECONDS
    while there and not _try_lock(connection, there):
        if time.monotonic() > deadline:
            raise StillRead(f"Readers have held the published tables for {LOCK_SECONDS:.0f} s")
        time.sleep(LOCK_PAUSE_SECONDS)


def _is_released(connection: Connection, release_id: int) -> bool:
    if not is_there(connection, "evidence.releases"):
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM evidence.releases WHERE release_id = %s", (release_id,))
        return cursor.fetchone() is not None


def _try_lock(connection: Connection, names: Sequence[str]) -> bool:
    listed = sql.SQL(", ").join(sql.SQL("evidence.{}").format(sql.Identifier(name)) for name in names)
    _run(connection, sql.SQL("SAVEPOINT unlocked"))
    try:
        _run(connection, sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE NOWAIT").format(listed))
    except psycopg2.errors.LockNotAvailable:
        _run(connection, sql.SQL("ROLLBACK TO SAVEPOINT unlocked"))
        return False
    return True


def newest_candidate(postgres: PostgresSettings) -> int | None:
    """Number of the newest candidate, approved or not, released or not. None: there has never been one."""
    with transaction(postgres) as connection:
        return max(numbers_of_schemas(connection), default=None)


def named_snapshots(postgres: PostgresSettings) -> list[NamedSnapshot]:
    """Snapshots of every release that there was and of every candidate that is there."""
    with transaction(postgres) as connection:
        there = numbers_of_schemas(connection)
        released = _released(connection, there)
        candidates = there - {each.release_id for each in released}
        return [
            *released,
            *(
                NamedSnapshot(number, note_of(connection, number)[0].lake_snapshot, None, is_there=True)
                for number in candidates
            ),
        ]


def mark_inputs_erased(postgres: PostgresSettings) -> None:
    """Part of an erasure: what was released before it cannot be computed again."""
    with transaction(postgres) as connection:
        _prepare(connection)
        _run(connection, sql.SQL("UPDATE evidence.releases SET inputs_erased = true WHERE NOT inputs_erased"))


def _released(connection: Connection, there: set[int]) -> list[NamedSnapshot]:
    """None before the first release."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('evidence.releases') IS NOT NULL")
        if not (cursor.fetchone() or (False,))[0]:
            return []
        brought = _brought_what_is_shown(connection)
        # By way of JSON: the columns come with the next release.
        cursor.execute(
            "SELECT release_id, lake_snapshot, released_at, "
            "coalesce((to_jsonb(each) ->> 'inputs_erased')::boolean, false), "
            "coalesce((to_jsonb(each) ->> 'is_shown')::boolean, false) FROM evidence.releases AS each"
        )
        return [
            NamedSnapshot(number, snapshot, released_at, number in there, erased, is_shown, number in brought)
            for number, snapshot, released_at, erased, is_shown in cursor.fetchall()
        ]


def _brought_what_is_shown(connection: Connection) -> set[int]:
    """Releases of rows that readers see: a tenant's rows may stay for many releases."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid "
            "WHERE relnamespace = to_regnamespace('evidence') AND relkind = 'v' AND attname = 'release_id'"
        )
        views = [sql.Identifier(row[0]) for row in cursor.fetchall()]
        found: set[int] = set()
        for view in views:
            cursor.execute(sql.SQL("SELECT DISTINCT release_id FROM evidence.{}").format(view))
            found |= {int(row[0]) for row in cursor.fetchall()}
    return found


def _prepare(connection: Connection) -> None:
    """Schema, list of releases and of looks, data dictionary: there from the first release on."""
    _run(connection, sql.SQL("CREATE SCHEMA IF NOT EXISTS evidence"))
    _run(connection, sql.SQL(RELEASES))
    _run(connection, sql.SQL(HISTORY))
    _run(connection, sql.SQL(DICTIONARY))
    _comment(connection, "releases", "TABLE", "Every release, newest last.", RELEASES_COMMENTS)
    _comment(connection, "looks", "TABLE", HISTORY_DESCRIPTION, HISTORY_COMMENTS)
    words = "What each column of the schema means."
    _comment(connection, "data_dictionary", "VIEW", words, DICTIONARY_COMMENTS)


def _replace_view(connection: Connection, table: PublishedTable, release_id: int, kept: set[int]) -> None:
    """Points the view at the release. A view whose columns have changed is made anew."""
    shown = sql.SQL(" UNION ALL ").join(
        _branch(table, number) for number in _alike(connection, table, release_id, kept)
    )
    view = sql.SQL("evidence.{}").format(sql.Identifier(table.name))
    _run(connection, sql.SQL("SAVEPOINT view"))
    try:
        _run(connection, sql.SQL("CREATE OR REPLACE VIEW {} AS {}").format(view, shown))
    except psycopg2.errors.InvalidTableDefinition:
        _run(connection, sql.SQL("ROLLBACK TO SAVEPOINT view"))
        _run(connection, sql.SQL("DROP VIEW {}").format(view))
        _run(connection, sql.SQL("CREATE VIEW {} AS {}").format(view, shown))
    meanings = {column.name: column.description for column in table.columns}
    _comment(connection, table.name, "VIEW", table.description, meanings)


def _branch(table: PublishedTable, release_id: int) -> sql.Composable:
    """The rows of a release, for whom it is the one that is shown.

    A view's definition is of the moment, also in a transaction that reads everything else as it was when it
    began: by the list of releases it finds the rows of then. PostgreSQL asks once, and reads one branch.
    """
    return sql.SQL(
        "SELECT {} FROM {}.{} WHERE EXISTS (SELECT FROM evidence.releases WHERE is_shown AND release_id = {})"
    ).format(
        sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns),
        schema_of(release_id),
        sql.Identifier(table.name),
        sql.Literal(release_id),
    )


def _alike(connection: Connection, table: PublishedTable, release_id: int, kept: set[int]) -> list[int]:
    """This release and the kept ones of before whose table has the same columns."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT substring(table_schema FROM '^release_([0-9]+)$')::bigint, "
            "array_agg(column_name || ' ' || data_type ORDER BY column_name) "
            "FROM information_schema.columns WHERE table_schema ~ '^release_[0-9]+$' AND table_name = %s "
            "GROUP BY table_schema",
            (table.name,),
        )
        columns = dict(cursor.fetchall())
    return [number for number in sorted(kept & columns.keys()) if columns[number] == columns[release_id]]


def _comment(connection: Connection, name: str, kind: str, description: str, columns: dict[str, str]) -> None:
    relation = sql.SQL("evidence.{}").format(sql.Identifier(name))
    about = sql.SQL("COMMENT ON {} {} IS {}")
    _run(connection, about.format(sql.SQL(kind), relation, sql.Literal(description)))
    for column, meaning in columns.items():
        statement = sql.SQL("COMMENT ON COLUMN {}.{} IS {}")
        _run(connection, statement.format(relation, sql.Identifier(column), sql.Literal(meaning)))


def _count(connection: Connection, table: PublishedTable, release_id: int) -> int:
    statement = sql.SQL("SELECT count(*) FROM {}.{}")
    with connection.cursor() as cursor:
        cursor.execute(statement.format(schema_of(release_id), sql.Identifier(table.name)))
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def _record(connection: Connection, release_id: int, source: Provenance, counts: dict[str, int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO evidence.releases (release_id, lake_snapshot, code_version, row_counts) "
            "VALUES (%s, %s, %s, %s) ON CONFLICT (release_id) DO NOTHING",
            (release_id, source.lake_snapshot, source.code_version, json.dumps(counts)),
        )
        cursor.execute(
            "UPDATE evidence.releases SET is_shown = (release_id = %s) WHERE is_shown <> (release_id = %s)",
            (release_id, release_id),
        )


def _grant(connection: Connection, names: Sequence[str]) -> None:
    """Readers may read. Roles that a deployment does not have are left out."""
    readers = ReaderSettings.load()
    with connection.cursor() as cursor:
        wanted = [readers.operator_user, readers.analyst_user]
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", (wanted,))
        roles = [sql.Identifier(row[0]) for row in cursor.fetchall()]
    for role in roles:
        _run(connection, sql.SQL("GRANT USAGE ON SCHEMA evidence TO {}").format(role))
        for name in names:
            statement = sql.SQL("GRANT SELECT ON evidence.{} TO {}")
            _run(connection, statement.format(sql.Identifier(name), role))


def _kept(connection: Connection) -> set[int]:
    """The newest releases."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT release_id FROM evidence.releases ORDER BY release_id DESC LIMIT %s", (KEPT_RELEASES,)
        )
        return {row[0] for row in cursor.fetchall()}


def _drop_others(connection: Connection, kept: set[int], *, below: int) -> None:
    """Drops schemas of earlier releases that are not kept, and of candidates that were never released."""
    for number in sorted(each for each in numbers_of_schemas(connection) - kept if each < below):
        _run(connection, sql.SQL("DROP SCHEMA {} CASCADE").format(schema_of(number)))


def _run(connection: Connection, statement: sql.Composable) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
