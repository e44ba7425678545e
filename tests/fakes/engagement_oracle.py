"""Rolling engagement of one group, as docs/engagement.md defines it: plain, slow, and all from the whole
history at once.

What the stream and the warehouse compute is held against this. It shares no code with either: no state,
no order of arrival but between copies, no approximation, and no step that saves time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

MINUTE, HOUR, DAY = 60, 3600, 86_400
WINDOWS_HOURS = (1, 24, 168, 672)
LOG_HOURS = 672
SILENCE_SECONDS = 30 * DAY
"""So long after the last activity a person has dropped out."""

POSTS = {"thread_started", "reply_posted"}
ACTIVITIES = {
    *POSTS, "member_joined", "session_attended", "reaction_given", "thread_read", "moderation_acted",
}  # fmt: skip
ACTS_OF_MEMBERS = {*POSTS, "reaction_given", "thread_read"}
"""Beside a session attended in the role of member."""

Figures = dict[str, int | float | None]
"""By name of a field of WindowEngagement. None: not set."""


@dataclass(frozen=True, slots=True)
class Told:
    """One participation event of one group, as it was told. Their order in a list is that of arrival."""

    kind: str
    """Name of the event's kind in the contract, as `reply_posted`."""
    event_id: str
    occurred_at: int
    """Whole seconds since 1970."""
    participant: str = ""
    session: str = ""
    thread: str = ""
    act: str = ""
    in_reply_to: str = ""
    role: str = ""
    """`member`, `facilitator` or `observer`. Empty: member."""
    action: str = ""
    """Of `moderation_acted`: `reply` or another."""
    retracted: str = ""
    """Of `event_retracted`: the event that is taken back."""


@dataclass(frozen=True)
class Thread:
    """A thread and what came of it. Times until an answer are None where none came."""

    name: str
    opener: str
    opened_at: int
    reply_after: int | None
    moderated_after: int | None


@dataclass(frozen=True)
class History:
    """What counts of a group: all of it, what is in the log, and the end of every window."""

    everything: Sequence[Told]
    log: Sequence[Told]
    as_of: int

    def window(self, hours: int) -> list[Told]:
        return [each for each in self.log if self.holds(each.occurred_at, hours)]

    def holds(self, moment: int, hours: int) -> bool:
        return self.as_of - hours * HOUR <= moment < self.as_of


def figures(told: Sequence[Told], withdrawn: Collection[str] = ()) -> tuple[int, dict[int, Figures]] | None:
    """`as_of` and the figures of each window. None: no event of the group was told.

    `withdrawn` are the people whose newest statement of any scope is a withdrawal.
    """
    history = _history(told, withdrawn)
    if history is None:
        return None
    return history.as_of, {hours: _window_figures(history, hours) for hours in WINDOWS_HOURS}


def _history(told: Sequence[Told], withdrawn: Collection[str]) -> History | None:
    once: dict[str, Told] = {}
    for each in told:
        once.setdefault(each.event_id, each)
    events = [each for each in once.values() if each.kind != "event_retracted"]
    if not events:
        return None
    taken_back = {each.retracted for each in once.values() if each.kind == "event_retracted"}
    newest = max(each.occurred_at for each in events)
    as_of = newest - newest % (5 * MINUTE) + 5 * MINUTE
    kept = [each for each in events if each.event_id not in taken_back and each.participant not in withdrawn]
    log = [each for each in kept if each.occurred_at >= as_of - LOG_HOURS * HOUR]
    return History(kept, log, as_of)


def _window_figures(history: History, hours: int) -> Figures:
    return {
        **_counts(history, hours),
        **_people(history, hours),
        **_sessions(history, hours),
        **_threads(history, hours),
        **_dyads(history, hours),
        **_contributors(history, hours),
    }


def _counts(history: History, hours: int) -> Figures:
    kinds = [each.kind for each in history.window(hours)]
    return {
        "count_events": len(kinds),
        "count_posts": sum(kind in POSTS for kind in kinds),
        "count_replies": kinds.count("reply_posted"),
        "count_reads": kinds.count("thread_read"),
        "count_reactions": kinds.count("reaction_given"),
    }


# People.


def _people(history: History, hours: int) -> Figures:
    activities: dict[str, list[int]] = defaultdict(list)
    for each in history.everything:
        if each.kind in ACTIVITIES:
            activities[each.participant].append(each.occurred_at)
    active = {who for who, times in activities.items() if any(history.holds(t, hours) for t in times)}
    newcomers = {who for who, times in activities.items() if history.holds(min(times), hours)}
    dropouts = {
        who
        for who, times in activities.items()
        if history.holds(max(times) + SILENCE_SECONDS, hours) and not _left_since(history, who, max(times))
    }
    return {
        "count_active_participants": len(active),
        "count_newcomers": len(newcomers),
        "count_returning": len(active - newcomers),
        "count_dropouts": len(dropouts),
    }


def _left_since(history: History, who: str, moment: int) -> bool:
    return any(
        each.kind == "member_left" and each.participant == who and each.occurred_at >= moment
        for each in history.everything
    )


def _members_at(history: History, moment: int) -> set[str]:
    people = {each.participant for each in history.everything if each.participant}
    return {who for who in people if _is_member(history, who, moment)}


def _is_member(history: History, who: str, moment: int) -> bool:
    own = [each for each in history.everything if each.participant == who]
    moves = [
        # Of both in the same second, the leaving is the later one.
        (each.occurred_at, each.kind == "member_left")
        for each in own
        if each.kind in {"member_joined", "member_left"} and each.occurred_at <= moment
    ]
    if moves:
        _, is_leaving = max(moves)
        return not is_leaving
    if any(each.kind == "member_joined" for each in own):
        return False
    return any(_is_act_of_member(each) and each.occurred_at <= moment for each in own)


def _is_act_of_member(event: Told) -> bool:
    return event.kind in ACTS_OF_MEMBERS or _is_attended_as_member(event)


def _is_attended_as_member(event: Told) -> bool:
    return event.kind == "session_attended" and event.role in {"", "member"}


# Sessions.


def _sessions(history: History, hours: int) -> Figures:
    held = {
        session: held_at
        for session in {each.session for each in history.log if each.session}
        if (held_at := _held_at(history, session)) is not None and history.holds(held_at, hours)
    }
    places = {(session, who) for session, held_at in held.items() for who in _members_at(history, held_at)}
    attended = {(each.session, each.participant) for each in history.log if _is_attended_as_member(each)}
    return {
        "count_sessions": len(held),
        "count_places": len(places),
        "count_attendances": len(places & attended),
    }


def _held_at(history: History, session: str) -> int | None:
    """When the session was held. None: it was cancelled."""
    of_session = [each for each in history.log if each.session == session]
    if any(each.kind == "session_cancelled" for each in of_session):
        return None
    held = [each.occurred_at for each in of_session if each.kind == "session_held"]
    attended = [each.occurred_at for each in of_session if each.kind == "session_attended"]
    return min(held or attended)


# Threads.


def _threads(history: History, hours: int) -> Figures:
    threads = [each for each in _all_threads(history) if history.holds(each.opened_at, hours)]
    return {
        "count_threads": len(threads),
        "count_threads_answered": sum(each.reply_after is not None for each in threads),
        **_answered_in_time(history, threads, HOUR, "1h"),
        **_answered_in_time(history, threads, DAY, "24h"),
        "count_threads_moderated": sum(each.moderated_after is not None for each in threads),
        "first_reply_median_seconds": _median(
            [(each.reply_after, history.as_of - each.opened_at) for each in threads]
        ),
        "moderator_reply_median_seconds": _median(
            [(each.moderated_after, history.as_of - each.opened_at) for each in threads]
        ),
    }


def _answered_in_time(history: History, threads: Sequence[Thread], seconds: int, name: str) -> Figures:
    followed = [each for each in threads if each.opened_at <= history.as_of - seconds]
    in_time = [each for each in followed if each.reply_after is not None and each.reply_after <= seconds]
    return {f"count_threads_followed_{name}": len(followed), f"count_threads_answered_{name}": len(in_time)}


def _all_threads(history: History) -> list[Thread]:
    started = [each for each in history.log if each.kind == "thread_started"]
    threads = []
    for name in {each.thread for each in started}:
        opening = min(
            (each for each in started if each.thread == name),
            key=lambda each: (each.occurred_at, each.participant, each.act),
        )
        replies = [each for each in history.log if each.kind == "reply_posted" and each.thread == name]
        moderations = [
            each
            for each in history.log
            if each.kind == "moderation_acted" and each.action == "reply" and each.act == opening.act
        ]
        threads.append(
            Thread(
                name,
                opening.participant,
                opening.occurred_at,
                reply_after=_first_by_somebody_else(replies, opening),
                moderated_after=_first_by_somebody_else(moderations, opening),
            )
        )
    return threads


def _first_by_somebody_else(answers: Iterable[Told], opening: Told) -> int | None:
    """Seconds from the opening to the first answer; an answer stamped before it comes at once."""
    return min(
        (
            max(0, each.occurred_at - opening.occurred_at)
            for each in answers
            if each.participant != opening.participant
        ),
        default=None,
    )


def _median(times: Sequence[tuple[int | None, int]]) -> int | None:
    """Kaplan–Meier median of (seconds until an answer or None, seconds under observation)."""
    unanswered = Fraction(1)
    for moment in sorted({after for after, _ in times if after is not None}):
        answers = sum(after == moment for after, _ in times)
        at_risk = sum((observed if after is None else after) >= moment for after, observed in times)
        unanswered *= 1 - Fraction(answers, at_risk)
        if unanswered <= Fraction(1, 2):
            return moment
    return None


# Replies to people, and who writes how much.


def _dyads(history: History, hours: int) -> Figures:
    authors = _authors(history)
    directed = {
        (each.participant, authors[each.in_reply_to])
        for each in history.window(hours)
        if each.kind == "reply_posted"
        and each.in_reply_to in authors
        and authors[each.in_reply_to] != each.participant
    }
    dyads = {frozenset(pair) for pair in directed}
    reciprocal = {frozenset((a, b)) for a, b in directed if (b, a) in directed}
    return {"count_dyads": len(dyads), "count_dyads_reciprocal": len(reciprocal)}


def _authors(history: History) -> dict[str, str]:
    """Who made each act: the first in the log with its name."""
    posts = sorted(
        (each for each in history.log if each.kind in POSTS),
        key=lambda each: (each.occurred_at, each.participant),
    )
    authors: dict[str, str] = {}
    for each in posts:
        authors.setdefault(each.act, each.participant)
    return authors


def _contributors(history: History, hours: int) -> Figures:
    posts = Counter(each.participant for each in history.window(hours) if each.kind in POSTS)
    ascending = sorted(posts.values())
    count_top = (len(ascending) + 99) // 100
    return {
        "count_contributors": len(ascending),
        "count_posts_of_top": sum(sorted(ascending, reverse=True)[:count_top]),
        "contribution_gini": _gini(ascending),
    }


def _gini(ascending: Sequence[int]) -> float | None:
    n = len(ascending)
    if n == 0:
        return None
    return sum((2 * i - n - 1) * x for i, x in enumerate(ascending, start=1)) / (n * sum(ascending))
