"""The command `circles`: its verbs and their options.

What a verb does is in the other modules; they are imported when the verb is called, so that
`circles --help` is immediate.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from infra.cli.evidence import evidence
from infra.cli.importing import importing
from infra.cli.keys import keys
from infra.cli.safeguarding import safeguarding
from infra.cli.simulate import simulate
from infra.cli.slices import slices

if TYPE_CHECKING:
    from infra.cli.rebuild import Start
    from infra.cli.sql import Role

_MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
_PORT_NAMES = (
    "kafka", "kafka-controller", "postgres", "ingestion", "dagster", "dagster-code", "dagster-viewer",
)  # fmt: skip


class _Explaining(click.Group):
    """Prints what a person can act on without a traceback, and what to do next."""

    def invoke(self, context: click.Context) -> object:
        from infra.cli.failures import explained

        with explained():
            return super().invoke(context)


@click.group(cls=_Explaining, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Evidence for mental-health support groups: from a partner's events to published tables.

    All state is in one data folder, .circles in the current folder or CIRCLES_HOME.
    """


def _ports(context: click.Context, parameter: click.Parameter, pairs: Sequence[str]) -> dict[str, int]:
    ports = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        if name not in _PORT_NAMES or not number.isdigit() or not 0 < int(number) < 65536:
            raise click.BadParameter(f"{pair!r} is not NAME=NUMBER with NAME one of {', '.join(_PORT_NAMES)}")
        ports[name] = int(number)
    return ports


@cli.command()
@click.option(
    "--port", "ports", multiple=True, metavar="NAME=N", callback=_ports, help=", ".join(_PORT_NAMES)
)
@click.option(
    "--without", multiple=True, metavar="NAME", help="Leave out a process, or several: 'dagster-*'."
)
@click.option(
    "--with",
    "optional",
    multiple=True,
    type=click.Choice(["viewer"]),
    help="Something that is off by default; remembered. viewer: Dagster's page without any button that acts.",
)
def up(ports: dict[str, int], without: tuple[str, ...], optional: tuple[str, ...]) -> None:
    """Start everything that is not running, and show it.

    Each process is started when those that it needs are healthy. Safe to repeat. A Kafka or PostgreSQL
    named by CIRCLES_KAFKA_URL or CIRCLES_POSTGRES_URL takes the place of the embedded one.
    """
    from infra.cli import status
    from infra.cli.progress import Progress
    from infra.local import stack

    with Progress() as progress:
        stack.up(ports, without, progress, optional)
    status.show()


@cli.command()
def down() -> None:
    """Stop everything, also what a killed supervisor left behind. The data stay."""
    from infra.cli.progress import Progress
    from infra.local import stack

    with Progress() as progress:
        stack.down(progress)
    click.echo("Nothing of this stack runs. `circles up` starts it again.")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(as_json: bool) -> None:
    """Show processes, addresses, lags and counts."""
    from infra.cli import status as page

    sys.exit(page.show(as_json=as_json))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(as_json: bool) -> None:
    """Look for what is wrong with the stack: what it means, and what to do. Changes nothing.

    Exit code 1: there is a problem. Warnings are for when there is time.
    """
    from infra.cli.doctor import show

    sys.exit(show(as_json=as_json))


@cli.command()
@click.argument("name")
@click.option("-n", "--lines", default=50, show_default=True, help="How many of the last lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on. Ctrl-C ends it.")
def logs(name: str, lines: int, follow: bool) -> None:
    """Show the last lines of the log of process NAME."""
    from infra.cli.logs import show

    show(name, lines, follow)


@cli.command()
@click.argument("statement", required=False)
@click.option("--published", "role", flag_value="analyst", help="Ask the published tables, as analysts do.")
@click.option("--operator", "role", flag_value="operator", help="And live figures and checks: confidential.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values instead of a table.")
@click.option("--as-of", metavar="WHEN", help="Read the lake as it was: a snapshot's number or a time (UTC).")
@click.option("--snapshots", is_flag=True, help="Show which snapshots --as-of can read.")
def sql(statement: str | None, role: Role | None, as_csv: bool, as_of: str | None, snapshots: bool) -> None:
    """Run one STATEMENT on the lake, or read statements until Ctrl-D."""
    from infra.cli.sql import run, show_snapshots

    if role and (as_of or snapshots):
        raise click.UsageError("--as-of and --snapshots are about the lake, not about published tables.")
    if snapshots:
        show_snapshots(as_csv=as_csv)
    else:
        run(statement, role=role, as_csv=as_csv, as_of=as_of)


@cli.command()
@click.option("--dry-run", is_flag=True, help="Only count what would be deleted or expire.")
def maintain(dry_run: bool) -> None:
    """Merge the lake's small files, expire snapshots by policy, delete files that nothing names.

    Dagster does this every hour. It runs beside landing, builds and readers; safe to repeat.
    """
    from infra.cli.maintain import run

    run(is_dry_run=dry_run)


@cli.command()
@click.option(
    "--from",
    "start",
    type=click.Choice(["raw", "kafka"]),
    default="raw",
    show_default=True,
    help="kafka: raw tables are landed again first, from what Kafka still has.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be done, and roughly how long it takes.")
def rebuild(start: Start, dry_run: bool) -> None:
    """Make everything downstream again: staging to marts, evidence, a release.

    Verdicts and decisions about slices stay. Readers see each table as it was or as it is then. Safe to
    repeat, also after a kill; refused while a build works.
    """
    from infra.cli.rebuild import run

    run(start, is_dry_run=dry_run)


@cli.command()
@click.option("--to", "page", type=click.Path(dir_okay=False, path_type=Path), help="Another place for it.")
def docs(page: Path | None) -> None:
    """Make a page of the warehouse: its tables, their columns, tests and SQL, and what is made from what.

    It is one file that opens in any browser, and holds no data.
    """
    from pipelines.defs.transformation.project import write_docs
    from services.runtime.settings import home

    page = page or home() / "docs" / "warehouse.html"
    write_docs(page)
    click.echo(f"{page}: open it in a browser; the round button below on the right draws the lineage.")


@cli.command()
def provision() -> None:
    """Make missing topics, databases, roles, tables and keys; check the others. Safe to repeat.

    `circles up` does this by itself. Where other means start the processes, run it before them.
    """
    from infra.local import stack
    from infra.provisioning import provision as make

    stack.prepare_folder()
    make()
    click.echo("Topics, databases, roles, tables and keys are as they should be.")


@cli.command()
@click.option(
    "--reason",
    type=click.Choice(["deferred", "conflict", "invalid_envelope", "unreadable"]),
    default="deferred",
    show_default=True,
    help="Of why they failed; only deferred ones can be used later.",
)
@click.option("--tenant", help="Only this tenant's.")
@click.option("--since", type=_MOMENT, metavar="TIME", help="Received then or later, as 2026-05-01 (UTC).")
@click.option("--until", type=_MOMENT, metavar="TIME", help="Received before, as 2026-05-01T12:30:00 (UTC).")
@click.option(
    "--accept-gap",
    is_flag=True,
    help="Instead: show the records that Kafka lost before they were landed, record that they are missing, "
    "and let landing go on after them.",
)
@click.option("--topic", help="With --accept-gap: only this topic's.")
@click.option("--dry-run", is_flag=True, help="Only show what would be replayed, or what is missing.")
def replay(
    *,
    reason: str,
    tenant: str | None,
    since: datetime | None,
    until: datetime | None,
    accept_gap: bool,
    topic: str | None,
    dry_run: bool,
) -> None:
    """Send deferred events to where they belong, once their instrument is known.

    Safe to repeat: an event counts once. What stays is shown with the reason.
    """
    if accept_gap:
        if tenant or since or until:
            raise click.UsageError("A gap is of all tenants and times: --accept-gap takes --topic only.")
        from infra.cli import gaps

        gaps.run(topic, dry_run=dry_run)
        return
    if topic:
        raise click.UsageError("--topic goes with --accept-gap.")
    from infra.cli.replay import run

    run(reason, tenant=tenant, since=since, until=until, dry_run=dry_run)


@cli.command()
@click.option("--keep", is_flag=True, envvar="KEEP", help="Leave the stack running (also KEEP=1).")
@click.option("--events", default=200_000, show_default=True, help="Size of the synthetic community.")
def demo(keep: bool, events: int) -> None:
    """Post two published data sets and a synthetic community, build, and print the evidence.

    Starts the stack when it does not run, and then stops it again. Safe to repeat: the same events
    count once.
    """
    from infra.demo.run import run_demo

    run_demo(keep=keep, count_events=events)


cli.add_command(evidence)
cli.add_command(importing)
cli.add_command(keys)
cli.add_command(safeguarding)
cli.add_command(simulate)
cli.add_command(slices)


def main() -> None:
    """Entry point. Another Python version than the supported ones gets one sentence."""
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        version = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"Circles runs on Python 3.11, 3.12 and 3.13; this is {version}.")
    cli()


if __name__ == "__main__":
    main()
