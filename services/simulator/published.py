"""Two forums built so that the aggregates that studies published must come out of their events.

They show that our definitions are theirs, and say nothing of the world: nobody here knows the studies'
rows, and what is not printed (who wrote when, and to whom) is drawn from the seed and of no meaning. A
survey of this kind is `singapore`; communities with a planted truth are the other modules'.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from circles.groups.v1 import group_event_pb2 as groups
from circles.participation.v1.participation_event_pb2 import ParticipationEvent

from services.client import Event
from services.client import events as made
from services.simulator.telling import Figure, in_time, joined

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


class Written(NamedTuple):
    """The author and the thread of each message."""

    authors: Integers
    threads: Integers


class Members(NamedTuple):
    """How many posts each member wrote, and whether the member ever logged in."""

    posts: Integers
    has_logged_in: Booleans


# --- Hsiung 2000: Psycho-Babble ---------------------------------------------------------------------------

PSYCHO_BABBLE = (
    Figure("people_who_posted", 1516),
    Figure("messages", 21_230),
    Figure("threads", 3028),
    Figure("posted_once_share", 728 / 1516, printed="48 %"),
    Figure("initial_post_only_share", 394 / 3028, printed="13 %"),
    Figure("posts_per_poster", 21_230 / 1516, printed="14.0"),
    Figure("posts_per_thread", 21_230 / 3028, printed="7.0"),
)

BABBLE_STARTS_AT, BABBLE_ENDS_AT = datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 8, 31, 23, tzinfo=UTC)


def psycho_babble() -> Written:
    """Hsiung 2000: 1516 members posted 21,230 messages in 3028 threads, January to August 2000.

    48 % of posters posted once (728), 13 % of threads are the initial post alone (394).
    """
    of_members = spread(21_230, 1516, ones=728)
    of_threads = spread(21_230, 3028, ones=394)
    return Written(np.repeat(np.arange(1516), of_members), np.repeat(np.arange(3028), of_threads))


def psycho_babble_events(seed: int) -> Iterator[Event]:
    """One online forum with a professional moderator, who does nothing that is told of."""
    rng = random.Random(seed)  # noqa: S311  # repeatable on purpose
    authors, threads = (each.tolist() for each in psycho_babble())
    rng.shuffle(authors)
    window = BABBLE_STARTS_AT + timedelta(hours=1), BABBLE_ENDS_AT
    posts = _posts(rng, "babble", authors, threads, window)
    yield _forum("babble", BABBLE_STARTS_AT)
    yield from in_time([*_arrivals("babble", posts), *posts])


# --- Geramita et al. 2018 ---------------------------------------------------------------------------------

GERAMITA = (
    Figure("people_in_class", 3, part="superusers"),
    Figure("people_in_class", 30, part="top contributors"),
    Figure("people_in_class", 108, part="contributors"),
    Figure("people_in_class", 87, part="observers"),
    Figure("people_in_class", 74, part="never logged in"),
    Figure("content_percent", 100 * 630 / 1488, part="superusers", printed="42.3 %"),
)

GERAMITA_STARTS_AT, GERAMITA_ENDS_AT = datetime(2014, 1, 6, tzinfo=UTC), datetime(2014, 7, 4, tzinfo=UTC)


def geramita() -> Members:
    """Geramita et al. 2018: of 302 members 3 superusers wrote 630 of 1488 posts, 30 were top contributors,
    108 contributors, 87 observers, and 74 never logged in.
    """
    posts = np.zeros(302, np.int64)
    posts[:3] = 210
    posts[3:33] = 20
    posts[33:141] = spread(258, 108, ones=20)
    return Members(posts, np.arange(302) < 228)


def geramita_events(seed: int) -> Iterator[Event]:
    """An online forum that tells who reads: to log in is to read. All join at the beginning."""
    rng = random.Random(seed)  # noqa: S311
    members = geramita()
    authors = np.repeat(np.arange(302), members.posts).tolist()
    rng.shuffle(authors)
    threads = np.repeat(np.arange(180), spread(1488, 180, ones=12)).tolist()
    window = GERAMITA_STARTS_AT + timedelta(days=1), GERAMITA_ENDS_AT
    posts = _posts(rng, "geramita", authors, threads, window)
    reads = [
        _read(rng, "geramita", _member("geramita", member), post)
        for member in np.flatnonzero(members.has_logged_in).tolist()
        for post in rng.sample(posts, rng.randint(1, 6))
    ]
    yield _forum("geramita", GERAMITA_STARTS_AT)
    for member in range(302):
        yield from joined("geramita", _member("geramita", member), GERAMITA_STARTS_AT)
    yield from in_time([*posts, *reads])


# --- Both forums ------------------------------------------------------------------------------------------


def _forum(name: str, at: datetime) -> Event:
    return made.group_registered(
        group=name,
        at=at,
        format=groups.GROUP_FORMAT_ONLINE_FORUM,
        moderation=groups.MODERATION_PROFESSIONAL,
        condition=groups.CONDITION_GENERAL,
        population=groups.POPULATION_ANYONE,
        reads_collected=name == "geramita",
        event_id="",
    )


def _member(group: str, number: int) -> str:
    return f"{group}-member-{number:04d}"


def _arrivals(group: str, posts: Iterable[ParticipationEvent]) -> Iterator[Event]:
    """A quarter of an hour before each member's first message."""
    first: dict[str, datetime] = {}
    for post in posts:
        who, at = post.participant_ref, post.occurred_at.ToDatetime(UTC)
        first[who] = min(at, first.get(who, at))
    for who, at in first.items():
        yield from joined(group, who, at - timedelta(minutes=15))


def _posts(
    rng: random.Random,
    group: str,
    authors: Sequence[int],
    threads: Sequence[int],
    window: tuple[datetime, datetime],
) -> list[ParticipationEvent]:
    """The messages of threads that stand one behind the other. All of a thread within ten days, each at a
    second of its own; a reply answers any message before it."""
    posts: list[ParticipationEvent] = []
    begins, ends = window
    seconds = int((ends - begins).total_seconds())
    of_thread = np.bincount(threads)
    place = 0
    for thread, count in enumerate(of_thread.tolist()):
        start = rng.randrange(seconds - 3600)
        room = min(seconds - start, 10 * 86_400)
        offsets = sorted(rng.sample(range(60, room), count - 1))
        acts: list[str] = []
        for offset in [0, *offsets]:
            act, at = f"{group}-act-{place:05d}", begins + timedelta(seconds=start + offset)
            who, where = _member(group, authors[place]), f"{group}-thread-{thread:04d}"
            if acts:
                post = made.reply_posted(group=group, participant=who, thread=where, act=act,
                                         in_reply_to_act=rng.choice(acts), at=at, event_id="")  # fmt: skip
            else:
                post = made.thread_started(group=group, participant=who, thread=where, act=act, at=at,
                                           event_id="")  # fmt: skip
            posts.append(post)
            acts.append(act)
            place += 1
    return posts


def _read(rng: random.Random, group: str, member: str, post: ParticipationEvent) -> ParticipationEvent:
    """Of the thread of a message, within two hours of it."""
    thread = post.thread_started.thread_ref or post.reply_posted.thread_ref
    at = post.occurred_at.ToDatetime(UTC) + timedelta(seconds=rng.randint(60, 7200))
    return made.thread_read(group=group, participant=member, thread=thread, at=at, event_id="")


def spread(total: int, count: int, ones: int) -> Integers:
    """`total` over `count` places: so many have one, all others two or more, as alike as can be.

    Raises ValueError when it cannot be.
    """
    others, left = count - ones, total - ones
    if ones > count or left < 2 * others or (others == 0 and left > 0):
        raise ValueError(f"{total} cannot be spread over {count} with {ones} ones")
    found = np.ones(count, np.int64)
    if others:
        found[ones:] = left // others
        found[count - left % others :] += 1
    return found
