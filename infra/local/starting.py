"""Starting what is wanted in the order of need: each as soon as all that it comes after is ready.

What comes after what is in `processes.py`; how a process is run is the supervisor's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from infra.local.errors import StackError
from infra.local.processes import Process
from infra.local.supervision import Supervisor
from services.runtime.settings import home

_POLL_SECONDS = 0.2
_TRIES_BEFORE_GIVING_UP = 3


class Narrator(Protocol):
    """Whoever tells a person what is going on."""

    def say(self, subject: str, state: str) -> None: ...


@dataclass(frozen=True)
class Step:
    """Something that is done once, by ourselves, between the starts of processes."""

    name: str
    after: tuple[str, ...]
    run: Callable[[], None]


@dataclass
class Starting:
    """One `circles up`. Whatever is not wanted counts as ready: it runs elsewhere, or nobody needs it now."""

    supervisor: Supervisor
    narrator: Narrator
    waiting: dict[str, Process | Step]
    begun: dict[str, float] = field(default_factory=dict)
    failures: dict[str, set[int]] = field(default_factory=dict)

    def run(self) -> None:
        """Returns when everything is ready. Raises StackError for what does not start or come to life."""
        running = self.supervisor.running()
        while self.waiting:
            for name in self._due():
                self._begin(name, name in running)
            for name in list(self.begun.keys() & self.waiting.keys()):
                self._look_at(name)
            time.sleep(_POLL_SECONDS)

    def _due(self) -> list[str]:
        return [
            name
            for name, each in self.waiting.items()
            if name not in self.begun and not self.waiting.keys() & set(each.after)
        ]

    def _begin(self, name: str, is_running: bool) -> None:
        self.begun[name] = time.monotonic()
        self.narrator.say(name, "starting")
        if isinstance(self.waiting[name], Process) and not is_running:
            # The sign of life of an earlier run must not open the gate.
            (home() / "run" / f"{name}.heartbeat").unlink(missing_ok=True)
            self.supervisor.start_process(name)

    def _look_at(self, name: str) -> None:
        each = self.waiting[name]
        if isinstance(each, Step):
            each.run()
        elif not self._is_ready(each):
            return
        self.narrator.say(name, "ready")
        del self.waiting[name]

    def _is_ready(self, process: Process) -> bool:
        state = self.supervisor.states()[process.name]
        if state.state in ("FATAL", "EXITED") or self._has_failed_often(process.name, state.state):
            self.supervisor.stop_processes([process.name])
            raise StackError(
                f"{process.name} ends as soon as it is started. {state.problem}".strip(), self._hint(process)
            )
        if state.state == "RUNNING" and process.is_ready():
            return True
        if time.monotonic() - self.begun[process.name] > process.start_seconds:
            raise StackError(
                f"{process.name} runs, but {process.start_seconds} s were too few for {process.waits_for}.",
                self._hint(process),
            )
        return False

    def _has_failed_often(self, name: str, state: str) -> bool:
        seconds = self.failures.setdefault(name, set())
        if state == "BACKOFF":
            seconds.add(int(time.monotonic()))
        return len(seconds) >= _TRIES_BEFORE_GIVING_UP

    def _hint(self, process: Process) -> str:
        path = self.supervisor.logs / f"{process.name}.log"
        lines = path.read_text(errors="replace").splitlines()[-8:] if path.exists() else []
        return "\n  ".join([self.supervisor.log_hint(process.name), *lines])


def start(
    supervisor: Supervisor, processes: Iterable[Process], steps: Iterable[Step], narrator: Narrator
) -> None:
    """Starts `processes` and does `steps` in the order of need. Raises StackError."""
    waiting: dict[str, Process | Step] = {each.name: each for each in processes}
    waiting |= {each.name: each for each in steps}
    Starting(supervisor, narrator, waiting).run()
