"""`circles sql`: statements on the lake through DuckDB, or on the published tables as an analyst."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import click

from infra.cli.tables import print_csv, print_table
from infra.local.errors import StackError
from services.runtime.settings import PostgresSettings, ReaderSettings

Answer = tuple[Sequence[str], Sequence[Sequence[Any]]]


def run(statement: str | None, *, published: bool, as_csv: bool) -> None:
    """Runs one statement, or reads statements from the terminal. Raises StackError for a wrong one."""
    connection = open_published() if published else open_lake()
    with closing(connection):
        ask = _ask_published if published else _ask_lake
        if statement is not None:
            _print(ask(connection, statement), as_csv)
        else:
            _converse(lambda each: _print(ask(connection, each), as_csv))


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


def open_lake(*, read_only: bool = True) -> Any:
    """A connection to the lake. Raises StackError when its catalog is away."""
    import duckdb

    from services.runtime import lake

    try:
        return lake.open_lake(read_only=read_only)
    except duckdb.Error as error:
        raise StackError(
            f"The lake cannot be opened: {_first_line(error)}",
            "Its catalog is in PostgreSQL: `circles up` starts it.",
        ) from error


def open_published() -> Any:
    """A connection to the published tables, with an analyst's role. Each statement is its own transaction."""
    import psycopg2

    postgres, readers = PostgresSettings.load(), ReaderSettings.load()
    as_analyst = {"user": readers.analyst_user, "password": readers.analyst_password}
    connection = psycopg2.connect(postgres.model_copy(update=as_analyst).dsn(postgres.database_published))
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
