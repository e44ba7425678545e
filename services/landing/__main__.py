"""The landing process: `python -m services.landing`. Runs session after session until it is stopped."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from functools import partial

import duckdb
import psycopg2
from kafka.errors import KafkaError
from psycopg2.extensions import cursor as Cursor

from services.kafka.client import KafkaUnavailable, admin, consumer
from services.landing.alarms import ANOTHER_LANDING, PAUSED, Alarms, alarm_of, alarms_of
from services.landing.fence import Fenced
from services.landing.loader import Loader
from services.landing.pause import LANDING_LOCK, Paused, is_wanted
from services.landing.raw_tables import ensure_raw_tables
from services.runtime.heartbeat import beat
from services.runtime.lake import open_lake
from services.runtime.logs import configure_logging
from services.runtime.postgres import PostgresUnavailable, connect, try_lock
from services.runtime.sessions import RETRY_SECONDS, run_sessions
from services.runtime.settings import (
    KafkaSettings,
    LakeSettings,
    LandingSettings,
    PostgresSettings,
    QuarantineSettings,
)

SERVICE = "landing"
LONG_READS = {
    "max_poll_records": 1000,
    "max_partition_fetch_bytes": 2 << 20,
    "receive_buffer_bytes": 4 << 20,
}
"""kafka-python takes 4 KiB at a time from the socket: with a small buffer it waits in between."""
PASSING = (
    Fenced, Paused, KafkaUnavailable, PostgresUnavailable, KafkaError, duckdb.Error, psycopg2.Error, OSError,
)  # fmt: skip


def main() -> int:
    configure_logging(SERVICE)
    alarms = Alarms()
    run_sessions(SERVICE, partial(_session, alarms=alarms), PASSING, partial(_failed, alarms))
    return 0


def _session(stop: threading.Event, alarms: Alarms) -> None:
    kafka, postgres = KafkaSettings.load(), PostgresSettings.load()
    with contextlib.ExitStack() as opened:
        lock = opened.enter_context(_only_landing(postgres, stop, alarms))
        if lock is None:
            return
        lake = opened.enter_context(contextlib.closing(open_lake(LakeSettings.load(), postgres)))
        ensure_raw_tables(lake)
        client = opened.enter_context(contextlib.closing(admin(kafka)))
        # No silent jump: an offset that is no longer there is an error to the consumer, and a gap to us.
        reader = opened.enter_context(
            contextlib.closing(
                consumer(kafka, auto_offset_reset="none", enable_auto_commit=False, **LONG_READS)
            )
        )
        loader = Loader(reader, client, lake, LandingSettings.load(), QuarantineSettings.load())
        loader.start()
        loader.run(stop.is_set, partial(_report, alarms, lock))


def _report(alarms: Alarms, lock: Cursor, loader: Loader) -> None:
    """Tells of a turn that went well; when a part waits, of its figures all the same."""
    # With nothing to land, nobody else would see that PostgreSQL is away.
    if is_wanted(lock):
        raise Paused
    alarms.working(alarms_of(loader.plan))
    alarms.record(loader.lake)
    figures = {
        "landed_rows": loader.count_landed,
        "landed_seq": loader.landed_seq,
        "lag_records": loader.lag(),
    }
    beat(SERVICE, "waiting" if alarms.words() else "ready", figures, alarms.words())


def _failed(alarms: Alarms, error: Exception) -> None:
    alarms.failed(alarm_of(error))
    beat(SERVICE, "waiting", alarms=alarms.words())


@contextlib.contextmanager
def _only_landing(
    postgres: PostgresSettings, stop: threading.Event, alarms: Alarms
) -> Iterator[Cursor | None]:
    """Waits for the landing lock; None when it was stopped meanwhile.

    It keeps a second landing idle. That nothing lands twice is the fence's work: this connection may die
    while the lake's lives on.
    """
    with contextlib.closing(connect(postgres, postgres.database_lake)) as connection:
        cursor = connection.cursor()
        while not stop.is_set() and not try_lock(cursor, LANDING_LOCK):
            alarms.failed(PAUSED if is_wanted(cursor) else ANOTHER_LANDING)
            beat(SERVICE, "waiting", alarms=alarms.words())
            stop.wait(RETRY_SECONDS)
        yield None if stop.is_set() else cursor


if __name__ == "__main__":
    sys.exit(main())
