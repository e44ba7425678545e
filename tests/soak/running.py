"""The stack of a campaign and the partner who posts to it. Both outlive a run that is broken off."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.partners import Partner, new_partner
from tests.soak.progress import Progress
from tests.stacks import Stack, bare_environment, free_ports


class CannotRun(Exception):
    """Nothing was found: the campaign did not come about."""


@contextlib.contextmanager
def running(folder: Path, progress: Progress, without: Sequence[str]) -> Iterator[Partner]:
    """Ends with the block. A run that was killed has left its stack running: it is taken over."""
    progress.ports = progress.ports or free_ports()
    progress.save(folder)
    stack = stack_of(folder, progress)
    try:
        result = stack.up(*(f"--without={name}" for name in without))
        if result.returncode != 0:
            raise CannotRun(f"circles up failed:\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}")
        if not progress.key:
            made = new_partner(stack, folder.name)
            progress.tenant_id, progress.key = made.tenant_id, made.key
            progress.save(folder)
        yield Partner(stack, progress.tenant_id, progress.key)
    finally:
        stack.down()


def stack_of(folder: Path, progress: Progress) -> Stack:
    """Its settings become those of this process; none of whoever runs it count."""
    environment = {**bare_environment(), "CIRCLES_HOME": str(folder / "home")}
    os.environ.clear()  # noqa: TID251
    os.environ.update(environment)  # noqa: TID251
    return Stack(folder / "home", environment, progress.ports)
