"""What a release would change for readers: counts of rows by table. Nothing is published here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from psycopg2 import sql

from pipelines.publication.candidate import note_of
from pipelines.publication.store import KeyedTable, PublishedTable, schema_of, transaction
from services.runtime.postgres import Connection
from services.runtime.settings import PostgresSettings

SOURCE = frozenset({"release_id", "lake_snapshot", "code_version", "computed_at"})
"""Columns that are others in every release."""


class Change(NamedTuple):
    """Rows of a table before and after."""

    table: str
    rows_now: int
    rows_then: int
    added: int
    removed: int
    changed: int
    """Of those that are there before and after: some value is another."""
    suppressed_now: int
    suppressed_then: int


def changes(postgres: PostgresSettings, tables: Sequence[KeyedTable], release_id: int) -> list[Change]:
    """What readers would see otherwise. Raises UnknownCandidate."""
    with transaction(postgres) as connection:
        note_of(connection, release_id)
        return [_change(connection, table, release_id) for table in tables]


def _change(connection: Connection, table: KeyedTable, release_id: int) -> Change:
    candidate = sql.SQL("{}.{}").format(schema_of(release_id), sql.Identifier(table.name))
    is_seen = _has_same_columns(connection, table)
    seen = sql.SQL("evidence.{}").format(sql.Identifier(table.name)) if is_seen else candidate
    statement = sql.SQL(
        """
        WITH now AS (SELECT {key} AS key, {body} AS body, suppressed FROM {seen} WHERE {is_seen}),
             soon AS (SELECT {key} AS key, {body} AS body, suppressed FROM {candidate})
        SELECT count(now.key), count(soon.key),
               count(*) FILTER (WHERE now.key IS NULL), count(*) FILTER (WHERE soon.key IS NULL),
               count(*) FILTER (WHERE now.body <> soon.body),
               count(*) FILTER (WHERE now.suppressed), count(*) FILTER (WHERE soon.suppressed)
        FROM now FULL JOIN soon USING (key)
        """
    ).format(
        key=_row(table.key),
        body=_row([each.name for each in table.columns if each.name not in SOURCE]),
        seen=seen,
        is_seen=sql.Literal(is_seen),
        candidate=candidate,
    )
    with connection.cursor() as cursor:
        cursor.execute(statement)
        (counts,) = cursor.fetchall()
    return Change(table.name, *counts)


def _row(columns: Sequence[str]) -> sql.Composable:
    """As one text, in which NULL is a value like others."""
    return sql.SQL("ROW({})::text").format(sql.SQL(", ").join(map(sql.Identifier, columns)))


def _has_same_columns(connection: Connection, table: PublishedTable) -> bool:
    """Whether there is a view with the columns of the candidate. Else all of its rows are new."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_schema = 'evidence' AND table_name = %s",
            (table.name,),
        )
        return {row[0] for row in cursor.fetchall()} == {each.name for each in table.columns}
