"""Dagster's builds, seen from outside: their processes, which runs are not over, what became of the events,
and an analyst who reads the published tables all the time.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psutil
import psycopg2

from pipelines.defs.automation.unfinished import UNFINISHED
from pipelines.evidence.rows import TABLES
from pipelines.quality.admission import newest_pending
from services.runtime.lake import open_lake
from services.runtime.postgres import connect
from services.runtime.settings import PostgresSettings, ReaderSettings
from tests.partners import Partner, lake_rows
from tests.stacks import Stack, wait_until

DOMAINS = ("participation", "outcomes", "groups", "studies")
FAILED = "SELECT tenant_id, event_id FROM staging.stg_failures__failed_events"
STAGED = " UNION ALL ".join(f"SELECT tenant_id, event_id FROM staging.stg_{each}__events" for each in DOMAINS)
PLACES = f"{STAGED} UNION ALL {FAILED}"


def processes_of(stack: Stack, kind: str) -> list[psutil.Process]:
    """The processes of runs, or of dbt at work: `run` or `dbt`."""
    return [each for each in _ours(stack) if _kind(each) == kind]


def kill_process_of(stack: Stack, kind: str) -> bool:
    """kill -9 of each. False: there was none."""
    found = processes_of(stack, kind)
    for each in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each.pid, signal.SIGKILL)
    return bool(found)


def _ours(stack: Stack) -> Iterator[psutil.Process]:
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if each.environ().get("CIRCLES_HOME") == str(stack.home):
                yield each


def _kind(process: psutil.Process) -> str | None:
    with contextlib.suppress(psutil.Error):
        words = process.cmdline()
        if any(word.endswith("/dbt") for word in words) and "build" in words:
            return "dbt"
        parent = process.parent()
        if any("spawn_main" in word for word in words) and parent and "dagster" in parent.cmdline():
            return "run"
    return None


def unfinished_runs() -> list[tuple[str, str, str]]:
    """Run, job and status, as Dagster's storage has it."""
    settings = PostgresSettings.load()
    with closing(connect(settings, settings.database_dagster)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT run_id, pipeline_name, status FROM runs WHERE status = ANY(%s)",
            ([each.value for each in UNFINISHED],),
        )
        return list(cursor.fetchall())


def wait_until_built(seconds: float = 600) -> None:
    """Returns when everything that has landed has its verdict, and no run waits or works."""

    def is_built() -> bool:
        with contextlib.suppress(Exception), closing(open_lake()) as lake:
            return newest_pending(lake) is None and not unfinished_runs()
        return False

    wait_until(is_built, f"the end of the builds; unfinished: {_unfinished_or_why()}", seconds)


def _unfinished_or_why() -> object:
    try:
        return unfinished_runs()
    except Exception as error:
        return type(error).__name__


def count_places(partner: Partner) -> Counter[str]:
    """Of each event of the partner, in how many places it is: staging, or among the failed events."""
    rows = lake_rows(
        f"SELECT event_id, count(*) FROM ({PLACES}) WHERE tenant_id = ? GROUP BY 1", partner.tenant_id
    )
    return Counter(dict(rows))


class Reader(threading.Thread):
    """An analyst who reads all published tables again and again, in any order, each time in one transaction.

    All must be of one release, the one that the list shows, with as many rows as the list says. Before the
    first release there is nothing to read; with `is_published` there must be.
    """

    def __init__(self, *, is_published: bool = True) -> None:
        super().__init__(daemon=True)
        self.is_published = is_published
        self.findings: list[str] = []
        self.releases: set[int] = set()
        self.count_looks = 0
        self._over = threading.Event()

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(60)

    def run(self) -> None:
        while not self._over.is_set():
            try:
                with closing(_as_analyst()) as connection:
                    rest = 0.02
                    while not self._over.wait(rest):
                        begun = time.monotonic()
                        self._look(connection)
                        # As much again, or what is looked at would wait for whoever looks.
                        rest = max(0.02, time.monotonic() - begun)
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                # PostgreSQL was killed. That a reader waits for a release that waits for it is no excuse.
                if isinstance(error, psycopg2.errors.DeadlockDetected):
                    self._find(repr(error))
                self._over.wait(0.5)
            except psycopg2.Error as error:
                if self.is_published or not isinstance(error, psycopg2.errors.UndefinedTable):
                    self._find(repr(error))
                self._over.wait(0.5)

    def _look(self, connection: Any) -> None:
        isolation = random.choice(["READ COMMITTED", "REPEATABLE READ"])
        connection.set_session(isolation_level=isolation, readonly=True)
        names = random.sample([*TABLES, "releases"], len(TABLES) + 1)
        with connection, connection.cursor() as cursor:
            seen = {name: list(_rows(cursor, name)) for name in names}
        releases = dict(seen.pop("releases"))
        if not releases:
            return
        newest = max(releases)
        said = {name: count for name, count in releases[newest].items() if count}
        shown = {name: dict(rows) for name, rows in seen.items() if rows}
        if shown != {name: {newest: count} for name, count in said.items()}:
            self._find(f"release {newest} of {said}, but shown {shown} ({isolation}, {names})")
        self.is_published = True
        self.releases.add(newest)
        self.count_looks += 1

    def _find(self, words: str) -> None:
        if len(self.findings) < 10:
            self.findings.append(words)


def _rows(cursor: Any, name: str) -> Iterator[Any]:
    if name == "releases":
        cursor.execute("SELECT release_id, row_counts FROM evidence.releases WHERE is_shown")
    else:
        cursor.execute(f"SELECT release_id, count(*) FROM evidence.{name} GROUP BY 1")
    yield from cursor.fetchall()


def _as_analyst() -> Any:
    postgres, readers = PostgresSettings.load(), ReaderSettings.load()
    analyst = postgres.model_copy(update={"user": readers.analyst_user, "password": readers.analyst_password})
    return psycopg2.connect(analyst.dsn(postgres.database_published))
