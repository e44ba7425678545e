"""Who starts runs, and knows whether a run still has a process. Named by `dagster.yaml`.

Dagster's own launcher cannot be asked: a run whose code server was killed would stay STARTED for ever, and
with it, since one run works at a time, every other run would wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus

from services.runtime.pids import is_alive

LOOPBACK = ("127.0.0.1", "localhost")


class WatchedRunLauncher(DefaultRunLauncher):
    """Runs in processes of the code server, which is asked for them."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        client: Any = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        if client is None:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "no code server was asked to run it")
        try:
            if _is_known(client, run.run_id):
                return CheckRunHealthResult(WorkerStatus.RUNNING)
        except DagsterUserCodeUnreachableError:
            # Its supervisor starts it again; then it knows nothing of the run, and says so.
            return CheckRunHealthResult(WorkerStatus.RUNNING, "the code server does not answer now")
        # Once its code was reloaded, the server forgets the runs of before, which go on.
        if client.host in LOOPBACK and any(map(is_alive, _pids(self._instance, run.run_id))):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its process is gone")


def _is_known(client: Any, run_id: str) -> bool:
    from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
    from dagster._serdes import deserialize_value

    answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run_id), timeout=10)
    return deserialize_value(answer, CanCancelExecutionResult).can_cancel


def _pids(instance: dg.DagsterInstance, run_id: str) -> Iterator[int]:
    """Processes that have said that they work on the run."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        data: Any = entry.dagster_event.event_specific_data if entry.dagster_event else None
        pid = getattr(data, "metadata", {}).get("pid")
        if pid is not None and str(pid.value).isdigit():
            yield int(pid.value)
