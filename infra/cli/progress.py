"""Progress of `up` and `down`: a line per process that changes in place.

Not on a terminal, each change of state is a line of its own.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

_AT_REST = ("ready", "stopped", "done")


class Progress:
    """What `infra.local.stack` tells while it works."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._states: dict[str, str] = {}
        self._since: dict[str, float] = {}
        self._live = Live(
            get_renderable=self._table, console=self._console, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, subject: str, state: str) -> None:
        """`subject` is now in `state`."""
        # "jars 3/46" after "jars 2/46" is no news for a log.
        is_new = state.partition(" ")[0] != self._states.get(subject, "").partition(" ")[0]
        self._since.setdefault(subject, time.monotonic())
        self._states[subject] = state
        if not self._console.is_terminal and is_new:
            self._console.print(f"{subject}: {state}{self._took(subject)}", soft_wrap=True)

    def _took(self, subject: str) -> str:
        if self._states[subject] not in _AT_REST:
            return ""
        return f" after {time.monotonic() - self._since[subject]:.1f} s"

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for subject, state in self._states.items():
            mark = "[green]✓" if state in _AT_REST else Spinner("dots")
            table.add_row(mark, subject, state + self._took(subject))
        return table
