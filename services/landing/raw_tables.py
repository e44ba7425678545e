"""The raw tables of the lake, made from the contract: one per landed topic, a column per leaf.

A field that is new in the contract becomes a new column; nothing is ever dropped. Files are by day of
landing, and in them rows lie by tenant and group or person (decision 0019). What goes into the
tables is `decode`'s; when it is committed is `loader`'s.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from services.kafka.topics import Topic, landed_topics
from services.landing.decode import decode
from services.runtime.layout import (
    compress,
    index_catalog,
    leave_unsorted_at_insert,
    partition_by,
    sort_by,
)

LANDED_ON = "landed_on"
"""The day of `landed_at` in UTC, of rows whose files are by day. DuckLake takes over a file by the values of
its keys, and mistakes them when one column has several."""

LANDING_COLUMNS = (
    ("topic", "VARCHAR"),
    ("topic_id", "VARCHAR"),
    ("landed_seq", "BIGINT"),
    ("landed_at", "TIMESTAMP WITH TIME ZONE"),
)

NEVER_LANDED = frozenset({"quarantined_bytes"})
"""Foreign bytes stay on their topic, encrypted, for 7 days; the lake keeps their digest."""

OWN_TABLES = {
    "landed_offsets": """(
        topic VARCHAR, topic_id VARCHAR, kafka_partition INTEGER, next_offset BIGINT,
        landed_seq BIGINT, landed_at TIMESTAMP WITH TIME ZONE
    )""",
    "landing_gaps": """(
        topic VARCHAR, kafka_partition INTEGER, topic_id VARCHAR, first_missing_offset BIGINT,
        next_topic_id VARCHAR, next_offset BIGINT, last_landed_at TIMESTAMP WITH TIME ZONE,
        landed_seq BIGINT, accepted_at TIMESTAMP WITH TIME ZONE
    )""",
    "landing_alarms": """(
        alarm VARCHAR, topic VARCHAR, what VARCHAR, to_do VARCHAR, is_raised BOOLEAN,
        told_at TIMESTAMP WITH TIME ZONE
    )""",
    "landing_fence": "(session_id VARCHAR, count_commits BIGINT)",
}
"""Landing's own books, beside the rows that it lands."""

SORTED_BY = {
    "participation_events": ("tenant_id", "group_ref", "occurred_at"),
    "group_events": ("tenant_id", "group_ref", "occurred_at"),
    "outcome_events": ("tenant_id", "participant_ref", "occurred_at"),
    "study_events": ("tenant_id", "study_code", "occurred_at"),
    "failed_events": ("tenant_id", "failed_at"),
}
"""A history is asked for by whom it is about: its rows lie together in few parts of few files."""

BY_MONTH = {"failed_events": ("year(landed_at)", "month(landed_at)")}
"""Those whose files are not by day: few rows a day, and whoever looks at them looks at all."""

_SCALARS = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.binary(): "BLOB",
    pa.timestamp("us", "UTC"): "TIMESTAMP WITH TIME ZONE",
}


def ensure_raw_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates what is missing, tables and columns. Safe to repeat."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS raw")
    index_catalog(connection)
    compress(connection)
    leave_unsorted_at_insert(connection, "raw")
    for name, definition in OWN_TABLES.items():
        connection.execute(f"CREATE TABLE IF NOT EXISTS raw.{name} {definition}")
    for topic in landed_topics():
        # In one commit: DuckLake makes a place for inlined rows of each shape that a table ever had.
        connection.begin()
        try:
            _ensure_table(connection, topic)
            name = str(topic.raw_table)
            partition_by(connection, "raw", name, BY_MONTH.get(name, (LANDED_ON,)))
            sort_by(connection, "raw", name, SORTED_BY[name])
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


def raw_columns(topic: Topic) -> Iterator[tuple[str, str]]:
    """Name and SQL type of each column of the topic's raw table."""
    for field in decode(topic, []).rows.schema:
        if field.name not in NEVER_LANDED:
            yield field.name, sql_type(field.type)
    present = set(decode(topic, []).rows.schema.names)
    yield from ((name, kind) for name, kind in LANDING_COLUMNS if name not in present)
    if is_by_day(str(topic.raw_table)):
        yield LANDED_ON, "DATE"


def is_by_day(raw_table: str) -> bool:
    """Whether it is one of those whose files are by day of landing. Landing's own books are not."""
    return raw_table in SORTED_BY.keys() - BY_MONTH.keys()


def sql_type(kind: pa.DataType) -> str:
    """The SQL type of an Arrow type. Raises KeyError for one that the contract does not use."""
    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return "STRUCT(" + ", ".join(f"{field.name} {sql_type(field.type)}" for field in kind) + ")"
    return _SCALARS[kind]


def _ensure_table(connection: duckdb.DuckDBPyConnection, topic: Topic) -> None:
    wanted = dict(raw_columns(topic))
    listed = ", ".join(f"{name} {kind}" for name, kind in wanted.items())
    connection.execute(f"CREATE TABLE IF NOT EXISTS raw.{topic.raw_table} ({listed})")
    rows = connection.execute(
        "SELECT column_name FROM duckdb_columns() "
        "WHERE database_name = 'lake' AND schema_name = 'raw' AND table_name = ?",
        [topic.raw_table],
    ).fetchall()
    for name in wanted.keys() - {row[0] for row in rows}:
        connection.execute(f"ALTER TABLE raw.{topic.raw_table} ADD COLUMN {name} {wanted[name]}")
