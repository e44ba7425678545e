"""`circles keys`: who may post, and how much. What a key is, is ingestion's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import click


@click.group()
def keys() -> None:
    """API keys and limits of partners. The gateway follows every change within a second."""


@keys.command()
@click.argument("tenant")
@click.option(
    "--data-class",
    type=click.Choice(["live", "public", "synthetic"]),
    required=True,
    help="What the tenant's data are. It cannot be changed later; classes never pool.",
)
def add(tenant: str, data_class: str) -> None:
    """Make a key for TENANT and print it, once: it is stored nowhere. A tenant may have several."""
    from services.ingestion.keys import create_key

    with _control() as connection:
        key = create_key(connection, tenant, data_class)
    _print_once(key)


@keys.command("list")
def list_keys() -> None:
    """Show which keys there are."""
    from infra.cli.tables import print_table
    from services.ingestion.keys import ApiKey
    from services.ingestion.keys import list_keys as listed

    with _control() as connection:
        found = listed(connection)
    print_table(ApiKey._fields, found)


@keys.command()
@click.argument("key_id")
@click.option(
    "--overlap-hours",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    help="How long the old key works beside the new one.",
)
def rotate(key_id: str, overlap_hours: float) -> None:
    """Make a new key for the tenant of KEY_ID, and print it once; the old one ends after the overlap."""
    from services.ingestion.keys import rotate_key

    with _control() as connection:
        key = rotate_key(connection, key_id, timedelta(hours=overlap_hours))
    _print_once(key)


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """End the validity of the key with KEY_ID, also on open connections."""
    from services.ingestion.keys import revoke_key

    with _control() as connection:
        if not revoke_key(connection, key_id):
            raise ValueError(f"there is no valid key {key_id}")
    click.echo(f"Key {key_id} is revoked.")


@keys.command()
@click.argument("tenant")
@click.option("--events-per-second", type=click.FloatRange(min=0, min_open=True))
@click.option("--bytes-per-second", type=click.FloatRange(min=0, min_open=True))
@click.option("--streams", type=click.IntRange(min=1))
def limit(
    tenant: str, events_per_second: float | None, bytes_per_second: float | None, streams: int | None
) -> None:
    """Set how much TENANT may post. What is not given goes back to the gateway's own setting."""
    from services.ingestion.keys import Limits, set_limits

    limits = Limits(events_per_second, bytes_per_second, streams)
    with _control() as connection:
        if not set_limits(connection, tenant, limits):
            raise ValueError(f"there is no tenant {tenant}")
    shown = ", ".join(f"{name} {value or 'as the gateway'}" for name, value in limits._asdict().items())
    click.echo(f"Limits of {tenant}: {shown}.")


@keys.command()
@click.option("-n", "--lines", default=50, show_default=True, help="How many of the newest entries.")
def audit(lines: int) -> None:
    """Show what happened to keys and limits, who authenticated, and who was refused."""
    from infra.cli.tables import print_table
    from services.ingestion.keys import AUDIT_COLUMNS, read_audit

    with _control() as connection:
        entries = read_audit(connection, lines)
    print_table(AUDIT_COLUMNS, entries)


def _print_once(key: str) -> None:
    click.echo(key)
    click.echo("This is the only time that the key is shown.", err=True)


@contextmanager
def _control() -> Iterator[Any]:
    """One transaction on the control database. A refusal becomes a sentence for the operator."""
    from infra.local.errors import StackError
    from services.runtime.postgres import PostgresUnavailable, connect
    from services.runtime.settings import PostgresSettings

    postgres = PostgresSettings.load()
    try:
        with (
            closing(connect(postgres, postgres.database_control, autocommit=False)) as connection,
            connection,
        ):
            yield connection
    except ValueError as refusal:
        hint = "`circles keys list` shows all keys and tenants."
        raise StackError(f"Nothing was changed: {refusal}.", hint) from refusal
    except PostgresUnavailable as away:
        raise StackError(
            f"{away}.", "Does the stack run? `circles status` tells, `circles up` starts it."
        ) from away
