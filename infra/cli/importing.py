"""`circles import`: reads a file twice, to find all that is wrong before anything is posted, then to post it.

What a file's rows become is `infra.importing`'s; events are posted as any partner posts them.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from infra.importing.rows import Row, Wrong
    from services.client import Client, Event, Summary

SHOWN_WRONG = 20

Command = TypeVar("Command", bound=Callable[..., Any])
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("import")
def importing() -> None:
    """Post a file that you have: studies, a REDCap export, FHIR responses.

    The key is read from CIRCLES_PARTNER_KEY or --key-file. Nothing is posted while a row is wrong. The same
    file may be imported again: the same event counts once.
    """


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
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            zone = ZoneInfo(self.time_zone)
        except (ValueError, OSError, ZoneInfoNotFoundError) as error:
            message = f"{self.time_zone!r} is not a time zone as Europe/London"
            raise click.BadParameter(message, param_hint="--time-zone") from error
        return {"time_zone": zone, "decimal_comma": self.decimal_comma, "revision": self.revision}


def _with(options: Sequence[Callable[[Any], Any]]) -> Callable[[Command], Command]:
    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_COMMON = (
    click.argument("path", type=FILE, metavar="FILE"),
    click.option("--dry-run", is_flag=True, help="Show what would be posted, and all that is wrong."),
    click.option(
        "--show",
        type=click.IntRange(min=0),
        default=3,
        show_default=True,
        metavar="N",
        help="How many events --dry-run shows.",
    ),
    click.option("--skip-wrong", is_flag=True, help="Post the other rows although some are wrong."),
    click.option(
        "--rejects",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write what is wrong to this file, as CSV: places and reasons, not the rows.",
    ),
    click.option("--time-zone", default="UTC", show_default=True, help="Of dates and times that name none."),
    click.option(
        "--revision",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Higher: everything is told anew, as after a value was changed back.",
    ),
    click.option("--address", help="Of the gateway; else CIRCLES_PARTNER_ADDRESS, else this machine's."),
    click.option("--key-file", type=FILE, help="Has the key, and nothing else."),
    click.option("--tls", is_flag=True, help="The gateway's certificate is of a public authority."),
    click.option("--tls-ca", type=FILE, help="Authority that signed the gateway's certificate."),
    click.option("--tls-certificate", type=FILE, help="Your own certificate, where it is asked for."),
    click.option("--tls-key", type=FILE, help="Its private key."),
)


def _pairs(context: click.Context, parameter: click.Parameter, texts: Sequence[str]) -> dict[str, str]:
    """Of NAME=VALUE; a name may have an = in it."""
    pairs = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not equals or not name or not value:
            raise click.BadParameter(f"{text!r} is not {parameter.metavar}")
        pairs[name] = value
    return pairs


_TABLE = (
    click.option("--decimal-comma", is_flag=True, help="Numbers are written as 3,5."),
    click.option(
        "--code",
        "codes",
        multiple=True,
        metavar="NAME=CODE",
        callback=_pairs,
        help="Of a name that makes none, or another than you want; as often as needed.",
    ),
)


@importing.command()
@_with(_COMMON)
@click.option(
    "--design",
    type=click.Choice(["randomised", "controlled", "cohort", "cross-sectional", "descriptive"]),
    help="Of studies whose row has none.",
)
@click.option("--outcome", default="", metavar="NAME", help="Of rows whose outcome_type does not say which.")
@click.option(
    "--covariate", "covariates", multiple=True, metavar="COLUMN", help="A number that describes the study."
)
@click.option(
    "--attribute", "attributes", multiple=True, metavar="COLUMN", help="A word that describes the study."
)
@click.option(
    "--flip-g", is_flag=True, help="A g above 0 means that the first arm's mean is lower: turn its sign."
)
@click.option(
    "--reported-on",
    type=click.DateTime(["%Y-%m-%d"]),
    help="When it was reported; otherwise on the first of January of its year.",
)
@_with(_TABLE)
def metapsy(
    *,
    design: str | None,
    outcome: str,
    covariates: tuple[str, ...],
    attributes: tuple[str, ...],
    flip_g: bool,
    reported_on: datetime | None,
    codes: dict[str, str],
    **common: Any,
) -> None:
    """Results of studies in Metapsy's columns: CSV or Parquet, a row for each comparison of two arms."""
    from infra.importing.metapsy import Options, read

    job = Job(**common)
    options = Options(
        design=design or "",
        outcome=outcome,
        covariates=covariates,
        attributes=attributes,
        flip_g=flip_g,
        reported_on=reported_on.date() if reported_on else None,
        codes=codes,
        **job.reading(),
    )
    _run(job, lambda: read(job.path, options))


@importing.command()
@_with(_COMMON)
@click.option("--mapping", type=FILE, required=True, help="Says which columns are what, in YAML.")
@click.option("--missing", multiple=True, metavar="WORD", help="Means no value, as -99; as often as needed.")
@_with(_TABLE)
def redcap(*, mapping: Path, missing: tuple[str, ...], codes: dict[str, str], **common: Any) -> None:
    """A flat export of REDCap: CSV, a row for each record and event."""
    from infra.importing.mapping import read_mapping
    from infra.importing.redcap import Options, read

    job = Job(**common)
    with _explained():
        project = read_mapping(mapping)
    options = Options(mapping=project, missing=missing, codes=codes, **job.reading())
    _run(job, lambda: read(job.path, options))


@importing.command()
@_with(_COMMON)
@click.option("--study", default="", help="Code of the study that asked. Without: routine measurement.")
@click.option("--time-point", default="", help="Code of the planned time point of all. Without: unplanned.")
@click.option("--person-prefix", default="", help="Put before each id of a person.")
@click.option(
    "--items",
    multiple=True,
    metavar="LINKID=INSTRUMENT",
    callback=_pairs,
    help="Where linkIds are not LOINC's codes, as 'gad7-{}=gad-7' for gad7-1 to gad7-7.",
)
def fhir(*, study: str, time_point: str, person_prefix: str, items: dict[str, str], **common: Any) -> None:
    """FHIR R4: QuestionnaireResponses in a Bundle, or one resource on each line (NDJSON)."""
    from infra.importing.fhir import Options, read

    job = Job(**common)
    options = Options(
        study=study, time_point=time_point, person_prefix=person_prefix, items=items, **job.reading()
    )
    _run(job, lambda: read(job.path, options))


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


def _run(job: Job, read: Callable[[], Iterator[Row]]) -> None:
    """Ends the process with 1 when a row is wrong or an event was refused."""
    with _explained():
        before = _stamp(job.path)
        survey = _survey(job, read())
        _show(job, survey)
        if job.dry_run or (survey.count_wrong and not job.skip_wrong):
            sys.exit(1 if survey.count_wrong else 0)
        if _stamp(job.path) != before:
            raise _error(f"{job.path.name} was changed while it was read.", "Import it again.")
        summary = _post(job, survey, read())
    _show_summary(summary)
    sys.exit(1 if summary.refused else 0)


def _survey(job: Job, rows: Iterable[Row]) -> Survey:
    survey = Survey(job.show)
    with _rejects(job.rejects) as write, _bars() as bars:
        task = bars.add_task(f"reading {job.path.name}", total=None)
        for row in rows:
            survey.add(row)
            for each in row.wrong:
                write(each)
            bars.advance(task)
    return survey


@contextmanager
def _rejects(path: Path | None) -> Iterator[Callable[[Wrong], object]]:
    """Of a row only where it stands: its other columns may name somebody."""
    if path is None:
        yield lambda each: None
        return
    import csv

    from infra.importing.rows import Wrong

    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Wrong._fields)
        yield writer.writerow


def _show(job: Job, survey: Survey) -> None:
    from google.protobuf.json_format import MessageToJson

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
    with _client(job) as client, _bars() as bars:
        task = bars.add_task(f"posting {job.path.name}", total=survey.count_events)
        return client.post(events, lambda count: bars.advance(task, count))


def _client(job: Job) -> Client:
    from services.client import Client, Tls
    from services.runtime.settings import IngestionSettings, PartnerSettings

    settings = PartnerSettings.load()
    address = job.address or settings.address or f"127.0.0.1:{IngestionSettings.load().port}"
    key = job.key_file.read_text().strip() if job.key_file else settings.key.get_secret_value()
    if not key:
        raise _error("There is no key.", "Set CIRCLES_PARTNER_KEY, or name a file with --key-file.")
    files = {"ca": job.tls_ca, "certificate": job.tls_certificate, "private_key": job.tls_key}
    try:
        return Client(address, key, tls=Tls(**files) if job.tls or any(files.values()) else None)
    except ValueError as refusal:
        raise _error(
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
def _explained() -> Iterator[None]:
    """What a person can act on, in two sentences: `infra.cli.failures` prints them."""
    from infra.importing.rows import Unreadable
    from services.client import ClientError

    try:
        yield
    except Unreadable as error:
        raise _error(str(error), "") from error
    except ClientError as error:
        raise _error(str(error), "Import the same file again: what has arrived counts once.") from error


def _error(what: str, next_step: str) -> Exception:
    from infra.local.errors import StackError

    return StackError(what, next_step)


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _bars() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
