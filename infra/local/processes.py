"""The processes of the stack: command, health check, what each waits for, and how each is stopped.

How they are started, watched and ended is in `supervision.py` and `stack.py`.
"""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from infra.local import dagster, stack_env
from infra.local.kafka import Kafka
from infra.local.postgres import Postgres
from services.runtime import heartbeat
from services.runtime.settings import KafkaSettings, PostgresSettings, StackSettings, home

SERVICES = ("ingestion", "engagement", "landing", "live", "safeguarding")


@dataclass(frozen=True)
class Process:
    """One program of the supervisor."""

    name: str
    command: Sequence[str]
    after: tuple[str, ...]
    """Processes and steps of provisioning that must be ready before this one starts."""
    is_ready: Callable[[], bool]
    waits_for: str
    """What the health check looks at, in words for a person."""
    start_seconds: int = 60
    """Longest wait for the health check; a slow laptop takes a third of it."""
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    stops_group: bool = True
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def needs(self) -> set[str]:
        """Processes that must outlive this one when all are stopped."""
        return {_PROVISIONED.get(name, name) for name in self.after}


_PROVISIONED = {"databases": "postgres", "topics": "kafka"}
"""Step of provisioning and the server on which it is done."""


def processes(class_path: Sequence[Path] = (), without: Sequence[str] = ()) -> list[Process]:
    """All processes of this stack, in the order of starting, less those that a pattern of `without` names."""
    everything = [*_servers(class_path), *(_service(name) for name in SERVICES), *_dagster()]
    return [each for each in everything if not any(fnmatch.fnmatch(each.name, one) for one in without)]


def _servers(class_path: Sequence[Path]) -> list[Process]:
    stack = StackSettings.load()
    servers = []
    if stack.postgres_embedded:
        servers.append(_postgres(postgres()))
    if stack.kafka_embedded:
        servers.append(_kafka(kafka(class_path)))
    return servers


def postgres() -> Postgres:
    return Postgres(home() / "postgres", PostgresSettings.load(), StackSettings.load())


def kafka(class_path: Sequence[Path]) -> Kafka:
    return Kafka(home() / "kafka", KafkaSettings.load(), StackSettings.load(), class_path)


def _postgres(server: Postgres) -> Process:
    return Process(
        "postgres",
        server.command(),
        (),
        server.is_ready,
        "an answer to a query",
        start_seconds=180,  # after a power cut it replays its log first
        stop_signal="INT",  # fast shutdown: open sessions are ended, the data written
        stop_seconds=60,
        stops_group=False,  # to the other members INT means something else
    )


def _kafka(server: Kafka) -> Process:
    return Process(
        "kafka",
        server.command(),
        (),
        server.is_ready,
        "an answer to a client with our password",
        start_seconds=180,  # after a power cut it checks its last segments first
        stop_seconds=60,
    )


def _service(name: str) -> Process:
    return Process(
        name,
        [sys.executable, "-m", f"services.{name}"],
        ("databases", "topics"),
        # Who waits for a person with a part of its work must not keep the rest from starting.
        lambda: (beat := heartbeat.read(name)) is not None and beat.is_at_work,
        "its heartbeat to say ready",
        start_seconds=300,  # the first time on a machine some of them compile their loops
    )


def _dagster() -> list[Process]:
    folder = home() / "dagster"
    stack = StackSettings.load()
    program = str(Path(sys.executable).with_name("dagster"))
    page = str(Path(sys.executable).with_name("dagster-webserver"))
    daemon = str(Path(sys.executable).with_name("dagster-daemon"))
    workspace = ["-w", str(folder / "workspace.yaml")]
    address = ["-h", "127.0.0.1", "-p"]
    secret = dagster.environment(folder)
    code = [program, "code-server", "start", "-m", "pipelines.definitions", *address]

    def web_page(name: str, port: int, *options: str) -> Process:
        return Process(
            name,
            [page, *options, *workspace, *address, str(port)],
            ("dagster-code",),
            partial(dagster.page_is_ready, port),
            "its page to answer",
            start_seconds=120,
            environment=secret,
        )

    return [
        Process(
            "dagster-code",
            [*code, str(stack.dagster_code_port)],
            ("databases",),
            dagster.code_server_is_ready,
            "the pipelines to be loaded",
            start_seconds=180,
            environment=secret,
        ),
        web_page("dagster-webserver", stack.dagster_port),
        # Nothing to ask it: it is ready when the supervisor has seen it run for a while.
        Process(
            "dagster-daemon",
            [daemon, "run", *workspace],
            ("dagster-code",),
            lambda: True,
            "it to run",
            environment=secret,
        ),
        *([web_page("dagster-viewer", stack.viewer_port, "--read-only")] if stack.viewer else []),
    ]


def environment() -> dict[str, str]:
    """Environment of every process. Secrets are not in it: services read `stack.env`."""
    return {
        "CIRCLES_HOME": str(home()),
        "PATH": _path(),
        "PYTHONUNBUFFERED": "1",
        # Nothing calls home.
        "DO_NOT_TRACK": "1",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "DAGSTER_HOME": str(home() / "dagster"),
    }


def _path() -> str:
    # dagster-dbt calls `dbt` by name; the environment's own must be found first.
    rest = os.environ.get("PATH", os.defpath)  # noqa: TID251
    return f"{Path(sys.executable).parent}{os.pathsep}{rest}"


def ports_of(names: Collection[str]) -> dict[str, int]:
    """The ports that the processes `names` open."""
    owners = {"kafka-controller": "kafka", "dagster": "dagster-webserver"}
    return {port: number for port, number in stack_env.ports().items() if owners.get(port, port) in names}
