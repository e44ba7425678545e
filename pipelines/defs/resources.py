"""The doors that assets use: the lake and the database of published tables. Settings are read here only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import duckdb

from services.runtime.lake import open_lake
from services.runtime.settings import LakeSettings, PostgresSettings


class Lake(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The lake, opened for as long as a step needs it."""

    @property
    def settings(self) -> LakeSettings:
        return LakeSettings.load()

    @contextmanager
    def open(
        self, *, read_only: bool = False, snapshot: int | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that is closed at the end of the block."""
        connection = open_lake(
            LakeSettings.load(), PostgresSettings.load(), read_only=read_only, snapshot=snapshot
        )
        try:
            yield connection
        finally:
            connection.close()


class Database(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The PostgreSQL server."""

    @property
    def settings(self) -> PostgresSettings:
        return PostgresSettings.load()
