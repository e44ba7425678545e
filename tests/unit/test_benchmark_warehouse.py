"""The arithmetic of the benchmark of the warehouse: what it feeds, what it concludes, what it lets pass."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from services.kafka.topics import landed_topics
from services.landing.raw_tables import raw_columns
from tests.benchmarks import bounds
from tests.benchmarks.warehouse import costs, landing, plain, table
from tests.benchmarks.warehouse.build import Built, Node
from tests.benchmarks.warehouse.costs import Cost
from tests.benchmarks.warehouse.lakes import shapes
from tests.benchmarks.warehouse.landing import Landed
from tests.benchmarks.warehouse.queries import OPERATOR, Answered, Question
from tests.benchmarks.warehouse.rows import FULL, INCREMENT, LANDING, QUERY
from tests.benchmarks.warehouse.table import Found, Full, Increment
from tests.benchmarks.warehouse.worlds import World, tables

WORLD = World(0, 20_000, 1_000)
SMALL, WIDE, LONG = shapes(20_000, 1_000)


def of(cpu_seconds: float, seconds: float = 1.0) -> Cost:
    return Cost(cpu_seconds, 0.0, seconds, 0.0, 0.0)


def built(cpu_seconds: float) -> Built:
    return Built(of(cpu_seconds), (Node("dim_group", False, 2.0), Node("never_null_dim_group", True, 1.0)))


@pytest.fixture(scope="module")
def made() -> dict[str, pa.Table]:
    return tables(WORLD)


@pytest.fixture(scope="module")
def participation(made: dict[str, pa.Table]) -> pd.DataFrame:
    frame: pd.DataFrame = made["participation_events"].to_pandas()
    return frame


def test_the_same_seed_gives_the_same_rows(made: dict[str, pa.Table]) -> None:
    again = tables(WORLD)
    assert all(again[name].equals(rows) for name, rows in made.items())
    assert not tables(World(1, 20_000, 1_000, groups_of=1))["group_events"].equals(made["group_events"])


def test_rows_have_columns_of_the_raw_tables(made: dict[str, pa.Table]) -> None:
    for topic in landed_topics():
        assert {*made[str(topic.raw_table)].column_names} <= {name for name, _ in raw_columns(topic)}


def test_a_world_is_as_it_is_described(participation: pd.DataFrame) -> None:
    groups = participation["group_ref"].value_counts()
    posts = participation[participation["kind"].isin(["thread_started", "reply_posted"])]
    by_person = posts["participant_ref"].value_counts()
    bodies = participation.drop_duplicates(["event_id", "body_hash"])
    assert groups.max() > 10 * groups.median()
    assert by_person.max() > 5 * by_person.median()
    assert 0.005 < 1 - len(bodies) / len(participation) < 0.02
    assert bodies["event_id"].duplicated().any()
    assert participation["is_late"].any()
    assert participation["received_at"].is_monotonic_increasing


def test_acts_are_about_what_was_there_before(participation: pd.DataFrame) -> None:
    rows = participation.drop_duplicates("event_id").sort_values(["group_ref", "occurred_at"])
    openings = rows.dropna(subset="thread_started__thread_ref")
    begun = dict(zip(openings["thread_started__thread_ref"], openings["group_ref"], strict=True))
    acts = {*rows["thread_started__act_ref"].dropna(), *rows["reply_posted__act_ref"].dropna()}
    read = rows.dropna(subset="thread_read__thread_ref")
    replies = rows.dropna(subset="reply_posted__act_ref")
    assert all(
        begun[thread] == group for thread, group in read[["thread_read__thread_ref", "group_ref"]].values
    )
    assert {*replies["reply_posted__in_reply_to_act_ref"]} <= acts
    assert (replies["reply_posted__in_reply_to_act_ref"] != replies["reply_posted__act_ref"]).all()


def test_places_in_kafka_are_distinct(participation: pd.DataFrame) -> None:
    places = participation[["kafka_partition", "kafka_offset", "event_index"]]
    assert not places.duplicated().any()


def test_a_longer_history_is_about_the_same_groups_and_a_wider_one_is_not() -> None:
    first, earlier, others = (
        tables(each)["participation_events"] for each in (SMALL.worlds[0], LONG.worlds[1], WIDE.worlds[1])
    )

    def groups(rows: pa.Table) -> set[str]:
        return {*rows["group_ref"].to_pylist()}

    assert len(groups(first) & groups(earlier)) > len(groups(first)) / 2
    assert not groups(first) & groups(others)
    assert not {*first["event_id"].to_pylist()} & {*earlier["event_id"].to_pylist()}
    assert max(earlier["occurred_at"].to_pylist()) < max(first["occurred_at"].to_pylist())
    assert Counter(each.events for each in WIDE.worlds) == {20_000: 10}


def increment(shape: Any, cpu_seconds: float) -> Increment:
    return Increment(shape, 1_000, of(1.0), of(cpu_seconds), built(cpu_seconds))


def test_what_must_hold_is_judged() -> None:
    found = Found(
        ours=Landed(300.0, of(1.0)),
        dlt=Landed(100.0, of(1.0)),
        full=Full(10_000_000, built(100.0), run=of(38.0), plain=of(20.0), empty=of(8.0)),
        increments=[increment(SMALL, 10.0), increment(WIDE, 14.0), increment(LONG, 50.0)],
        answers=[Answered(Question(OPERATOR, "what", ("sql",)), (*[0.1] * 19, 3.0), 1)],
    )
    verdicts = {line.figure: line.verdict for line in table.figures(found) if line.verdict}
    assert verdicts == {
        LANDING.figure: "holds",
        FULL.figure: "holds",
        INCREMENT.figure: bounds.FAILS,
        QUERY.figure: "holds",
    }
    assert bounds.failed(table.figures(found)) == [f"{INCREMENT.figure}: 1.40 ×, must be ≤ 1.3 ×"]


def test_start_up_is_no_excuse_for_the_rest() -> None:
    full = Full(1, built(0.0), run=of(48.0), plain=of(20.0), empty=of(8.0))
    assert full.times == pytest.approx(2.0)


def test_what_was_not_measured_is_not_judged() -> None:
    assert table.figures(Found()) == []
    assert table.figures(Found(ours=Landed(300.0, of(1.0)), increments=[increment(WIDE, 1.0)])) == []


def test_the_slowest_answers_count() -> None:
    asked = Answered(Question(OPERATOR, "what", ("sql",)), (*[0.1] * 18, 2.0, 3.0), 1)
    assert (asked.p50, asked.p95) == (0.1, 2.0)
    assert bounds.failed(table.figures(Found(answers=[asked])))


def test_work_of_the_catalog_counts() -> None:
    cost = Cost(own_cpu_seconds=1.0, postgres_cpu_seconds=2.0, seconds=9.0, peak_rss_bytes=0, others_cores=0)
    assert cost.cpu_seconds == 3.0
    assert costs.medians([of(1.0), of(9.0), of(2.0)]).own_cpu_seconds == 2.0
    assert landing.medians([Landed(10, of(1.0, 1.0)), Landed(10, of(1.0, 5.0))]).rows_per_second == (
        pytest.approx(10 / 3)
    )


def test_every_part_has_a_table() -> None:
    found = Found(ours=Landed(300.0, of(1.0)), increments=[increment(SMALL, 10.0), increment(WIDE, 10.0)])
    full = Full(1, built(1.0), of(1.0), of(1.0), of(1.0))
    for lines in (
        table.landing_lines(found),
        table.full_lines(full),
        table.increment_lines(found.increments),
        table.model_lines(found),
        table.query_lines([Answered(Question(OPERATOR, "what", ("sql",)), (0.1,), 1)]),
    ):
        assert len(lines) > 2
        assert len({len(line) for line in lines}) == 1


def test_plain_statements_come_after_what_they_read() -> None:
    def model(name: str, *reads: str, materialized: str = "table") -> dict[str, Any]:
        return {
            "resource_type": "model",
            "alias": name,
            "schema": "marts",
            "config": {"materialized": materialized},
            "compiled_code": f"select '{name}'",
            "depends_on": {"nodes": [*reads, "source.raw"]},
        }

    nodes = {
        "model.c": model("c", "model.e"),
        "model.e": model("e", "model.b", materialized="ephemeral"),
        "model.b": model("b", "model.a", materialized="view"),
        "model.a": model("a"),
        "test.a": {"resource_type": "test"},
    }
    found = list(plain.statements({"nodes": nodes}))
    assert [each.name for each in found] == ["a", "b", "c"]
    assert [each.is_view for each in found] == [False, True, False]
