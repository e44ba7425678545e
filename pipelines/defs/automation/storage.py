"""Dagster's storage in PostgreSQL, over connections that are kept. Named by `dagster.yaml`.

A build tells Dagster some three thousand events, and dagster-postgres opens a connection or more for each of
them: that took longer than all models and checks of a small build. Decision 0040.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config

SPARE = 20
"""Connections beside the kept one that threads of a process may open at a time; closed when given back."""


class KeptConnections(DagsterPostgresStorage):
    """Runs, events and schedules each keep one connection. It is asked whether it lives before it is used:
    PostgreSQL may have been started again."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = create_pg_engine(
                self.postgres_url,
                isolation_level="AUTOCOMMIT",
                pool_size=1,
                max_overflow=SPARE,
                pool_pre_ping=True,
            )

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> KeptConnections:
        return cls(postgres_url=pg_url_from_config(config_value), inst_data=inst_data)
