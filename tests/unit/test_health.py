"""Lag, failed events and clocks, on rows made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest

from pipelines.quality.health import (
    EVENT_TABLES,
    clock_skews,
    count_foreign_records,
    failed_shares,
    landing_lags,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SINCE = NOW - timedelta(days=1)
IDENTITY = "tenant_id VARCHAR, event_id VARCHAR, body_hash BIGINT"
TIMES = "data_class VARCHAR, received_at TIMESTAMPTZ"


@pytest.fixture
def lake() -> Iterator[duckdb.DuckDBPyConnection]:
    """The columns that are asked for, in tables of their names."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("CREATE SCHEMA raw; CREATE SCHEMA staging")
        for table in EVENT_TABLES:
            connection.execute(f"CREATE TABLE raw.{table} ({IDENTITY}, {TIMES}, occurred_at TIMESTAMPTZ)")
        connection.execute(
            f"CREATE TABLE raw.failed_events ({IDENTITY}, {TIMES}, stage VARCHAR, failed_at TIMESTAMPTZ)"
        )
        connection.execute(f"CREATE TABLE staging.stg_failures__failed_events ({IDENTITY})")
        connection.execute(
            "CREATE TABLE raw.landed_offsets "
            "(topic VARCHAR, kafka_partition INTEGER, next_offset BIGINT, landed_seq BIGINT)"
        )
        yield connection


def insert(lake: duckdb.DuckDBPyConnection, table: str, *row: Any) -> None:
    lake.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", list(row))


def test_a_lag_is_summed_over_partitions_and_the_newest_landing_counts(
    lake: duckdb.DuckDBPyConnection,
) -> None:
    for row in (("a", 0, 90, 1), ("a", 0, 5, 2), ("a", 1, 10, 2)):
        insert(lake, "raw.landed_offsets", *row)
    # The topic was made anew before landing 2; partition 2 was never read.
    ends = {("a", 0): 8, ("a", 1): 10, ("a", 2): 4, ("b", 0): 0}
    assert landing_lags(lake, ends) == {"a": 3 + 4, "b": 0}


def test_a_share_counts_copies_once_and_has_its_denominator(lake: duckdb.DuckDBPyConnection) -> None:
    for event in ("e1", "e1", "e2", "e3"):
        insert(lake, "raw.outcome_events", "t", event, 1, "live", NOW, NOW)
    insert(lake, "raw.outcome_events", "t", "too old", 1, "live", SINCE - timedelta(seconds=1), NOW)
    insert(lake, "raw.failed_events", "t", "deferred", 1, "live", NOW, "ingestion", NOW)
    for event in ("e2", "deferred", "too old"):
        insert(lake, "staging.stg_failures__failed_events", "t", event, 1)
    (found,) = failed_shares(lake, SINCE)
    assert (found.tenant_id, found.count_events, found.count_failed, found.share) == ("t", 4, 2, 0.5)


def test_records_of_nobody_are_counted_apart(lake: duckdb.DuckDBPyConnection) -> None:
    for at in (NOW, SINCE - timedelta(seconds=1)):
        insert(lake, "raw.failed_events", None, None, 0, None, None, "landing", at)
    assert failed_shares(lake, SINCE) == []
    assert count_foreign_records(lake, SINCE) == 1


def test_clocks_are_of_live_tenants_and_tell_who_is_ahead(lake: duckdb.DuckDBPyConnection) -> None:
    for seconds in (-30, 10, 20, 3600):
        occurred = NOW - timedelta(seconds=seconds)
        insert(lake, "raw.group_events", "t", "e", 1, "live", NOW, occurred)
        insert(lake, "raw.group_events", "simulator", "e", 1, "synthetic", NOW, occurred)
    (found,) = clock_skews(lake, "group_events", SINCE)
    assert (found.tenant_id, found.count_events, found.median_seconds) == ("t", 4, 15.0)
    assert found.p95_seconds == pytest.approx(20 + 0.85 * (3600 - 20))
    assert found.share_from_future == 0.25
