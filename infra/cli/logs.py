"""`circles logs`."""

from __future__ import annotations

import time
from collections import deque

import click

from infra.local.errors import StackError
from services.runtime.settings import home


def show(name: str, lines: int, follow: bool) -> None:
    """Prints the last `lines` of a process's log. Raises StackError when there is none."""
    path = home() / "logs" / f"{name}.log"
    if not path.is_file():
        there = ", ".join(sorted(each.stem for each in path.parent.glob("*.log"))) or "none"
        raise StackError(f"There is no log of {name!r}.", f"There are: {there}.")
    with path.open(errors="replace") as file:
        click.echo("".join(deque(file, maxlen=lines)), nl=False)
        while follow:
            click.echo(file.read(), nl=False)
            time.sleep(0.5)
