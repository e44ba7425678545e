"""What the table of moderation reads, of marts in an in-memory DuckDB with the columns of dbt's contract."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pandas as pd
import pytest

from pipelines.evidence import moderation_statements
from pipelines.evidence.communities import describe_replies
from pipelines.evidence.moderation_statements import STATEMENTS
from pipelines.evidence.protocols import ModeratedGroups, Period
from pipelines.quality.suites.marts import contracts

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=100)
MARTS = (
    "dim_group", "dim_participant", "fct_group_membership", "fct_member_gap", "fct_participation",
    "fct_reply_edge", "fct_thread",
)  # fmt: skip


def at(days: float) -> datetime:
    return START + timedelta(days=days)


@pytest.fixture
def lake() -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(duckdb.connect()) as connection:
        connection.execute("SET TimeZone = 'UTC'; ATTACH ':memory:' AS lake; USE lake; CREATE SCHEMA marts")
        for mart in MARTS:
            listed = ", ".join(f"{name} {kind}" for name, kind in contracts()[mart].items())
            connection.execute(f"CREATE TABLE marts.{mart} ({listed})")
        yield connection


def insert(lake: duckdb.DuckDBPyConnection, mart: str, **row: Any) -> None:
    counts = {name: 0 for name in contracts()[mart] if name.startswith("count_")}
    told = {"tenant_id": "t", "group_id": "g", "data_class": "synthetic"} | counts | row
    named = {name: value for name, value in told.items() if name in contracts()[mart]}
    places = ", ".join("?" * len(named))
    lake.execute(f"INSERT INTO marts.{mart} ({', '.join(named)}) VALUES ({places})", [*named.values()])


def group(lake: duckdb.DuckDBPyConnection, name: str = "g", **facts: Any) -> None:
    told = {"first_event_at": START, "last_event_at": END, "has_reads_collected": True}
    insert(lake, "dim_group", **told | {"group_id": name} | facts)


def member(
    lake: duckdb.DuckDBPyConnection, name: str, consents: bool = True, joined: float = 0, **row: Any
) -> None:
    row = {"participant_id": name, "has_research_consent": consents} | row
    insert(lake, "dim_participant", **row)
    row |= {"first_joined_at": at(joined), "is_active": False}
    insert(lake, "fct_group_membership", **row)
    insert(lake, "fct_member_gap", **{"gap_at": at(joined + 30)} | row)


def read(
    lake: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, frame: str, **asked: Any
) -> pd.DataFrame:
    protocol = ModeratedGroups(
        study="s", system="professional_moderation", version="1", dated=date(2026, 1, 1), population="p",
        design="cohort", **asked,
    )  # fmt: skip
    monkeypatch.setattr(moderation_statements, "protocols", lambda _: (protocol,))
    return lake.execute(STATEMENTS[frame], {"moderated": moderation_statements.moderated()}).df()


def values(found: pd.DataFrame, row: str, *columns: str) -> list[Any]:
    return [found.at[row, name] for name in columns]


def test_a_group_is_looked_at_until_the_partners_data_end_or_it_is_closed(
    lake: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    group(lake, "silent", last_event_at=at(10), moderation="peer")
    group(lake, "closed", closed_at=at(20), moderation="peer")
    group(lake, "early", last_event_at=END, first_event_at=at(95))
    for name in ("silent", "closed", "early"):
        insert(
            lake, "fct_group_membership", group_id=name, participant_id="p", has_research_consent=True,
            first_joined_at=at(0),
        )  # fmt: skip
    insert(
        lake, "fct_group_membership", group_id="silent", participant_id="q", has_research_consent=False,
        first_joined_at=at(0),
    )  # fmt: skip
    found = read(lake, monkeypatch, "moderated_units", by_group=True)
    until = {each.group_id: each.until_at for each in found.itertuples() if isinstance(each.group_id, str)}
    assert until == {"silent": END, "closed": at(20), "early": END}
    told = found[found["group_id"].isna()].fillna({"moderation": "all"}).set_index("moderation")
    columns = ("count_groups", "count_members", "count_consented")
    assert values(told, "all", *columns) == [3, 2, 1]
    assert values(told, "peer", *columns) == [2, 2, 1]
    assert values(told, "not_stated", *columns) == [1, 1, 1]
    assert not read(lake, monkeypatch, "moderated_units")["group_id"].notna().any()
    for asked in ({"tenants": ("u",)}, {"formats": ("chat",)}, {"conditions": ("grief",)}):
        assert len(read(lake, monkeypatch, "moderated_units", **asked)) == 0


def test_threads_wait_until_something_happens_by_the_end(
    lake: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    group(lake)
    told: dict[str, dict[str, Any]] = {
        "answered": {"first_reply_at": at(1), "moderator_reply_at": at(2)},
        "at once": {"first_reply_at": at(-1)},
        "removed": {"removed_at": at(3), "locked_at": at(1)},
        "later": {"first_reply_at": at(101), "locked_at": at(101)},
        "of another": {"has_research_consent": False, "first_reply_at": at(1)},
    }
    for name, row in told.items():
        insert(
            lake, "fct_thread",
            **{"thread_id": name, "starter_participant_id": name, "started_at": at(0)}
            | {"has_research_consent": True, "count_messages": 2} | row,
        )  # fmt: skip
    found = read(lake, monkeypatch, "moderated_threads").set_index("participant_id")
    columns = ("reply_hours", "moderator_hours", "closed_hours")
    hours = found[[*columns]].fillna(-1)
    assert values(hours, "answered", *columns) == [24, 48, -1]
    assert values(hours, "at once", *columns) == [0, -1, -1]
    assert values(hours, "removed", *columns) == [-1, -1, 24]
    assert values(hours, "later", *columns) == [-1, -1, -1]
    assert set(found["followed_hours"]) == {2400.0}
    assert sorted(found.index) == ["answered", "at once", "later", "removed"]


def test_members_stay_until_a_gap_or_completion_by_the_end(
    lake: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    group(lake)
    member(lake, "gone", gap_at=at(40), returned_at=at(60), count_posts=3)
    member(lake, "here", gap_at=at(120), count_reads=1)
    member(lake, "done", completed_at=at(14), gap_at=at(30))
    member(lake, "refused", consents=False)
    member(lake, "future", joined=101)
    found = read(lake, monkeypatch, "moderated_members").set_index("participant_id")
    assert sorted(found.index) == ["done", "gone", "here"]
    columns = ("followed_days", "gap_days", "completed_days", "ended_days")
    days = found[[*columns]].fillna(-1)
    assert values(days, "gone", *columns) == [100, 40, -1, -1]
    assert values(days, "here", *columns) == [100, -1, -1, -1]
    assert values(days, "done", *columns) == [100, 30, 14, -1]
    assert found["has_returned"].to_dict() == {"gone": True, "here": False, "done": False}
    assert found["has_acted"].to_dict() == {"gone": False, "here": True, "done": False}
    assert found["member_weeks"].to_dict() == pytest.approx({"gone": 100 / 7, "here": 100 / 7, "done": 2.0})
    period = Period(first=at(10).date(), last=at(49).date())
    within = read(lake, monkeypatch, "moderated_members", period=period).set_index("participant_id")
    assert not within["is_followed"].any()
    assert values(within, "gone", "gap_days", "has_returned", "count_posts") == [40.0, False, 0]
    assert within.loc["here", "followed_days"] == pytest.approx(50)


def test_within_a_period_messages_and_replies_are_counted_and_by_the_same_rules(
    lake: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One random history twice: by the marts, as dbt makes them, and by a period that holds all of it."""
    rng = random.Random(7)
    people = [f"p{i}" for i in range(8)]
    refused = {"p0"}
    group(lake)
    authors: dict[str, str] = {}
    edges: dict[tuple[str, str], int] = {}
    counts, sizes = dict.fromkeys(people, 0), dict[str, int]()
    for i in range(120):
        act, who, kind = f"a{i}", rng.choice(people), "thread_started" if i % 6 == 0 else "reply_posted"
        thread = f"t{i // 6}"
        to = None if i % 6 == 0 else rng.choice([*authors])
        authors[act] = who
        insert(
            lake, "fct_participation", event_id=act, participant_id=who, kind=kind, occurred_at=at(i / 2),
            thread_id=thread, act_id=act, in_reply_to_act_id=to,
        )  # fmt: skip
        counts[who] += 1
        if who not in refused:
            sizes[thread] = sizes.get(thread, 0) + 1
        if kind == "thread_started":
            insert(
                lake, "fct_thread", thread_id=thread, starter_participant_id=who, started_at=at(i / 2),
                has_research_consent=who not in refused,
            )  # fmt: skip
        if to and authors[to] != who:
            edges[who, authors[to]] = edges.get((who, authors[to]), 0) + 1
    for thread, size in sizes.items():
        lake.execute("UPDATE marts.fct_thread SET count_messages = ? WHERE thread_id = ?", [size, thread])
    for name in people:
        member(lake, name, consents=name not in refused, count_posts=counts[name])
    lake.execute("UPDATE marts.fct_group_membership SET is_active = count_posts > 0")
    for (who, to), count in edges.items():
        insert(
            lake, "fct_reply_edge", from_participant_id=who, to_participant_id=to, count_replies=count,
            has_research_consent=not {who, to} & refused,
        )  # fmt: skip
    whole = Period(first=START.date(), last=END.date())
    for frame in STATEMENTS:
        one, other = read(lake, monkeypatch, frame), read(lake, monkeypatch, frame, period=whole)
        assert len(one)
        pd.testing.assert_frame_equal(one, other, check_dtype=False)
    (told,) = read(lake, monkeypatch, "moderated_networks").itertuples()
    known = [(int(a[1:]), int(b[1:])) for a, b in edges if not {a, b} & refused]
    network = describe_replies([a for a, _ in known], [b for _, b in known], 8)
    assert (told.count_dyads, told.count_mutual) == (network.dyads, network.mutual)
    degrees = [len({a for a, to in known if to == b}) for b in range(8)]
    assert (told.max_in_degree, told.sum_in_degree) == (max(degrees), len(known))
    half = Period(first=START.date(), last=at(29).date())
    fewer = read(lake, monkeypatch, "moderated_threads", period=half)
    assert fewer["count_messages"].sum() == sum(1 for i in range(60) if authors[f"a{i}"] not in refused and
        authors[f"a{i - i % 6}"] not in refused)  # fmt: skip
