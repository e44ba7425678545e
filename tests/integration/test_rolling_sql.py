"""Rolling engagement in SQL equals its oracle: the vectors, and thousands of groups in one query.

DuckDB in memory, without dbt, lake or stack: what is under test is the macro that mart and reconciliation
share.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipelines.quality.macros import sql_of
from tests.fakes.engagement_histories import random_histories
from tests.fakes.engagement_oracle import HOUR, WINDOWS_HOURS, Figures, Told, figures
from tests.fakes.engagement_staged import Group, staged
from tests.fakes.engagement_vectors import Vector, vectors

WITHDRAWALS = pa.schema([("tenant_id", pa.string()), ("participant_id", pa.string())])

SHARES = {
    "attendance_rate": ("count_attendances", "count_places"),
    "reply_rate_1h": ("count_threads_answered_1h", "count_threads_followed_1h"),
    "reply_rate_24h": ("count_threads_answered_24h", "count_threads_followed_24h"),
    "reciprocity": ("count_dyads_reciprocal", "count_dyads"),
    "top_1_percent_share": ("count_posts_of_top", "count_posts"),
}


def computed(groups: Collection[Group]) -> dict[tuple[str, str, int], dict[str, Any]]:
    """What the macro makes of the groups, by tenant, group and window."""
    withdrawn = {(group.tenant, who) for group in groups for who in group.withdrawn}
    people = [{"tenant_id": tenant, "participant_id": who} for tenant, who in withdrawn]
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("events", staged(groups))
        connection.register("withdrawals", pa.Table.from_pylist(people, schema=WITHDRAWALS))
        found = connection.execute(sql_of("group_engagement_rolling", "events", "withdrawals"))
        names = [column[0] for column in found.description]
        by_name = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    by_key = {(row["tenant_id"], row["group_id"], row["window_hours"]): row for row in by_name}
    assert len(by_key) == len(by_name)
    return by_key


def assert_equal_to_oracle(groups: Collection[Group]) -> None:
    found = computed(groups)
    expected = {(group.tenant, group.name): figures(group.told, group.withdrawn) for group in groups}
    told = {key: result for key, result in expected.items() if result is not None}
    assert set(found) == {(*key, hours) for key in told for hours in WINDOWS_HOURS}
    for key, (as_of, by_window) in told.items():
        for hours, values in by_window.items():
            row = found[*key, hours]
            assert row["as_of"].timestamp() == as_of
            assert differences(row, values) == {}, (key, hours)


def differences(row: dict[str, Any], expected: Figures) -> dict[str, tuple[object, object]]:
    """By figure what the row and the oracle say. Empty: they agree."""
    return {name: (row[name], value) for name, value in expected.items() if not agree(row[name], value)}


def agree(found: Any, expected: float | None) -> bool:
    if found is None or expected is None or isinstance(expected, int):
        return bool(found == expected)
    return math.isclose(found, expected, rel_tol=1e-12)


def paired(seed: int, count: int, max_events: int) -> Iterator[Group]:
    """Random histories, two to a tenant, which has the withdrawals of both."""
    histories = [*random_histories(seed, count, max_events=max_events)]
    for number, (one, other) in enumerate(zip(histories[::2], histories[1::2], strict=True)):
        withdrawn = one.withdrawn | other.withdrawn
        yield Group(f"tenant-{number}", "one", one.told, withdrawn)
        yield Group(f"tenant-{number}", "other", other.told, withdrawn)


@pytest.fixture(scope="module")
def of_vectors() -> dict[tuple[str, str, int], dict[str, Any]]:
    return computed([Group(each.name, "group", each.told, each.withdrawn) for each in vectors()])


@pytest.mark.parametrize("vector", [*vectors()], ids=str)
def test_vectors(vector: Vector, of_vectors: dict[tuple[str, str, int], dict[str, Any]]) -> None:
    for hours, expected in vector.expected.items():
        row = of_vectors[vector.name, "group", hours]
        assert row["as_of"].timestamp() == vector.as_of
        assert differences(row, expected) == {}


@pytest.mark.parametrize(("count", "max_events"), [(2000, 12), (1000, 60), (20, 600)])
def test_any_groups(count: int, max_events: int) -> None:
    assert_equal_to_oracle([*paired(count, count, max_events)])


def test_the_top_percent_of_many_contributors() -> None:
    """Of 200 contributors the top percent are two; of 201 three."""
    groups = []
    for people in (100, 101, 200, 201):
        posts = [
            Told(
                "thread_started", f"{who}-{i}", 50 * HOUR, f"p{who:03}", thread=f"{who}-{i}", act=f"{who}-{i}"
            )
            for who in range(people)
            for i in range(who % 7 + 1)
        ]
        groups.append(Group("tenant", f"group-{people}", posts))
    assert_equal_to_oracle(groups)


def test_shares_are_their_parts_divided() -> None:
    groups = [*paired(7, 400, 40)]
    found = computed(groups)
    for (tenant, name, _), row in found.items():
        for share, (part, whole) in SHARES.items():
            assert row[share] == (row[part] / row[whole] if row[whole] else None)
        day, month = (found[tenant, name, hours]["count_active_participants"] for hours in (24, 672))
        assert row["stickiness"] == (day / month if month else None)
        assert row["count_threads_unanswered"] == row["count_threads"] - row["count_threads_answered"]
    for share in (*SHARES, "stickiness"):
        assert {row[share] for row in found.values()} > {None, 1.0}


def test_nothing_told_gives_no_row() -> None:
    retraction = Told("event_retracted", "r", 0, retracted="e")
    assert computed([Group("tenant", "group", [retraction])]) == {}
