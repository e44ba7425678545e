"""What of the engagement worker its figures do not show: idle groups, consents, large states, kept tables."""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path

import numpy as np
import pytest
from circles.outcomes.v1.consent_statement_pb2 import ConsentStatement
from hypothesis import given, settings
from hypothesis import strategies as st

from services.engagement import kernels, state
from services.engagement.cold import ColdGroups, SpoiltColdGroups
from services.engagement.consents import Consents
from services.engagement.groups import Group, GroupKey
from services.engagement.layout import EVENT, KINDS, STEP_SECONDS, Events
from services.engagement.people import joined, nobody, remembered
from services.engagement.reading import pseudonym_number
from services.engagement.state import StateWriter, Written, restored
from services.engagement.tables import Tabulator

KEY = GroupKey("t", "grp_" + "1" * 32)
PEOPLE = [f"prt_{number:032x}" for number in (5 << 64, 6 << 64)]


def random_events(seed: int, count: int, seconds: int = 20 * 86_400) -> Events:
    """In order of time, of few people, threads and sessions."""
    rng = np.random.default_rng(seed)
    events = np.zeros(count, EVENT)
    events["at"] = np.sort(rng.integers(0, seconds, count))
    events["event"] = rng.integers(1, 2**63, count)
    events["person"] = rng.integers(1, 40, count) << 56
    for field, different in (("thread", 60), ("act", 90), ("parent", 90)):
        events[field] = rng.integers(1, different, count)
    events["kind"] = rng.integers(0, len(KINDS), count)
    events["role"] = rng.integers(0, 3, count)
    return events[np.lexsort((events["event"], events["at"]))]


@pytest.mark.parametrize("seed", range(8))
def test_kept_tables_give_the_figures_of_new_ones(seed: int) -> None:
    """Whatever comes late, as long as the last time stands."""
    events = random_events(seed, 3000)
    as_of = int(events["at"][-1]) // STEP_SECONDS * STEP_SECONDS + STEP_SECONDS
    order = np.random.default_rng(seed).permutation(len(events))
    kept, fresh = Tabulator(kept_from_events=0), Tabulator(kept_from_events=10**9)
    for end in range(500, len(events) + 1, 500):
        known = np.sort(events[order[:end]], order=("at", "event"))
        news = events[order[end - 500 : end]]
        ours = kept.figures("g", known, nobody(), as_of, news)
        theirs = fresh.figures("g", known, nobody(), as_of, None)
        assert (ours.counts == theirs.counts).all() and (ours.medians == theirs.medians).all()
        assert np.array_equal(ours.gini, theirs.gini, equal_nan=True)


def test_what_is_remembered_of_people_does_not_depend_on_the_order() -> None:
    events = random_events(1, 500)
    whole = remembered(events)
    rng = np.random.default_rng(2)
    for _ in range(20):
        parts = np.array_split(rng.permutation(len(events)), rng.integers(1, 9))
        people = nobody()
        for part in [*parts, parts[0]]:
            people = joined(people, remembered(events[part]))
        assert people.tobytes() == whole.tobytes()


def group_of(events: Events) -> Group:
    group = Group(KEY, 3)
    group.tell(events.copy(), ())
    return group


def test_the_state_of_many_events_and_people_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """In several records, people in shards once there are many; and an epoch later in its own."""
    monkeypatch.setattr(state, "MAX_PART_EVENTS", 700)
    monkeypatch.setattr(state, "SHARDED_FROM_PEOPLE", 30)
    topic: dict[bytes, bytes | None] = {}
    events = random_events(3, 3000, seconds=60 * 86_400)
    group, written = Group(KEY, 3), Written()
    for epoch, part in enumerate(np.array_split(events, 6)):
        writer = StateWriter(f"{epoch:08x}", "topic")
        group.tell(part.copy(), ())
        topic.update(writer.records(group, written, group.take_news(), epoch))
        groups, unreadable = restored(_present(topic), {}, "topic")
        assert not unreadable
        ((group, written),) = groups
        assert group.restored_offset == epoch
    expected = group_of(events)
    assert group.log.tobytes() == expected.log.tobytes()
    assert group.people["person"].tolist() == expected.people["person"].tolist()
    assert (group.people["last"] >= expected.people["last"]).all()
    assert len([key for key in _present(topic) if b"\0p" in key]) > 1


def _present(topic: dict[bytes, bytes | None]) -> dict[bytes, bytes]:
    return {key: value for key, value in topic.items() if value is not None}


def test_an_idle_group_comes_back_as_it_was(tmp_path: Path) -> None:
    group, written = group_of(random_events(4, 300, seconds=40 * 86_400)), Written()
    cold = ColdGroups(tmp_path / "idle")
    cold.put(group, written)
    assert not list(tmp_path.iterdir())
    person = int(group.log["person"][0])
    assert list(cold.groups_of("t", {person})) == [KEY]
    found = cold.take(KEY, {person})
    assert found is not None
    assert found[0].people.tobytes() == group.people.tobytes() or person in group.people["person"]
    assert (found[0].log["hidden"] != 0).tolist() == (group.log["person"] == person).tolist()
    assert cold.take(KEY, ()) is None
    cold.close()


def test_an_idle_group_that_the_disk_spoilt_is_noticed(tmp_path: Path) -> None:
    cold = ColdGroups(tmp_path / "idle")
    cold.put(group_of(random_events(5, 30)), Written())
    cold._database.execute("UPDATE idle SET events = zeroblob(length(events))")
    with pytest.raises(SpoiltColdGroups):
        cold.take(KEY, ())
    cold._database.close()
    with pytest.raises((SpoiltColdGroups, sqlite3.ProgrammingError)):
        cold.take(KEY, ())


STATEMENTS = st.lists(
    st.tuples(
        st.sampled_from(PEOPLE), st.integers(0, 3), st.sampled_from([1, 2]), st.booleans(), st.booleans()
    ),
    max_size=12,
)


@settings(deadline=None)
@given(STATEMENTS, st.randoms(use_true_random=False))
def test_who_has_withdrawn_does_not_depend_on_the_order(
    said: list[tuple[str, int, int, bool, bool]], source: object
) -> None:
    """The newest statement of each scope counts, of two at one time the no; what was taken back does not."""
    values, expected = [], set()
    newest: dict[tuple[str, int], tuple[int, bool]] = {}
    for number, (person, at, scope, is_given, is_retracted) in enumerate(said):
        event_id = str(uuid.UUID(int=number))
        statement = ConsentStatement(
            tenant_id="t", participant_id=person, event_id=event_id, scope=scope, is_given=is_given  # type: ignore[arg-type]
        )  # fmt: skip
        statement.occurred_at.FromSeconds(at)
        values.append(statement.SerializeToString())
        if is_retracted:
            taken_back = ConsentStatement(tenant_id="t", participant_id=person, event_id=event_id)
            taken_back.is_retracted = True
            values.append(taken_back.SerializeToString())
        else:
            newest[person, scope] = max((at, not is_given), newest.get((person, scope), (at, not is_given)))
    expected = {pseudonym_number(person) for (person, _), (_, is_no) in newest.items() if is_no}
    source.shuffle(values)  # type: ignore[attr-defined]
    consents = Consents()
    changed: set[int] = set()
    for value in values:
        changed ^= consents.take([value, b"garbage"]).get("t", set())
    assert consents.withdrawn["t"] == expected == changed


def test_the_columns_are_the_fields_of_the_message() -> None:
    """`kernels.encode` writes by place what the contract knows by name."""
    from services.live.view import FIGURES

    assert list(FIGURES[1 : kernels.TOP_POSTS + 2]) == [
        "count_events", "count_posts", "count_replies", "count_reads", "count_reactions",
        "count_active_participants", "count_newcomers", "count_returning", "count_dropouts", "count_sessions",
        "count_places", "count_attendances", "count_threads", "count_threads_answered",
        "count_threads_followed_1h", "count_threads_answered_1h", "count_threads_followed_24h",
        "count_threads_answered_24h", "count_threads_moderated", "count_dyads", "count_dyads_reciprocal",
        "count_contributors", "count_posts_of_top",
    ]  # fmt: skip
