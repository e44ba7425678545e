"""What happens in many groups, in the order in which it is told: the same from the same seed.

No encoding: how events become records is `records`'.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SHARES = {
    "thread_read": 42,
    "reply_posted": 22,
    "reaction_given": 16,
    "session_attended": 8,
    "member_joined": 5,
    "thread_started": 4,
    "moderation_acted": 2,
    "session_held": 1,
}
"""Percent of the events. What needs a thread or a session begins one where the group has none."""

LATE_SHARE, LATE_SECONDS = 0.03, 26 * 3600
DUPLICATE_SHARE, DUPLICATES_WITHIN = 0.01, 20_000
"""So many of the newest events may be told once more."""

FIRST_SECOND = 1_772_438_400
"""2026-03-02 08:00 UTC. Fixed: windows end at events, not by the clock."""

CHUNK = 10_000
LIVELY_THREADS, ACTS_OF_A_THREAD = 6, 8
"""Replies and reactions go to the newest acts of a group's newest threads."""

_SPREAD = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""Odd, so that multiples of it modulo 2¹²⁸ are distinct and look like a keyed hash's output."""


@dataclass(frozen=True)
class Scale:
    """How many of everything. Groups belong to the tenants in turn."""

    name: str
    events: int
    groups: int
    participants: int
    hours: int
    tenants: tuple[str, ...] = ("bench-north", "bench-south")
    seed: int = 1


class Event(NamedTuple):
    """What happened, with pseudonyms as the gateway makes them. What the kind does not have is empty."""

    tenant: str
    kind: str
    event_id: str
    group: str
    participant: str
    place: str
    """Thread or session."""
    act: str
    in_reply_to: str
    seconds: int
    nanoseconds: int


@dataclass
class _Thread:
    number: int
    acts: deque[int] = field(default_factory=lambda: deque(maxlen=ACTS_OF_A_THREAD))


@dataclass
class _Group:
    name: str
    tenant: str
    first_member: int
    members: int
    session: int = 0
    threads: deque[_Thread] = field(default_factory=lambda: deque(maxlen=LIVELY_THREADS))


class _Draw(NamedTuple):
    """What chance says of one event."""

    group: int
    kind: str
    member: float
    thread: float
    act: float
    late: float
    identity: str


def events(scale: Scale) -> Iterator[Event]:
    """All events of `scale`, late ones and repeated ones among them."""
    community = _Community(scale)
    repeats = random.Random(scale.seed)
    newest: list[Event] = []
    for number, draw in enumerate(_draws(scale)):
        if newest and repeats.random() < DUPLICATE_SHARE:
            yield repeats.choice(newest)
            continue
        event = community.event(number, draw)
        if len(newest) < DUPLICATES_WITHIN:
            newest.append(event)
        else:
            newest[number % DUPLICATES_WITHIN] = event
        yield event


class _Community:
    """The groups, and what they have that an event can refer to."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._count = 0
        sizes = _sizes(scale)
        firsts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        self._groups = [
            _Group(_name("grp", number), scale.tenants[number % len(scale.tenants)], int(first), int(size))
            for number, (first, size) in enumerate(zip(firsts, sizes, strict=True))
        ]

    def event(self, number: int, draw: _Draw) -> Event:
        group = self._groups[draw.group]
        kind = _possible(draw.kind, group)
        place, act, in_reply_to = self._references(kind, group, draw)
        # Squared: few members of a group do most of what happens in it.
        member = group.first_member + int(draw.member**2 * group.members)
        nanoseconds = self._nanoseconds(number, draw.late)
        return Event(
            tenant=group.tenant,
            kind=kind,
            event_id=_uuid(draw.identity),
            group=group.name,
            participant="" if kind == "session_held" else _name("prt", member),
            place=place,
            act=act,
            in_reply_to=in_reply_to,
            seconds=nanoseconds // 10**9,
            nanoseconds=nanoseconds % 10**9,
        )

    def _references(self, kind: str, group: _Group, draw: _Draw) -> tuple[str, str, str]:
        """Thread or session, act, and the act that is answered."""
        if kind == "member_joined":
            return "", "", ""
        if kind in ("session_held", "session_attended"):
            group.session = self._next() if kind == "session_held" else group.session
            return _name("ses", group.session), "", ""
        if kind == "thread_started":
            thread = _Thread(self._next())
            thread.acts.append(thread.number)
            group.threads.append(thread)
            return _name("thr", thread.number), _name("act", thread.number), ""
        return self._about_an_act(kind, group, draw)

    def _about_an_act(self, kind: str, group: _Group, draw: _Draw) -> tuple[str, str, str]:
        thread = group.threads[int(draw.thread * len(group.threads))]
        earlier = _name("act", thread.acts[int(draw.act * len(thread.acts))])
        if kind == "thread_read":
            return _name("thr", thread.number), "", ""
        if kind != "reply_posted":
            return "", earlier, ""
        thread.acts.append(self._next())
        return _name("thr", thread.number), _name("act", thread.acts[-1]), earlier

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _nanoseconds(self, number: int, late: float) -> int:
        through = number / self._scale.events * self._scale.hours * 3600
        return FIRST_SECOND * 10**9 + int((through - late) * 1000) * 10**6


def _possible(kind: str, group: _Group) -> str:
    if kind == "session_attended" and not group.session:
        return "session_held"
    if kind in ("thread_read", "reply_posted", "reaction_given", "moderation_acted") and not group.threads:
        return "thread_started"
    return kind


def _draws(scale: Scale) -> Iterator[_Draw]:
    """By the chunk: NumPy draws ten thousand as fast as one."""
    chance = np.random.default_rng(scale.seed)
    kinds = list(SHARES)
    bounds = np.cumsum(_weights(scale))
    for start in range(0, scale.events, CHUNK):
        size = min(CHUNK, scale.events - start)
        groups = np.searchsorted(bounds, chance.random(size) * bounds[-1])
        chosen = chance.choice(len(kinds), size, p=np.array(list(SHARES.values())) / 100)
        member, thread, act, is_late, late = (chance.random(size).tolist() for _ in range(5))
        identities = chance.bytes(16 * size).hex()
        for i in range(size):
            yield _Draw(
                group=int(groups[i]),
                kind=kinds[chosen[i]],
                member=member[i],
                thread=thread[i],
                act=act[i],
                late=late[i] * LATE_SECONDS if is_late[i] < LATE_SHARE else 0.0,
                identity=identities[32 * i : 32 * i + 32],
            )


def _weights(scale: Scale) -> npt.NDArray[np.float64]:
    """How busy each group is: a long tail, and no group with nearly everything."""
    return np.asarray(1.0 / (np.arange(scale.groups) + 20) ** 0.8)


def _sizes(scale: Scale) -> npt.NDArray[np.int64]:
    """Members of each group, at least two: the busier the group, the more."""
    spare = scale.participants - 2 * scale.groups
    weights = _weights(scale)
    return 2 + np.random.default_rng(scale.seed).multinomial(spare, weights / weights.sum())


def _name(kind: str, number: int) -> str:
    """A pseudonym that looks as if the gateway had made it."""
    return f"{kind}_{(number + 1) * _SPREAD % 2**128:032x}"


def _uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
