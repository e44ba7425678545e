"""The oracle of rolling engagement against figures counted by hand, so that it can be trusted elsewhere."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import count

import pytest
from circles.engagement.v1.group_engagement_pb2 import WindowEngagement
from hypothesis import given

from tests.fakes.engagement_histories import GroupHistory, histories
from tests.fakes.engagement_oracle import DAY, HOUR, WINDOWS_HOURS, Figures, Told, figures
from tests.fakes.engagement_vectors import Vector, vectors

AS_OF = 1_000 * DAY
"""A full five minutes; the windows of these histories end there because of `LAST`."""
LAST = Told("risk_raised", "last", AS_OF - 1, participant="z")
"""Counts as an event and as nothing else."""

numbers = count()


def told(kind: str, before: int, participant: str = "", **said: str) -> Told:
    """`before`: seconds before the end of every window."""
    return Told(kind, f"e{next(numbers)}", AS_OF - before, participant=participant, **said)


def window(hours: int, *events: Told, withdrawn: Collection[str] = ()) -> Figures:
    result = figures([*events, LAST], withdrawn)
    assert result is not None
    as_of, by_window = result
    assert as_of == AS_OF
    return by_window[hours]


def of(names: str, values: Figures) -> list[int | float | None]:
    return [values[name] for name in names.split()]


def test_names_are_those_of_the_contract() -> None:
    names = {field.name for field in WindowEngagement.DESCRIPTOR.fields} - {"window_hours"}
    result = figures([LAST])
    assert result is not None
    assert {hours: set(values) for hours, values in result[1].items()} == dict.fromkeys(WINDOWS_HOURS, names)


@pytest.mark.parametrize(
    ("newest", "as_of"), [(0, 300), (299, 300), (300, 600), (-1, 0), (-300, 0), (-301, -300)]
)
def test_windows_end_with_the_five_minutes_of_the_newest_event(newest: int, as_of: int) -> None:
    result = figures([Told("thread_read", "a", newest, participant="p")])
    assert result is not None
    assert result[0] == as_of


def test_a_group_of_which_only_retractions_came_has_no_figures() -> None:
    assert figures([Told("event_retracted", "a", 5, retracted="b")]) is None


def test_retracted_and_withdrawn_events_mark_as_of_alone() -> None:
    kept = told("thread_read", HOUR, "p")
    taken_back = told("thread_read", 5, "p")
    retraction = Told("event_retracted", "r", AS_OF + DAY, retracted=taken_back.event_id)
    by_q = told("thread_read", 5, "q")
    result = figures([retraction, kept, taken_back, by_q], withdrawn={"q"})
    assert result is not None
    assert result[0] == AS_OF
    assert result[1][1]["count_events"] == 1
    assert result[1][1]["count_reads"] == 1


def test_of_two_under_one_id_the_first_counts() -> None:
    first = told("thread_read", 5, "p")
    values = window(1, first, first, replace(first, kind="reaction_given"))
    assert of("count_events count_reads count_reactions", values) == [2, 1, 0]


def test_window_begins_with_its_first_second() -> None:
    values = [window(1, told("thread_read", HOUR, "p")), window(1, told("thread_read", HOUR + 1, "p"))]
    assert [each["count_reads"] for each in values] == [1, 0]


def test_newcomers_and_returning() -> None:
    events = [told("thread_read", 600, "old"), told("thread_read", 90 * DAY, "old")]
    events += [told("member_joined", 600, "new"), told("member_left", 500, "gone")]
    names = "count_active_participants count_newcomers count_returning"
    assert of(names, window(1, *events)) == [2, 1, 1]


def test_dropouts_fell_silent_and_did_not_say_so() -> None:
    month = 30 * DAY
    events = [told("thread_read", month + 60, who) for who in ("silent", "left", "left-later", "left-before")]
    events += [
        told("member_left", month + 60, "left"),
        told("member_left", 1, "left-later"),
        told("member_left", month + 61, "left-before"),
        told("thread_read", month + DAY, "longer"),
        told("thread_read", month - 1, "not-yet"),
    ]
    by_window = [window(hours, *events)["count_dropouts"] for hours in (1, 24)]
    assert by_window == [2, 3]


def test_places_and_attendances() -> None:
    events = [
        told("member_joined", DAY, "joined"),
        told("member_joined", DAY, "left-at-once"),
        told("member_left", DAY, "left-at-once"),
        told("member_joined", 300, "joined-later"),
        told("reaction_given", DAY, "acted"),
        told("moderation_acted", DAY, "moderator", action="reply"),
        told("session_held", 600, session="s"),
        told("session_attended", 700, "joined", session="s"),
        told("session_attended", 600, "facilitator", session="s", role="facilitator"),
        # Held at its first attendance, an hour earlier; no place for somebody who joined later.
        told("session_attended", 3 * HOUR, "acted", session="t", role="member"),
        told("session_attended", 2 * HOUR, "joined-later", session="t", role="member"),
        told("session_held", 500, session="cancelled"),
        told("session_cancelled", 5, session="cancelled"),
    ]
    names = "count_sessions count_places count_attendances"
    assert of(names, window(1, *events)) == [1, 2, 1]
    assert of(names, window(24, *events)) == [2, 4, 2]


def test_threads_and_their_answers() -> None:
    events = [
        told("thread_started", 2 * HOUR, "b", thread="t", act="t1"),
        told("thread_started", 2 * HOUR, "a", thread="t", act="t2"),
        told("reply_posted", 2 * HOUR - 10, "a", thread="t", act="r1", in_reply_to="t2"),
        told("reply_posted", HOUR, "b", thread="t", act="r2", in_reply_to="t2"),
        told("moderation_acted", HOUR, "m", action="reply", act="t1"),
        told("moderation_acted", HOUR, "m", action="reply", act="t2"),
        told("moderation_acted", HOUR + 5, "m", action="lock_thread", act="t2"),
    ]
    values = window(24, *events)
    assert of("count_threads count_threads_answered count_threads_moderated", values) == [1, 1, 1]
    assert of("count_threads_followed_1h count_threads_answered_1h", values) == [1, 1]
    assert of("count_threads_followed_24h count_threads_answered_24h", values) == [0, 0]
    assert of("first_reply_median_seconds moderator_reply_median_seconds", values) == [HOUR, HOUR]


def test_median_takes_unanswered_threads_into_account() -> None:
    def thread(name: str, before: int, reply_after: int | None) -> list[Told]:
        opened = told("thread_started", before, "p", thread=name, act=name)
        if reply_after is None:
            return [opened]
        reply = told(
            "reply_posted", before - reply_after, "q", thread=name, act=f"{name}-r", in_reply_to=name
        )
        return [opened, reply]

    # At risk 4, 3, 2: the share unanswered is 3/4, then 1/2 at 20, where the censored thread is still there.
    events = [*thread("a", 900, 10), *thread("b", 20, None), *thread("c", 900, 20), *thread("d", 900, None)]
    assert window(1, *events)["first_reply_median_seconds"] == 20
    # Censored just before: 3/4, then a half of that: 3/8 at 20.
    events = [*thread("a", 900, 10), *thread("b", 19, None), *thread("c", 900, 20), *thread("d", 900, None)]
    assert window(1, *events)["first_reply_median_seconds"] == 20
    # 3/4 and no more answers.
    events = [*thread("a", 900, 10), *thread("b", 20, None), *thread("c", 900, None), *thread("d", 900, None)]
    assert window(1, *events)["first_reply_median_seconds"] is None
    # Stamped before its thread: at once.
    assert window(1, *thread("a", 900, -50))["first_reply_median_seconds"] == 0


def test_dyads() -> None:
    def post(before: int, who: str, act: str, answers: str = "") -> Told:
        if not answers:
            return told("thread_started", before, who, thread=act, act=act)
        return told("reply_posted", before, who, thread="t", act=act, in_reply_to=answers)

    events = [
        post(9 * HOUR, "a", "a1"),
        post(900, "b", "b1", "a1"),
        post(800, "c", "c1", "a1"),
        post(700, "a", "a2", "a1"),
        post(600, "a", "a3", "b1"),
        post(500, "a", "a4", "nowhere"),
        # The first with its name made the act: a reply to a1 is one to a.
        post(400, "d", "a1"),
    ]
    assert of("count_dyads count_dyads_reciprocal", window(1, *events)) == [2, 1]
    assert of("count_dyads count_dyads_reciprocal", window(1, *events, withdrawn={"a"})) == [2, 0]


def test_contributions() -> None:
    events = [
        told("thread_started", 900, who, thread=f"{who}{i}", act=f"{who}{i}")
        for who, posts in {"a": 1, "b": 2, "c": 5}.items()
        for i in range(posts)
    ]
    values = window(1, *events)
    assert of("count_posts count_contributors count_posts_of_top", values) == [8, 3, 5]
    # (-2 * 1 + 0 * 2 + 2 * 5) / (3 * 8)
    assert values["contribution_gini"] == 8 / 24


def test_nothing_at_all_has_no_medians_and_no_gini() -> None:
    values = window(1)
    assert {name for name, value in values.items() if value is None} == {
        "first_reply_median_seconds",
        "moderator_reply_median_seconds",
        "contribution_gini",
    }
    assert {name for name, value in values.items() if value} == {"count_events"}


@given(histories())
def test_order_of_arrival_means_nothing_where_bodies_agree(history: GroupHistory) -> None:
    assert figures(history.told, history.withdrawn) == figures(history.told[::-1], history.withdrawn)


@pytest.mark.parametrize("vector", [*vectors()], ids=str)
def test_vectors(vector: Vector) -> None:
    assert figures(vector.told, vector.withdrawn) == (vector.as_of, vector.expected)
