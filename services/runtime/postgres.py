"""The door to PostgreSQL. Which tables are behind it is decided by infra/provisioning/sql."""

from __future__ import annotations

import psycopg2
from psycopg2.extensions import connection as Connection

from services.runtime.settings import PostgresSettings

__all__ = ["Connection", "PostgresUnavailable", "connect"]


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
