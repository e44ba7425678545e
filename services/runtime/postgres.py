"""The door to PostgreSQL. Which tables are behind it is decided by infra/provisioning/sql."""

from __future__ import annotations

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from services.runtime.settings import PostgresSettings

__all__ = ["Connection", "PostgresUnavailable", "connect", "try_lock"]


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
