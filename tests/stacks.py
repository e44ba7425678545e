"""A stack of our own for tests: a data folder, free ports, and the command `circles` on it.

Which stack a test gets is decided in `conftest.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from infra.local.processes import SERVICES
from infra.local.supervision import Supervisor
from services.runtime import heartbeat
from services.runtime.settings import KafkaSettings

CIRCLES = Path(sys.executable).with_name("circles")
NO_DAGSTER = "--without=dagster-*"
SERVERS_ONLY = (NO_DAGSTER, *(f"--without={name}" for name in SERVICES))


_OURS = ("CIRCLES_", "DAGSTER_", "DBT_", "SUPERVISOR_")

PORT_NAMES = (
    "kafka",
    "kafka-controller",
    "postgres",
    "ingestion",
    "dagster",
    "dagster-code",
    "dagster-viewer",
)


def free_ports() -> dict[str, int]:
    """A free port for each name of `circles up --port`. All are held at once, so that none is given twice."""
    with ExitStack() as held:
        sockets = {name: held.enter_context(socket.socket()) for name in PORT_NAMES}
        for each in sockets.values():
            each.bind(("127.0.0.1", 0))
        return {name: each.getsockname()[1] for name, each in sockets.items()}


def bare_environment() -> dict[str, str]:
    """Without any setting of ours of whoever runs this."""
    environment = os.environ  # noqa: TID251
    return {name: value for name, value in environment.items() if not name.startswith(_OURS)}


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@dataclass
class Stack:
    """A data folder and the ports of its stack; not running until `up`."""

    home: Path
    environment: Mapping[str, str]
    """What the command gets beside CIRCLES_HOME, PATH and the like."""
    ports: dict[str, int] = field(default_factory=free_ports)

    def circles(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs `circles` on this stack; its failure is the caller's to judge."""
        return subprocess.run(
            [str(CIRCLES), *arguments],
            env={**self.environment, "CIRCLES_HOME": str(self.home), **environment},
            capture_output=True,
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def up(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        ports = (f"--port={name}={number}" for name, number in self.ports.items())
        return self.circles("up", *ports, *options, **environment)

    def down(self) -> subprocess.CompletedProcess[str]:
        return self.circles("down")

    def status(self) -> dict[str, Any]:
        page: dict[str, Any] = json.loads(self.circles("status", "--json").stdout)
        return page

    def pid(self, name: str) -> int | None:
        """Process id of process `name`; None while there is none."""
        state = Supervisor(self.home).states().get(name)
        return state.pid or None if state else None

    def is_healthy(self, name: str) -> bool:
        """As `circles status` sees it, which would be a Python process for each look."""
        state = Supervisor(self.home).states().get(name)
        if state is None or state.state != "RUNNING":
            return False
        beat = heartbeat.read(name, self.home / "run")
        return name not in SERVICES or (beat is not None and beat.is_ready and beat.pid == state.pid)

    def recorded(self, name: str) -> str:
        """The value of setting `name` in `stack.env`."""
        value = dotenv_values(self.home / "stack.env")[name]
        assert value is not None
        return value

    def kafka(self) -> KafkaSettings:
        """How to reach its Kafka, for who has settings of another stack or none."""
        names = ("bootstrap", "username", "password")
        return KafkaSettings.model_validate(
            {name: self.recorded(f"CIRCLES_KAFKA_{name.upper()}") for name in names}
        )


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Waits for something that must come; the limit only keeps a broken test from hanging.

    Asking takes a quarter of the time at most: it is paid for by those that are waited for.
    """
    end = time.monotonic() + seconds
    asked = time.monotonic()
    while not condition():
        now = time.monotonic()
        if now > end:
            raise AssertionError(f"{what} did not come about")
        time.sleep(max(0.2, 3 * (now - asked)))
        asked = time.monotonic()
