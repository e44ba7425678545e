"""Landing again what Kafka still has: rows are made anew, keep their landing, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.kafka.client import admin, consumer
from services.kafka.topics import Topic, event_topics
from services.landing import again
from services.landing.again import Again, land_again, sources
from services.landing.pause import CannotPause, paused
from services.landing.raw_tables import ensure_raw_tables, raw_columns
from services.runtime.settings import KafkaSettings, LakeSettings, PostgresSettings
from tests.landings import (
    OwnLake,
    Session,
    expire_records,
    landing_process,
    own_lake,
    own_topics,
    post_records,
)
from tests.partners import attended, lake_rows, landed, new_partner
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack

PLACES = ("topic", "kafka_partition", "kafka_offset", "received_at", "landed_at")
COUNT = 6


@pytest.fixture(scope="module")
def lake(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLake]:
    with own_lake(tmp_path_factory.mktemp("again")) as made:
        yield made


@pytest.fixture
def topic(stack: Stack, lake: OwnLake) -> Iterator[Topic]:
    """A topic of which COUNT records have landed, in two commits."""
    with own_topics(1, partitions=1) as (made,):
        for _ in range(2):
            post_records(made, COUNT // 2)
            with Session(lake, [made]) as session:
                assert session.land(COUNT // 2)
        yield made


def from_kafka(lake: OwnLake, topic: Topic) -> Again:
    kafka, postgres = KafkaSettings.load(), PostgresSettings.load(database_lake=lake.database)
    with (
        closing(consumer(kafka, auto_offset_reset="none", enable_auto_commit=False)) as reader,
        closing(admin(kafka)) as client,
    ):
        (source,) = sources(lake.connection, client, reader, [topic])
        return land_again(LakeSettings.load(data_path=lake.folder), postgres, reader, source)


def rows(lake: OwnLake, topic: Topic, columns: str = "*") -> list[tuple[Any, ...]]:
    lake.disconnect()  # whoever has read the schema before a change of it cannot go on
    return lake.rows(
        f"SELECT {columns} FROM raw.participation_events WHERE topic = ? ORDER BY kafka_offset, landed_seq",
        topic.name,
    )


def counts(done: Again) -> tuple[int, ...]:
    return done.count_again, done.count_left_out, done.count_new


def test_twice_in_a_row_gives_the_rows_that_were_there(lake: OwnLake, topic: Topic) -> None:
    before = rows(lake, topic)
    for _ in range(2):
        assert counts(from_kafka(lake, topic)) == (COUNT, 0, 0)
        assert rows(lake, topic) == before
    post_records(topic, 1)
    with Session(lake, [topic]) as session:
        assert session.land(1)
    assert rows(lake, topic)[:COUNT] == before


def test_what_kafka_has_no_more_stays_and_what_was_erased_does_not_come_back(
    lake: OwnLake, topic: Topic
) -> None:
    of_topic = f"topic = '{topic.name}' AND kafka_offset"
    lake.rows(f"UPDATE raw.participation_events SET group_ref = 'wrong' WHERE {of_topic} IN (1, 2)")
    lake.rows(f"DELETE FROM raw.participation_events WHERE {of_topic} = 4")
    ((total,),) = lake.rows("SELECT count(*) FROM raw.participation_events")
    expire_records(topic, before=2)
    done = from_kafka(lake, topic)
    assert counts(done) == (3, 1, 0)
    assert done.count_kept == total - 3
    wrong = "group_ref = 'wrong'"
    assert rows(lake, topic, f"kafka_offset, {wrong}") == [
        (0, False), (1, True), (2, False), (3, False), (5, False),
    ]  # fmt: skip


def test_a_field_that_is_new_is_filled_where_kafka_has_it_and_landing_goes_on(
    lake: OwnLake, topic: Topic
) -> None:
    """As if the rows had landed by code that did not know `session_attended__session_ref` yet."""
    column = "session_attended__session_ref"
    lake.rows(f"ALTER TABLE raw.participation_events DROP COLUMN {column}")
    post_records(topic, 1)
    lake.disconnect()
    ensure_raw_tables(lake.connection)  # as landing does when it starts
    with Session(lake, [topic]) as session:
        assert session.land(1)
    assert [row[0] for row in rows(lake, topic, column)] == [*[None] * COUNT, "s1"]
    assert counts(from_kafka(lake, topic)) == (COUNT + 1, 0, 0)
    assert [row[0] for row in rows(lake, topic, column)] == ["s1"] * (COUNT + 1)


def test_a_record_that_was_set_aside_and_can_be_read_now_lands_under_a_number_of_its_own(
    lake: OwnLake, topic: Topic
) -> None:
    ((topic_id, newest),) = set(rows(lake, topic, "topic_id, max(landed_seq) OVER ()"))
    lake.rows("DELETE FROM raw.participation_events WHERE topic = ? AND kafka_offset = 3", topic.name)
    lake.rows(
        "INSERT INTO raw.failed_events (stage, reason, topic, topic_id, kafka_partition, kafka_offset) "
        "VALUES ('landing', 'unreadable', ?, ?, 0, 3)",
        topic.name,
        topic_id,
    )
    assert counts(from_kafka(lake, topic)) == (COUNT - 1, 0, 1)
    before = rows(lake, topic)
    assert [row[0] for row in rows(lake, topic, "landed_seq > " + str(newest))] == [False] * 3 + [True] + [
        False
    ] * 2
    assert lake.rows("SELECT count(*) FROM raw.failed_events WHERE topic = ?", topic.name) == [(0,)]
    assert counts(from_kafka(lake, topic)) == (COUNT, 0, 0)
    assert rows(lake, topic) == before
    post_records(topic, 1)
    with Session(lake, [topic]) as session:
        assert session.land(1)
    assert rows(lake, topic, "landed_seq")[-1] == (newest + 2,)


def test_what_breaks_in_the_middle_changes_nothing(
    lake: OwnLake, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(lake, topic)

    def breaks(*_: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(again, "_land_what_was_set_aside", breaks)
        from_kafka(lake, topic)
    assert rows(lake, topic) == before
    with Session(lake, [topic]):
        assert counts(from_kafka(lake, topic)) == (COUNT, 0, 0)


def test_a_landing_at_work_pauses_and_goes_on(stack: Stack, lake: OwnLake, tmp_path: Path) -> None:
    postgres = PostgresSettings.load(database_lake=lake.database)
    with landing_process(stack, lake, tmp_path / "home") as landing:
        landing.wait_until_ready()
        with paused(postgres):
            wait_until(lambda: "landed again" in landing.alarms, "a landing that waits")
            with pytest.raises(CannotPause), paused(postgres):
                pass
        landing.wait_until_ready()


def test_every_raw_row_tells_where_it_came_from_and_when(stack: Stack) -> None:
    for each in event_topics():
        assert {*PLACES, "topic_id", "landed_seq"} <= {name for name, _ in raw_columns(each)}
    partner = new_partner(stack, "placed")
    partner.call([attended()])
    wait_until(lambda: landed(partner.tenant_id) == 1, "the row")
    missing = " OR ".join(f"{name} IS NULL" for name in PLACES)
    for each in event_topics():
        assert lake_rows(f"SELECT count(*) FROM raw.{each.raw_table} WHERE {missing}") == [(0,)]
