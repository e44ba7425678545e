"""Men's groups that meet and write, with women's groups beside them: planted themes of interviews that two
people coded, their agreement, who answers whom, attendance, and how loneliness changes.

What men say in interviews stays with whoever heard it; here are codes, and they are about nobody.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations

from circles.groups.v1 import group_event_pb2 as groups
from circles.outcomes.v1 import outcome_event_pb2 as outcomes
from circles.participation.v1 import participation_event_pb2 as participation
from circles.studies.v1 import study_event_pb2 as studies

from services.client import Event
from services.client import events as made
from services.simulator.telling import Figure, agreed, in_time

STUDY = "synthetic-mens-groups"
STARTS_AT = datetime(2026, 1, 5, tzinfo=UTC)
PER_GROUP = 10
SESSIONS = 12
"""A week apart, at seven in the evening."""
CODERS = ("coder-a", "coder-b")
TIME_POINTS: Mapping[str, int] = {"baseline": 0, "month-3": 90}
"""Days after the start."""

THEMES: Mapping[str, float] = {
    "shared-understanding": 0.85, "mutual-respect": 0.70, "safe-space": 0.75, "role-in-the-group": 0.50,
    "purpose": 0.45, "less-isolation": 0.80, "masculine-norms": 0.40, "coping": 0.60,
}  # fmt: skip
"""Share of interviews in which a coder finds it. The first six are those of the study in South Wales, which
prints no shares."""


@dataclass(frozen=True)
class Truth:
    kappa: float = 0.7
    """Cohen's, of the two coders, for every theme."""
    men: float = 0.75
    """Share of groups that are for men; the others are for women."""
    loneliness: float = -1.0
    """Mean change of UCLA-3 to the third month, in points: from -2 to 0."""
    attendance: float = 0.65
    """Share of sessions that a member attends."""
    dyads: float = 0.3
    """Share of pairs of a group between whom anything is answered."""
    reciprocity: float = 0.5
    """Of these, the share in which both answer."""

    def __post_init__(self) -> None:
        for name in ("kappa", "men", "attendance", "dyads", "reciprocity"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is between 0 and 1")
        if not -2 <= self.loneliness <= 0:
            raise ValueError("loneliness is between -2 and 0: beyond that answers would leave the instrument")


def events(seed: int, people: int, truth: Truth) -> Iterator[Event]:
    """Groups of ten. Everybody is interviewed once, after the last session."""
    rng = random.Random(seed)  # noqa: S311  # repeatable on purpose
    yield made.study_registered(study=STUDY, design=studies.STUDY_DESIGN_COHORT, at=STARTS_AT, event_id="")
    told: list[Event] = []
    count = math.ceil(people / PER_GROUP)
    for number in range(count):
        is_mens = number < round(truth.men * count)
        group = f"{'men' if is_mens else 'women'}-{number:03d}"
        members = [f"{group}-{i}" for i in range(min(PER_GROUP, people - number * PER_GROUP))]
        yield made.group_registered(
            group=group,
            at=STARTS_AT,
            format=groups.GROUP_FORMAT_HYBRID,
            moderation=groups.MODERATION_PEER,
            condition=groups.CONDITION_GENERAL,
            population=groups.POPULATION_MEN if is_mens else groups.POPULATION_WOMEN,
            event_id="",
        )
        for member in members:
            told += _person(
                rng, group, member, outcomes.GENDER_MAN if is_mens else outcomes.GENDER_WOMAN, truth
            )
        told += _sessions(rng, group, members, truth)
        told += _messages(rng, group, members, truth)
    yield from in_time(told)


def figures(_: int, truth: Truth) -> Sequence[Figure]:
    """Of everybody alike, men and women. A theme is there where both coders find it."""
    gives = truth.dyads * (1 + truth.reciprocity) / 2
    return (
        *(
            Figure("theme_share", share**2 + truth.kappa * share * (1 - share), outcome=theme)
            for theme, share in THEMES.items()
        ),
        *(Figure("cohens_kappa", truth.kappa, outcome=theme) for theme in THEMES),
        Figure("reciprocity_share", truth.reciprocity),
        # To one or more of the others, in a group of ten.
        Figure("help_giver_share", 1 - (1 - gives) ** (PER_GROUP - 1)),
        Figure("attendance_rate", truth.attendance),
        Figure("mean_change", truth.loneliness, outcome="loneliness"),
    )


def _person(
    rng: random.Random, group: str, member: str, gender: outcomes.Gender.ValueType, truth: Truth
) -> Iterator[Event]:
    yield agreed(member, STARTS_AT)
    yield made.attribute_stated(participant=member, gender=gender, at=STARTS_AT, event_id="")
    yield made.member_joined(group=group, participant=member, at=STARTS_AT, event_id="")
    before = rng.choice((6, 7, 8))
    whole = math.floor(-truth.loneliness)
    fallen = whole + (rng.random() < -truth.loneliness - whole)
    after = before - fallen + rng.choice((-1, 0, 0, 1))
    for (time_point, day), score in zip(TIME_POINTS.items(), (before, after), strict=True):
        yield made.questionnaire_answered(participant=member, instrument="ucla-3", instrument_version="1",
                                          total=score, study=STUDY, time_point=time_point, group=group,
                                          at=STARTS_AT + timedelta(days=day), event_id="")  # fmt: skip
    at = STARTS_AT + timedelta(days=95)
    for theme, share in THEMES.items():
        for coder, is_present in zip(CODERS, _coded(rng, share, truth.kappa), strict=True):
            yield made.theme_coded(participant=member, study=STUDY, theme=theme, coder=coder,
                                   is_present=is_present, group=group, at=at, event_id="")  # fmt: skip


def _coded(rng: random.Random, share: float, kappa: float) -> tuple[bool, bool]:
    """Both find it in `share`, and agree beyond chance in `kappa` of what chance leaves."""
    first = rng.random() < share
    if rng.random() < kappa:
        return first, first
    return first, rng.random() < share


def _sessions(rng: random.Random, group: str, members: Sequence[str], truth: Truth) -> Iterator[Event]:
    for week in range(SESSIONS):
        at, session = STARTS_AT + timedelta(weeks=week, days=1, hours=19), f"{group}-week-{week:02d}"
        yield made.session_held(group=group, session=session, at=at, minutes=90, event_id="")
        for member in members:
            if rng.random() < truth.attendance:
                yield made.session_attended(group=group, participant=member, session=session, at=at,
                                            minutes=90, role=participation.ATTENDANCE_ROLE_MEMBER,
                                            event_id="")  # fmt: skip


def _messages(rng: random.Random, group: str, members: Sequence[str], truth: Truth) -> Iterator[Event]:
    """Everybody writes one message in the first week; who answers whom is drawn pair by pair."""
    first = STARTS_AT + timedelta(days=2)
    for number, member in enumerate(members):
        yield made.thread_started(group=group, participant=member, thread=member, act=member,
                                  at=first + timedelta(hours=number), event_id="")  # fmt: skip
    for pair in combinations(members, 2):
        if rng.random() >= truth.dyads:
            continue
        ways = [pair, pair[::-1]]
        rng.shuffle(ways)
        for one, other in ways if rng.random() < truth.reciprocity else ways[:1]:
            at = first + timedelta(days=1, minutes=rng.randrange(80 * 1440))
            yield made.reply_posted(group=group, participant=one, thread=other, act=f"{one}.to.{other}",
                                    in_reply_to_act=other, at=at, event_id="")  # fmt: skip
