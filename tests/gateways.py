"""A further gateway beside the stack's own, with settings of its own: TLS, limits, several processes.

It has the stack's Kafka, PostgreSQL, tenants and secrets, and a data folder of its own for its heartbeat.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from tests.stacks import Stack, is_open, wait_until


@dataclass(frozen=True)
class Gateway:
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def memory_kilobytes(self) -> int:
        """Resident now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])


@contextlib.contextmanager
def gateway(stack: Stack, folder: Path, **settings: object) -> Iterator[Gateway]:
    """Runs until the block ends. `settings`: fields of IngestionSettings."""
    home = folder / "gateway"
    (home / "run").mkdir(parents=True, exist_ok=True)
    shutil.copy(stack.home / "stack.env", home)
    shutil.copytree(stack.home / "secrets", home / "secrets", dirs_exist_ok=True)
    port, log = free_port(), folder / "gateway.log"
    own = {f"CIRCLES_INGESTION_{name.upper()}": str(value) for name, value in settings.items()}
    environment = {
        **stack.environment,
        "CIRCLES_HOME": str(home),
        "CIRCLES_INGESTION_PORT": str(port),
        **own,
    }
    with log.open("wb") as output:
        command = [sys.executable, "-m", "services.ingestion"]
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    try:
        wait_until(lambda: process.poll() is not None or is_open(port), "the gateway's port")
        yield Gateway(port, process, log)
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def status_details(error: grpc.RpcError) -> dict[str, object]:
    """The google.rpc details of a failed call, by the name of their type."""
    from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

    trailers = {each.key: each.value for each in error.trailing_metadata() or ()}
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    found = {}
    for packed in status.details:
        name = packed.TypeName().rpartition(".")[2]
        found[name] = getattr(error_details_pb2, name)()
        packed.Unpack(found[name])
    return found
