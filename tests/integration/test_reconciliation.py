"""Reconciliation finds what differs between live figures and lake, and tells what is allowed to.

The real SQL in a DuckDB of its own; live figures are made by the oracle. With lake, PostgreSQL and Dagster:
`test_warehouse.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipelines.quality.allowances import ALLOWANCES
from pipelines.quality.reconciliation import FIGURES, LIVE, Difference, Reconciliation, reconcile
from tests.fakes.engagement_histories import random_histories
from tests.fakes.engagement_oracle import DAY, WINDOWS_HOURS, Told, figures
from tests.fakes.engagement_staged import Group, staged

AT = 20_000 * DAY
READ_AT = datetime(2026, 1, 1, tzinfo=UTC)

TABLES = """
CREATE SCHEMA raw; CREATE SCHEMA staging; CREATE SCHEMA marts;
CREATE TABLE staging.stg_participation__events AS SELECT * FROM staged;
CREATE TABLE raw.participation_events AS
  SELECT tenant_id, group_id AS group_ref, event_id, 1 AS body_hash, topic_id, kafka_partition, kafka_offset,
         0 AS event_index FROM staged;
CREATE TABLE staging.stg_participation__identities AS
  SELECT * EXCLUDE (group_ref), false AS is_conflict FROM raw.participation_events;
CREATE TABLE raw.landed_offsets AS SELECT 'topic' AS topic_id, 0 AS kafka_partition, 1000000 AS next_offset;
CREATE TABLE raw.landing_gaps (topic_id VARCHAR, kafka_partition INTEGER, first_missing_offset BIGINT);
CREATE TABLE raw.outcome_events (
  tenant_id VARCHAR, participant_ref VARCHAR, event_id VARCHAR, kind VARCHAR, received_at TIMESTAMPTZ);
CREATE TABLE staging.stg_outcomes__identities (tenant_id VARCHAR, event_id VARCHAR);
CREATE TABLE marts.dim_participant (tenant_id VARCHAR, participant_id VARCHAR, withdrawn_at TIMESTAMPTZ);
"""


@pytest.fixture
def lake() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def fill(lake: duckdb.DuckDBPyConnection, groups: Collection[Group]) -> None:
    """The lake has landed and staged everything that was told of the groups."""
    lake.register("staged", staged(groups))
    lake.execute(TABLES)
    withdrawn = {(group.tenant, who) for group in groups for who in group.withdrawn}
    for row in withdrawn:
        lake.execute("INSERT INTO marts.dim_participant VALUES (?, ?, now())", row)


def live(groups: Collection[Group], *, offset: int = 10**6) -> list[dict[str, Any]]:
    """Rows of the live table when the stream has come to `offset` in each group."""
    rows = []
    for group in groups:
        seen = group.told[: offset + 1]
        result = figures(seen, group.withdrawn)
        for hours in WINDOWS_HOURS if result else ():
            assert result is not None
            as_of, by_window = result
            rows.append(
                {
                    "tenant_id": group.tenant,
                    "data_class": "synthetic",
                    "group_id": group.name,
                    "topic_id": "topic",
                    "window_hours": hours,
                    "kafka_partition": 0,
                    "applied_offset": len(seen) - 1,
                    "as_of": datetime.fromtimestamp(as_of, UTC),
                    **by_window[hours],
                }
            )
    return rows


def compare(lake: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]]) -> Reconciliation:
    return reconcile(lake, pa.Table.from_pylist(rows, schema=LIVE), READ_AT)


def a_group() -> Group:
    told = [
        Told("thread_started", "e0", AT, "ann", thread="t", act="a"),
        Told("reply_posted", "e1", AT + 60, "bob", thread="t", act="b", in_reply_to="a"),
        Told("thread_read", "e2", AT - 40 * DAY, "ann", thread="t"),
    ]
    return Group("tenant", "group", told)


@pytest.mark.parametrize("offset", [0, 7, 10**6])
def test_right_figures_agree_wherever_the_stream_stands(lake: duckdb.DuckDBPyConnection, offset: int) -> None:
    histories = random_histories(5, 200)
    groups = [Group(f"t{i % 7}", f"g{i}", each.told) for i, each in enumerate(histories)]
    fill(lake, groups)
    rows = live(groups, offset=offset)
    result = compare(lake, rows)
    assert (result.examples, result.count_unexplained, result.explained) == ([], 0, {})
    assert sum(each.count_figures_compared for each in result.tenants) == len(rows) * (1 + len(FIGURES))
    assert [each.tenant_id for each in result.tenants] == [f"t{i}" for i in range(7)]


def test_withdrawn_people_are_left_out_on_both_sides(lake: duckdb.DuckDBPyConnection) -> None:
    group = replace(a_group(), withdrawn={"bob"})
    fill(lake, [group])
    assert compare(lake, live([group])).count_unexplained == 0
    assert compare(lake, live([a_group()])).count_unexplained > 0


@pytest.mark.parametrize(
    ("figure", "wrong"),
    [("count_events", 5), ("first_reply_median_seconds", None), ("contribution_gini", 0.25)],
)
def test_a_planted_difference_is_found(lake: duckdb.DuckDBPyConnection, figure: str, wrong: object) -> None:
    group = a_group()
    fill(lake, [group])
    rows = live([group])
    right = rows[1][figure]
    rows[1][figure] = wrong
    result = compare(lake, rows)
    assert result.examples == [Difference("tenant", "group", 24, figure, wrong, right, "")]  # type: ignore[arg-type]
    assert (result.count_unexplained, result.tenants[0].count_unexplained) == (1, 1)


def test_one_window_that_ends_elsewhere_is_one_difference(lake: duckdb.DuckDBPyConnection) -> None:
    group = a_group()
    fill(lake, [group])
    rows = live([group])
    rows[3]["as_of"] = READ_AT
    result = compare(lake, rows)
    assert [(each.window_hours, each.figure) for each in result.examples] == [(672, "as_of")]
    assert result.count_unexplained == 1


def test_a_group_that_is_nowhere_in_the_lake_is_a_difference(lake: duckdb.DuckDBPyConnection) -> None:
    group = a_group()
    fill(lake, [])
    result = compare(lake, live([group]))
    assert result.count_unexplained > 4
    assert {each.recomputed for each in result.examples} == {None}


def test_a_group_without_live_figures_is_a_difference_once_the_stream_has_passed_it(
    lake: duckdb.DuckDBPyConnection,
) -> None:
    known, missing = a_group(), replace(a_group(), name="missing")
    fill(lake, [known, missing])
    # The groups lie one after the other in the partition: 0 to 2, 3 to 5.
    lake.execute(
        "UPDATE staging.stg_participation__events "
        "SET kafka_offset = kafka_offset + 3 WHERE group_id = 'missing'"
    )
    rows = live([known])
    assert compare(lake, rows).count_unexplained == 0
    for row in rows:
        row["applied_offset"] = 3
    result = compare(lake, rows)
    assert {(each.group_id, each.figure, each.live) for each in result.examples} == {
        ("missing", "as_of", None)
    }
    assert (result.count_unexplained, result.tenants[0].count_groups_compared) == (len(WINDOWS_HOURS), 2)


def test_a_group_waits_until_the_lake_has_landed_as_far(lake: duckdb.DuckDBPyConnection) -> None:
    group = a_group()
    fill(lake, [group])
    lake.execute("UPDATE raw.landed_offsets SET next_offset = 2")
    (tenant,) = compare(lake, live([group])).tenants
    assert (tenant.count_groups_not_landed, tenant.count_groups_compared, tenant.count_figures_compared) == (
        1,
        0,
        0,
    )
    lake.execute("UPDATE raw.landed_offsets SET next_offset = 3")
    assert compare(lake, live([group])).tenants[0].count_groups_compared == 1


def test_a_group_waits_until_its_rows_are_staged(lake: duckdb.DuckDBPyConnection) -> None:
    group = a_group()
    fill(lake, [group])
    lake.execute("DELETE FROM staging.stg_participation__identities WHERE kafka_offset = 1")
    lake.execute("DELETE FROM staging.stg_participation__events WHERE kafka_offset = 1")
    (tenant,) = compare(lake, live([group])).tenants
    assert (tenant.count_groups_not_staged, tenant.count_groups_compared) == (1, 0)
    # What the stream had seen before is staged.
    assert compare(lake, live([group], offset=0)).tenants[0].count_groups_compared == 1


EXCUSES = {
    "conflict": """
        INSERT INTO raw.participation_events VALUES ('tenant', 'group', 'group/e0', 2, 'topic', 0, 9, 0);
        INSERT INTO staging.stg_participation__identities
        VALUES ('tenant', 'group/e0', 2, 'topic', 0, 9, 0, true)
    """,
    "retraction_of_another_group": """
        INSERT INTO staging.stg_participation__events BY NAME
        SELECT 'tenant' AS tenant_id, 'other' AS group_id, 'r' AS event_id, 'event_retracted' AS kind,
               'group/e0' AS retracted_event_id, now() AS occurred_at, 0 AS kafka_offset, 'topic' AS topic_id
    """,
    "retraction_after_log": """
        INSERT INTO staging.stg_participation__events BY NAME
        SELECT 'tenant' AS tenant_id, 'group' AS group_id, 'r' AS event_id, 'event_retracted' AS kind,
               'group/e2' AS retracted_event_id, now() AS occurred_at, 2 AS kafka_offset, 'topic' AS topic_id
    """,
    "retractions_forgotten": """
        INSERT INTO staging.stg_participation__events BY NAME
        SELECT 'tenant' AS tenant_id, 'group' AS group_id, 'r' || i AS event_id, 'event_retracted' AS kind,
               'x' || i AS retracted_event_id, now() AS occurred_at, 2 AS kafka_offset, 'topic' AS topic_id
        FROM range(10001) AS numbers (i)
    """,
    "topic_made_anew": """
        UPDATE staging.stg_participation__events SET topic_id = 'earlier'
        WHERE group_id = 'group' AND kafka_offset = 0
    """,
    "records_lost": "INSERT INTO raw.landing_gaps VALUES ('topic', 0, 2)",
    "consent_under_way": """
        INSERT INTO raw.outcome_events
        VALUES ('tenant', 'ann', 'c', 'consent_withdrawn', TIMESTAMPTZ '2025-12-31 23:55:00+00');
        INSERT INTO staging.stg_outcomes__identities VALUES ('tenant', 'c')
    """,
}
"""Statements that give the group a reason to differ."""


@pytest.mark.parametrize("reason", [each.name for each in ALLOWANCES])
def test_what_is_allowed_to_differ_is_counted_by_its_reason(
    lake: duckdb.DuckDBPyConnection, reason: str
) -> None:
    group = a_group()
    unexcused = replace(a_group(), name="unexcused", told=[Told("risk_raised", "z", AT, "zoe")])
    fill(lake, [group, unexcused])
    rows = live([group, unexcused])
    for row in rows:
        row["count_dropouts"] += 7
    lake.execute(EXCUSES[reason])
    (tenant,) = compare(lake, rows).tenants
    assert set(tenant.explained) == {reason}
    assert tenant.explained[reason] >= len(WINDOWS_HOURS)
    assert tenant.count_unexplained == len(WINDOWS_HOURS)


def test_an_old_statement_on_consent_excuses_nothing_once_it_is_staged(
    lake: duckdb.DuckDBPyConnection,
) -> None:
    group = a_group()
    fill(lake, [group])
    rows = live([group])
    rows[0]["count_events"] += 1
    lake.execute(
        "INSERT INTO raw.outcome_events "
        "VALUES ('tenant', 'ann', 'c', 'consent_given', TIMESTAMPTZ '2025-12-31 23:45:00+00')"
    )
    assert compare(lake, rows).explained == {"consent_under_way": 1}
    lake.execute("INSERT INTO staging.stg_outcomes__identities VALUES ('tenant', 'c')")
    assert compare(lake, rows).count_unexplained == 1


def test_operators_can_look_up_every_reason() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "operator.md").read_text()
    assert [each.name for each in ALLOWANCES if f"| `{each.name}` |" not in guide] == []
