"""Landings of a test's own on the session's servers: on a lake and on topics that no other test uses."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
from circles.common.v1.common_pb2 import DATA_CLASS_SYNTHETIC
from kafka import TopicPartition
from psycopg2 import sql

from infra.local.postgres import admin_dsn
from services.kafka.client import admin, consumer, producer
from services.kafka.topics import Topic, topics
from services.landing.alarms import Alarms, alarms_of
from services.landing.loader import Loader
from services.landing.raw_tables import ensure_raw_tables
from services.runtime import heartbeat
from services.runtime.lake import open_lake
from services.runtime.settings import (
    KafkaSettings,
    LakeSettings,
    LandingSettings,
    PostgresSettings,
    QuarantineSettings,
    StackSettings,
)
from tests.fakes.raw_lake import envelope
from tests.partners import attended
from tests.stacks import Stack, wait_until

TENANT = "a-landing"
PARTICIPATION = "participation-events"


@dataclass
class OwnLake:
    """A lake with a catalog of its own on the session's PostgreSQL."""

    folder: Path
    database: str
    has_tables: bool = False

    def open(self) -> duckdb.DuckDBPyConnection:
        return open_lake(
            LakeSettings.load(data_path=self.folder), PostgresSettings.load(database_lake=self.database)
        )

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """For what the test itself reads and writes, beside the landings."""
        return self.open()

    def disconnect(self) -> None:
        """The next use connects anew."""
        if "connection" in vars(self):
            self.connection.close()
            del self.connection

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.connection.execute(statement, list(values)).fetchall()
        return found

    def execute_as_admin(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(_admin_dsn())) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(sql.SQL(statement).format(name=sql.Identifier(self.database)))
            return list(cursor.fetchall()) if cursor.description else []

    def end_connections(self, condition: str = "true") -> None:
        """As a restart of PostgreSQL does; those alone that `condition` on pg_stat_activity is true for."""
        self.execute_as_admin(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{self.database}' AND {condition}"
        )


@contextlib.contextmanager
def own_lake(folder: Path) -> Iterator[OwnLake]:
    lake = OwnLake(folder / "lake", f"lake_{uuid.uuid4().hex[:8]}")
    lake.folder.mkdir(parents=True)
    lake.execute_as_admin(f"CREATE DATABASE {{name}} OWNER {PostgresSettings.load().user}")
    try:
        yield lake
    finally:
        lake.disconnect()
        lake.execute_as_admin("DROP DATABASE {name} WITH (FORCE)")


def _admin_dsn() -> str:
    return admin_dsn(PostgresSettings.load(), StackSettings.load(), "postgres")


@contextlib.contextmanager
def own_topics(count: int, partitions: int = 2) -> Iterator[list[Topic]]:
    """Topics that hold what participation-events does, and that a test may break."""
    names = [f"landed-by-a-test-{uuid.uuid4().hex[:8]}" for _ in range(count)]
    made = [replace(topics()[PARTICIPATION], name=name, partitions=partitions) for name in names]
    make_topics(made)
    try:
        yield made
    finally:
        delete_topics(made)


def make_topics(made: Sequence[Topic]) -> None:
    wanted = {each.name: {"num_partitions": each.partitions, "replication_factor": 1} for each in made}
    with closing(admin(KafkaSettings.load())) as client:
        client.create_topics(wanted, wait_for_metadata=True)


def delete_topics(made: Sequence[Topic]) -> None:
    names = [each.name for each in made]
    with closing(admin(KafkaSettings.load())) as client:
        there = {each["name"] for each in client.describe_topics(names) if each["topic_id"]}
        if there:
            client.delete_topics(sorted(there))
        wait_until(lambda: not any(each["topic_id"] for each in client.describe_topics(names)), "no topic")


def post_records(topic: Topic, count: int, partition: int = 0) -> None:
    """Records of one event each."""
    with closing(producer(KafkaSettings.load())) as sink:
        for _ in range(count):
            value = envelope(topic, [attended()], TENANT, DATA_CLASS_SYNTHETIC, None).SerializeToString()
            sink.send(topic.name, value, key=TENANT.encode(), partition=partition)
        sink.flush()


def expire_records(topic: Topic, before: int, partition: int = 0) -> None:
    """What retention does."""
    with closing(admin(KafkaSettings.load())) as client:
        client.delete_records({TopicPartition(topic.name, partition): before})


class Session:
    """One session of a loader in this process, with no lock. It ends where a service's would."""

    def __init__(self, lake: OwnLake, topics: Sequence[Topic], kind: type[Loader] = Loader) -> None:
        kafka = KafkaSettings.load()
        self.opened = contextlib.ExitStack()
        connection = self.opened.enter_context(closing(lake.open()))
        if not lake.has_tables:
            ensure_raw_tables(connection)
            lake.has_tables = True
        self.loader = kind(
            self.opened.enter_context(
                closing(consumer(kafka, auto_offset_reset="none", enable_auto_commit=False))
            ),
            self.opened.enter_context(closing(admin(kafka))),
            connection,
            LandingSettings.load(commit_seconds=0.2),
            QuarantineSettings.load(),
            topics=topics,
        )

    def __enter__(self) -> Session:
        self.loader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()

    def land(self, count: int = 0, turns: int = 50) -> bool:
        """Lands until `count` rows have come in this session, or for `turns`. False: the session is over."""
        done = [False]
        left = [turns]

        def turn(loader: Loader) -> None:
            left[0] -= 1
            done[0] = left[0] == 0 or (count > 0 and loader.count_landed >= count)

        self.loader.run(lambda: done[0], turn)
        return done[0]


class Interrupted(Loader):
    """Lets something happen in the middle of its next commit, when its rows are written already."""

    meanwhile: Callable[[], object] | None = None

    def _write(self, *what: Any) -> None:
        super()._write(*what)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()


def tell(alarms: Alarms, session: Session) -> None:
    """As the service does after each turn."""
    alarms.working(alarms_of(session.loader.plan))
    alarms.record(session.loader.lake)


def landed_offsets(lake: OwnLake, topic: Topic) -> dict[int, list[int]]:
    """Offsets of the rows by partition, in order; a record that landed twice is there twice."""
    rows = lake.rows(
        "SELECT kafka_partition, list(kafka_offset ORDER BY kafka_offset) FROM raw.participation_events "
        "WHERE topic = ? GROUP BY ALL",
        topic.name,
    )
    return dict(rows)


@dataclass
class LandingProcess:
    """The service itself, on an own lake and the session's topics, with a data folder of its own."""

    stack: Stack
    lake: OwnLake
    home: Path
    settings: dict[str, str] = field(default_factory=dict)

    def start(self) -> subprocess.Popen[bytes]:
        self.home.mkdir(parents=True)
        shutil.copytree(self.stack.home / "secrets", self.home / "secrets")
        shutil.copy2(self.stack.home / "stack.env", self.home / "stack.env")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.landing"],
            env=self.environment,
            stderr=self.log_file.open("wb"),
        )
        return self.process

    @property
    def environment(self) -> dict[str, str]:
        return {
            **self.stack.environment,
            "CIRCLES_HOME": str(self.home),
            "CIRCLES_LAKE_DATA_PATH": str(self.lake.folder),
            "CIRCLES_LAKE_EXTENSION_DIRECTORY": str(self.stack.home / "duckdb-extensions"),
            "CIRCLES_POSTGRES_DATABASE_LAKE": self.lake.database,
            "CIRCLES_LANDING_COMMIT_SECONDS": "0.5",
            **self.settings,
        }

    @property
    def log_file(self) -> Path:
        return self.home / "landing.log"

    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def state(self) -> str:
        beat = heartbeat.read("landing", self.home / "run")
        return "" if beat is None else beat.state

    @property
    def alarms(self) -> str:
        beat = heartbeat.read("landing", self.home / "run")
        return "" if beat is None else " ".join(beat.alarms)

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.state == "ready", f"a ready landing instead of\n{self.log()}")

    def end(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(30)


@contextlib.contextmanager
def landing_process(stack: Stack, lake: OwnLake, home: Path, **settings: str) -> Iterator[LandingProcess]:
    landing = LandingProcess(stack, lake, home, settings)
    landing.start()
    try:
        yield landing
    finally:
        landing.end()
