"""Rolling engagement equals a recount of the events that are kept, whatever the order and the crashes."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.engagement.buckets import (
    ACTIVE_KINDS,
    MAX_RETRACTIONS,
    NOBODY,
    WINDOWS_HOURS,
    Act,
    Bucket,
    BucketKey,
    PartitionState,
    Retraction,
    windows,
)
from services.engagement.messages import UnreadableState, parsed_state, restore, state_records

KINDS = [*sorted(ACTIVE_KINDS), "member_left", "risk_raised", "session_held"]

# Close together, so that they share buckets, and around what the windows reach.
TIMES = st.builds(
    int.__add__, st.sampled_from([-200_000, -90_000, -86_400, -3600, -300, 0]), st.integers(-350, 350)
)

ACTS = st.lists(
    st.builds(
        lambda group, event, participant, at, kind: Act("t", 3, group, event, participant, at, kind),
        st.sampled_from("gh"),
        st.integers(0, 10**6),
        st.sampled_from([NOBODY, 1, 2, 3, 4]),
        TIMES,
        st.sampled_from(KINDS),
    ),
    min_size=5,
    max_size=60,
    unique_by=lambda act: act.event,
)

Told = Act | Retraction
Figures = dict[tuple[str, int], tuple[int, Counter[str], int]]


@st.composite
def histories(draw: st.DrawFn) -> list[Told]:
    """Events, retractions of some of them and of events that never come, copies of both, in any order."""
    acts = draw(ACTS)
    delays = st.one_of(st.integers(-300, 300), st.integers(-300, 400_000))
    told: list[Told] = [*acts]
    for act in draw(st.lists(st.sampled_from(acts), max_size=20)):
        told.append(Retraction("t", 3, act.group_id, act.event, act.occurred_at_seconds + draw(delays)))
    unknown = st.builds(Retraction, st.just("t"), st.just(3), st.sampled_from("gh"), st.just(10**7), delays)
    told += draw(st.lists(unknown, max_size=3))
    copies = draw(st.lists(st.sampled_from(told), max_size=20))
    return draw(st.permutations([*told, *copies]))


def recount(told: Iterable[Told]) -> Figures:
    """The definition, written once more and without buckets that persist."""
    told = list(told)
    taken_back = {(each.group_id, each.event) for each in told if isinstance(each, Retraction)}
    by_group: dict[str, set[Act]] = defaultdict(set)
    for each in told:
        if isinstance(each, Act):
            by_group[each.group_id].add(each)
    expected = {}
    for group, acts in by_group.items():
        as_of = max(act.occurred_at_seconds - act.occurred_at_seconds % 300 for act in acts) + 300
        kept = [act for act in acts if (group, act.event) not in taken_back]
        for hours in (1, 24):
            inside = [act for act in kept if as_of - hours * 3600 <= act.occurred_at_seconds < as_of]
            people = {
                act.participant for act in inside if act.participant != NOBODY and act.kind in ACTIVE_KINDS
            }
            expected[group, hours] = (as_of, Counter(act.kind for act in inside), len(people))
    return expected


def figures(state: PartitionState) -> Figures:
    return {
        (group.group_id, each.window_hours): (
            each.as_of_seconds,
            each.count_by_kind,
            each.count_active_participants,
        )
        for group in state.groups.values()
        for each in windows(group)
    }


@settings(deadline=None)
@given(histories())
def test_figures_equal_a_recount_in_any_order_with_copies_and_retractions(told: list[Told]) -> None:
    state = PartitionState()
    for offset, each in enumerate(told):
        state.apply([each], offset)
    assert figures(state) == recount(told)


@settings(deadline=None)
@given(histories(), st.data())
def test_figures_sent_are_those_of_the_state(told: list[Told], data: st.DataObject) -> None:
    """Whatever a flush does not send has not changed since it was sent."""
    state = PartitionState()
    shown: Figures = {}
    for offset, each in enumerate(told):
        state.apply([each], offset)
        if data.draw(st.booleans(), label="flush") or offset == len(told) - 1:
            for sent in state.take_changes().figures:
                shown[sent.group.group_id, sent.window_hours] = (
                    sent.as_of_seconds, sent.count_by_kind, sent.count_active_participants
                )  # fmt: skip
    assert shown == recount(told)


def test_a_person_is_active_until_the_last_of_their_events_is_taken_back() -> None:
    state = PartitionState()
    state.apply([Act("t", 3, "g", event, 1, 1000, "reply_posted") for event in (1, 2)], 0)
    active = []
    for offset, event in enumerate((1, 2), start=1):
        state.apply([Retraction("t", 3, "g", event, 2000)], offset)
        active.append(figures(state)["g", 1][2])
    assert active == [1, 0]


class Topic:
    """The compacted state topic."""

    def __init__(self) -> None:
        self.newest: dict[bytes, bytes] = {}

    def write(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        for key, value in records:
            if value is None:
                self.newest.pop(key, None)
            else:
                self.newest[key] = value

    def restored(self) -> PartitionState:
        state = PartitionState()
        for value in self.newest.values():
            restore(state, parsed_state(value))
        return state


@settings(deadline=None)
@given(histories(), st.integers(1, 7), st.data())
def test_a_crash_at_any_point_of_a_flush_changes_nothing(
    told: list[Told], size: int, data: st.DataObject
) -> None:
    """Some records of a flush are written, the commit is not: what was told comes again."""
    records = [told[i : i + size] for i in range(0, len(told), size)]
    topic, state, committed = Topic(), PartitionState(), 0
    for offset, record in enumerate(records):
        state.apply(record, offset)
        if not data.draw(st.booleans(), label="flush"):
            continue
        flushed = [*state_records(state, state.take_changes(), "topic-id")]
        if not data.draw(st.booleans(), label="crash"):
            topic.write(flushed)
            committed = offset + 1
            continue
        topic.write(each for each in flushed if data.draw(st.booleans(), label="written"))
        state = topic.restored()
        for again in range(committed, offset + 1):
            state.apply(records[again], again)
    assert figures(state) == recount(told)


@settings(deadline=None)
@given(histories(), st.data())
def test_restored_state_and_any_suffix_again_give_the_same_figures(
    told: list[Told], data: st.DataObject
) -> None:
    topic, state = Topic(), PartitionState()
    for offset, each in enumerate(told):
        state.apply([each], offset)
        topic.write(state_records(state, state.take_changes(), "topic-id"))
    state = topic.restored()
    assert figures(state) == recount(told)
    for offset in range(data.draw(st.integers(0, len(told)), label="from"), len(told)):
        state.apply([told[offset]], offset)
    assert figures(state) == recount(told)


@settings(deadline=None)
@given(histories(), st.data())
def test_lost_state_is_computed_again_from_all_records(told: list[Told], data: st.DataObject) -> None:
    """State that cannot be read is left out, and the input is applied once more from its beginning."""
    topic, state = Topic(), PartitionState()
    for offset, each in enumerate(told):
        state.apply([each], offset)
        topic.write(state_records(state, state.take_changes(), "topic-id"))
    for key in list(topic.newest):
        if data.draw(st.booleans(), label="lost"):
            del topic.newest[key]
    state = topic.restored()
    for offset, each in enumerate(told):
        state.apply([each], offset)
    assert figures(state) == recount(told)


@pytest.mark.parametrize("lost", ["figures", "retractions", "bucket"])
def test_what_a_crash_kept_back_is_made_good(lost: str) -> None:
    """A flush got no further than a part of its records; the input record comes again."""
    act, taken_back = Act("t", 3, "g", 1, 1, 1000, "reply_posted"), Retraction("t", 3, "g", 1, 2000)
    topic, state = Topic(), PartitionState()
    state.apply([act], 5)
    topic.write(state_records(state, state.take_changes(), "topic-id"))
    state.apply([taken_back], 6)
    written = [*state_records(state, state.take_changes(), "topic-id")]
    assert [key.endswith(b"retractions") for key, _ in written] == [False, True]
    topic.write({"figures": written, "retractions": written[:1], "bucket": written[1:]}[lost])
    state = topic.restored()
    state.apply([taken_back], 6)
    changes = state.take_changes()
    assert [(each.as_of_seconds, dict(each.count_by_kind)) for each in changes.figures] == [(1200, {})] * 2
    assert changes.retractions == {("t", "g")}


def test_an_event_counted_before_a_crash_is_sent_again() -> None:
    """The bucket was written, its figures were not: the repeated record touches the group."""
    act = Act("t", 3, "g", 1, 1, 1000, "reply_posted")
    state = PartitionState()
    bucket = Bucket(5, 5)
    bucket.add(act.event, act.kind, act.participant)
    state.restore(BucketKey("t", "g", 900), 3, bucket)
    state.apply([act], 5)
    sent = state.take_changes().figures
    assert [(each.window_hours, each.count_by_kind["reply_posted"]) for each in sent] == [(1, 1), (24, 1)]


@pytest.mark.parametrize("value", [b"\xff", b"", b"\x0a\x01t", b"\x52\x0b\x12\x09\x12\x07" + b"\x00" * 7])
def test_state_of_another_version_is_told_from_ours(value: bytes) -> None:
    with pytest.raises(UnreadableState):
        parsed_state(value)


def days_of(count: int) -> Iterator[tuple[int, int]]:
    return enumerate(hour * 3600 for hour in range(24 * count))


def test_memory_is_bounded_by_the_longest_window() -> None:
    state = PartitionState()
    for offset, at in days_of(30):
        state.apply(
            [Act("t", 3, "g", offset, 1, at, "thread_read"), Retraction("t", 3, "g", 10**9 + offset, at)],
            offset,
        )
        state.take_changes()
    (group,) = state.groups.values()
    assert len(group.buckets) <= max(WINDOWS_HOURS)
    assert len(group.retracted) <= max(WINDOWS_HOURS) + 1


def test_retractions_that_expire_are_deleted_from_the_state_topic() -> None:
    topic, state = Topic(), PartitionState()
    state.apply([Act("t", 3, "g", 1, 1, 0, "thread_read"), Retraction("t", 3, "g", 1, 10)], 0)
    topic.write(state_records(state, state.take_changes(), "topic-id"))
    assert len(topic.newest) == 2
    state.apply([Act("t", 3, "g", 2, 1, 200_000, "thread_read")], 1)
    topic.write(state_records(state, state.take_changes(), "topic-id"))
    assert [parsed_state(each).bucket.started_at_seconds for each in topic.newest.values()] == [199_800]


def test_a_group_of_retractions_only_has_no_figures_and_bounded_memory() -> None:
    state = PartitionState()
    numbers = random.Random(1).sample(range(10**9), MAX_RETRACTIONS + 5)
    for offset, event in enumerate(numbers):
        state.apply([Retraction("t", 3, "g", event, offset)], offset)
    changes = state.take_changes()
    assert (changes.figures, changes.buckets) == ([], set())
    assert list(state.groups["t", "g"].retracted) == numbers[5:]  # type: ignore[index]
