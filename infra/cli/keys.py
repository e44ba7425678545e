"""`circles keys`. What a key is, is ingestion's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from infra.cli.tables import print_table
from infra.local.errors import StackError
from services.runtime.settings import PostgresSettings


def add(tenant: str, data_class: str) -> None:
    from services.ingestion.keys import create_key

    with _control() as connection:
        try:
            key = create_key(connection, tenant, data_class)
        except ValueError as refusal:
            raise StackError(f"No key was made: {refusal}.") from refusal
    click.echo(key)
    click.echo("This is the only time that the key is shown.", err=True)


def show() -> None:
    from services.ingestion.keys import ApiKey, list_keys

    with _control() as connection:
        keys = list_keys(connection)
    print_table(ApiKey._fields, keys)


def revoke(key_id: str) -> None:
    from services.ingestion.keys import revoke_key

    with _control() as connection:
        if not revoke_key(connection, key_id):
            raise StackError(f"There is no valid key {key_id}.", "`circles keys list` shows all.")
    click.echo(f"Key {key_id} is revoked.")


@contextmanager
def _control() -> Iterator[Any]:
    import psycopg2

    postgres = PostgresSettings.load()
    connection = psycopg2.connect(postgres.dsn(postgres.database_control))
    try:
        with connection:
            yield connection
    finally:
        connection.close()
