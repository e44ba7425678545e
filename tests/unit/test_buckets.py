"""Rolling engagement equals a recount from the events themselves, whatever the order and the crashes."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from services.engagement.buckets import (
    ACTIVE_KINDS,
    WINDOWS_HOURS,
    Act,
    Bucket,
    BucketKey,
    PartitionState,
    windows,
)

KINDS = [*sorted(ACTIVE_KINDS), "member_left", "risk_raised", "event_retracted", "session_held"]

ACTS = st.lists(
    st.builds(
        lambda group, event, participant, at, kind: Act("t", 3, group, event, participant, at, kind),
        st.sampled_from("gh"),
        st.integers(0, 10**6),
        st.sampled_from([None, 1, 2, 3, 4]),
        st.integers(-200_000, 200_000),
        st.sampled_from(KINDS),
    ),
    max_size=60,
    unique_by=lambda act: act.event,
)


def recount(acts: list[Act]) -> dict[tuple[str, int], tuple[int, Counter[str], int]]:
    """The definition, written once more and without buckets that persist."""
    by_group = defaultdict(list)
    for act in {act.event: act for act in acts if act.kind != "event_retracted"}.values():
        by_group[act.group_id].append(act)
    expected = {}
    for group, members in by_group.items():
        as_of = max(act.occurred_at_seconds - act.occurred_at_seconds % 300 for act in members) + 300
        for hours in (1, 24):
            inside = [act for act in members if as_of - hours * 3600 <= act.occurred_at_seconds < as_of]
            people = {
                act.participant for act in inside if act.participant is not None and act.kind in ACTIVE_KINDS
            }
            expected[group, hours] = (as_of, Counter(act.kind for act in inside), len(people))
    return expected


def figures(state: PartitionState) -> dict[tuple[str, int], tuple[int, Counter[str], int]]:
    return {
        (group.group_id, each.window_hours): (
            each.as_of_seconds,
            each.count_by_kind,
            each.count_active_participants,
        )
        for group in state.groups.values()
        for each in windows(group)
    }


@given(ACTS, st.randoms())
def test_figures_equal_a_recount_in_any_order_with_copies(acts: list[Act], shuffle: st.DataObject) -> None:
    posted = acts + acts[: len(acts) // 3]
    shuffle.shuffle(posted)  # type: ignore[attr-defined]
    state = PartitionState()
    for offset, act in enumerate(posted):
        state.apply([act], offset)
    state.take_changes()
    assert figures(state) == recount(acts)


@given(ACTS, st.integers(1, 7), st.data())
def test_a_crash_at_any_point_of_a_flush_changes_nothing(
    acts: list[Act], size: int, data: st.DataObject
) -> None:
    """Some buckets of a flush are written, the commit is not: the records come again."""
    records = [acts[i : i + size] for i in range(0, len(acts), size)]
    written: dict[BucketKey, tuple[int, Counter[str], set[int], set[int]]] = {}
    state, committed = PartitionState(), 0
    for offset, record in enumerate(records):
        state.apply(record, offset)
        if not data.draw(st.booleans(), label="flush"):
            continue
        touched, expired, _ = state.take_changes()
        for key in expired:
            written.pop(key, None)
        crash = data.draw(st.booleans(), label="crash")
        for key in touched:
            if crash and data.draw(st.booleans(), label="lost"):
                continue
            bucket = state.bucket(key)
            written[key] = (
                bucket.applied_offset,
                bucket.count_by_kind.copy(),
                set(bucket.participants),
                set(bucket.events),
            )
        if not crash:
            committed = offset + 1
            continue
        state = _restored(written)
        for again in range(committed, offset + 1):
            state.apply(records[again], again)
    assert figures(state) == recount(acts)


def _restored(written: dict[BucketKey, tuple[int, Counter[str], set[int], set[int]]]) -> PartitionState:
    state = PartitionState()
    for key, (offset, counts, people, events) in written.items():
        state.restore(key, 3, Bucket(offset, offset, counts.copy(), set(people), set(events)))
    return state


def test_figures_that_a_crash_kept_back_are_sent_again() -> None:
    """The bucket was written, its figures were not: the repeated record touches the group."""
    act = Act("t", 3, "g", 1, 1, 1000, "reply_posted")
    state = PartitionState()
    state.restore(BucketKey("t", "g", 900), 3, Bucket(5, 5, Counter(reply_posted=1), {1}, {1}))
    state.apply([act], 5)
    _, _, sent = state.take_changes()
    assert [(each.window_hours, each.count_by_kind["reply_posted"]) for each in sent] == [(1, 1), (24, 1)]


def test_memory_is_bounded_by_the_longest_window() -> None:
    state = PartitionState()
    for offset, hour in enumerate(range(0, 24 * 30)):
        state.apply([Act("t", 3, "g", offset, 1, hour * 3600, "thread_read")], offset)
        state.take_changes()
    (group,) = state.groups.values()
    assert len(group.buckets) <= max(WINDOWS_HOURS)
