"""The compiled statements of all models in plain DuckDB: what the warehouse would take without lake and dbt.

`python -m tests.benchmarks.warehouse.plain DATABASE MANIFEST` runs them in their order, in a file that has
the raw tables already. It prints what each took, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from services.runtime.settings import LakeSettings
from tests.landings import OwnLake

MEMORY = "8GB"
"""Ten million events do not fit into what the lake has: a database file keeps in memory what a statement
writes until it is over."""

SOURCES = ("raw", "admission")


class Statement(NamedTuple):
    """A model."""

    name: str
    schema: str
    is_view: bool
    select: str


def main() -> int:
    database, manifest = map(Path, sys.argv[1:])
    seconds = {}
    with closing(_opened(database)) as connection:
        for each in statements(json.loads(manifest.read_text())):
            begun = time.monotonic()
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{each.schema}"')
            kind = "VIEW" if each.is_view else "TABLE"
            connection.execute(f'CREATE OR REPLACE {kind} "{each.schema}"."{each.name}" AS {each.select}')
            seconds[each.name] = time.monotonic() - begun
    print(json.dumps(seconds))
    return 0


def copy_sources(lake: OwnLake, database: Path) -> None:
    """Puts the raw rows and the verdicts of a lake into a DuckDB file."""
    database.unlink(missing_ok=True)
    connection = lake.connection
    connection.execute(f"ATTACH '{database}' AS plain")
    tables = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() "
        "WHERE database_name = 'lake' AND schema_name IN (SELECT unnest(?))",
        [list(SOURCES)],
    ).fetchall()
    for schema, table in tables:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS plain.{schema}")
        connection.execute(f"CREATE TABLE plain.{schema}.{table} AS FROM lake.{schema}.{table}")
    connection.execute("DETACH plain")


def statements(manifest: dict[str, Any]) -> Iterator[Statement]:
    """The models of a manifest with compiled statements, each after those that it reads."""
    models = {name: node for name, node in manifest["nodes"].items() if node["resource_type"] == "model"}
    reads = {name: set(node["depends_on"]["nodes"]) & models.keys() for name, node in models.items()}
    for name in TopologicalSorter(reads).static_order():
        node, materialized = models[name], models[name]["config"]["materialized"]
        if materialized != "ephemeral":  # such a one stands in the statements that read it
            yield Statement(node["alias"], node["schema"], materialized == "view", node["compiled_code"])


def _opened(database: Path) -> duckdb.DuckDBPyConnection:
    """Under the lake's name, with its threads."""
    limits = {"threads": str(LakeSettings.load().threads), "memory_limit": MEMORY}
    connection = duckdb.connect(":memory:", config={**limits, "temp_directory": f"{database}.tmp"})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"ATTACH '{database}' AS lake")
    connection.execute("USE lake")
    return connection


if __name__ == "__main__":
    sys.exit(main())
