"""Whether a table has the columns, and these the types, that its contract says. A column too many is none of
its business: nothing is ever dropped from a raw table.

Which contract a table has is the caller's: `contract` for raw tables, dbt's for marts, the registry of
published columns for evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb

from pipelines.quality.expectations import MAX_SAMPLE, RuleResult, check
from pipelines.quality.rules import Rule, Suite

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = Rule(
    "columns_are_as_the_contract_says",
    "ExpectColumnPairValuesToBeEqual",
    {"column_A": "found", "column_B": "stated", "ignore_row_if": "neither"},
    why="What is computed from a missing column would be empty, from one of another type wrong.",
)

_SUITE = Suite("schema", ("column", "stated", "found"), (SCHEMA,))


def check_schema(stated: Mapping[str, str], found: Mapping[str, str], count_rows: int) -> RuleResult:
    """Types by column as they should be and as they are. Types are DuckDB's, however they are written."""
    import pandas as pd

    rows = [
        {
            "column": name,
            "stated": _normal(kind),
            "found": _normal(found[name]) if name in found else "missing",
        }
        for name, kind in stated.items()
    ]
    frame = pd.DataFrame(rows, columns=["column", "stated", "found"])
    (result,) = check(frame, _SUITE)
    return replace(result, count_rows=count_rows, count_unexpected=0, problem=_differences(frame))


def columns_in_lake(lake: duckdb.DuckDBPyConnection, schema: str, table: str) -> dict[str, str]:
    """Type by column of a table of the lake; empty when there is no such table."""
    rows = lake.execute(
        "SELECT column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = 'lake' AND schema_name = ? AND table_name = ?",
        [schema, table],
    ).fetchall()
    return dict(rows)


def _normal(kind: str) -> str:
    return str(duckdb.sqltype(kind))


def _differences(frame: pd.DataFrame) -> str:
    """The first columns that differ. Names of columns are the contract's."""
    wrong = frame[frame["found"] != frame["stated"]].head(MAX_SAMPLE)
    return "; ".join(f"{each.column} is {each.found}, not {each.stated}" for each in wrong.itertuples())
