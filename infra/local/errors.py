"""Failures of the stack, told in plain words with what to do next.

Only what a person can act on belongs here; a defect of our own stays an ordinary exception.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping
from pathlib import Path


class StackError(Exception):
    """`what` happened, and what to do `next`. The CLI prints both, without a traceback."""

    def __init__(self, what: str, next_step: str = "") -> None:
        super().__init__(f"{what}\n{next_step}".strip())
        self.what = what
        self.next_step = next_step


def check_disk(folder: Path, min_free_mib: int) -> None:
    """Raises StackError when the disk of `folder` is nearly full."""
    free_mib = shutil.disk_usage(folder).free // 2**20
    if free_mib < min_free_mib:
        raise StackError(
            f"The disk of {folder} is nearly full: {free_mib} MiB left, {min_free_mib} MiB needed.",
            "Free some space, or put the data elsewhere with CIRCLES_HOME=/other/folder. "
            "CIRCLES_STACK_MIN_FREE_MIB lowers the limit.",
        )


def check_ports(ports: Mapping[str, int]) -> None:
    """Raises StackError for the first of `ports` (name → number) that another process listens on."""
    for name, port in ports.items():
        if _is_taken(port):
            raise StackError(
                f"Port {port}, meant for {name}, is taken by {_holder(port)}.",
                f"Choose another with `circles up --port {name}=NUMBER`, or stop that process.",
            )


def _is_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without it a port whose last connections are still in TIME_WAIT would look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as refusal:
            raise StackError(
                f"Port {port} may be opened by the administrator only.", "Choose one above 1023."
            ) from refusal
        except OSError:
            return True
    return False


def _holder(port: int) -> str:
    import psutil  # of the stack only: `circles import` runs without

    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        connections = []
    for each in connections:
        if each.laddr and each.laddr.port == port and each.status == psutil.CONN_LISTEN and each.pid:
            return f"process {each.pid} ({_name(each.pid)})"
    return "a process that this user may not see"


def _name(pid: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        stack = process.environ().get("CIRCLES_HOME")
    except psutil.Error:
        return "unknown"
    return f"{process.name()} of the stack in {stack}" if stack else process.name()
