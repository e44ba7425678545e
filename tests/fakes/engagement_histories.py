"""Histories of one group in which as much as possible falls together: few people, sessions, threads and
acts, and times around every edge of a window. For tests of rolling engagement against its oracle.

What an event says keeps the contract's rules, so that the gateway would take it. No second body comes
under a known `event_id`: such a conflict is decided before anything is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from uuid import UUID

from hypothesis import strategies as st

from tests.fakes.engagement_oracle import DAY, HOUR, LOG_HOURS, MINUTE, Told

ENDS = (1_700_000_100, 1_709_251_200, 300, 0, -1_072_915_200)
"""Where the windows of a history end if it has an event just before: also around 1970, and in 1936."""

EDGES = (
    0, 5 * MINUTE, HOUR, 2 * HOUR, DAY, DAY + HOUR, 2 * DAY, 7 * DAY, 8 * DAY, 28 * DAY, 29 * DAY,
    30 * DAY, 30 * DAY + HOUR, 31 * DAY, 37 * DAY, 58 * DAY, 60 * DAY,
)  # fmt: skip
"""Seconds before the end: edges of the windows, of the log and of dropping out, and an hour or a day from
these, so that answers come just in time and just too late."""

KINDS = (
    *["thread_started", "reply_posted"] * 4, *["session_attended"] * 4, *["member_joined", "member_left"] * 2,
    *["session_held", "moderation_acted"] * 2, "session_cancelled", "reaction_given", "thread_read",
    "risk_raised", "risk_answered", "text_features_measured",
)  # fmt: skip
WITHOUT_PERSON = {"session_held", "session_cancelled"}


def pseudonym(prefix: str, number: int) -> str:
    """As the gateway makes them, and still readable: `prt_0303…`. Their order is that of the numbers."""
    return f"{prefix}_{number:02x}" + f"{number:02x}" * 15


PEOPLE = [pseudonym("prt", number) for number in range(1, 6)]
SESSIONS = [pseudonym("ses", number) for number in range(1, 4)]
THREADS = [pseudonym("thr", number) for number in range(1, 4)]
ACTS = [pseudonym("act", number) for number in range(1, 5)]


@dataclass(frozen=True)
class GroupHistory:
    """What was told of a group in the order of arrival, and who has withdrawn by now."""

    told: list[Told]
    withdrawn: frozenset[str]


@st.composite
def histories(draw: st.DrawFn, *, max_events: int = 40, with_exceptions: bool = True) -> GroupHistory:
    """Any history. `with_exceptions`: also retractions of what has left the log, which the stream may not
    follow (docs/engagement.md)."""
    end = draw(st.sampled_from(ENDS))
    # Each event from a source of its own: Hypothesis can then leave out any of them.
    sources = draw(st.lists(st.randoms(use_true_random=False), min_size=1, max_size=max_events))
    events = [_event(source, number, end) for number, source in enumerate(sources)]
    sources = draw(st.lists(st.randoms(use_true_random=False), max_size=8))
    retractions = _retractions(sources, events, end, with_exceptions=with_exceptions)
    copies = draw(st.lists(st.sampled_from([*events, *retractions]), max_size=6))
    told = draw(st.permutations([*events, *retractions, *copies]))
    withdrawn = draw(st.one_of(st.just(frozenset[str]()), st.frozensets(st.sampled_from(PEOPLE), max_size=3)))
    return GroupHistory(list(told), withdrawn)


def random_histories(seed: int, count: int, *, max_events: int = 40) -> Iterator[GroupHistory]:
    """The same without Hypothesis: many at once, for what is too slow to be asked one by one."""
    source = Random(seed)
    for _ in range(count):
        end = source.choice(ENDS)
        events = [_event(source, number, end) for number in range(source.randint(1, max_events))]
        sources = [source] * source.choice([0, 0, 1, 3, 8])
        told = [*events, *_retractions(sources, events, end, with_exceptions=True)]
        told += source.choices(told, k=source.choice([0, 2, 6]))
        source.shuffle(told)
        yield GroupHistory(told, frozenset(source.sample(PEOPLE, source.choice([0, 0, 1, 3]))))


def _event(source: Random, number: int, end: int) -> Told:
    kind = source.choice(KINDS)
    act, in_reply_to = source.sample(ACTS, 2)
    said = {
        "session_held": {"session": source.choice(SESSIONS)},
        "session_cancelled": {"session": source.choice(SESSIONS)},
        "session_attended": {
            "session": source.choice(SESSIONS),
            "role": source.choice(["", "member", "member", "facilitator", "observer"]),
        },
        "thread_started": {"thread": source.choice(THREADS), "act": act},
        "reply_posted": {"thread": source.choice(THREADS), "act": act, "in_reply_to": in_reply_to},
        "thread_read": {"thread": source.choice(THREADS)},
        "reaction_given": {"act": act},
        "text_features_measured": {"act": act},
        "moderation_acted": {
            "action": source.choice(["reply", "reply", "lock_thread"]),
            "act": source.choice([act, act, ""]),
        },
    }
    return Told(
        kind,
        str(UUID(int=number)),
        _moment(source, end),
        participant="" if kind in WITHOUT_PERSON else source.choice(PEOPLE),
        **said.get(kind, {}),
    )


def _moment(source: Random, end: int) -> int:
    wide = source.choice([0, 1, 2, 5 * MINUTE, 5 * MINUTE, 90 * MINUTE])
    return min(end - 1, end - source.choice(EDGES) + source.randint(-wide, wide))


def _retractions(sources: list[Random], events: list[Told], end: int, *, with_exceptions: bool) -> list[Told]:
    """Of events and of earlier retractions, or of an event that never comes."""
    newest = max(each.occurred_at for each in events)
    in_every_log = newest + 5 * MINUTE - LOG_HOURS * HOUR
    retractable = [
        each.event_id for each in events if with_exceptions or each.occurred_at >= in_every_log
    ] + [str(UUID(int=2**64))]
    made: list[Told] = []
    for number, source in enumerate(sources, start=len(events)):
        target = source.choice([*retractable, *(each.event_id for each in made)])
        made.append(Told("event_retracted", str(UUID(int=number)), _moment(source, end), retracted=target))
    return made
