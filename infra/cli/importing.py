"""`circles import`: its verbs, one for each kind of file, and their options.

What a file's rows become is `infra.importing`'s, how they are checked and posted `import_job`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("import")
def importing() -> None:
    """Post a file that you have: studies, a REDCap export, FHIR responses.

    The key is read from CIRCLES_PARTNER_KEY or --key-file. Nothing is posted while a row is wrong. The same
    file may be imported again: the same event counts once.
    """


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
    from infra.cli.import_job import Job
    from infra.importing.comparison import Options
    from infra.importing.metapsy import read

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
    job.run(lambda: read(job.path, options))


@importing.command()
@_with(_COMMON)
@click.option("--mapping", type=FILE, required=True, help="Says which columns are what, in YAML.")
@click.option("--missing", multiple=True, metavar="WORD", help="Means no value, as -99; as often as needed.")
@_with(_TABLE)
def redcap(*, mapping: Path, missing: tuple[str, ...], codes: dict[str, str], **common: Any) -> None:
    """A flat export of REDCap: CSV, a row for each record and event."""
    from infra.cli.import_job import Job, explained
    from infra.importing.mapping import read_mapping
    from infra.importing.redcap import Options, read

    job = Job(**common)
    with explained():
        project = read_mapping(mapping)
    options = Options(mapping=project, missing=missing, codes=codes, **job.reading())
    job.run(lambda: read(job.path, options))


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
    from infra.cli.import_job import Job
    from infra.importing.fhir import Options, read

    job = Job(**common)
    options = Options(
        study=study, time_point=time_point, person_prefix=person_prefix, items=items, **job.reading()
    )
    job.run(lambda: read(job.path, options))
