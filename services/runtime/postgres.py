"""The door to PostgreSQL. Which tables are behind it is decided by infra/provisioning/sql."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from services.runtime.settings import PostgresSettings

__all__ = ["Connection", "PostgresUnavailable", "connect", "locked", "try_lock"]


class PostgresUnavailable(Exception):
    """PostgreSQL does not answer, or refuses the user."""


def connect(settings: PostgresSettings, database: str, *, autocommit: bool = True) -> Connection:
    """A connection to one of the four databases. Raises PostgresUnavailable."""
    try:
        connection = psycopg2.connect(settings.dsn(database), application_name="circles")
    except psycopg2.OperationalError as error:
        raise PostgresUnavailable(
            f"PostgreSQL at {settings.host}:{settings.port}, database {database}, refuses user "
            f"{settings.user}: {str(error).strip().splitlines()[-1]}"
        ) from error
    connection.autocommit = autocommit
    return connection


def try_lock(cursor: Cursor, number: int) -> bool:
    """Takes lock `number` of the database, which ends with the connection. False: somebody else has it."""
    cursor.execute("SELECT pg_try_advisory_lock(%s)", (number,))
    row = cursor.fetchone()
    return row is not None and bool(row[0])


@contextmanager
def locked(settings: PostgresSettings, number: int, *, wait: bool = True) -> Iterator[bool]:
    """Holds lock `number` of the lake's database for the block, whatever becomes of this process.

    Without `wait` the block may not have it: it is told.
    """
    with closing(connect(settings, settings.database_lake)) as connection, connection.cursor() as cursor:
        if wait:
            cursor.execute("SELECT pg_advisory_lock(%s)", (number,))
        yield wait or try_lock(cursor, number)
