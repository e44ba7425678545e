"""Landing stands still for as long as somebody else changes rows of the raw tables.

Whoever wants that takes a lock, and then waits for landing's own: landing asks after each commit whether it
is wanted, and ends its session. Both locks end with their connection. Kafka keeps what comes in meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from psycopg2 import errors
from psycopg2.extensions import cursor as Cursor

from services.runtime.postgres import connect, try_lock
from services.runtime.settings import PostgresSettings

LANDING_LOCK = 0x6C616E64  # "land"
PAUSE_LOCK = 0x70617573  # "paus"
PATIENCE = "120s"
"""Longer than landing's longest commit."""


class Paused(Exception):
    """Somebody else changes the raw tables now."""


class CannotPause(Exception):
    """Landing does not stand still."""


@contextmanager
def paused(postgres: PostgresSettings) -> Iterator[None]:
    """No landing works within the block. Raises CannotPause."""
    with closing(connect(postgres, postgres.database_lake)) as connection, connection.cursor() as cursor:
        if not try_lock(cursor, PAUSE_LOCK):
            raise CannotPause("Somebody else has paused landing")
        cursor.execute("SET lock_timeout = %s", (PATIENCE,))
        try:
            cursor.execute("SELECT pg_advisory_lock(%s)", (LANDING_LOCK,))
        except errors.LockNotAvailable as error:
            raise CannotPause(f"Landing has not paused within {PATIENCE}") from error
        yield


def is_wanted(cursor: Cursor) -> bool:
    """Whether somebody wants landing to pause."""
    cursor.execute(
        "SELECT CASE WHEN pg_try_advisory_lock_shared(%s) "
        "THEN NOT pg_advisory_unlock_shared(%s) ELSE true END",
        (PAUSE_LOCK, PAUSE_LOCK),
    )
    row = cursor.fetchone()
    return row is not None and bool(row[0])
