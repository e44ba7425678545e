"""Dagster's runs: failed ones are told by webhook until it takes them, lost ones do not stay, none piles up.

The instance is the one that `circles up` configures, on the session's PostgreSQL; no daemon runs.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import BaseWorkspaceRequestContext
from dagster._daemon.monitoring.run_monitoring import monitor_started_run
from dagster._grpc.client import DagsterGrpcClient

from pipelines.defs.automation.failures import failure_sensor, first_line
from services.runtime.postgres import connect
from services.runtime.settings import PostgresSettings
from services.runtime.webhook import Undelivered, signature
from tests.fakes.receiver import SECRET, Receiver, receiver
from tests.instances import stacks_instance
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def instance(stack: Stack) -> Iterator[dg.DagsterInstance]:
    with stacks_instance() as made:
        yield made


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """The operator's webhook, as the settings name it."""
    secret = tmp_path / "webhook.secret"
    secret.write_bytes(SECRET)
    with receiver() as ours:
        monkeypatch.setenv("CIRCLES_DAGSTER_WEBHOOK_URL", ours.url)
        monkeypatch.setenv("CIRCLES_DAGSTER_WEBHOOK_SECRET_FILE", str(secret))
        yield ours


def fail(instance: dg.DagsterInstance) -> str:
    """A run that fails, with a value in its error. Returns its id."""

    @dg.op
    def reads() -> None:
        raise ValueError("could not read 'Mary Smith'\nand more words")

    @dg.job
    def fails_on_purpose() -> None:
        reads()

    return fails_on_purpose.execute_in_process(instance=instance, raise_on_error=False).run_id


def look(instance: dg.DagsterInstance, cursor: str | None) -> str | None:
    """A tick of the sensor; its new cursor."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    failure_sensor(context)
    return context.cursor


class TestFailureSensor:
    def test_a_failed_run_is_told_once_signed_and_without_values(
        self, instance: dg.DagsterInstance, desk: Receiver, stack: Stack
    ) -> None:
        fail(instance)
        cursor = look(instance, None)
        assert desk.received == []
        run_id = fail(instance)
        cursor = look(instance, cursor)
        assert look(instance, cursor) == cursor
        (received,) = desk.received
        told = json.loads(received.body)
        told.pop("told_at")
        assert told == {
            "type": "run_failed",
            "job": "fails_on_purpose",
            "run_id": run_id,
            "step": "reads",
            "error": "ValueError",
            "message": "could not read …",
            "url": f"http://127.0.0.1:{stack.ports['dagster']}/runs/{run_id}",
        }
        at = received.headers["Circles-Timestamp"]
        assert received.headers["Circles-Signature"] == signature(SECRET, at, received.body)
        assert received.headers["Idempotency-Key"] == run_id

    @pytest.mark.parametrize("status", [500, 307])
    def test_what_was_not_taken_is_told_by_the_next_tick(
        self, instance: dg.DagsterInstance, desk: Receiver, status: int
    ) -> None:
        cursor = look(instance, None)
        runs = [fail(instance), fail(instance)]
        desk.statuses = [status]
        with pytest.raises(Undelivered):
            look(instance, cursor)
        desk.statuses = [204, status]
        after_one = look(instance, cursor)
        assert after_one != cursor
        look(instance, after_one)
        told = [each.alert["run_id"] for each in desk.received]
        assert told == [runs[0], runs[0], runs[1], runs[1]]
        assert {each.path for each in desk.received} == {"/alerts"}

    def test_without_a_webhook_nothing_is_kept_for_later(
        self, instance: dg.DagsterInstance, desk: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cursor = look(instance, None)
        with monkeypatch.context() as patch:
            patch.delenv("CIRCLES_DAGSTER_WEBHOOK_URL")
            fail(instance)
            cursor = look(instance, cursor)
        look(instance, cursor)
        assert desk.received == []


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("", ""),
        ("one\ntwo", "one"),
        ("Could not convert string 'prt_1' to INT32", "Could not convert string … to INT32"),
        ('column "a" and `b`', "column … and …"),
        ("x" * 300, "x" * 200),
    ],
)
def test_of_an_error_its_first_line_is_told_without_what_is_quoted(message: str, line: str) -> None:
    assert first_line(message) == line


class TestLostRuns:
    """Asked of a real code server of Dagster's, as the daemon asks it."""

    @pytest.fixture(scope="class")
    def code_server(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
        folder = tmp_path_factory.mktemp("code")
        (folder / "empty.py").write_text("import dagster as dg\ndefs = dg.Definitions()\n")
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
        command = [str(Path(sys.executable).with_name("dagster")), "api", "grpc", "-f", "empty.py"]
        server = subprocess.Popen([*command, "-h", "127.0.0.1", "-p", str(port)], cwd=folder)
        try:
            client: Any = DagsterGrpcClient(host="127.0.0.1", port=port)
            wait_until(lambda: client.health_check_query() == "SERVING", "an answer of the code server")
            yield port
        finally:
            server.kill()  # asked to end, it sometimes does not
            server.wait()

    @pytest.mark.parametrize("is_alive", [False, True])
    def test_a_run_without_a_process_is_failed(
        self, instance: dg.DagsterInstance, code_server: int, is_alive: bool
    ) -> None:
        run = self.started(instance, code_server, os.getpid() if is_alive else self.pid_of_nobody())
        assert self.looked_at(instance, run.run_id) == ("STARTED" if is_alive else "FAILURE")
        instance.delete_run(run.run_id)

    def test_a_code_server_that_is_away_is_waited_for(self, instance: dg.DagsterInstance) -> None:
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
        run = self.started(instance, port, self.pid_of_nobody())
        assert self.looked_at(instance, run.run_id) == "STARTED"
        instance.delete_run(run.run_id)

    def started(self, instance: dg.DagsterInstance, port: int, pid: int) -> dg.DagsterRun:
        tags = {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": port})}
        run: dg.DagsterRun = create_run_for_test(
            instance, job_name="lost", status=dg.DagsterRunStatus.STARTED, tags=tags
        )
        instance.report_engine_event("Started process for run", run, EngineEventData.in_process(pid))
        return run

    def pid_of_nobody(self) -> int:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        return ended.pid

    def looked_at(self, instance: dg.DagsterInstance, run_id: str) -> str:
        """Status of the run after the daemon's look at it."""
        record = instance.get_run_record_by_id(run_id)
        assert record is not None
        workspace: Any = BaseWorkspaceRequestContext
        monitor_started_run(instance, workspace, record, logging.getLogger(__name__))
        run = instance.get_run_by_id(run_id)
        assert run is not None
        return run.status.value


def test_events_are_told_over_kept_connections_that_may_be_cut(instance: dg.DagsterInstance) -> None:
    """Both would go unseen: dagster-postgres keeps none, and ours is put in its place behind its back."""
    settings = PostgresSettings.load()
    with closing(connect(settings, settings.database_dagster)) as other, other.cursor() as cursor:
        fail(instance)
        before = set(_backends(cursor))
        told = instance.get_event_records(dg.EventRecordsFilter(dg.DagsterEventType.RUN_FAILURE))
        fail(instance)
        assert set(_backends(cursor)) == before and len(before) >= 2
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", ([*before],))
        fail(instance)
        assert not before & set(_backends(cursor))
    now = instance.get_event_records(dg.EventRecordsFilter(dg.DagsterEventType.RUN_FAILURE))
    assert len(now) == len(told) + 2


def _backends(cursor: Any) -> list[int]:
    """Processes of PostgreSQL that others than the one that asks are connected to."""
    cursor.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return [row[0] for row in cursor.fetchall()]


def test_one_run_works_at_a_time_fails_twice_at_most_and_ends(instance: dg.DagsterInstance) -> None:
    coordinator: Any = instance.run_coordinator
    assert coordinator.get_run_queue_config().max_concurrent_runs == 1
    assert instance.run_retries_max_retries == 1
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_max_resume_run_attempts == 0
    assert 0 < instance.get_settings("run_monitoring")["max_runtime_seconds"] < 24 * 3600


def test_a_schedule_starts_no_second_run_of_its_job(instance: dg.DagsterInstance) -> None:
    from pipelines.definitions import defs
    from pipelines.defs.automation.schedules import daily_build, health_look, hourly_maintenance

    run = create_run_for_test(instance, job_name="check_health", status=dg.DagsterRunStatus.STARTED)
    try:
        for schedule, count in ((health_look, 0), (daily_build, 1), (hourly_maintenance, 1)):
            with dg.build_schedule_context(
                instance=instance, repository_def=defs.get_repository_def()
            ) as context:
                assert len(schedule.evaluate_tick(context).run_requests or []) == count
    finally:
        instance.delete_run(run.run_id)
