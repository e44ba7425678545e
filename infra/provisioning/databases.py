"""PostgreSQL's roles, databases and the tables that no other part makes.

One database per audience, none open to PUBLIC: a role that cannot connect cannot leak. The tables
themselves are in `sql/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import errors, sql
from pydantic import SecretStr

from infra.local.errors import StackError
from infra.local.postgres import admin_dsn
from services.runtime.settings import PostgresSettings, ReaderSettings, StackSettings

SQL = Path(__file__).parent / "sql"


def provision() -> None:
    """Makes roles, databases and tables that are missing. Raises StackError."""
    postgres, stack, readers = PostgresSettings.load(), StackSettings.load(), ReaderSettings.load()
    with _connected(admin_dsn(postgres, stack, "postgres"), postgres) as cursor:
        _explained(postgres, lambda: _make_roles_and_databases(cursor, postgres, stack, readers))
    for database, file in (
        (postgres.database_control, "control.sql"),
        (postgres.database_published, "published.sql"),
    ):
        with _connected(postgres.dsn(database), postgres) as cursor:
            statement = sql.SQL((SQL / file).read_text())
            cursor.execute(
                statement.format(
                    operator=sql.Identifier(readers.operator_user),
                    analyst=sql.Identifier(readers.analyst_user),
                )
            )


def _make_roles_and_databases(
    cursor: Any, postgres: PostgresSettings, stack: StackSettings, readers: ReaderSettings
) -> None:
    if stack.postgres_admin_password.get_secret_value():
        _make_role(cursor, postgres.user, postgres.password)
    for user, password in (
        (readers.operator_user, readers.operator_password),
        (readers.analyst_user, readers.analyst_password),
    ):
        _make_role(cursor, user, password)
        _check_login(postgres, user, password)
    for database in databases(postgres):
        _make_database(cursor, database, postgres.user)
    for user in (readers.operator_user, readers.analyst_user):
        _grant_connect(cursor, postgres.database_published, user)


def databases(postgres: PostgresSettings) -> tuple[str, ...]:
    """Names of the four databases."""
    return (
        postgres.database_control,
        postgres.database_lake,
        postgres.database_dagster,
        postgres.database_published,
    )


def _make_role(cursor: Any, user: str, password: SecretStr) -> None:
    """An ordinary role that may log in. An existing one is left as it is: another stack may use it."""
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (user,))
    if cursor.fetchone() is None:
        statement = sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD %s")
        cursor.execute(statement.format(sql.Identifier(user)), (password.get_secret_value(),))


def _check_login(postgres: PostgresSettings, user: str, password: SecretStr) -> None:
    # Any database tells: a right password is refused for CONNECT only after it was accepted.
    dsn = postgres.model_copy(update={"user": user, "password": password}).dsn("postgres")
    try:
        psycopg2.connect(dsn).close()
    except psycopg2.OperationalError as error:
        if "password" in str(error):
            setting = "OPERATOR" if "operator" in user else "ANALYST"
            raise StackError(
                f"PostgreSQL has a role {user} already, with another password than this stack's.",
                f"Set CIRCLES_{setting}_PASSWORD to its password, or CIRCLES_{setting}_USER to another name.",
            ) from error


def _make_database(cursor: Any, database: str, owner: str) -> None:
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
    name = sql.Identifier(database)
    if cursor.fetchone() is None:
        cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, sql.Identifier(owner)))
    cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))


def _grant_connect(cursor: Any, database: str, user: str) -> None:
    statement = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}")
    cursor.execute(statement.format(sql.Identifier(database), sql.Identifier(user)))


def _explained(postgres: PostgresSettings, make: Any) -> None:
    try:
        make()
    except errors.InsufficientPrivilege as refusal:
        names = ", ".join(databases(postgres))
        raise StackError(
            f"PostgreSQL does not let {postgres.user} make roles and databases: {str(refusal).strip()}.",
            "Ask its administrator for the rights CREATEDB and CREATEROLE; or for the roles that "
            "CIRCLES_OPERATOR_USER and CIRCLES_ANALYST_USER name and, owned by "
            f"{postgres.user}, the databases {names}.",
        ) from refusal


@contextmanager
def _connected(dsn: str, postgres: PostgresSettings) -> Iterator[Any]:
    try:
        connection = psycopg2.connect(dsn)
    except psycopg2.OperationalError as error:
        raise StackError(
            f"PostgreSQL at {postgres.host}:{postgres.port} does not let us in: {str(error).strip()}",
            "Is it up (`circles status`), and are CIRCLES_POSTGRES_USER and CIRCLES_POSTGRES_PASSWORD right?",
        ) from error
    # CREATE DATABASE refuses a transaction; every statement here may be repeated alone.
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()
