"""`circles keys`. What a key is, is ingestion's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from infra.cli.tables import print_table
from services.runtime.settings import PostgresSettings


def add(tenant: str, data_class: str) -> None:
    from services.ingestion.keys import create_key

    with _control() as connection:
        key = create_key(connection, tenant, data_class)
    click.echo(key)
    click.echo("This is the only time that the key is shown.", err=True)


def show() -> None:
    from services.ingestion.keys import list_keys

    with _control() as connection:
        keys = list_keys(connection)
    print_table(
        ["key_id", "tenant_id", "data_class", "created_at", "revoked_at"], [_row(each) for each in keys]
    )


def revoke(key_id: str) -> None:
    from services.ingestion.keys import revoke_key

    with _control() as connection:
        revoke_key(connection, key_id)
    click.echo(f"Key {key_id} is revoked.")


def _row(key: Any) -> list[Any]:
    """A key as row: `list_keys` may give mappings, named tuples or dataclasses."""
    if isinstance(key, tuple):
        return list(key)
    return list((key if isinstance(key, dict) else vars(key)).values())


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
