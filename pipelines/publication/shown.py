"""What readers see now, for a candidate that keeps some of it: which release it is, and the rows of tenants
of whom nothing has changed, which go from release to candidate within PostgreSQL.

Whose rows these are is decided by who makes the candidate.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from psycopg2 import sql

from pipelines.publication.looks import Watched
from pipelines.publication.store import PublishedTable, execute, is_there, schema_of, transaction
from services.runtime.postgres import Connection
from services.runtime.settings import PostgresSettings

Fingerprints = Mapping[str, Mapping[str, str]]
"""Of what each tenant's rows were computed from, by table and tenant."""


@dataclass(frozen=True)
class Shown:
    """The release that readers see; None: there is none. Of a tenant who was kept as published it has no
    fingerprint."""

    release_id: int | None = None
    fingerprints: Fingerprints = field(default_factory=dict)


@dataclass(frozen=True)
class TakenOver:
    """Tenants by table, whose rows a candidate has as they are shown.

    `tables`: those in which there are any such rows.
    """

    shown: Shown = Shown()
    tenants: Mapping[str, Collection[str]] = field(default_factory=dict)
    tables: Collection[str] = ()


def shown_release(connection: Connection) -> int | None:
    """Number of the release that readers see."""
    if not is_there(connection, "evidence.releases"):
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT release_id FROM evidence.releases WHERE is_shown")
        row = cursor.fetchone()
    return int(row[0]) if row else None


def shown_studies(
    postgres: PostgresSettings, shown: Shown, table: PublishedTable, tenants: Collection[str]
) -> dict[Watched, bool]:
    """Studies of these tenants that the release has rows of, and whether one has a confidence sequence."""
    if shown.release_id is None or not tenants:
        return {}
    statement = sql.SQL(
        "SELECT tenant, study, protocol_version, bool_or(anytime_low IS NOT NULL) "
        "FROM {}.{} WHERE tenant = ANY(%s) GROUP BY 1, 2, 3"
    ).format(schema_of(shown.release_id), sql.Identifier(table.name))
    with transaction(postgres) as connection, connection.cursor() as cursor:
        cursor.execute(statement, (sorted(tenants),))
        return {Watched(table.name, *row[:3]): row[3] for row in cursor.fetchall()}


def take_over(
    connection: Connection,
    release_id: int,
    table: PublishedTable,
    taken: TakenOver,
    stated: Mapping[str, object],
) -> None:
    """Copies the rows into the candidate. `stated`: columns that say where a row comes from, of now."""
    tenants = taken.tenants.get(table.name)
    if not tenants or taken.shown.release_id is None:
        return
    names = [each.name for each in table.columns]
    values = [sql.Literal(stated[name]) if name in stated else sql.Identifier(name) for name in names]
    statement = sql.SQL("INSERT INTO {}.{} ({}) SELECT {} FROM {}.{} WHERE tenant = ANY({})").format(
        schema_of(release_id),
        sql.Identifier(table.name),
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join(values),
        schema_of(taken.shown.release_id),
        sql.Identifier(table.name),
        sql.Literal(sorted(tenants)),
    )
    execute(connection, statement)
