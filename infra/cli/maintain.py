"""`circles maintain`: the upkeep of the lake, with a line per step as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from infra.cli.progress import Progress
from infra.cli.tables import print_table
from infra.local.errors import StackError
from services.runtime.settings import LakeSettings, PostgresSettings, RetentionSettings

if TYPE_CHECKING:
    from pipelines.maintenance.maintenance import Step


def run(*, is_dry_run: bool) -> None:
    """Does or counts each step and shows what came of it. Raises StackError."""
    from pipelines.maintenance.maintenance import AlreadyUnderWay, LiveFileTaken, maintain

    settings = LakeSettings.load(), PostgresSettings.load(), RetentionSettings.load()
    steps = []
    try:
        with Progress() as progress:
            for step in maintain(
                *settings, is_dry_run=is_dry_run, on_begin=lambda name: progress.say(name, "working")
            ):
                progress.say(step.name, "done")
                steps.append(step)
    except AlreadyUnderWay as error:
        raise StackError(f"{error}.", "It does what this would do: wait for it.") from error
    except (ValueError, LiveFileTaken) as error:
        raise StackError(str(error)) from error
    _show(steps, is_dry_run=is_dry_run)


def _show(steps: Sequence[Step], *, is_dry_run: bool) -> None:
    from pipelines.maintenance.maintenance import UNITS

    print_table(
        ["step", "count", "of", "files", "on disk", "MB on disk", "snapshots", "seconds"],
        [
            [
                step.name,
                step.count,
                UNITS[step.name],
                f"{step.before.count_files} → {step.after.count_files}",
                f"{step.before.count_on_disk} → {step.after.count_on_disk}",
                f"{step.before.bytes_on_disk / 1e6:.1f} → {step.after.bytes_on_disk / 1e6:.1f}",
                f"{step.before.count_snapshots} → {step.after.count_snapshots}",
                round(step.seconds, 1),
            ]
            for step in steps
        ],
    )
    for left in (left for step in steps for left in step.left):
        click.echo(f"Left for the next run: {left}")
    if is_dry_run:
        click.echo("Nothing was changed. What would be flushed, rewritten and merged is not counted.")
