"""Two landings on one lake, with no lock between them: a record lands once, and the loser knows."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from services.kafka.topics import Topic
from services.landing import fence
from services.landing.fence import Fenced
from tests.landings import Interrupted, OwnLake, Session, landed_offsets, own_lake, own_topics, post_records
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def lake(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLake]:
    with own_lake(tmp_path_factory.mktemp("fence")) as made:
        yield made


def test_whoever_was_overtaken_before_its_commit_is_fenced(lake: OwnLake) -> None:
    with own_topics(1, partitions=1) as topics, Session(lake, topics) as old:
        post_records(topics[0], 10)
        with Session(lake, topics) as new:
            assert new.land(10)
            with pytest.raises(Fenced):
                old.land()
        assert landed_offsets(lake, topics[0]) == {0: [*range(10)]}


def test_whoever_is_overtaken_within_its_commit_is_fenced(lake: OwnLake) -> None:
    """Its transaction read the lake when nobody had come between yet."""
    with own_topics(1, partitions=1) as topics, Session(lake, topics, Interrupted) as old:
        post_records(topics[0], 300)  # beyond what is kept in the catalog

        def overtake() -> None:
            with Session(lake, topics) as new:
                assert new.land(300)

        assert isinstance(old.loader, Interrupted)
        old.loader.meanwhile = overtake
        with pytest.raises(Fenced):
            old.land()
        assert old.loader.meanwhile is None
        assert landed_offsets(lake, topics[0]) == {0: [*range(300)]}
        with Session(lake, topics) as again:
            assert list(again.loader.plan.starts.values()) == [300]


def test_a_worn_fence_is_made_anew(lake: OwnLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "COMMITS", 1)
    with own_topics(1, partitions=1) as topics:
        for _ in range(2):
            post_records(topics[0], 1)
            with Session(lake, topics) as session:
                assert not session.land()
        assert landed_offsets(lake, topics[0]) == {0: [0, 1]}


def test_a_conflict_with_maintenance_is_no_overtaking(lake: OwnLake) -> None:
    """Flushing what is kept in the catalog conflicts with a commit, which then succeeds at the second try."""
    with own_topics(1, partitions=1) as topics, Session(lake, topics, Interrupted) as session:
        post_records(topics[0], 10)
        assert isinstance(session.loader, Interrupted)
        session.loader.meanwhile = lambda: lake.rows("CALL ducklake_flush_inlined_data('lake')")
        assert session.land(10)
        assert session.loader.meanwhile is None
        assert landed_offsets(lake, topics[0]) == {0: [*range(10)]}


def test_two_that_take_the_lake_from_each_other_land_each_record_once(lake: OwnLake) -> None:
    count, losses = 400, []
    with own_topics(1, partitions=1) as topics:
        over = threading.Event()

        def land() -> None:
            while not over.is_set():
                try:
                    with Session(lake, topics) as session:
                        session.land(turns=3)
                except Fenced:
                    losses.append(1)

        both = [threading.Thread(target=land) for _ in range(2)]
        for each in both:
            each.start()
        for _ in range(20):
            post_records(topics[0], count // 20)
        wait_for_rows(lake, topics[0], count)
        over.set()
        for each in both:
            each.join(60)
        assert landed_offsets(lake, topics[0]) == {0: [*range(count)]}
        assert losses
        assert lake.rows("SELECT count(*) FROM raw.landing_fence") == [(1,)]
        numbers = "SELECT count(*), count(DISTINCT landed_seq) FROM raw.landed_offsets WHERE topic = ?"
        ((commits, distinct),) = lake.rows(numbers, topics[0].name)
        assert commits == distinct > 1


def wait_for_rows(lake: OwnLake, topic: Topic, count: int) -> None:
    wait_until(lambda: len(landed_offsets(lake, topic).get(0, [])) >= count, f"{count} rows")
