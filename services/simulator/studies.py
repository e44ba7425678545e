"""Studies of people's outcomes with a planted truth, made from a seed: carers in a group and others, members
of mutual-help groups, young members of online groups.

People first, as plain records, so that statistics can be tested on as many as they need; `events` tells a
partner's story of them. What is planted stands in `Truth`, in points of the instrument. A whole community is
`community`'s; posting is `services.client`'s.
"""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from circles.groups.v1 import group_event_pb2 as groups
from circles.outcomes.v1 import outcome_event_pb2 as outcomes
from circles.participation.v1 import participation_event_pb2 as participation
from circles.studies.v1 import study_event_pb2 as studies

from services.client import Event
from services.client import events as made

STARTS_AT = datetime(2026, 4, 1, tzinfo=UTC)
NAMESPACE = uuid.UUID("6f1c0e4e-0d55-5c8e-8f3a-2b9f1f0c7a11")

TENANT = "synthetic-studies"

CARERS, MUTUAL_HELP, YOUTH = "synthetic-carers", "synthetic-mutual-help", "synthetic-youth"
"""The protocols that ask for them."""


@dataclass(frozen=True)
class Truth:
    """What a later answer has beside the baseline's, in points. All hold at the same baseline."""

    difference: float = -2.0
    """Of people in a group from those of the reference arm."""
    wellbeing: float = -0.3
    employment: float = -1.5
    """Of carers: what a point of wellbeing, and being employed, goes with."""
    years: float = 0.3
    """Of members: what a year of illness goes with."""
    professional: float = 0.0
    """Of members from people in treatment by professionals."""
    dose: float = -1.0
    """Of young members: what a step of log(1 + posts) goes with."""
    people: float = 1.5
    answers: float = 1.5
    groups: float = 0.0
    """Standard deviations: of people, of single answers, of groups."""
    lost: float = 0.1
    """Share who miss a later answer."""
    missing: str = "mar"
    """Who does: `mar`, rather those who were worse at the answer before; `mnar`, rather those who would have
    been worse at this one; `mcar`, anybody."""

    def __post_init__(self) -> None:
        if self.missing not in ("mcar", "mar", "mnar"):
            raise ValueError(f"missing is mcar, mar or mnar, not {self.missing!r}")
        if not 0 <= self.lost < 1:
            raise ValueError("lost is a share from 0 to less than 1")
        if min(self.people, self.answers, self.groups) < 0:
            raise ValueError("people, answers and groups are standard deviations: 0 or more")


@dataclass
class Person:
    """`scores` by instrument and time point; `posts` and `sessions` before the last answer."""

    ref: str
    arm: str
    group: str | None = None
    age_band: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    covariates: dict[str, str] = field(default_factory=dict)
    scores: dict[tuple[str, str], float] = field(default_factory=dict)
    posts: int = 0
    sessions: int = 0
    cost: float | None = None


@dataclass(frozen=True)
class Group:
    ref: str
    format: str
    moderation: str


@dataclass(frozen=True)
class Study:
    """`time_points`: days after the start, the baseline first."""

    code: str
    time_points: dict[str, int]
    people: Sequence[Person]
    groups: Sequence[Group] = ()


def carers(seed: int, *, in_group: int = 60, controls: int = 90, truth: Truth | None = None) -> Study:
    """Mothers in groups of ten, by willingness: who is worse joins more often."""
    truth, rng = truth or Truth(), random.Random(seed)  # noqa: S311  # repeatable on purpose
    time_points = {"pre": 0, "post": 70, "month-1": 98}
    met = [Group(f"carers-{i:03d}", "in_person", "professional") for i in range(math.ceil(in_group / 10))]
    shifts = [rng.gauss(0, truth.groups) for _ in met]
    people = []
    for i in range(in_group + controls):
        is_in = i < in_group
        wellbeing, is_employed = rng.gauss(21, 4), rng.random() < 0.6
        goes_with = truth.wellbeing * (wellbeing - 21) + truth.employment * is_employed
        moved = (
            goes_with + (truth.difference + shifts[i // 10] if is_in else 0.0) + rng.gauss(0, truth.people)
        )
        distress, quality = rng.gauss(31.0 if is_in else 29.0, 3), rng.gauss(50, 8)
        person = Person(
            f"carer-{i:05d}",
            "group" if is_in else "control",
            met[i // 10].ref if is_in else None,
            attributes={"employment": "employed" if is_employed else "homemaker"},
            scores={("swemwbs", "pre"): wellbeing, ("k10", "pre"): distress, ("who-5", "pre"): quality},
            sessions=6 if is_in else 0,
        )
        before = distress
        for time_point in ("post", "month-1"):
            if _is_lost(rng, truth, before - 30):
                break
            before = distress + moved + rng.gauss(0, truth.answers)
            if _would_be_lost(rng, truth, before - 30):
                break
            person.scores["k10", time_point] = before
            person.scores["who-5", time_point] = quality - moved + rng.gauss(0, truth.answers)
        people.append(person)
    return _in_range(Study(CARERS, time_points, people, met))


def mutual_help(
    seed: int, *, members: int = 120, others: int = 120, treated: int = 120, truth: Truth | None = None
) -> Study:
    """Members of groups of twelve, who were worse and longer ill before they joined, people who were less so,
    and people in treatment who were like the members."""
    truth, rng = truth or Truth(), random.Random(seed)  # noqa: S311
    met = [Group(f"mutual-{i:03d}", "in_person", "peer") for i in range(math.ceil(members / 12))]
    shifts = [rng.gauss(0, truth.groups) for _ in met]
    arms = ["members"] * members + ["non-members"] * others + ["professional"] * treated
    people = []
    for i, arm in enumerate(arms):
        is_member, is_worse = arm == "members", arm != "non-members"
        years, before = max(0.0, rng.gauss(6 if is_worse else 4, 2)), rng.gauss(15 if is_worse else 13, 3)
        moved = {
            "members": truth.difference + (shifts[i // 12] if is_member else 0.0),
            "non-members": 0.0,
            "professional": truth.difference - truth.professional,
        }[arm]
        person = Person(
            f"person-{i:05d}",
            arm,
            met[i // 12].ref if is_member else None,
            attributes={"gender": "woman" if rng.random() < 0.6 else "man"},
            covariates={"years-ill": f"{years:.2f}"},
            scores={("phq-9", "baseline"): before},
            sessions=rng.choice((0, 4, 8, 12)) if is_member else 0,
            cost={"members": 20.0, "professional": 400.0}.get(arm, 0.0) * rng.uniform(0.5, 1.5),
        )
        if not _is_lost(rng, truth, before - 14):
            later = before + moved + truth.years * (years - 5)
            later += rng.gauss(0, math.hypot(truth.people, truth.answers))
            if not _would_be_lost(rng, truth, later - 14):
                person.scores["phq-9", "week-12"] = later
        people.append(person)
    return _in_range(Study(MUTUAL_HELP, {"baseline": 0, "week-12": 84}, people, met))


def youth(seed: int, *, members: int = 160, waiting: int = 80, truth: Truth | None = None) -> Study:
    """Young members of online groups of twenty who post much or little, young people who wait, and among both
    some who are older: nobody may count them."""
    truth, rng = truth or Truth(), random.Random(seed)  # noqa: S311
    kinds = [
        ("online_forum", "peer"),
        ("online_forum", "professional"),
        ("chat", "peer"),
        ("virtual_reality", "none"),
    ]
    met = [Group(f"youth-{i:03d}", *kinds[i % len(kinds)]) for i in range(math.ceil(members / 20))]
    shifts = [rng.gauss(0, truth.groups) for _ in met]
    people = []
    for i in range(members + waiting):
        is_member, before = i < members, rng.gauss(15, 3)
        posts = min(40, int(rng.paretovariate(1.1)) - 1) if is_member else 0
        moved = truth.difference + truth.dose * math.log1p(posts) + shifts[i // 20] if is_member else 0.0
        person = Person(
            f"young-{i:05d}",
            "members" if is_member else "waiting-list",
            met[i // 20].ref if is_member else None,
            age_band="35_49" if i % 8 == 7 else rng.choice(("12_15", "16_17", "18_25")),
            scores={("phq-9", "baseline"): before},
            posts=posts,
        )
        if not _is_lost(rng, truth, before - 15):
            later = before + moved + rng.gauss(0, math.hypot(truth.people, truth.answers))
            if not _would_be_lost(rng, truth, later - 15):
                person.scores["phq-9", "week-12"] = later
        people.append(person)
    return _in_range(Study(YOUTH, {"baseline": 0, "week-12": 84}, people, met))


RANGES = {"k10": (10, 50), "phq-9": (0, 27), "swemwbs": (7, 35), "who-5": (0, 100)}


def _in_range(study: Study) -> Study:
    """Scores beyond an instrument's ends, which are rare, stand at them."""
    for person in study.people:
        for place, score in person.scores.items():
            least, most = RANGES[place[0]]
            person.scores[place] = min(most, max(least, score))
    return study


def _is_lost(rng: random.Random, truth: Truth, worse: float) -> bool:
    """Before the answer: at random, or as what was answered before has it."""
    if truth.lost == 0 or truth.missing == "mnar":
        return False
    return rng.random() < _chance(truth, worse if truth.missing == "mar" else 0.0)


def _would_be_lost(rng: random.Random, truth: Truth, worse: float) -> bool:
    """As the answer itself has it, which nobody then sees."""
    return truth.lost > 0 and truth.missing == "mnar" and rng.random() < _chance(truth, worse)


def _chance(truth: Truth, worse: float) -> float:
    """`lost`, for who is no worse than others."""
    return 1 / (1 + math.exp(-(math.log(truth.lost / (1 - truth.lost)) + 0.1 * worse)))


# --- As events --------------------------------------------------------------------------------------------


def events(study: Study) -> Iterator[Event]:
    """What a partner would post of it: the same events, ids included, at every call."""
    yield made.study_registered(
        study=study.code, design=studies.STUDY_DESIGN_CONTROLLED, at=STARTS_AT, event_id=_id(study.code)
    )
    for group in study.groups:
        yield made.group_registered(
            group=group.ref,
            at=STARTS_AT,
            format=groups.GroupFormat.Value(f"GROUP_FORMAT_{group.format.upper()}"),
            moderation=groups.Moderation.Value(f"MODERATION_{group.moderation.upper()}"),
            event_id=_id(group.ref),
        )
    for person in study.people:
        yield from _facts(study, person)
        yield from _answers(study, person)
        if person.group is not None:
            yield from _acts(study, person, person.group)


def _facts(study: Study, person: Person) -> Iterator[Event]:
    ref, code = person.ref, study.code
    scope = outcomes.CONSENT_SCOPE_RESEARCH
    yield made.consent_given(participant=ref, scope=scope, at=STARTS_AT, event_id=_id(ref, "consent"))
    yield made.arm_allocated(
        participant=ref, study=code, arm=person.arm, at=STARTS_AT, event_id=_id(ref, "arm")
    )
    if person.age_band is not None:
        yield _stated(ref, "age_band", outcomes.AgeBand.Value(f"AGE_BAND_{person.age_band.upper()}"))
    for name, value in person.attributes.items():
        enum = {"employment": outcomes.Employment, "gender": outcomes.Gender}[name]
        yield _stated(ref, name, enum.Value(f"{name.upper()}_{value.upper()}"))
    for name, value in person.covariates.items():
        yield made.covariate_stated(
            participant=ref, study=code, covariate=name, value=value, at=STARTS_AT, event_id=_id(ref, name)
        )
    if person.cost is not None:
        yield made.cost_recorded(
            participant=ref,
            study=code,
            category=outcomes.COST_CATEGORY_OTHER,
            currency="GBP",
            amount=round(person.cost, 2),
            at=STARTS_AT,
            event_id=_id(ref, "cost"),
        )


def _stated(ref: str, name: str, code: int) -> Event:
    event = outcomes.OutcomeEvent(event_id=_id(ref, name), participant_ref=ref)
    event.occurred_at.FromDatetime(STARTS_AT)
    setattr(event.attribute_stated, name, code)
    return event


def _answers(study: Study, person: Person) -> Iterator[Event]:
    for (instrument, time_point), score in person.scores.items():
        yield made.questionnaire_answered(
            participant=person.ref,
            instrument=instrument,
            instrument_version="1",
            total=score,
            study=study.code,
            time_point=time_point,
            at=STARTS_AT + timedelta(days=study.time_points[time_point], hours=1),
            event_id=_id(person.ref, instrument, time_point),
        )


def _acts(study: Study, person: Person, group: str) -> Iterator[Event]:
    """All of them before the last answer."""
    days = max(study.time_points.values())
    yield made.member_joined(
        group=group,
        participant=person.ref,
        at=STARTS_AT + timedelta(hours=2),
        event_id=_id(person.ref, "joined"),
    )
    for i in range(person.sessions):
        at = STARTS_AT + timedelta(days=1 + i * (days - 2) / max(1, person.sessions))
        session = f"{group}-{at:%Y%m%d}"
        yield made.session_attended(
            group=group, participant=person.ref, session=session, at=at, minutes=60,
            role=participation.ATTENDANCE_ROLE_MEMBER, event_id=_id(person.ref, "session", str(i)),
        )  # fmt: skip
    for i in range(person.posts):
        at = STARTS_AT + timedelta(days=1 + i * (days - 2) / person.posts)
        yield made.thread_started(
            group=group, participant=person.ref, thread=f"{person.ref}-{i}", act=f"{person.ref}-{i}", at=at,
            event_id=_id(person.ref, "post", str(i)),
        )  # fmt: skip


def _id(*parts: str) -> str:
    return str(uuid.uuid5(NAMESPACE, "/".join(parts)))
