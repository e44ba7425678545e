"""The landing process: `python -m services.landing`. Runs session after session until it is stopped."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator

import duckdb
import psycopg2
from kafka.errors import KafkaError

from services.kafka.client import KafkaUnavailable, admin, consumer, topic_ids
from services.kafka.topics import landed_topics
from services.landing.loader import Loader, TopicRecreated
from services.landing.raw_tables import ensure_raw_tables
from services.runtime.heartbeat import beat
from services.runtime.lake import open_lake
from services.runtime.logs import configure_logging
from services.runtime.postgres import PostgresUnavailable, connect
from services.runtime.sessions import RETRY_SECONDS, run_sessions
from services.runtime.settings import (
    KafkaSettings,
    LakeSettings,
    LandingSettings,
    PostgresSettings,
    QuarantineSettings,
)

log = logging.getLogger("services.landing")

SERVICE = "landing"
LANDING_LOCK = 0x6C616E64  # "land": one landing process per lake
PASSING = (KafkaUnavailable, PostgresUnavailable, KafkaError, duckdb.Error, psycopg2.Error)


def main() -> int:
    """Exit code 3: a topic was made anew, and a person must decide."""
    configure_logging(SERVICE)
    try:
        run_sessions(SERVICE, _session, PASSING)
    except TopicRecreated as alarm:
        log.error("%s", alarm)
        beat(SERVICE, "waiting")
        return 3
    return 0


def _session(stop: threading.Event) -> None:
    kafka, postgres = KafkaSettings.load(), PostgresSettings.load()
    names = [topic.name for topic in landed_topics()]
    client = admin(kafka)
    try:
        ids = topic_ids(client, names)
    finally:
        client.close()
    with _only_landing(postgres, stop), contextlib.closing(open_lake(LakeSettings.load(), postgres)) as lake:
        ensure_raw_tables(lake)
        # No silent jump: an offset that is no longer there ends the session with an error.
        reader = consumer(
            kafka, auto_offset_reset="earliest", enable_auto_commit=False, max_poll_records=1000
        )
        with contextlib.closing(reader):
            loader = Loader(reader, lake, ids, LandingSettings.load(), QuarantineSettings.load())
            loader.start()
            loader.run(stop.is_set, _report)


def _report(loader: Loader) -> None:
    figures = {
        "landed_rows": loader.count_landed,
        "landed_seq": loader.landed_seq,
        "lag_records": loader.lag(),
    }
    beat(SERVICE, "ready", figures)


@contextlib.contextmanager
def _only_landing(postgres: PostgresSettings, stop: threading.Event) -> Iterator[None]:
    """Waits for the landing lock: two landings at once would land records twice."""
    with contextlib.closing(connect(postgres, postgres.database_lake)) as connection:
        cursor = connection.cursor()
        while not stop.is_set():
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (LANDING_LOCK,))
            row = cursor.fetchone()
            if row is not None and row[0]:
                break
            beat(SERVICE, "waiting")
            stop.wait(RETRY_SECONDS)
        yield


if __name__ == "__main__":
    sys.exit(main())
