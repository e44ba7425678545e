"""How a failure reaches a person: what happened, and what to do next.

Where a failure arises, it is worded there; here are only those that any command may meet.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def explained() -> Iterator[None]:
    """Turns failures that a person can act on into two sentences and exit code 1."""
    try:
        yield
    except OSError as error:
        _exit_for_disk(error)
        raise
    except Exception as error:
        if type(error).__name__ == "StackError":
            _exit(error.what, error.next_step)  # type: ignore[attr-defined]
        if type(error).__name__ == "KafkaUnavailable":
            _exit(str(error), "`circles up` starts it; `circles logs kafka` says why it ended.")
        if type(error).__module__.startswith("psycopg2") and "OperationalError" in type(error).__name__:
            _exit(f"PostgreSQL cannot be reached: {error}".strip(), "`circles up` starts it.")
        raise


def _exit_for_disk(error: OSError) -> None:
    if error.errno == errno.ENOSPC:
        _exit("The disk is full.", "Free some space, then `circles up` again: nothing acknowledged is lost.")
    if isinstance(error, PermissionError):
        _exit(
            f"This user may not use {error.filename}.",
            "Run as the user who made the data folder, or choose another with CIRCLES_HOME=/other/folder.",
        )


def _exit(what: str, next_step: str) -> None:
    click.secho(what, fg="red", err=True)
    if next_step:
        click.echo(next_step, err=True)
    sys.exit(1)
