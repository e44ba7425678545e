"""`circles sql`: statements on the lake through DuckDB, or on the published tables as an analyst."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Literal

import click

from infra.cli.tables import print_csv, print_table
from infra.local.errors import StackError
from services.runtime.settings import PostgresSettings, ReaderSettings

Answer = tuple[Sequence[str], Sequence[Sequence[Any]]]


NEWEST_SHOWN = 20
"""Landing makes a snapshot every two seconds; those of releases are shown whatever their age."""


Role = Literal["analyst", "operator"]


def run(statement: str | None, *, role: Role | None, as_csv: bool, as_of: str | None = None) -> None:
    """Runs one statement, or reads statements from the terminal. Raises StackError for a wrong one.

    With a `role` it is asked of the published database, else of the lake.
    """
    connection = open_published(role) if role else open_lake(as_of)
    with closing(connection):
        ask = _ask_published if role else _ask_lake
        if statement is not None:
            _print(ask(connection, statement), as_csv)
        else:
            _converse(lambda each: _print(ask(connection, each), as_csv))


def show_snapshots(*, as_csv: bool) -> None:
    """Prints which states of the lake can be read: those of releases, and the newest ones."""
    from pipelines.publication.release import named_snapshots
    from services.runtime.lake import snapshots

    releases: dict[int, list[int]] = {}
    for each in named_snapshots(PostgresSettings.load()):
        releases.setdefault(each.lake_snapshot, []).append(each.release_id)
    with closing(open_lake()) as connection:
        found = snapshots(connection)
    shown = [each for each in found[:-NEWEST_SHOWN] if each.number in releases] + found[-NEWEST_SHOWN:]
    rows = [
        [
            each.number,
            f"{each.made_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}",
            ", ".join(map(str, sorted(releases.get(each.number, ())))) or None,
        ]
        for each in shown
    ]
    _print((["snapshot", "made at (UTC)", "release"], rows), as_csv)
    click.echo(f"{len(found)} snapshots, from {found[0].number} to {found[-1].number}.", err=True)


def _converse(answer: Callable[[str], None]) -> None:
    click.echo("Statements end with ; and may span lines. Ctrl-D ends.", err=True)
    lines: list[str] = []
    while True:
        try:
            lines.append(input("    … " if lines else "sql> "))
        except EOFError:
            return
        if not lines[-1].rstrip().endswith(";"):
            continue
        try:
            answer("\n".join(lines))
        except StackError as error:
            click.secho(error.what, fg="red", err=True)
        lines = []


def _print(answer: Answer, as_csv: bool) -> None:
    columns, rows = answer
    (print_csv if as_csv else print_table)(columns, rows)


def open_lake(as_of: str | None = None, *, read_only: bool = True) -> Any:
    """A connection to the lake. Raises StackError when its catalog is away.

    With `as_of`, a snapshot's number or a moment, the lake is as it was then. Raises StackError when that has
    expired.
    """
    import duckdb

    from services.runtime import lake

    try:
        connection = lake.open_lake(read_only=read_only)
        if as_of is None:
            return connection
        with closing(connection):
            found = lake.snapshots(connection)
        return lake.open_lake(snapshot=lake.snapshot_of(found, _number_or_moment(as_of)))
    except lake.SnapshotGone as error:
        raise StackError(
            f"{error} There are {len(found)}, from {found[0].number} to {found[-1].number}, "
            f"the oldest of {found[0].made_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC.",
            "`circles sql --snapshots` lists the newest and those of releases.",
        ) from error
    except duckdb.Error as error:
        raise catalog_away(error) from error


def catalog_away(error: Exception) -> StackError:
    """That the lake cannot be opened, in words."""
    return StackError(
        f"The lake cannot be opened: {_first_line(error)}",
        "Its catalog is in PostgreSQL: `circles up` starts it.",
    )


def _number_or_moment(words: str) -> int | datetime:
    """Raises StackError."""
    if words.isdecimal():
        return int(words)
    try:
        moment = datetime.fromisoformat(words)
    except ValueError as error:
        raise StackError(
            f"{words!r} is neither a snapshot's number nor a time.",
            "Give a time as 2026-05-01T12:30:00 (UTC), or a number of `circles sql --snapshots`.",
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def open_published(role: Role = "analyst") -> Any:
    """A connection to the published tables as somebody who reads. Each statement is its own transaction."""
    import psycopg2

    postgres, readers = PostgresSettings.load(), ReaderSettings.load()
    as_reader = {
        "analyst": {"user": readers.analyst_user, "password": readers.analyst_password},
        "operator": {"user": readers.operator_user, "password": readers.operator_password},
    }[role]
    connection = psycopg2.connect(postgres.model_copy(update=as_reader).dsn(postgres.database_published))
    connection.autocommit = True
    return connection


def _ask_lake(connection: Any, statement: str) -> Answer:
    import duckdb

    try:
        result = connection.execute(statement)
    except duckdb.Error as error:
        raise StackError(str(error)) from error
    return [each[0] for each in result.description or []], result.fetchall()


def _ask_published(connection: Any, statement: str) -> Answer:
    import psycopg2

    with connection.cursor() as cursor:
        try:
            cursor.execute(statement)
        except psycopg2.Error as error:
            raise StackError(str(error).strip()) from error
        if cursor.description is None:
            return ["status"], [[cursor.statusmessage]]
        return [each.name for each in cursor.description], cursor.fetchall()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
