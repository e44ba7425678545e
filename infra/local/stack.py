"""Bringing the stack up, gate by gate, and down again in reverse.

What the processes are is in `processes.py`; topics, databases and roles are provisioning's.
"""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import psutil

from infra.local import dagster, jars, stack_env
from infra.local.errors import StackError, check_disk, check_ports
from infra.local.processes import Process, environment, kafka, ports_of, postgres, processes
from infra.local.starting import Narrator, Step, start
from infra.local.supervision import Orphan, Supervisor
from services.runtime.settings import LakeSettings, StackSettings, home


class Silent:
    def say(self, subject: str, state: str) -> None:
        """Says nothing."""


def up(
    ports: Mapping[str, int] | None = None,
    without: Sequence[str] = (),
    narrator: Narrator | None = None,
    optional: Sequence[str] = (),
) -> None:
    """Starts what is not running, each process when all that it comes after is ready.

    Arguments: `ports` by short name (`stack_env.PORTS`), `without` are names or patterns of processes,
    `optional` what is off unless it is named once (`stack_env.OPTIONAL`).
    Raises StackError, and leaves what already runs running.
    """
    narrator = narrator or Silent()
    folder = stack_env.prepare_home()
    with _only_one():
        check_disk(folder, StackSettings.load().min_free_mib)
        supervisor = Supervisor(folder)
        _end_mute(supervisor, narrator)
        end_orphans(supervisor, narrator)
        stack_env.record(ports or {}, in_use=ports_of(supervisor.running()), optional=optional)
        narrator.say("folder", "preparing")
        prepare_folder()
        narrator.say("folder", "ready")
        wanted = _prepare(supervisor, without, narrator)
        supervisor.start(environment())
        supervisor.reload()
        start(supervisor, wanted, _provisioning(), narrator)


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
            _stop_in_turn(supervisor, narrator)
            supervisor.shut_down()
        end_orphans(supervisor, narrator)
        supervisor.clean_up()


def _end_mute(supervisor: Supervisor, narrator: Narrator) -> None:
    """Ends a supervisor that cannot be talked to: a cleaner of temporary files may have taken its socket."""
    if supervisor.is_alive() and not supervisor.answers():
        narrator.say("supervisor", "does not answer; ending it and its processes")
        supervisor.shut_down()
        narrator.say("supervisor", "stopped")


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
    running = supervisor.running()
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


def _provisioning() -> list[Step]:
    from infra.provisioning import databases, topics

    return [
        Step("databases", ("postgres",), databases.provision),
        Step("topics", ("kafka",), topics.provision),
    ]


def _stop_in_turn(supervisor: Supervisor, narrator: Narrator) -> None:
    """Whoever others come after is stopped after them."""
    for names in stopping_order(processes()):
        states = supervisor.states()
        running = [name for name in names if name in states and states[name].is_running]
        for name in running:
            narrator.say(name, "stopping")
        supervisor.stop_processes(running)
        for name in running:
            narrator.say(name, "stopped")


def stopping_order(processes: Sequence[Process]) -> list[list[str]]:
    """Names in groups; a group may stop at once, when the groups before it have."""
    left = {each.name: each for each in processes}
    groups = []
    while left:
        needed = {name for each in left.values() for name in each.needs}
        groups.append([name for name in left if name not in needed])
        left = {name: each for name, each in left.items() if name in needed}
    return groups
