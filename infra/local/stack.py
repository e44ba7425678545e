"""Bringing the stack up, gate by gate, and down again in reverse.

What the processes are is in `processes.py`; topics, databases and roles are provisioning's.
"""

from __future__ import annotations

import fcntl
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

import psutil

from infra.local import dagster, jars, stack_env
from infra.local.errors import StackError, check_disk, check_ports
from infra.local.processes import SERVERS, Process, environment, kafka, ports_of, postgres, processes
from infra.local.supervision import Orphan, Supervisor
from services.runtime.settings import LakeSettings, StackSettings, home

_POLL_SECONDS = 0.2
_TRIES_BEFORE_GIVING_UP = 3


class Narrator(Protocol):
    """Whoever tells a person what is going on."""

    def say(self, subject: str, state: str) -> None: ...


class Silent:
    def say(self, subject: str, state: str) -> None:
        """Says nothing."""


def up(
    ports: Mapping[str, int] | None = None,
    without: Sequence[str] = (),
    narrator: Narrator | None = None,
) -> None:
    """Starts what is not running, in order, each stage gated on the health of the one before.

    Arguments: `ports` by short name (`stack_env.PORTS`), `without` are names or patterns of processes.
    Raises StackError, and leaves what already runs running.
    """
    narrator = narrator or Silent()
    folder = stack_env.prepare_home()
    with _only_one():
        check_disk(folder, StackSettings.load().min_free_mib)
        supervisor = Supervisor(folder)
        end_orphans(supervisor, narrator)
        stack_env.record(ports or {})
        narrator.say("lake", "extensions")
        prepare_folder()
        wanted = _prepare(supervisor, without, narrator)
        supervisor.start(environment())
        supervisor.reload()
        _start_in_stages(supervisor, wanted, narrator)


def prepare_folder() -> None:
    """Makes what the processes expect in the data folder: keys, extensions, Dagster's configuration."""
    from services.runtime.lake import install_extensions

    folder = stack_env.prepare_home()
    stack_env.make_secrets()
    install_extensions(LakeSettings.load().extension_directory)
    dagster.prepare(folder / "dagster")


def down(narrator: Narrator | None = None) -> None:
    """Stops everything of this data folder, also what a dead supervisor left behind. Safe to repeat."""
    narrator = narrator or Silent()
    supervisor = Supervisor(home())
    if not supervisor.folder.exists():
        return
    with _only_one():
        if supervisor.is_alive():
            _stop_in_stages(supervisor, narrator)
            supervisor.shut_down()
        end_orphans(supervisor, narrator)
        supervisor.clean_up()


def end_orphans(supervisor: Supervisor, narrator: Narrator) -> None:
    """Ends the processes that outlived their supervisor (it was killed, or the machine ran out of memory)."""
    orphans = supervisor.orphans()
    if not orphans:
        return
    narrator.say("left over", f"{len(orphans)} processes outlived their supervisor; ending them")
    servers = ("postgres", "kafka")
    _end([each for each in orphans if each.name not in servers])
    _end([each for each in orphans if each.name in servers])
    narrator.say("left over", "stopped")


def _end(orphans: Sequence[Orphan]) -> None:
    processes = [each.process for each in orphans]
    for each in orphans:
        # To PostgreSQL TERM means: wait until every client has gone.
        _send(each.process, signal.SIGINT if each.name == "postgres" else signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=30)
    for process in alive:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=10)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


@contextmanager
def _only_one() -> Iterator[None]:
    """Two `up` or `down` at once would undo each other's work; the second is told so."""
    path = home() / "run" / "command.lock"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as busy:
            raise StackError(
                "Another `circles up` or `circles down` is at work on this data folder.",
                "Wait until it is done.",
            ) from busy
        yield


def _prepare(supervisor: Supervisor, without: Sequence[str], narrator: Narrator) -> list[Process]:
    stack = StackSettings.load()
    running = {name for name, state in supervisor.states().items() if state.is_running}
    class_path = []
    if stack.kafka_embedded:
        class_path = jars.class_path(lambda done, total: narrator.say("kafka", f"jars {done}/{total}"))
    everything = processes(class_path)
    wanted = processes(class_path, without)
    check_ports(ports_of([each.name for each in wanted if each.name not in running]))
    names = {each.name for each in wanted}
    if "postgres" in names - running:
        narrator.say("postgres", "preparing")
        postgres().prepare()
    if "kafka" in names - running:
        narrator.say("kafka", "preparing")
        kafka(class_path).prepare()
    supervisor.configure(everything)
    return wanted


def _start_in_stages(supervisor: Supervisor, wanted: Sequence[Process], narrator: Narrator) -> None:
    for stage in sorted({each.stage for each in wanted} | {SERVERS}):
        _start(supervisor, [each for each in wanted if each.stage == stage], narrator)
        if stage == SERVERS:
            _provision(narrator)


def _provision(narrator: Narrator) -> None:
    from infra.provisioning import provision

    narrator.say("provisioning", "checking")
    provision()
    narrator.say("provisioning", "ready")


def _start(supervisor: Supervisor, stage: Sequence[Process], narrator: Narrator) -> None:
    running = {name for name, state in supervisor.states().items() if state.is_running}
    for process in stage:
        if process.name not in running:
            # The sign of life of an earlier run must not open the gate.
            (home() / "run" / f"{process.name}.heartbeat").unlink(missing_ok=True)
            supervisor.start_process(process.name)
        narrator.say(process.name, "starting")
    _await_all(supervisor, stage, narrator)


def _await_all(supervisor: Supervisor, stage: Sequence[Process], narrator: Narrator) -> None:
    begun = time.monotonic()
    waiting = {process.name: process for process in stage}
    failures: dict[str, set[int]] = {name: set() for name in waiting}
    while waiting:
        states = supervisor.states()
        for name, process in list(waiting.items()):
            _check_alive(supervisor, name, failures[name])
            if states[name].state == "RUNNING" and process.is_ready():
                narrator.say(name, "ready")
                del waiting[name]
            elif time.monotonic() - begun > process.start_seconds:
                raise StackError(
                    f"{name} runs, but {process.start_seconds} s were not enough for {process.waits_for}.",
                    supervisor.log_hint(name) + _tail(supervisor, name),
                )
        time.sleep(_POLL_SECONDS)


def _check_alive(supervisor: Supervisor, name: str, failures: set[int]) -> None:
    state = supervisor.states()[name]
    if state.state == "BACKOFF":
        failures.add(int(time.monotonic()))
    if state.state in ("FATAL", "EXITED") or len(failures) >= _TRIES_BEFORE_GIVING_UP:
        supervisor.stop_processes([name])
        raise StackError(
            f"{name} ends as soon as it is started. {state.problem}".strip(),
            supervisor.log_hint(name) + _tail(supervisor, name),
        )


def _tail(supervisor: Supervisor, name: str) -> str:
    path = supervisor.logs / f"{name}.log"
    if not path.exists():
        return ""
    lines = path.read_text(errors="replace").splitlines()[-8:]
    return " Its last lines:\n" + "\n".join(f"  {line}" for line in lines)


def _stop_in_stages(supervisor: Supervisor, narrator: Narrator) -> None:
    everything = processes()
    for stage in sorted({each.stage for each in everything}, reverse=True):
        states = supervisor.states()
        names = [each.name for each in everything if each.stage == stage]
        running = [name for name in names if name in states and states[name].is_running]
        for name in running:
            narrator.say(name, "stopping")
        supervisor.stop_processes(running)
        for name in running:
            narrator.say(name, "stopped")
