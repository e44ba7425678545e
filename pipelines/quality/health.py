"""Whether what lands is healthy: lag of landing, share of failed events, partners' clocks. Arithmetic over
the lake; limits and Kafka's ends are given.

Nothing here changes anything, and no figure is about a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

EVENT_TABLES = ("participation_events", "outcome_events", "group_events", "study_events")


@dataclass(frozen=True)
class FailedShare:
    """Of a tenant's events of a time, how many failed."""

    tenant_id: str
    count_events: int
    count_failed: int

    @property
    def share(self) -> float:
        return self.count_failed / self.count_events if self.count_events else 0.0


@dataclass(frozen=True)
class ClockSkew:
    """How long before its arrival a live tenant's events occurred, as the partner says."""

    tenant_id: str
    count_events: int
    count_from_future: int
    """Occurred after they arrived: the partner's clock is fast. The gateway refuses what is far ahead."""
    median_seconds: float
    p95_seconds: float

    @property
    def share_from_future(self) -> float:
        return self.count_from_future / self.count_events if self.count_events else 0.0


def landing_lags(lake: duckdb.DuckDBPyConnection, ends: Mapping[tuple[str, int], int]) -> dict[str, int]:
    """Records by topic that have not landed. `ends` are Kafka's, by topic and partition."""
    rows = lake.execute(
        "SELECT topic, kafka_partition, arg_max(next_offset, landed_seq) FROM raw.landed_offsets GROUP BY ALL"
    ).fetchall()
    landed = {(topic, partition): offset for topic, partition, offset in rows}
    lags: dict[str, int] = {}
    for (topic, partition), end in ends.items():
        lags[topic] = lags.get(topic, 0) + max(0, end - landed.get((topic, partition), 0))
    return lags


def failed_shares(lake: duckdb.DuckDBPyConnection, since: datetime) -> list[FailedShare]:
    """By tenant, of the events received since then. Raises duckdb.CatalogException before the first build.

    Copies count once. What waits for a verdict is an event that has not failed so far.
    """
    received = " UNION ".join(
        f"SELECT tenant_id, event_id, body_hash FROM raw.{table} WHERE received_at >= $since"  # noqa: S608
        for table in EVENT_TABLES
    )
    rows = lake.execute(
        f"""
        WITH received AS (
          {received}
          UNION
          SELECT tenant_id, event_id, body_hash FROM raw.failed_events
          WHERE stage = 'ingestion' AND received_at >= $since
        ), failed AS (
          SELECT DISTINCT tenant_id, event_id, body_hash FROM staging.stg_failures__failed_events
          WHERE event_id IS NOT NULL
        )
        SELECT tenant_id, count(*), count(failed.event_id)
        FROM received LEFT JOIN failed USING (tenant_id, event_id, body_hash)
        WHERE tenant_id IS NOT NULL GROUP BY tenant_id ORDER BY tenant_id
        """,  # noqa: S608  # names from above
        {"since": since},
    ).fetchall()
    return [FailedShare(*row) for row in rows]


def count_foreign_records(lake: duckdb.DuckDBPyConnection, since: datetime) -> int:
    """Records that were set aside since then and are nobody's: not among any tenant's events."""
    rows = lake.execute(
        "SELECT count(*) FROM raw.failed_events WHERE tenant_id IS NULL AND failed_at >= ?", [since]
    ).fetchall()
    return int(rows[0][0])


def clock_skews(lake: duckdb.DuckDBPyConnection, raw_table: str, since: datetime) -> Sequence[ClockSkew]:
    """By live tenant, of the rows of a raw table received since then."""
    rows = lake.execute(
        f"""
        SELECT tenant_id, count(*), count(*) FILTER (WHERE seconds < 0), median(seconds),
               quantile_cont(seconds, 0.95)
        FROM (
          SELECT tenant_id, epoch(received_at) - epoch(occurred_at) AS seconds FROM raw.{raw_table}
          WHERE data_class = 'live' AND received_at >= ? AND occurred_at IS NOT NULL
        )
        GROUP BY tenant_id ORDER BY tenant_id
        """,  # noqa: S608  # the table's name is ours
        [since],
    ).fetchall()
    return [ClockSkew(*row) for row in rows]
