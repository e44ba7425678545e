"""supervisord: its configuration, its life, and what it knows of its processes.

Which processes there are is in `processes.py`; in which order they start in `stack.py`.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from infra.local.errors import StackError
from infra.local.processes import Process

SOCKET_PATH_LIMIT = 100
"""Bytes that a Unix socket's path may have, a little under the 104 and 108 of the systems."""

_GLOBAL = """\
; Written by `circles up`; changes are lost.
[unix_http_server]
file={socket}
chmod=0700

[supervisord]
logfile={logs}/supervisord.log
logfile_maxbytes=5MB
logfile_backups=2
pidfile={pid_file}
childlogdir={logs}
directory={folder}
umask=077
identifier=circles
{user}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

_PROGRAM = """
[program:{name}]
command={command}
environment={environment}
autostart=false
autorestart=true
; A process that ends sooner waits a second longer before each new try.
startsecs=2
startretries=100
stopsignal={signal}
stopwaitsecs={seconds}
stopasgroup={group}
killasgroup=true
redirect_stderr=true
stdout_logfile={logs}/{name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=2
"""


@dataclass(frozen=True)
class State:
    """What the supervisor says of a process. `state` is its word: RUNNING, BACKOFF, FATAL, STOPPED …"""

    name: str
    state: str
    pid: int
    uptime_seconds: int
    problem: str

    @property
    def is_running(self) -> bool:
        return self.state in ("RUNNING", "STARTING", "STOPPING", "BACKOFF")


@dataclass(frozen=True)
class Orphan:
    """A process that outlived its supervisor; `name` is that of the program it belongs to."""

    name: str
    process: psutil.Process


class Supervisor:
    """The supervisor of one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.configuration = folder / "run" / "supervisord.conf"
        self.pid_file = folder / "run" / "supervisord.pid"

    def configure(self, processes: Iterable[Process]) -> None:
        """Writes the configuration, for its owner alone: the environment of Dagster has a password."""
        _make_private(self.socket.parent)
        self.configuration.touch(mode=0o600)
        self.configuration.write_text(configuration(self, processes))

    def start(self, environment: Mapping[str, str]) -> None:
        """Starts the supervisor, without any process, unless it runs.

        `environment` comes on top of our own for all its processes. It is handed on rather than written
        into the configuration, where supervisord would expand each % twice.
        """
        if self.is_alive():
            return
        self.socket.unlink(missing_ok=True)
        self.pid_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.configuration)]
        result = subprocess.run(
            command,
            env={**os.environ, **environment},  # noqa: TID251
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if result.returncode != 0 or not _wait(self.answers, 10):
            message = (result.stderr or result.stdout).strip()
            raise StackError(
                f"The supervisor did not start: {message}", f"Its log is {self.logs}/supervisord.log."
            )

    def is_alive(self) -> bool:
        """Whether this folder's supervisor runs. A pid that now belongs to another program does not count."""
        return self._process() is not None

    def answers(self) -> bool:
        try:
            return bool(self._rpc.getState()["statecode"] == 1)
        except (OSError, xmlrpc.client.Error):
            return False

    def states(self) -> dict[str, State]:
        """All processes by name; empty when there is no supervisor to ask."""
        try:
            return {each["name"]: _state(each) for each in self._rpc.getAllProcessInfo()}
        except (OSError, xmlrpc.client.Error):
            return {}

    def running(self) -> set[str]:
        """Names of the processes that run, or are on the way up or down."""
        return {name for name, state in self.states().items() if state.is_running}

    def reload(self) -> None:
        """Takes over a changed configuration. Processes whose section is the same go on undisturbed."""
        ((added, changed, removed),) = self._rpc.reloadConfig()
        for name in [*changed, *removed]:
            self._rpc.stopProcessGroup(name)
            self._rpc.removeProcessGroup(name)
        for name in [*changed, *added]:
            self._rpc.addProcessGroup(name)

    def start_process(self, name: str) -> None:
        """Asks for a start and returns at once."""
        try:
            self._rpc.startProcess(name, False)
        except xmlrpc.client.Fault as fault:
            if not fault.faultString.startswith("ALREADY_STARTED"):
                raise StackError(
                    f"{name} cannot be started: {fault.faultString}.", self.log_hint(name)
                ) from fault

    def stop_processes(self, names: Iterable[str]) -> None:
        """Asks each for its stop, then waits until all have stopped."""
        asked = [name for name in names if self._ask_stop(name)]
        # The supervisor itself kills what outlives its stopwaitsecs, so that this wait ends.
        _wait(lambda: not any(self.states()[name].is_running for name in asked if name in self.states()), 90)

    def shut_down(self) -> None:
        """Ends the supervisor, and with it whatever it still runs."""
        process = self._process()
        if process is None:
            return
        try:
            self._rpc.shutdown()
        except (OSError, xmlrpc.client.Error):
            process.terminate()
        try:
            process.wait(90)
        except psutil.TimeoutExpired:
            process.kill()

    def clean_up(self) -> None:
        """Removes the traces of a supervisor that is gone."""
        self.pid_file.unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.pid_file.parent and self.socket.parent.exists():
            self.socket.parent.rmdir()

    def orphans(self) -> list[Orphan]:
        """Processes that this folder's supervisor started and that outlived it."""
        supervisor = self._process()
        own = {os.getpid(), *(each.pid for each in psutil.Process().parents())}
        adopted = {each.pid for each in supervisor.children(recursive=True)} if supervisor else set()
        return [each for each in self._started() if each.process.pid not in own | adopted]

    def _ask_stop(self, name: str) -> bool:
        try:
            self._rpc.stopProcess(name, False)
        except xmlrpc.client.Fault as fault:
            if not fault.faultString.startswith("NOT_RUNNING"):
                raise
            return False
        return True

    def log_hint(self, name: str) -> str:
        return f"See its log: `circles logs {name}` ({self.logs / name}.log)."

    @property
    def socket(self) -> Path:
        """The supervisor's socket: in the data folder, or in a private one where the path gets too long."""
        inside = self.folder / "run" / "supervisor.sock"
        if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
            return inside
        mark = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"circles-{os.getuid()}-{mark}" / "s"

    @property
    def _rpc(self) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
        return proxy.supervisor

    def _process(self) -> psutil.Process | None:
        try:
            process = psutil.Process(int(self.pid_file.read_text()))
            return process if str(self.configuration) in process.cmdline() else None
        except (OSError, ValueError, psutil.Error):
            return None

    def _started(self) -> Iterator[Orphan]:
        mark = f"unix://{self.socket}"
        for process in psutil.process_iter():
            try:
                # supervisord gives both to each of its processes, and they to theirs.
                environment = process.environ()
                if environment.get("SUPERVISOR_SERVER_URL") == mark and process.status() != "zombie":
                    yield Orphan(environment.get("SUPERVISOR_PROCESS_NAME", ""), process)
            except psutil.Error:
                continue


def configuration(supervisor: Supervisor, processes: Iterable[Process]) -> str:
    """Text of supervisord.conf."""
    head = _GLOBAL.format(
        socket=supervisor.socket,
        logs=supervisor.logs,
        pid_file=supervisor.pid_file,
        folder=supervisor.folder,
        # Said outright, or supervisord warns on each start that it runs as root.
        user="user=root" if os.geteuid() == 0 else "",
    )
    return head + "".join(_section(supervisor, each) for each in processes)


def _section(supervisor: Supervisor, process: Process) -> str:
    return _PROGRAM.format(
        name=process.name,
        command=_escaped(shlex.join(process.command)),
        environment=_pairs(process.environment),
        signal=process.stop_signal,
        seconds=process.stop_seconds,
        group=str(process.stops_group).lower(),
        logs=supervisor.logs,
    )


def _pairs(environment: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in environment.items())


def _escaped(text: str) -> str:
    """supervisord expands %(…)s."""
    return text.replace("%", "%%")


def _state(info: Mapping[str, object]) -> State:
    now, start = int(str(info["now"])), int(str(info["start"]))
    return State(
        name=str(info["name"]),
        state=str(info["statename"]),
        pid=int(str(info["pid"])),
        uptime_seconds=max(0, now - start) if info["statename"] == "RUNNING" else 0,
        problem=str(info["spawnerr"]),
    )


def _make_private(path: Path) -> None:
    """Makes folder `path` for this user alone. Raises StackError when someone else was there first."""
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise StackError(f"{path} belongs to someone else or is open to others.", "Remove it, or set TMPDIR.")


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False
