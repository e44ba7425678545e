"""A community of support groups over twelve weeks, made from a seed.

Members differ in how much they write by a Pareto law, as real communities do; a small randomised trial
with a planted effect runs among them; some never give consent to research. Times are fixed, so that the
same seed gives the same bytes. Posting the events is `services.client`'s.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, count

from circles.groups.v1 import group_event_pb2 as groups
from circles.outcomes.v1 import outcome_event_pb2 as outcomes
from circles.participation.v1 import participation_event_pb2 as participation
from circles.studies.v1 import study_event_pb2 as studies

from services.client import Event

ENDS_AT = 1_782_864_000
"""2026-07-01T00:00:00Z."""

WEEK = 7 * 86_400
WEEKS = 12
STARTS_AT = ENDS_AT - WEEKS * WEEK

STUDY = "synthetic-peer-group"
ARMS = ("peer-group", "waiting-list")
TIME_POINTS = (("baseline", 0), ("week-6", 6), ("week-12", 12))
PLANTED_EFFECT = {"baseline": 0.0, "week-6": -1.0, "week-12": -2.0}
"""PHQ-9 points of the first arm against the second."""

NO_CONSENT_SHARE = 0.08
WITHDRAWN_SHARE = 0.02
CANCELLED_SHARE = 0.05
PARETO_SHAPE = 1.2

ONLINE_ACTS = (("thread_read", 46), ("reply_posted", 30), ("reaction_given", 14), ("thread_started", 8))
"""Relative frequency of what members do online."""


@dataclass
class Member:
    ref: str
    activity: float


@dataclass
class Group:
    ref: str
    is_online: bool
    facts: groups.GroupFacts
    members: list[Member] = field(default_factory=list)
    threads: list[tuple[str, list[str]]] = field(default_factory=list)


class Community:
    """`events()` yields exactly `count_events` events in the order of their time."""

    def __init__(self, seed: int, count_events: int, *, count_members: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311  # repeatable on purpose
        self._numbers = count()
        self.count_events = count_events
        self._members = [
            Member(f"m{i:06d}", self._random.paretovariate(PARETO_SHAPE))
            for i in range(count_members or max(60, count_events // 60))
        ]
        self._groups = [self._group(i) for i in range(max(4, len(self._members) // 60))]

    def events(self) -> Iterator[Event]:
        """Raises ValueError when `count_events` is too small for the members' own facts."""
        made: list[tuple[float, int, Event]] = []

        def keep(event: Event) -> None:
            made.append((event.occurred_at.seconds + event.occurred_at.nanos / 1e9, len(made), event))

        self._facts(keep)
        self._trial(keep)
        self._joins_and_sessions(keep)
        if len(made) > self.count_events:
            raise ValueError(f"{self.count_events} events do not hold the {len(made)} facts of the members")
        self._online_acts(self.count_events - len(made), keep)
        return (event for _, _, event in sorted(made, key=lambda item: item[:2]))

    def _facts(self, keep: Callable[[Event], None]) -> None:
        for group in self._groups:
            registered = groups.GroupEvent(event_id=self._event_id(), group_ref=group.ref)
            registered.occurred_at.FromSeconds(STARTS_AT)
            registered.group_registered.facts.CopyFrom(group.facts)
            keep(registered)
        for member in self._members:
            for stated in ("age_band", "gender"):
                event = self._outcome(member, STARTS_AT + self._random.random() * WEEK)
                limit = 8 if stated == "age_band" else 3
                setattr(event.attribute_stated, stated, self._random.randint(2 if limit == 8 else 1, limit))
                keep(event)
            self._consent(member, keep)

    def _consent(self, member: Member, keep: Callable[[Event], None]) -> None:
        if self._random.random() < NO_CONSENT_SHARE:
            return
        given = self._outcome(member, STARTS_AT + self._random.random() * WEEK)
        given.consent_given.scope = outcomes.CONSENT_SCOPE_RESEARCH
        keep(given)
        if self._random.random() < WITHDRAWN_SHARE:
            withdrawn = self._outcome(
                member, given.occurred_at.seconds + WEEK * (1 + 10 * self._random.random())
            )
            withdrawn.consent_withdrawn.scope = outcomes.CONSENT_SCOPE_RESEARCH
            keep(withdrawn)

    def _trial(self, keep: Callable[[Event], None]) -> None:
        registered = studies.StudyEvent(event_id=self._event_id(), study_code=STUDY)
        registered.occurred_at.FromSeconds(STARTS_AT)
        registered.study_registered.design = studies.STUDY_DESIGN_RANDOMISED
        registered.study_registered.result = studies.STUDY_RESULT_NOT_REPORTED
        keep(registered)
        for i, member in enumerate(self._members[: min(240, len(self._members))]):
            arm = ARMS[i % 2]
            allocated = self._outcome(member, STARTS_AT + 3600)
            allocated.arm_allocated.study_code = STUDY
            allocated.arm_allocated.arm = arm
            keep(allocated)
            self._questionnaires(member, arm, keep)

    def _questionnaires(self, member: Member, arm: str, keep: Callable[[Event], None]) -> None:
        severity = self._random.gauss(14.0, 4.0)
        for time_point, week in TIME_POINTS:
            if week and self._random.random() < 0.02 * week:
                return  # lost to follow-up from here on
            effect = PLANTED_EFFECT[time_point] if arm == ARMS[0] else 0.0
            score = severity - 0.15 * week + effect + self._random.gauss(0.0, 2.5)
            answered = self._outcome(member, STARTS_AT + 7200 + week * (WEEK - 600))
            answered.questionnaire_answered.instrument = "phq-9"
            answered.questionnaire_answered.instrument_version = "1"
            answered.questionnaire_answered.total = float(min(27, max(0, round(score))))
            answered.questionnaire_answered.study_code = STUDY
            answered.questionnaire_answered.time_point = time_point
            keep(answered)

    def _joins_and_sessions(self, keep: Callable[[Event], None]) -> None:
        for member in self._members:
            for group in self._random.sample(self._groups, self._random.choice((1, 1, 2))):
                group.members.append(member)
                joined = self._act(group, member, STARTS_AT + self._random.random() * WEEK)
                joined.member_joined.SetInParent()
                keep(joined)
        for group in self._groups:
            if not group.is_online:
                self._sessions(group, keep)

    def _sessions(self, group: Group, keep: Callable[[Event], None]) -> None:
        for week in range(1, WEEKS):
            session = f"s{next(self._numbers)}"
            at = STARTS_AT + week * WEEK + 18 * 3600
            held = participation.ParticipationEvent(event_id=self._event_id(), group_ref=group.ref)
            held.occurred_at.FromSeconds(at)
            if self._random.random() < CANCELLED_SHARE:
                held.session_cancelled.session_ref = session
                keep(held)
                continue
            held.session_held.session_ref = session
            held.session_held.minutes = 90
            keep(held)
            for member in group.members:
                if self._random.random() < min(0.9, 0.25 + 0.1 * member.activity):
                    attended = self._act(group, member, at + 300)
                    attended.session_attended.session_ref = session
                    attended.session_attended.role = participation.ATTENDANCE_ROLE_MEMBER
                    attended.session_attended.minutes = self._random.randint(30, 90)
                    keep(attended)

    def _online_acts(self, count_acts: int, keep: Callable[[Event], None]) -> None:
        """In the order of time, so that nobody answers what is not written yet."""
        online = [group for group in self._groups if group.is_online and group.members]
        weights = {group.ref: list(accumulate(each.activity for each in group.members)) for group in online}
        kinds = [kind for kind, _ in ONLINE_ACTS]
        often = list(accumulate(frequency for _, frequency in ONLINE_ACTS))
        first, last = STARTS_AT + WEEK, ENDS_AT
        for at in sorted(self._random.uniform(first, last) for _ in range(count_acts)):
            group = self._random.choice(online)
            member = self._random.choices(group.members, cum_weights=weights[group.ref])[0]
            kind = self._random.choices(kinds, cum_weights=often)[0]
            keep(self._online_act(group, kind, self._act(group, member, at)))

    def _online_act(
        self, group: Group, kind: str, event: participation.ParticipationEvent
    ) -> participation.ParticipationEvent:
        if not group.threads or kind == "thread_started":
            return self._started(group, event)
        thread, acts = self._random.choice(group.threads[-50:])
        if kind == "thread_read":
            event.thread_read.thread_ref = thread
        elif kind == "reaction_given":
            event.reaction_given.act_ref = self._random.choice(acts)
            event.reaction_given.reaction = participation.REACTION_SUPPORT
        else:
            event.reply_posted.thread_ref = thread
            event.reply_posted.in_reply_to_act_ref = self._random.choice(acts)
            event.reply_posted.act_ref = f"a{next(self._numbers)}"
            acts.append(event.reply_posted.act_ref)
        return event

    def _started(
        self, group: Group, event: participation.ParticipationEvent
    ) -> participation.ParticipationEvent:
        event.thread_started.thread_ref = f"t{next(self._numbers)}"
        event.thread_started.act_ref = f"a{next(self._numbers)}"
        group.threads.append((event.thread_started.thread_ref, [event.thread_started.act_ref]))
        return event

    def _group(self, number: int) -> Group:
        online = number % 4 != 3
        form = groups.GROUP_FORMAT_IN_PERSON
        if online:
            form = self._random.choice([groups.GROUP_FORMAT_ONLINE_FORUM, groups.GROUP_FORMAT_CHAT])
        facts = groups.GroupFacts(
            format=form,
            moderation=self._random.choice(groups.Moderation.values()[1:]),
            condition=self._random.choice(groups.Condition.values()[1:]),
            population=groups.POPULATION_ANYONE,
            time_zone="Europe/London",
            reads_collected=online,
        )
        return Group(f"g{number:04d}", online, facts)

    def _act(self, group: Group, member: Member, at: float) -> participation.ParticipationEvent:
        event = participation.ParticipationEvent(
            event_id=self._event_id(), group_ref=group.ref, participant_ref=member.ref
        )
        event.occurred_at.FromSeconds(int(at))
        return event

    def _outcome(self, member: Member, at: float) -> outcomes.OutcomeEvent:
        event = outcomes.OutcomeEvent(event_id=self._event_id(), participant_ref=member.ref)
        event.occurred_at.FromSeconds(int(at))
        return event

    def _event_id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
