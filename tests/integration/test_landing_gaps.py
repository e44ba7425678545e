"""Records that are gone, and topics that come and go: the partition waits, the others land, nobody jumps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.kafka.topics import Topic
from services.landing import loader
from services.landing.alarms import Alarms, alarms_of
from services.landing.gaps import Cause, accept
from tests.landings import (
    OwnLake,
    Session,
    delete_topics,
    expire_records,
    landed_offsets,
    make_topics,
    own_lake,
    own_topics,
    post_records,
    tell,
)
from tests.stacks import Stack

pytestmark = pytest.mark.stack

TOLD = "SELECT alarm, topic, is_raised FROM raw.landing_alarms ORDER BY told_at"


@pytest.fixture(scope="module")
def lake(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLake]:
    with own_lake(tmp_path_factory.mktemp("gaps")) as made:
        yield made


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "RECHECK_SECONDS", 0.0)


def test_expired_records_stop_their_partition_until_the_gap_is_accepted(lake: OwnLake) -> None:
    with own_topics(1) as (topic,):
        post_records(topic, 10, partition=0)
        with Session(lake, [topic]) as before:
            assert before.land(10)
        post_records(topic, 10, partition=0)
        post_records(topic, 5, partition=1)
        expire_records(topic, before=15)
        alarms = Alarms()
        with Session(lake, [topic]) as session:
            (gap,) = session.loader.plan.gaps
            assert (gap.partition, gap.first_missing_offset, gap.next_offset) == (0, 10, 15)
            assert gap.cause is Cause.EXPIRED and gap.count_missing == 5 and gap.since is not None
            assert session.land(5)
            assert landed_offsets(lake, topic) == {0: [*range(10)], 1: [*range(5)]}
            tell(alarms, session)
            assert session.land(turns=2)  # waits, and goes on waiting
            accept(lake.connection, session.loader.plan.gaps)
            assert not session.land()
        with Session(lake, [topic]) as after:
            assert after.land(5)
            tell(alarms, after)
        assert landed_offsets(lake, topic)[0] == [*range(10), *range(15, 20)]
        told = [row for row in lake.rows(TOLD) if row[1] == topic.name]
        assert told == [("records_expired", topic.name, True), ("records_expired", topic.name, False)]
        books = (
            "SELECT topic_id = next_topic_id, first_missing_offset, next_offset, accepted_at > last_landed_at"
        )
        assert lake.rows(f"{books} FROM raw.landing_gaps WHERE topic = ?", topic.name) == [
            (True, 10, 15, True)
        ]
        with Session(lake, [topic]) as later:
            assert later.loader.plan.is_whole


def test_records_that_expire_under_a_running_session_are_a_gap_too(lake: OwnLake) -> None:
    with own_topics(1, partitions=1) as (topic,):
        post_records(topic, 4)
        with Session(lake, [topic]) as running:
            expire_records(topic, before=3)
            assert not running.land()
        with Session(lake, [topic]) as session:
            assert [(gap.first_missing_offset, gap.next_offset) for gap in session.loader.plan.gaps] == [
                (0, 3)
            ]
        assert landed_offsets(lake, topic) == {}


def test_a_topic_made_anew_under_a_running_session_is_not_read_from_the_middle(lake: OwnLake) -> None:
    """Its new records reach beyond the offset that we would go on with."""
    with own_topics(2, partitions=1) as (topic, other):
        post_records(topic, 3)
        with Session(lake, [topic, other]) as running:
            assert running.land(3)
            delete_topics([topic])
            make_topics([topic])
            post_records(topic, 8)
            post_records(other, 2)
            assert not running.land()
        with Session(lake, [topic, other]) as session:
            (gap,) = session.loader.plan.gaps
            assert gap.cause is Cause.RECREATED and gap.count_missing is None
            assert (gap.first_missing_offset, gap.next_offset) == (3, 0)
            assert session.land(2)
            assert landed_offsets(lake, other) == {0: [0, 1]}
            assert landed_offsets(lake, topic) == {0: [0, 1, 2]}
            accept(lake.connection, session.loader.plan.gaps)
            assert not session.land()
        with Session(lake, [topic, other]) as after:
            assert after.land(8)
        by_id = (
            "SELECT topic_id, count(*) FROM raw.participation_events WHERE topic = ? GROUP BY 1 ORDER BY 2"
        )
        assert [count for _, count in lake.rows(by_id, topic.name)] == [3, 8]


def test_a_deleted_topic_waits_alone(lake: OwnLake) -> None:
    with own_topics(2, partitions=1) as (topic, other):
        post_records(topic, 1)
        with Session(lake, [topic, other]) as running:
            assert running.land(1)
            delete_topics([topic])
            assert not running.land()
        with Session(lake, [topic, other]) as session:
            assert session.loader.plan.absent == ((topic.name, 0),)
            (alarm,) = alarms_of(session.loader.plan)
            assert alarm.name == "topic_missing" and "circles provision" in alarm.to_do
            post_records(other, 2)
            assert session.land(2)
            make_topics([topic])
            assert not session.land()
        with Session(lake, [topic, other]) as after:
            assert [gap.cause for gap in after.loader.plan.gaps] == [Cause.RECREATED]


def test_a_log_that_was_cut_goes_on_at_its_end_once_that_is_accepted(lake: OwnLake) -> None:
    with own_topics(1, partitions=1) as (topic,):
        post_records(topic, 2)
        with Session(lake, [topic]) as before:
            assert before.land(2)
            topic_id = before.loader.plan.topic_ids[topic.name]
        # A broker that loses its log cannot be had here; a lake that is ahead of it is the same to landing.
        lake.rows(
            "INSERT INTO raw.landed_offsets "
            "SELECT ?, ?, 0, 9, max(landed_seq) + 1, now() FROM raw.landed_offsets",
            topic.name,
            topic_id,
        )
        with Session(lake, [topic]) as session:
            assert [(gap.cause, gap.next_offset) for gap in session.loader.plan.gaps] == [(Cause.CUT, 2)]
            accept(lake.connection, session.loader.plan.gaps)
        with Session(lake, [topic]) as after:
            post_records(topic, 1)
            assert after.land(1)
        assert landed_offsets(lake, topic) == {0: [0, 1, 2]}


def test_a_topic_that_nothing_landed_of_yet_begins_at_its_beginning(lake: OwnLake) -> None:
    topics: list[Topic]
    with own_topics(1) as topics, Session(lake, topics) as session:
        assert session.loader.plan.is_whole
        assert set(session.loader.plan.starts.values()) == {0}
