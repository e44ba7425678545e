"""Where releases and candidates are: the database of published tables, its lock, and the schema of each.

What is written there is the other modules'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from psycopg2 import sql

from services.runtime.postgres import Connection, connect
from services.runtime.settings import PostgresSettings

RELEASE_LOCK = 0x72656C65
"""Key of the advisory lock under which releases are numbered and swapped."""


class PublishedColumn(Protocol):
    """A column with its type and meaning."""

    @property
    def name(self) -> str: ...
    @property
    def sql_type(self) -> str: ...
    @property
    def description(self) -> str: ...


class PublishedTable(Protocol):
    """A table as readers see it."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def columns(self) -> Sequence[PublishedColumn]: ...


class KeyedTable(PublishedTable, Protocol):
    """A table as readers see it, with the columns that name a row."""

    @property
    def key(self) -> tuple[str, ...]: ...


def schema_of(release_id: int) -> sql.Identifier:
    return sql.Identifier(f"release_{release_id}")


@contextmanager
def transaction(postgres: PostgresSettings) -> Iterator[Connection]:
    """One transaction in the database of published tables, under the release lock."""
    connection = connect(postgres, postgres.database_published, autocommit=False)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (RELEASE_LOCK,))
            yield connection
    finally:
        connection.close()


def execute(connection: Connection, statement: sql.Composable) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def is_there(connection: Connection, relation: str) -> bool:
    """Whether there is a table or view of this name, as `evidence.releases`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (relation,))
        return bool((cursor.fetchone() or (False,))[0])
