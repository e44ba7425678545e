"""Online groups of four kinds of moderation with planted hazards: of a first reply, of a thread's removal,
of a moderator's answer, of giving up and of completing.

All hazards are constant, so every curve has a closed form. That one kind of moderation is quicker here says
nothing of the world. Aggregates that a study published are `published`'s.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from circles.groups.v1 import group_event_pb2 as groups
from circles.participation.v1 import participation_event_pb2 as participation

from services.client import Event
from services.client import events as made
from services.simulator.telling import Figure, agreed, in_time, joined

STARTS_AT, DAYS = datetime(2026, 1, 1, tzinfo=UTC), 180
ENDS_AT = STARTS_AT + timedelta(days=DAYS)
LAST_JOIN_DAY = 120
KINDS = ("none", "peer", "trained_peer", "professional")
GROUPS_PER_KIND = 5
"""Kinds are compared by the variance between their groups."""
GAP_DAYS = 30
"""A silence so long is what dropping out means."""
MOST_SILENT_DAYS = 18
"""Of who stays."""


@dataclass(frozen=True)
class Truth:
    """Hazards by how a group is moderated."""

    reply_none: float = 0.010
    reply_peer: float = 0.025
    reply_trained_peer: float = 0.035
    reply_professional: float = 0.050
    """Of a first reply by another member, per hour since the thread began."""
    removal_peer: float = 0.001
    removal_trained_peer: float = 0.002
    removal_professional: float = 0.003
    """Of the thread's removal, per hour. It then gets no reply and no answer."""
    answer_peer: float = 0.010
    answer_trained_peer: float = 0.020
    answer_professional: float = 0.030
    """Of a moderator's answer, per hour."""
    dropout_none: float = 0.016
    dropout_peer: float = 0.012
    dropout_trained_peer: float = 0.010
    dropout_professional: float = 0.008
    """Of doing nothing more, per day of membership."""
    completed: float = 0.002
    """Of completing the programme, per day of membership."""

    def __post_init__(self) -> None:
        for name, hazard in asdict(self).items():
            if not 0 <= hazard < math.inf:
                raise ValueError(f"{name} is a hazard: 0 or more")

    def of(self, what: str, kind: str) -> float:
        """The hazard `what` in groups of such moderation; 0 where there is none."""
        return float(getattr(self, f"{what}_{kind}", 0.0))


@dataclass(frozen=True)
class _Member:
    """Days since the start."""

    ref: str
    joins: float
    ends: float
    has_completed: bool


@dataclass(frozen=True)
class _Group:
    ref: str
    kind: str
    hazards: Mapping[str, float]
    """By what happens; what cannot happen has none."""
    members: Sequence[_Member]

    @property
    def moderator(self) -> str:
        return f"{self.ref}-moderator"


def events(seed: int, people: int, truth: Truth) -> Iterator[Event]:
    """Half of a group's members are there from the beginning, the others join within four months."""
    rng = random.Random(seed)  # noqa: S311  # repeatable on purpose
    refs = [(kind, f"{kind.replace('_', '-')}-{i}") for i in range(GROUPS_PER_KIND) for kind in KINDS]
    told: list[Event] = []
    for number, (kind, group) in enumerate(refs):
        size = people // len(refs) + (number < people % len(refs))
        yield made.group_registered(
            group=group,
            at=STARTS_AT,
            format=groups.GROUP_FORMAT_ONLINE_FORUM,
            moderation=groups.Moderation.Value(f"MODERATION_{kind.upper()}"),
            condition=groups.CONDITION_GENERAL,
            population=groups.POPULATION_ANYONE,
            reads_collected=False,
            event_id="",
        )
        hazards = {what: truth.of(what, kind) for what in ("reply", "removal", "answer", "dropout")}
        hazards["completed"] = truth.completed
        members = [_member(rng, f"{group}-{i:03d}", hazards, is_first=i < size / 2) for i in range(size)]
        told += _of_group(rng, _Group(group, kind, hazards, members))
    yield from in_time(told)


def figures(people: int, truth: Truth) -> Sequence[Figure]:
    """Incidences at the times that the tables ask for, from the hazards."""
    told = []
    for kind in KINDS:
        reply, removal, answer = (truth.of(what, kind) for what in ("reply", "removal", "answer"))
        dropout, completed = truth.of("dropout", kind), truth.completed
        found = {
            ("replied_share", "1 h"): _incidence(reply, removal, 1),
            ("replied_share", "24 h"): _incidence(reply, removal, 24),
            ("closed_share", "24 h"): _incidence(removal, reply, 24),
            # A gap is one when it has lasted: nobody has dropped out before that.
            ("dropout_share", "60 days"): _incidence(dropout, completed, 60 - GAP_DAYS),
            ("dropout_share", "90 days"): _incidence(dropout, completed, 90 - GAP_DAYS),
            ("completed_share", "90 days"): _incidence(completed, dropout, 90),
        }
        if answer:
            found["moderator_replied_share", "24 h"] = _incidence(answer, removal, 24)
        told += [Figure(name, value, part=part, of=kind) for (name, part), value in found.items()]
    return told


def _incidence(hazard: float, competing: float, time: float) -> float:
    """Share to which it has happened by then, before what competes with it."""
    both = hazard + competing
    return hazard / both * -math.expm1(-both * max(0.0, time)) if both else 0.0


def _of_group(rng: random.Random, group: _Group) -> Iterator[Event]:
    if group.kind != "none":
        yield agreed(group.moderator, STARTS_AT)
    threads = []
    for member in group.members:
        yield from joined(group.ref, member.ref, _at(member.joins))
        threads += [(day, member) for day in _days_of_acts(rng, member)]
        if member.has_completed:
            yield made.member_left(group=group.ref, participant=member.ref, at=_at(member.ends),
                                   reason=participation.LEAVE_REASON_COMPLETED, event_id="")  # fmt: skip
    for number, (day, author) in enumerate(threads):
        yield from _thread(rng, group, f"{group.ref}-{number:05d}", day, author)


def _member(rng: random.Random, ref: str, hazards: Mapping[str, float], *, is_first: bool) -> _Member:
    joins = 0.0 if is_first else rng.uniform(0, LAST_JOIN_DAY)
    gives_up, completes = _wait(rng, hazards["dropout"]), _wait(rng, hazards["completed"])
    ends = joins + min(gives_up, completes)
    return _Member(ref, joins, min(ends, DAYS), completes < gives_up and ends < DAYS)


def _days_of_acts(rng: random.Random, member: _Member) -> Iterator[float]:
    """When a member starts a thread: never silent for long, and for the last time at the very end."""
    day = member.joins + rng.uniform(0, MOST_SILENT_DAYS / 2)
    while day < member.ends:
        yield day
        day += rng.uniform(6, MOST_SILENT_DAYS)
    if member.ends < DAYS:
        yield member.ends


def _thread(rng: random.Random, group: _Group, ref: str, day: float, author: _Member) -> Iterator[Event]:
    """Its start, and the first reply, removal and answer that come in time."""
    place = {"group": group.ref, "event_id": ""}
    yield made.thread_started(participant=author.ref, thread=ref, act=ref, at=_at(day), **place)
    replied, removed, answered = (
        day + _wait(rng, group.hazards[what]) / 24 for what in ("reply", "removal", "answer")
    )
    others = [each for each in group.members if each is not author and each.joins <= replied <= each.ends]
    if replied < min(removed, DAYS) and others:
        yield made.reply_posted(participant=rng.choice(others).ref, thread=ref, act=f"{ref}-1",
                                in_reply_to_act=ref, at=_at(replied), **place)  # fmt: skip
    acts = []
    if removed < DAYS:
        acts.append((removed, participation.MODERATION_ACTION_REMOVE_ACT))
    if answered < min(removed, DAYS):
        acts.append((answered, participation.MODERATION_ACTION_REPLY))
    for at, action in acts:
        yield made.moderation_acted(participant=group.moderator, act=ref, action=action, at=_at(at), **place)


def _wait(rng: random.Random, hazard: float) -> float:
    return rng.expovariate(hazard) if hazard else math.inf


def _at(day: float) -> datetime:
    """To the second."""
    return STARTS_AT + timedelta(seconds=round(day * 86_400))
