"""How the rows of a lake's table lie in its files: partitions, order; and what finds the files: an index.

DuckLake keeps the first two in its catalog and obeys them whenever it writes a file: when inlined rows are
flushed, when files are merged, and at an insert, unless the schema leaves the order for later. Which table
lies how is decided by who makes the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

METADATA = "__ducklake_metadata_lake"
"""DuckDB's name of the catalog's own tables, once the lake is attached as `lake`."""

_TABLE = f"""
  JOIN {METADATA}.ducklake_table AS tables ON tables.table_id = found.table_id AND tables.end_snapshot IS NULL
  JOIN {METADATA}.ducklake_schema AS schemas
    ON schemas.schema_id = tables.schema_id AND schemas.end_snapshot IS NULL
  WHERE found.end_snapshot IS NULL AND schemas.schema_name = ? AND tables.table_name = ?
"""

_PARTITIONS = f"""
  SELECT CASE parts.transform WHEN 'identity' THEN columns.column_name
    ELSE parts.transform || '(' || columns.column_name || ')' END
  FROM {METADATA}.ducklake_partition_info AS found
  JOIN {METADATA}.ducklake_partition_column AS parts ON parts.partition_id = found.partition_id
  JOIN {METADATA}.ducklake_column AS columns ON columns.table_id = found.table_id
    AND columns.column_id = parts.column_id AND columns.end_snapshot IS NULL
  {_TABLE} ORDER BY parts.partition_key_index
"""  # noqa: S608  # names are ours

_ORDER = f"""
  SELECT keys.expression FROM {METADATA}.ducklake_sort_info AS found
  JOIN {METADATA}.ducklake_sort_expression AS keys ON keys.sort_id = found.sort_id
  {_TABLE} ORDER BY keys.sort_key_index
"""  # noqa: S608  # names are ours

_INDEX = "ducklake_file_column_stats_by_column"

_FOLDER = f"""
  SELECT data_path.value, schemas.path, tables.path
  FROM {METADATA}.ducklake_metadata AS data_path, {METADATA}.ducklake_schema AS schemas
  JOIN {METADATA}.ducklake_table AS tables ON tables.schema_id = schemas.schema_id
  WHERE data_path.key = 'data_path' AND schemas.schema_name = ? AND tables.table_name = ?
    AND schemas.end_snapshot IS NULL AND tables.end_snapshot IS NULL
"""  # noqa: S608  # names are ours

ROW_GROUP_ROWS = 122_880
"""DuckDB's own number, for those who write files without it."""

COMPRESSION = "lz4_raw"
"""Files are 4 % larger than with Parquet's usual Snappy, and ids are looked through in half the time."""


def partition_by(lake: duckdb.DuckDBPyConnection, schema: str, table: str, keys: Sequence[str]) -> None:
    """Files written from now on hold rows with one value of each key, `column` or `unit(column)`.

    Safe to repeat.
    """
    if _is_ducklake(lake) and lake.execute(_PARTITIONS, [schema, table]).fetchall() != [(k,) for k in keys]:
        lake.execute(f"ALTER TABLE {schema}.{table} SET PARTITIONED BY ({', '.join(keys)})")


def sort_by(lake: duckdb.DuckDBPyConnection, schema: str, table: str, columns: Sequence[str]) -> None:
    """Rows in files written from now on are ordered by `columns`. Safe to repeat."""
    # A change of the order is a change of the schema, and files of different schemas are never merged:
    # it must not be made again each time.
    if _is_ducklake(lake) and lake.execute(_ORDER, [schema, table]).fetchall() != [(c,) for c in columns]:
        lake.execute(f"ALTER TABLE {schema}.{table} SET SORTED BY ({', '.join(columns)})")


def leave_unsorted_at_insert(lake: duckdb.DuckDBPyConnection, schema: str) -> None:
    """Files of the schema's tables get their order when they are merged, not when they are written.

    Safe to repeat.
    """
    _set_option(lake, "sort_on_insert", "false", schema)


def folder_of(lake: duckdb.DuckDBPyConnection, schema: str, table: str) -> Path:
    """Where the files of the table lie, those of a partition in a folder of their own: `key=value`."""
    ((data_path, of_schema, of_table),) = lake.execute(_FOLDER, [schema, table]).fetchall()
    return Path(str(data_path), of_schema, of_table)


def compress(lake: duckdb.DuckDBPyConnection) -> None:
    """Files of all tables that are written from now on are compressed alike. Safe to repeat."""
    _set_option(lake, "parquet_compression", COMPRESSION)


def index_catalog(lake: duckdb.DuckDBPyConnection) -> None:
    """Lets PostgreSQL find a column's range in each file, instead of reading the ranges of all columns.

    DuckLake asks for them at each look with a condition; it makes no index, and uses one that is there.
    Safe to repeat: where it is there no lock is asked for.
    """
    if not _is_ducklake(lake):
        return
    is_there = f"SELECT 1 AS one FROM pg_indexes WHERE indexname = '{_INDEX}'"  # noqa: S608  # the name is ours
    if not lake.execute("FROM postgres_query(?, ?)", [METADATA, is_there]).fetchall():
        make = f"CREATE INDEX IF NOT EXISTS {_INDEX} ON ducklake_file_column_stats (table_id, column_id)"
        lake.execute("CALL postgres_execute(?, ?)", [METADATA, make])


def _set_option(lake: duckdb.DuckDBPyConnection, name: str, value: str, schema: str | None = None) -> None:
    """For the whole lake, or for a schema of it. Writes nothing when it is so already."""
    if not _is_ducklake(lake):
        return
    found = lake.execute(
        "SELECT value FROM lake.options() WHERE option_name = ? AND scope_entry IS NOT DISTINCT FROM ?",
        [name, schema],
    )
    if found.fetchall() != [(value,)]:
        lake.execute("CALL lake.set_option(?, ?, schema => ?)", [name, value, schema])


def _is_ducklake(lake: duckdb.DuckDBPyConnection) -> bool:
    """Tests of what stands in the tables use a database without files."""
    rows = lake.execute("SELECT type FROM duckdb_databases() WHERE database_name = 'lake'").fetchall()
    return rows == [("ducklake",)]
