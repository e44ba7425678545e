"""How often each published row has been looked at, and what was looked at: state that outlives releases.

A release is a look at the rows that it brings from changed data. Candidates are counted beforehand, from the
state that releases left, and change it when they are released: what is abandoned, or tried again, is no
look. What a sequence is, and what voids it, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg2 import sql
from psycopg2.extras import execute_values

from pipelines.publication.store import KeyedTable, execute, is_there, schema_of, transaction
from services.runtime.postgres import Connection
from services.runtime.settings import PostgresSettings

if TYPE_CHECKING:
    import pandas as pd

_SHAPES = """
CREATE TABLE IF NOT EXISTS {schema}.looks_prints (
  table_name text, tenant text, print text NOT NULL, release_id bigint NOT NULL,
  PRIMARY KEY (table_name, tenant)
);
CREATE TABLE IF NOT EXISTS {schema}.looks_seen (
  table_name text, tenant text, study text, protocol_version text,
  looked_at timestamptz NOT NULL, units bytea, release_id bigint NOT NULL,
  PRIMARY KEY (table_name, tenant, study, protocol_version)
);
CREATE TABLE IF NOT EXISTS {schema}.looks_voids (
  table_name text, tenant text, study text, protocol_version text, void text, release_id bigint NOT NULL,
  PRIMARY KEY (table_name, tenant, study, protocol_version, void)
)
"""
"""In a candidate's schema what it would add to the state, in the schema `looks` the state."""

_COUNTED = """
CREATE TABLE IF NOT EXISTS looks.looks_counted (
  table_name text, row_key text, protocol_version text, looks bigint NOT NULL, told text NOT NULL,
  PRIMARY KEY (table_name, row_key, protocol_version)
)
"""

HISTORY = """
CREATE TABLE IF NOT EXISTS evidence.looks (
  table_name text, row_key text, protocol_version text, looks bigint,
  tenant text NOT NULL, study text NOT NULL, release_id bigint NOT NULL,
  looked_at timestamptz NOT NULL DEFAULT now(), n bigint, estimate double precision,
  ci_low double precision, ci_high double precision,
  anytime_low double precision, anytime_high double precision,
  PRIMARY KEY (table_name, row_key, protocol_version, looks)
)
"""

HISTORY_DESCRIPTION = "Every look at an estimate with a confidence sequence, also after it was voided."

HISTORY_COMMENTS = {
    "table_name": "Evidence table of the row.",
    "row_key": "Name of the row in it, as circles evidence rows prints it.",
    "protocol_version": "Version of the protocol.",
    "looks": "Which look it was, from 1. Those before there was a sequence are not listed.",
    "tenant": "Partner whose data it is.",
    "study": "Study whose protocol asks for it.",
    "release_id": "Release that brought it.",
    "looked_at": "When readers began to see it.",
    "n": "People that it rested on. NULL: not told by a study.",
    "estimate": "The estimate then.",
    "ci_low": "Lower end of the fixed-sample interval.",
    "ci_high": "Upper end of the fixed-sample interval.",
    "anytime_low": "Lower end of the confidence sequence.",
    "anytime_high": "Upper end of the confidence sequence.",
}

MEASURES, COUNTS = (
    ("estimate", "se", "ci_low", "ci_high", "missing_share"),
    ("n", "denominator", "n_consented", "n_excluded"),
)
"""A row in which none of these has moved tells nothing new."""

TWELVE_DIGITS = "9.99999999999EEEE"
"""Of measures. Sums in another order, as after a rebuild, differ behind them."""


class Watched(NamedTuple):
    """Estimates by one protocol of one tenant's data in one table: they are void together."""

    table: str
    tenant: str
    study: str
    protocol_version: str


@dataclass(frozen=True)
class Seen:
    """What was looked at last: `units` as whoever compares them wrote them down. None: as before."""

    looked_at: datetime
    units: bytes | None


@dataclass(frozen=True)
class Looked:
    """What a candidate lets be looked at: `prints` of the data by table and tenant, and what is watched.

    `voids`: what has been found out about data that were looked at before.
    """

    prints: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    seen: Mapping[Watched, Seen] = field(default_factory=dict)
    voids: Mapping[Watched, Collection[str]] = field(default_factory=dict)


def read_looked(postgres: PostgresSettings) -> Looked:
    """The state that releases have left, without prints."""
    with transaction(postgres) as connection:
        _prepare(connection)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT table_name, tenant, study, protocol_version, looked_at, units FROM looks.looks_seen"
            )
            seen = {
                Watched(*row[:4]): Seen(row[4], None if row[5] is None else bytes(row[5]))
                for row in cursor.fetchall()
            }
            cursor.execute("SELECT table_name, tenant, study, protocol_version, void FROM looks.looks_voids")
            voids: dict[Watched, set[str]] = {}
            for row in cursor.fetchall():
                voids.setdefault(Watched(*row[:4]), set()).add(row[4])
    return Looked(seen=seen, voids=voids)


def count_looks(
    connection: Connection, release_id: int, tables: Iterable[KeyedTable], looked: Looked
) -> None:
    """Counts the looks of a candidate's rows, and keeps with it what it would add to the state."""
    _prepare(connection)
    _shape(connection, schema_of(release_id))
    prints = [(name, *each) for name, of_table in looked.prints.items() for each in of_table.items()]
    seen = [(*watched, each.looked_at, each.units) for watched, each in looked.seen.items()]
    voids = [(*watched, void) for watched, found in looked.voids.items() for void in sorted(found)]
    for name, rows in (("looks_prints", prints), ("looks_seen", seen), ("looks_voids", voids)):
        _write(connection, release_id, name, rows)
    for table in tables:
        execute(connection, _filled(_COUNT, release_id, table))


def forget_looks(connection: Connection, release_id: int, tenants: Collection[str]) -> None:
    """Of tenants whose data of now are not in the candidate."""
    for name in ("looks_prints", "looks_seen", "looks_voids"):
        statement = sql.SQL("DELETE FROM {}.{} WHERE tenant = ANY({})").format(
            schema_of(release_id), sql.Identifier(name), sql.Literal(sorted(tenants))
        )
        execute(connection, statement)


def look(connection: Connection, release_id: int, tables: Iterable[KeyedTable]) -> None:
    """Makes a candidate's looks the state's: part of its first release.

    Another may have been released since it was counted, so it is counted again.
    """
    if not is_there(connection, f"release_{release_id}.looks_prints"):
        return  # made by the code of before
    _prepare(connection)
    execute(connection, sql.SQL("CREATE SCHEMA IF NOT EXISTS evidence"))
    execute(connection, sql.SQL(HISTORY))
    for table in tables:
        for statement in (_COUNT, _COUNTED_NOW, _LISTED):
            execute(connection, _filled(statement, release_id, table))
    for statement in (_PRINTED, _SEEN, _VOIDED, _ONCE):
        execute(connection, sql.SQL(statement).format(schema=schema_of(release_id)))


def read_history(postgres: PostgresSettings, table: str, row_keys: Sequence[str]) -> pd.DataFrame:
    """Released looks at some rows of a table, oldest first."""
    import pandas as pd

    names = [*HISTORY_COMMENTS]
    statement = sql.SQL(
        "SELECT {} FROM evidence.looks WHERE table_name = %s AND row_key = ANY(%s) "
        "ORDER BY row_key, looked_at"
    ).format(sql.SQL(", ").join(map(sql.Identifier, names)))
    rows: list[tuple[Any, ...]] = []
    with transaction(postgres) as connection, connection.cursor() as cursor:
        if is_there(connection, "evidence.looks"):
            cursor.execute(statement, (table, [*row_keys]))
            rows = cursor.fetchall()
    return pd.DataFrame(rows, columns=names, dtype=object)


def _prepare(connection: Connection) -> None:
    execute(connection, sql.SQL("CREATE SCHEMA IF NOT EXISTS looks"))
    _shape(connection, sql.Identifier("looks"))
    execute(connection, sql.SQL(_COUNTED))


def _shape(connection: Connection, schema: sql.Identifier) -> None:
    execute(connection, sql.SQL(_SHAPES).format(schema=schema))


def _write(connection: Connection, release_id: int, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
    statement = sql.SQL("INSERT INTO {}.{} VALUES %s").format(schema_of(release_id), sql.Identifier(name))
    with connection.cursor() as cursor:
        execute_values(cursor, statement, [(*row, release_id) for row in rows], page_size=500)


def _filled(statement: str, release_id: int, table: KeyedTable) -> sql.Composable:
    parts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(each)) for each in table.key)
    measures = [
        sql.SQL("to_char({}, {})").format(sql.Identifier(each), sql.Literal(TWELVE_DIGITS))
        for each in MEASURES
    ]
    numbers = sql.SQL(", ").join([*measures, *map(sql.Identifier, COUNTS)])
    return sql.SQL(statement).format(
        schema=schema_of(release_id),
        table=sql.Identifier(table.name),
        name=sql.Literal(table.name),
        key=sql.SQL("array_to_string(ARRAY[{}], '/', '')").format(parts),
        told=sql.SQL("md5(ROW({})::text)").format(numbers),
    )


_COUNT = """
WITH rows AS (
  SELECT ctid AS place, tenant, protocol_version, {key} AS row_key, {told} AS told
  FROM {schema}.{table} WHERE NOT suppressed AND estimate IS NOT NULL
), counted AS (
  SELECT rows.place,
         CASE WHEN known.looks IS NULL THEN 1
              WHEN known.told = rows.told OR before.print = now.print THEN known.looks
              ELSE known.looks + 1 END AS looks
  FROM rows
  JOIN {schema}.looks_prints AS now ON now.table_name = {name} AND now.tenant = rows.tenant
  LEFT JOIN looks.looks_prints AS before ON before.table_name = {name} AND before.tenant = rows.tenant
  LEFT JOIN looks.looks_counted AS known
    ON known.table_name = {name} AND known.row_key = rows.row_key
    AND known.protocol_version = rows.protocol_version
)
UPDATE {schema}.{table} AS shown SET looks = counted.looks
FROM counted WHERE shown.ctid = counted.place AND shown.looks IS DISTINCT FROM counted.looks
"""
"""One more than before where the tenant's data are others and the row's numbers too; 1 at first. Printed
figures rest on nobody's data: they are not counted. Nor are those of a tenant who is kept as published."""

_COUNTED_NOW = """
INSERT INTO looks.looks_counted AS known
SELECT {name}, {key}, protocol_version, looks, {told} FROM {schema}.{table} WHERE looks IS NOT NULL
ON CONFLICT (table_name, row_key, protocol_version) DO UPDATE
SET looks = excluded.looks, told = excluded.told WHERE known.looks < excluded.looks
"""

_LISTED = """
INSERT INTO evidence.looks (
  table_name, row_key, protocol_version, looks, tenant, study, release_id, n, estimate, ci_low, ci_high,
  anytime_low, anytime_high
)
SELECT {name}, {key}, protocol_version, looks, tenant, study, release_id, n, estimate, ci_low, ci_high,
       anytime_low, anytime_high
FROM {schema}.{table} WHERE looks IS NOT NULL AND anytime_low IS NOT NULL
ON CONFLICT DO NOTHING
"""

_PRINTED = """
INSERT INTO looks.looks_prints AS known SELECT * FROM {schema}.looks_prints
ON CONFLICT (table_name, tenant) DO UPDATE SET print = excluded.print, release_id = excluded.release_id
WHERE known.release_id < excluded.release_id
"""

_SEEN = """
INSERT INTO looks.looks_seen AS known SELECT * FROM {schema}.looks_seen
ON CONFLICT (table_name, tenant, study, protocol_version) DO UPDATE
SET looked_at = excluded.looked_at, units = coalesce(excluded.units, known.units),
    release_id = excluded.release_id
WHERE known.release_id < excluded.release_id
"""

_ONCE = "UPDATE {schema}.looks_seen SET units = NULL"
"""They are kept once."""

_VOIDED = "INSERT INTO looks.looks_voids SELECT * FROM {schema}.looks_voids ON CONFLICT DO NOTHING"
