"""One import: the file is read twice, to find all that is wrong before anything is posted, then to post it.

It posts as any partner does, with a partner's key. What rows become is `infra.importing`'s.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from google.protobuf.json_format import MessageToJson

from infra.cli.bars import bars
from infra.importing.rows import Row, Unreadable, Wrong
from infra.local.errors import StackError
from services.client import Client, ClientError, Event, Summary, Tls
from services.runtime.settings import IngestionSettings, PartnerSettings

SHOWN_WRONG = 20


@dataclass(frozen=True)
class Job:
    """The options that every kind of file has. `decimal_comma` is for tables alone."""

    path: Path
    dry_run: bool
    show: int
    skip_wrong: bool
    rejects: Path | None
    time_zone: str
    revision: int
    address: str | None
    key_file: Path | None
    tls: bool
    tls_ca: Path | None
    tls_certificate: Path | None
    tls_key: Path | None
    decimal_comma: bool = False

    def reading(self) -> dict[str, Any]:
        """As `infra.importing.rows.Options` has them."""
        try:
            zone = ZoneInfo(self.time_zone)
        except (ValueError, OSError, ZoneInfoNotFoundError) as error:
            message = f"{self.time_zone!r} is not a time zone as Europe/London"
            raise click.BadParameter(message, param_hint="--time-zone") from error
        return {"time_zone": zone, "decimal_comma": self.decimal_comma, "revision": self.revision}

    def run(self, read: Callable[[], Iterator[Row]]) -> NoReturn:
        """Reads, shows and posts. Ends the process, with 1 when a row is wrong or an event was refused."""
        with explained():
            before = _stamp(self.path)
            if self.rejects and self.rejects.resolve() == self.path.resolve():
                raise StackError("--rejects would overwrite the file.", "Give it another name.")
            survey = _survey(self, read())
            _show(self, survey)
            if self.dry_run or (survey.count_wrong and not self.skip_wrong):
                sys.exit(1 if survey.count_wrong else 0)
            if _stamp(self.path) != before:
                raise StackError(f"{self.path.name} was changed while it was read.", "Import it again.")
            summary = _post(self, survey, read())
        _show_summary(summary)
        sys.exit(1 if summary.refused else 0)


# Reading -------------------------------------------------------------------------------------------------


@dataclass
class Survey:
    """What a file has, without its rows. `show`: how many events are kept as samples."""

    show: int
    kinds: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    wrong: list[Wrong] = field(default_factory=list)
    """The first of them."""
    count_wrong: int = 0
    count_wrong_rows: int = 0
    samples: list[Event] = field(default_factory=list)

    @property
    def count_events(self) -> int:
        return sum(self.kinds.values())

    def add(self, row: Row) -> None:
        self.notes.update(set(row.notes))
        if row.wrong:
            self.count_wrong_rows += 1
            self.count_wrong += len(row.wrong)
            self.wrong += row.wrong[: SHOWN_WRONG - len(self.wrong)]
            return
        self.kinds.update(str(event.WhichOneof("kind")) for event in row.events)
        self.samples += row.events[: self.show - len(self.samples)]


def _survey(job: Job, rows: Iterable[Row]) -> Survey:
    survey = Survey(job.show)
    with _rejects(job.rejects) as write, bars() as shown:
        task = shown.add_task(f"reading {job.path.name}", total=None)
        for row in rows:
            survey.add(row)
            for each in row.wrong:
                write(each)
            shown.advance(task)
    return survey


@contextmanager
def _rejects(path: Path | None) -> Iterator[Callable[[Wrong], object]]:
    """Of a row only where it stands: its other columns may name somebody."""
    if path is None:
        yield lambda each: None
        return
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Wrong._fields)
        yield writer.writerow


def _show(job: Job, survey: Survey) -> None:
    for kind, count in sorted(survey.kinds.items()):
        click.echo(f"{count:>9,}  {kind}")
    click.echo(f"{survey.count_events:>9,}  events; times without a zone are taken for {job.time_zone}")
    for note, count in sorted(survey.notes.items()):
        click.echo(f"Note{f' ({count:,} times)' if count > 1 else ''}: {note}")
    if job.dry_run:
        for event in survey.samples:
            click.echo(MessageToJson(event, preserving_proto_field_name=True))
    if survey.count_wrong:
        _show_wrong(job, survey)


def _show_wrong(job: Job, survey: Survey) -> None:
    click.secho(f"Rows that are wrong: {survey.count_wrong_rows:,}", fg="red", err=True)
    for each in survey.wrong:
        where = ", ".join(filter(None, (job.path.name, each.place, each.field)))
        click.echo(f"  {where}: {each.value or 'nothing'}: should be {each.rule}", err=True)
    if survey.count_wrong > len(survey.wrong):
        click.echo(f"  and {survey.count_wrong - len(survey.wrong):,} more", err=True)
    if not job.skip_wrong:
        click.echo("Nothing was posted. --skip-wrong posts the other rows.", err=True)


# Posting -------------------------------------------------------------------------------------------------


def _post(job: Job, survey: Survey, rows: Iterable[Row]) -> Summary:
    events = (event for row in rows if not row.wrong for event in row.events)
    with _client(job) as client, bars() as shown:
        task = shown.add_task(f"posting {job.path.name}", total=survey.count_events)
        return client.post(events, lambda count: shown.advance(task, count))


def _client(job: Job) -> Client:
    settings = PartnerSettings.load()
    address = job.address or settings.address or f"127.0.0.1:{IngestionSettings.load().port}"
    key = job.key_file.read_text().strip() if job.key_file else settings.key.get_secret_value()
    if not key:
        raise StackError("There is no key.", "Set CIRCLES_PARTNER_KEY, or name a file with --key-file.")
    files = {"ca": job.tls_ca, "certificate": job.tls_certificate, "private_key": job.tls_key}
    try:
        return Client(address, key, tls=Tls(**files) if job.tls or any(files.values()) else None)
    except ValueError as refusal:
        raise StackError(
            f"{refusal}.", "Options for it: --tls, --tls-ca, --tls-certificate, --tls-key."
        ) from None


def _show_summary(summary: Summary) -> None:
    accepted, late = summary.count_accepted, summary.count_late
    click.echo(f"{accepted:>9,}  accepted{f', {late:,} of them too old for live figures' if late else ''}")
    click.echo(f"{summary.count_duplicates:>9,}  known already")
    click.echo(f"{summary.count_deferred:>9,}  set aside until the operator knows the instrument")
    click.echo(f"{len(summary.refused):>9,}  refused")
    for event, result in summary.refused[:SHOWN_WRONG]:
        for each in result.violations or ():
            words = f"{event.WhichOneof('kind')} {event.event_id}: {each.field}: should be {each.rule}"
            click.echo(f"  {words}", err=True)
    if len(summary.refused) > SHOWN_WRONG:
        click.echo(f"  and {len(summary.refused) - SHOWN_WRONG:,} more", err=True)


@contextmanager
def explained() -> Iterator[None]:
    """What a person can act on, in two sentences: `infra.cli.failures` prints them."""
    try:
        yield
    except Unreadable as error:
        raise StackError(str(error), "") from error
    except ClientError as error:
        raise StackError(str(error), "Import the same file again: what has arrived counts once.") from error


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
