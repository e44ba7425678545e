"""Dagster's instance: where it keeps its state, how many runs at a time, and where the pipelines are.

What the pipelines do is in `pipelines`; Dagster itself is never imported here.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlencode

from services.runtime.settings import PostgresSettings, StackSettings

# postgresql+psycopg2: under SQLAlchemy 2.1 the bare scheme means psycopg 3, which dagster-postgres breaks on.
STORAGE_URL = "CIRCLES_DAGSTER_STORAGE_URL"

_INSTANCE = f"""\
# Written by `circles up`; changes are lost.
storage:
  custom:
    module: pipelines.defs.automation.storage
    class: KeptConnections
    config:
      postgres_url:
        env: {STORAGE_URL}
telemetry:
  enabled: false
# No first page that asks for an e-mail address.
nux:
  enabled: false
run_launcher:
  module: pipelines.defs.automation.launcher
  class: WatchedRunLauncher
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    # Two runs would write the same tables of the lake. Sensors and schedules start no second run of a job
    # while one waits or works, so that the queue is as long as there are jobs.
    max_concurrent_runs: 1
    dequeue_interval_seconds: 1
# Once more, then with the next data or the next schedule.
run_retries:
  enabled: true
  max_retries: 1
# Whether tables are as new as they should be.
freshness:
  enabled: true
# A run without a process, or one that never ends, would keep all others waiting.
run_monitoring:
  enabled: true
  poll_interval_seconds: 30
  start_timeout_seconds: 120
  cancel_timeout_seconds: 120
  max_runtime_seconds: 21600
retention:
  schedule:
    purge_after_days: 30
  sensor:
    purge_after_days:
      skipped: 1
      failure: 30
      success: 30
      started: 30
local_artifact_storage:
  module: dagster.core.storage.root
  class: LocalArtifactStorage
  config:
    base_dir: {{home}}
compute_logs:
  module: dagster.core.storage.local_compute_log_manager
  class: LocalComputeLogManager
  config:
    base_dir: {{home}}/logs
"""

_WORKSPACE = """\
# Written by `circles up`; changes are lost.
load_from:
  - grpc_server:
      host: {host}
      port: {port}
      location_name: pipelines
"""


def prepare(folder: Path) -> None:
    """Writes `dagster.yaml` and `workspace.yaml` into `folder`, which is DAGSTER_HOME."""
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "logs").mkdir(mode=0o700, exist_ok=True)
    (folder / "dagster.yaml").write_text(_INSTANCE.format(home=folder))
    stack = StackSettings.load()
    workspace = _WORKSPACE.format(host=stack.dagster_code_host, port=stack.dagster_code_port)
    (folder / "workspace.yaml").write_text(workspace)


def environment(folder: Path) -> dict[str, str]:
    """What a process needs to use this instance. Holds a password: never log it."""
    return {
        "DAGSTER_HOME": str(folder),
        STORAGE_URL: storage_url(PostgresSettings.load()),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }


def storage_url(postgres: PostgresSettings) -> str:
    """SQLAlchemy URL of the storage database."""
    password = quote(postgres.password.get_secret_value(), safe="")
    options = urlencode({"sslmode": postgres.sslmode})
    return (
        f"postgresql+psycopg2://{quote(postgres.user, safe='')}:{password}@{postgres.host}:{postgres.port}"
        f"/{postgres.database_dagster}?{options}"
    )


def code_server_is_ready() -> bool:
    """Whether the code server has loaded the pipelines and serves them."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    stack = StackSettings.load()
    with grpc.insecure_channel(f"{stack.dagster_code_host}:{stack.dagster_code_port}") as channel:
        try:
            request = health_pb2.HealthCheckRequest(service="DagsterApi")
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=2)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def page_is_ready(port: int) -> bool:
    """Whether a web page of Dagster's answers."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/server_info")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
