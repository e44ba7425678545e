"""`circles evidence`: what was released, from which snapshot of the lake, and whether it comes out again.

How it is computed again is `pipelines.builds.recompute`'s.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipelines.builds.recompute import Comparison
    from pipelines.publication.release import NamedSnapshot

_RELEASE = click.option(
    "--release", "release_id", type=int, metavar="N", help="Of this release, not the last."
)


@click.group(invoke_without_command=True)
@click.pass_context
def evidence(context: click.Context) -> None:
    """Show the releases and whether each can be computed again.

    Each row of an evidence table names its release, and that the snapshot of the lake it was computed from.
    """
    if context.invoked_subcommand is None:
        with _explained():
            _show_releases()


@evidence.command()
@click.argument("table")
@_RELEASE
def rows(table: str, release_id: int | None) -> None:
    """Show the rows of TABLE by their keys, with estimate and snapshot."""
    from infra.cli.tables import print_table
    from pipelines.builds.recompute import published_rows, table_named
    from services.runtime.settings import PostgresSettings

    with _explained():
        release, found = published_rows(PostgresSettings.load(), table_named(table), release_id)
    columns = ("row", "estimate", "n", "suppressed", "release", "snapshot")
    shown = (
        [key, each["estimate"], each["n"], each["suppressed"], release.release_id, release.lake_snapshot]
        for key, each in sorted(found.items())
    )
    print_table(columns, shown)


@evidence.command()
@click.argument("table")
@click.option("--row", metavar="KEY", help="Only this row, by its key as `circles evidence rows` shows it.")
@_RELEASE
def recompute(table: str, row: str | None, release_id: int | None) -> None:
    """Compute TABLE again from its snapshot, and compare. Changes nothing.

    Exit code 1: something differs, or it cannot be computed again.
    """
    from pipelines.builds.recompute import recompute as compare
    from pipelines.builds.recompute import table_named
    from services.runtime.settings import LakeSettings, PostgresSettings

    with _explained():
        compared = compare(
            LakeSettings.load(), PostgresSettings.load(), table_named(table), release_id=release_id, row=row
        )
    _print(compared)
    sys.exit(1 if compared.differences else 0)


def _print(compared: Comparison) -> None:
    from infra.cli.tables import print_table

    release = compared.release
    where = f"release {release.release_id}, snapshot {release.lake_snapshot}"
    if not compared.differences:
        click.echo(f"{compared.count_rows} rows of {where}: equal to 12 significant digits.")
        return
    print_table(
        ("row", "column", "published", "computed now"),
        [[each.row, each.column, each.published, each.computed] for each in compared.differences],
    )
    count = len({each.row for each in compared.differences})
    click.echo(f"{count} of {compared.count_rows} rows of {where} differ.")
    if compared.published_by != compared.computed_by:
        click.echo(f"The code is another: {compared.published_by} then, {compared.computed_by} now.")


def _show_releases() -> None:
    from infra.cli.sql import open_lake
    from infra.cli.tables import print_table
    from pipelines.builds.recompute import releases
    from services.runtime.lake import snapshots
    from services.runtime.settings import PostgresSettings

    found = releases(PostgresSettings.load())
    with closing(open_lake()) as lake:
        there = {each.number for each in snapshots(lake)}
    if not found:
        click.echo("Nothing has been released yet.")
        return
    print_table(
        ("release", "released at (UTC)", "snapshot", "can be computed again"),
        [
            [each.release_id, _moment(each), each.lake_snapshot, _answer(each, each.lake_snapshot in there)]
            for each in found
        ],
    )


def _moment(release: NamedSnapshot) -> Any:
    return release.released_at and f"{release.released_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _answer(release: NamedSnapshot, has_snapshot: bool) -> str:
    if release.inputs_erased:
        return "no: something of it was erased"
    if not has_snapshot:
        return "no: the snapshot has expired"
    return "yes" if release.is_there else "no: its tables are kept no longer"


@contextmanager
def _explained() -> Iterator[None]:
    from infra.local.errors import StackError
    from pipelines.builds.recompute import CannotRecompute

    try:
        yield
    except CannotRecompute as error:
        raise StackError(f"{error}.", "`circles evidence` shows the releases and which can be.") from error
