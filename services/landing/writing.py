"""How rows of a landing come into a raw table, within a transaction that is the caller's.

Many rows become a Parquet file that the lake then takes over: that costs a third of an insert (decision
0019). Few rows, and those of landing's own books, are inserted.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from services.landing.raw_tables import LANDED_ON, is_by_day
from services.runtime.lake import INLINED_ROWS, inline_up_to
from services.runtime.layout import COMPRESSION, ROW_GROUP_ROWS, folder_of

_CODECS = {"lz4_raw": "lz4"}
"""What pyarrow calls them."""


@dataclass(frozen=True)
class Landing:
    """Which commit rows came with."""

    seq: int
    at: datetime
    """In UTC."""

    def mark(self, raw_table: str, rows: pa.Table) -> pa.Table:
        """The rows with the table's columns that tell of it."""
        told = {
            "landed_seq": pa.scalar(self.seq, pa.int64()),
            "landed_at": pa.scalar(self.at, pa.timestamp("us", "UTC")),
        }
        if is_by_day(raw_table):
            told[LANDED_ON] = pa.scalar(self.at.date(), pa.date32())
        for name, value in told.items():
            rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
        return rows


class Writer:
    """Writes into raw tables, and knows the files of the transaction that is under way."""

    def __init__(self, lake: duckdb.DuckDBPyConnection) -> None:
        self.lake = lake
        self._folders: dict[str, Path] = {}
        self._files: list[Path] = []

    def write(self, raw_table: str, rows: pa.Table, landing: Landing) -> None:
        """Raises duckdb.Error, and OSError when the file cannot be written."""
        rows = landing.mark(raw_table, rows)
        if is_by_day(raw_table) and rows.num_rows > INLINED_ROWS:
            self._add_file(raw_table, rows, f"{LANDED_ON}={landing.at.date()}")
        else:
            self._insert(raw_table, rows)

    def committed(self) -> None:
        """The files are the lake's: maintenance merges and deletes them as it does its own."""
        self._files.clear()

    def discard(self) -> None:
        """Deletes the files of a transaction that certainly has not been committed.

        Where that is uncertain they stay: maintenance deletes what nothing names.
        """
        for file in self._files:
            file.unlink(missing_ok=True)
        self._files.clear()

    def _insert(self, raw_table: str, rows: pa.Table) -> None:
        # With a limit, DuckLake sorts what exceeds it, whatever the schema says.
        inline_up_to(self.lake, INLINED_ROWS if rows.num_rows <= INLINED_ROWS else 0)
        self.lake.register("landing_rows", rows)
        self.lake.execute(f"INSERT INTO raw.{raw_table} BY NAME SELECT * FROM landing_rows")  # noqa: S608  # the name of one of our tables
        self.lake.unregister("landing_rows")

    def _add_file(self, raw_table: str, rows: pa.Table, part: str) -> None:
        if raw_table not in self._folders:
            self._folders[raw_table] = folder_of(self.lake, "raw", raw_table)
        file = self._folders[raw_table] / part / f"landed-{uuid.uuid4()}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        self._files.append(file)
        pq.write_table(
            rows, file, compression=_CODECS[COMPRESSION], row_group_size=ROW_GROUP_ROWS, store_schema=False
        )
        # A column that is new in the table, and not in rows of an older contract, may be missing.
        self.lake.execute(
            "CALL ducklake_add_data_files('lake', ?, ?, schema => 'raw', allow_missing => true)",
            [raw_table, str(file)],
        )
