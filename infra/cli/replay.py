"""`circles replay`. What can be replayed, and how, is ingestion's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import click
import duckdb
from kafka.errors import KafkaError
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from infra.cli.sql import open_lake
from infra.cli.tables import print_table
from infra.local.errors import StackError
from services.ingestion import replay
from services.runtime.settings import KafkaSettings

COLUMNS = ("tenant", "instrument", "version", "reason", "events", "what")


def run(
    reason: str, *, tenant: str | None, since: datetime | None, until: datetime | None, dry_run: bool
) -> None:
    """Replays, or with `dry_run` says what would be replayed. Raises StackError."""
    if reason in replay.NOT_REPLAYED:
        raise StackError(f"Failed events of reason {reason} are not replayed: {replay.NOT_REPLAYED[reason]}.")
    selection = replay.Selection(tenant, _utc(since), _utc(until))
    with closing(open_lake()) as lake, _progress() as on_progress:
        events = replay.deferred_events(lake, selection)
        with nullcontext() if dry_run else replay.sending(KafkaSettings.load()) as send:
            fates = _replayed(events, send, on_progress)
    _print(fates, "would be replayed" if dry_run else "replayed")


def _replayed(
    events: Iterator[replay.Deferred], send: replay.Send | None, on_progress: Callable[[], None]
) -> Counter[replay.Fate]:
    try:
        return replay.replay(events, send, on_progress)
    except KafkaError as error:
        raise StackError(
            f"Kafka did not acknowledge: {type(error).__name__}.",
            "Run it again when `circles status` shows Kafka running: an event counts once.",
        ) from error
    except duckdb.Error as error:
        raise StackError(
            f"The failed events cannot be read: {str(error).splitlines()[0]}",
            "Landing makes their table when it starts: `circles up`.",
        ) from error


def _print(fates: Counter[replay.Fate], done: str) -> None:
    rows: list[list[Any]] = [
        [fate.tenant_id, fate.instrument, fate.version, replay.REASON, count, _what(fate, done)]
        for fate, count in sorted(fates.items())
    ]
    if rows:
        print_table(COLUMNS, rows)
    stay = sum(count for fate, count in fates.items() if fate.why_it_stays)
    click.echo(f"{fates.total() - stay} {done}, {stay} stay.")


def _what(fate: replay.Fate, done: str) -> str:
    return f"stays: {fate.why_it_stays}" if fate.why_it_stays else done


@contextmanager
def _progress() -> Iterator[Callable[[], None]]:
    columns = (SpinnerColumn(), TextColumn("{task.completed} deferred events"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replay", total=None)
        yield lambda: progress.advance(task)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
