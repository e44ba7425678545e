"""Live figures against the lake: each figure of `live.group_engagement` is computed again from the staged
events up to the offset that it names, by the SQL of the mart, and compared.

A group of which the lake has events and `live` has no row, though it has come further in the group's
partition, differs too. A difference is explained by one of the `allowances`, or it is not: then stream or
warehouse is wrong. What the figures mean is defined in docs/engagement.md; nothing here repairs anything.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
import pyarrow as pa
from circles.engagement.v1.group_engagement_pb2 import WindowEngagement
from psycopg2.extras import execute_values

from pipelines.quality.allowances import ALLOWANCES
from pipelines.quality.macros import sql_of
from services.runtime.postgres import connect
from services.runtime.settings import PostgresSettings

FIGURES = tuple(each.name for each in WindowEngagement.DESCRIPTOR.fields if each.name != "window_hours")
"""Compared, beside `as_of`. Columns of the live table and of the recomputation alike."""

LIVE = pa.schema(
    [
        *((name, pa.string()) for name in ("tenant_id", "data_class", "group_id", "topic_id")),
        *((name, pa.int64()) for name in ("window_hours", "kafka_partition", "applied_offset")),
        ("as_of", pa.timestamp("us", "UTC")),
        *((name, pa.float64() if name == "contribution_gini" else pa.int64()) for name in FIGURES),
    ]
)
"""What is read of `live.group_engagement`."""

MAX_EXAMPLES = 20

INSERT = """
INSERT INTO live.reconciliation (
  run_id, read_at, tenant_id, data_class, count_groups_compared, count_groups_not_landed,
  count_groups_not_staged, count_figures_compared, count_explained, explained, count_unexplained
) VALUES %s
"""


@dataclass(frozen=True)
class Difference:
    """A figure on which stream and lake disagree. `reason` is empty when nothing explains it."""

    tenant_id: str
    group_id: str
    window_hours: int
    figure: str
    live: float | None
    recomputed: float | None
    reason: str


@dataclass(frozen=True)
class TenantResult:
    """How the figures of one tenant compare: what becomes a row of `live.reconciliation`."""

    tenant_id: str
    data_class: str
    count_groups_compared: int
    count_groups_not_landed: int
    count_groups_not_staged: int
    count_figures_compared: int
    explained: dict[str, int]
    count_unexplained: int


@dataclass(frozen=True)
class Reconciliation:
    """One comparison of all tenants, with some of the differences, unexplained ones first."""

    read_at: datetime
    tenants: Sequence[TenantResult] = ()
    examples: Sequence[Difference] = field(default=())

    @property
    def count_unexplained(self) -> int:
        return sum(each.count_unexplained for each in self.tenants)

    @property
    def explained(self) -> Counter[str]:
        return sum((Counter(each.explained) for each in self.tenants), Counter())


def read_live(postgres: PostgresSettings) -> pa.Table:
    """All live figures, as they stand in this moment."""
    statement = f"SELECT {', '.join(LIVE.names)} FROM live.group_engagement"  # noqa: S608  # names from above
    connection = connect(postgres, postgres.database_published)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            rows = [dict(zip(LIVE.names, row, strict=True)) for row in cursor.fetchall()]
    finally:
        connection.close()
    return pa.Table.from_pylist(rows, schema=LIVE)


def reconcile(lake: duckdb.DuckDBPyConnection, live: pa.Table, read_at: datetime) -> Reconciliation:
    """Compares live figures, read at `read_at` or just after, with the lake as it is at one snapshot.

    Raises duckdb.CatalogException when nothing has been staged yet.
    """
    lake.register("live_figures", live)
    lake.execute("SET VARIABLE read_at = ?", [read_at])
    for statement in _steps():
        lake.execute(statement)
    return Reconciliation(read_at, [*_results(lake)], [*_examples(lake)])


def record(postgres: PostgresSettings, run_id: str, reconciliation: Reconciliation) -> None:
    """Adds a row per tenant to `live.reconciliation`. Repeating a run replaces its rows."""
    rows = [
        (
            run_id,
            reconciliation.read_at,
            each.tenant_id,
            each.data_class,
            each.count_groups_compared,
            each.count_groups_not_landed,
            each.count_groups_not_staged,
            each.count_figures_compared,
            sum(each.explained.values()),
            json.dumps(each.explained, sort_keys=True),
            each.count_unexplained,
        )
        for each in reconciliation.tenants
    ]
    connection = connect(postgres, postgres.database_published, autocommit=False)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM live.reconciliation WHERE run_id = %s", (run_id,))
            execute_values(cursor, INSERT, rows)
    finally:
        connection.close()


def _steps() -> Iterator[str]:
    """Temporary tables, each from those before: groups, recomputed, differences, reasons, explained."""
    yield _GROUPS
    recomputed = sql_of("group_engagement_rolling", f"({_EVENTS_AS_SEEN})", f"({_WITHDRAWALS})")
    yield f"CREATE OR REPLACE TEMP TABLE recomputed AS {recomputed}"
    yield f"CREATE OR REPLACE TEMP TABLE differences AS {' UNION ALL '.join(_comparisons())}"
    yield _reasons()
    yield _EXPLAINED


_WITHDRAWALS = "SELECT tenant_id, participant_id FROM marts.dim_participant WHERE withdrawn_at IS NOT NULL"

_GROUPS = """
CREATE OR REPLACE TEMP TABLE groups AS
WITH shown AS (
  -- All windows of a group are written together.
  SELECT tenant_id, group_id, any_value(data_class) AS data_class, any_value(topic_id) AS topic_id,
         any_value(kafka_partition) AS kafka_partition, max(applied_offset) AS applied_offset,
         max(as_of) AS as_of
  FROM live_figures GROUP BY tenant_id, group_id
), heads AS (
  SELECT topic_id, kafka_partition, max(applied_offset) AS applied_offset
  FROM shown GROUP BY topic_id, kafka_partition
), positions AS (
  FROM shown
  UNION ALL BY NAME
  SELECT events.tenant_id, events.group_id, any_value(events.data_class) AS data_class,
         any_value(events.topic_id) AS topic_id, any_value(events.kafka_partition) AS kafka_partition,
         any_value(heads.applied_offset) AS applied_offset
  FROM staging.stg_participation__events AS events
  JOIN heads USING (topic_id, kafka_partition)
  ANTI JOIN shown USING (tenant_id, group_id)
  WHERE events.kafka_offset <= heads.applied_offset
  GROUP BY events.tenant_id, events.group_id
), landed AS (
  SELECT topic_id, kafka_partition, max(next_offset) AS next_offset
  FROM raw.landed_offsets GROUP BY topic_id, kafka_partition
), unstaged AS (
  -- Awaiting admission, blocked by it, or judged and not built yet.
  SELECT DISTINCT positions.tenant_id, positions.group_id
  FROM raw.participation_events AS landed_rows
  JOIN positions ON landed_rows.tenant_id = positions.tenant_id
    AND landed_rows.group_ref = positions.group_id AND landed_rows.topic_id = positions.topic_id
    AND landed_rows.kafka_offset <= positions.applied_offset
  ANTI JOIN staging.stg_participation__identities AS identities
    ON landed_rows.tenant_id = identities.tenant_id AND landed_rows.event_id = identities.event_id
    AND landed_rows.body_hash = identities.body_hash
)
SELECT positions.*,
       coalesce(landed.next_offset > positions.applied_offset, false) AS is_landed,
       unstaged.group_id IS NULL AS is_staged
FROM positions
LEFT JOIN landed USING (topic_id, kafka_partition)
LEFT JOIN unstaged USING (tenant_id, group_id)
"""
"""Each group that has live figures, or should: where they stand, and whether the lake has come as far."""

_EVENTS_AS_SEEN = """
SELECT events.* FROM staging.stg_participation__events AS events
JOIN groups USING (tenant_id, group_id)
WHERE groups.is_landed AND groups.is_staged
  AND (events.topic_id <> groups.topic_id OR events.kafka_offset <= groups.applied_offset)
"""
"""What the stream had seen of the groups that can be compared."""


def _comparisons() -> Iterator[str]:
    for name in ("as_of", *FIGURES):
        # Of whole numbers any difference is above this; a coefficient may be computed in another order.
        live, recomputed = (
            f"epoch({side}.{name})" if name == "as_of" else f"{side}.{name}"
            for side in ("live", "recomputed")
        )
        yield f"""
        SELECT tenant_id, group_id, window_hours, '{name}' AS figure,
               cast({live} AS double) AS live, cast({recomputed} AS double) AS recomputed
        FROM live_figures AS live
        JOIN groups USING (tenant_id, group_id)
        LEFT JOIN recomputed USING (tenant_id, group_id, window_hours)
        WHERE groups.is_landed AND groups.is_staged
          AND (({live} IS NULL) <> ({recomputed} IS NULL) OR abs({live} - {recomputed}) > 1e-9)
        """  # noqa: S608  # names from above
    yield """
    SELECT tenant_id, group_id, window_hours, 'as_of', NULL, epoch(recomputed.as_of)
    FROM recomputed ANTI JOIN live_figures USING (tenant_id, group_id)
    """


def _reasons() -> str:
    allowed = " UNION ALL ".join(
        f"SELECT DISTINCT tenant_id, group_id, '{each.name}' AS reason, {place} AS place FROM ({each.groups})"  # noqa: S608
        for place, each in enumerate(ALLOWANCES)
    )
    return f"""
    CREATE OR REPLACE TEMP TABLE reasons AS
    WITH events AS (
      SELECT events.* FROM staging.stg_participation__events AS events
      SEMI JOIN differences USING (tenant_id, group_id)
    ), retractions AS (
      SELECT tenant_id, group_id, retracted_event_id FROM staging.stg_participation__events
      WHERE kind = 'event_retracted'
    )
    SELECT tenant_id, group_id, min_by(reason, place) AS reason FROM ({allowed}) GROUP BY tenant_id, group_id
    """  # noqa: S608  # our own words


_EXPLAINED = """
CREATE OR REPLACE TEMP TABLE explained AS
SELECT differences.*, coalesce(reasons.reason, '') AS reason
FROM differences LEFT JOIN reasons USING (tenant_id, group_id)
"""


def _results(lake: duckdb.DuckDBPyConnection) -> Iterator[TenantResult]:
    groups = lake.execute(
        """
        SELECT tenant_id, min(data_class), count(*) FILTER (WHERE is_landed AND is_staged),
               count(*) FILTER (WHERE NOT is_landed), count(*) FILTER (WHERE is_landed AND NOT is_staged)
        FROM groups GROUP BY tenant_id ORDER BY tenant_id
        """
    ).fetchall()
    compared = _by_tenant(
        lake,
        "SELECT tenant_id, '', count(*) FROM live_figures JOIN groups USING (tenant_id, group_id) "
        "WHERE is_landed AND is_staged GROUP BY tenant_id",
    )
    differing = _by_tenant(
        lake, "SELECT tenant_id, reason, count(*) FROM explained GROUP BY tenant_id, reason"
    )
    for tenant_id, data_class, count_compared, count_not_landed, count_not_staged in groups:
        reasons = differing.get(tenant_id, {})
        yield TenantResult(
            tenant_id,
            data_class,
            count_compared,
            count_not_landed,
            count_not_staged,
            compared.get(tenant_id, {}).get("", 0) * (1 + len(FIGURES)),
            {reason: count for reason, count in reasons.items() if reason},
            reasons.get("", 0),
        )


def _by_tenant(lake: duckdb.DuckDBPyConnection, statement: str) -> dict[str, dict[str, int]]:
    """Counts by tenant and reason."""
    found: dict[str, dict[str, int]] = {}
    for tenant_id, reason, count in lake.execute(statement).fetchall():
        found.setdefault(tenant_id, {})[reason] = count
    return found


def _examples(lake: duckdb.DuckDBPyConnection) -> Iterator[Difference]:
    rows = lake.execute(
        "SELECT tenant_id, group_id, window_hours, figure, live, recomputed, reason FROM explained "
        "ORDER BY reason <> '', tenant_id, group_id, window_hours, figure LIMIT ?",
        [MAX_EXAMPLES],
    ).fetchall()
    return (Difference(*row) for row in rows)
