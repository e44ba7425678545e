"""The arithmetic of safeguarding cases: what is open, due, breached or closed, and which alerts follow.

Pure: knows no Kafka, no Faust, no clock. Everything follows from a set of facts, which are joined in any
order and as often as they come. Times are microseconds since 1970.

A case's events are read in the order in which the gateway received them. What raises it opens it, the
next answer closes it; an answer that was there before anything was raised closes it as well. What is
raised later than the answer opens it again. What was taken back never happened.
"""

from __future__ import annotations

import enum
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

MINUTE_US = 60_000_000
DAY_US = 24 * 60 * MINUTE_US

_ALERTS = uuid.UUID("5afe6a2d-0d1e-4c0f-9a57-c1c1e5a1e275")
"""Namespace of the alerts' ids. Another one would send every alert about an open case again."""


class Level(enum.StrEnum):
    OPENED = "opened"
    BREACHED = "breached"
    ESCALATED = "escalated"
    CLOSED = "closed"


class State(enum.StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    RETRACTED = "retracted"
    """Everything that opened it was taken back."""


class CaseKey(NamedTuple):
    tenant_id: str
    case_ref: str


class Arrival(NamedTuple):
    """When and where an event came in: no two events share one, and they are in order."""

    received_at_us: int
    partition: int
    offset: int
    place: int
    """In the record at `offset`."""


class Raise(NamedTuple):
    key: CaseKey
    event_id: str
    arrival: Arrival
    data_class: int
    group_id: str
    risk_kind: int
    occurred_at_us: int


class Answer(NamedTuple):
    key: CaseKey
    event_id: str
    arrival: Arrival
    data_class: int
    answer: int
    occurred_at_us: int


class Retractions(NamedTuple):
    """What one record of the input takes back: of events of any kind, since they may come later."""

    tenant_id: str
    data_class: int
    event_ids: tuple[str, ...]
    arrival: Arrival


class Issued(NamedTuple):
    """An alert was made known, and is to be delivered to `targets` as well."""

    key: CaseKey
    alert_id: str
    level: Level
    issued_at_us: int
    targets: tuple[str, ...]


class Delivered(NamedTuple):
    key: CaseKey
    alert_id: str
    target: str
    delivered_at_us: int


Fact = Raise | Answer | Retractions | Issued | Delivered


@dataclass(frozen=True)
class Clock:
    """How long a case may be without an answer."""

    minutes: float
    minutes_by_kind: Mapping[int, float] = field(default_factory=dict)

    def due_at_us(self, raised: Raise) -> int:
        minutes = self.minutes_by_kind.get(raised.risk_kind, self.minutes)
        return raised.arrival.received_at_us + round(minutes * MINUTE_US)


@dataclass(frozen=True)
class Case:
    """A case as it stands; of one that was opened again the last time."""

    key: CaseKey
    state: State
    data_class: int
    group_id: str
    risk_kind: int
    raised_at_us: int
    opened_at_us: int
    due_at_us: int
    home_partition: int
    """Of the event that raised it first: whoever has that partition looks after the case."""
    basis: tuple[str, ...]
    """Events that make it what it is: when they are others, earlier alerts no longer hold."""
    answer: int | None = None
    answered_at_us: int | None = None
    closed_at_us: int | None = None

    def is_breached(self, as_of_us: int) -> bool:
        """Whether the clock has run out before an answer came, as far as that is known."""
        if self.state is State.RETRACTED:
            return False
        return self.due_at_us <= as_of_us if self.closed_at_us is None else self.due_at_us < self.closed_at_us

    def erasable_after_us(self, legal_period_days: int) -> int | None:
        """From when on the case may be erased; None while it is open: it may not."""
        return None if self.closed_at_us is None else self.closed_at_us + legal_period_days * DAY_US


class Alert(NamedTuple):
    case: Case
    level: Level
    alert_id: str


def case_of(
    raises: Iterable[Raise], answers: Iterable[Answer], taken_back: Mapping[str, int], clock: Clock
) -> Case | None:
    """The case that these events make; None when nothing raised it so far.

    `taken_back`: when a retraction was received, by the event that it takes back.
    """
    raised, answered = sorted(raises, key=_arrival), sorted(answers, key=_arrival)
    if not raised:
        return None
    standing = [each for each in raised if each.event_id not in taken_back]
    if not standing:
        return _retracted(raised, taken_back, clock)
    opened, closed_by = _last_episode(standing, [a for a in answered if a.event_id not in taken_back])
    # An answer that closed the case and was then taken back: alerts of before were followed by one that
    # the case is closed, and have to be sent again.
    reopened_by = [a.event_id for a in answered if taken_back.get(a.event_id, 0) > a.arrival.received_at_us]
    soonest = min(opened, key=clock.due_at_us)
    basis = (opened[0].event_id, soonest.event_id, *reopened_by)
    case = _case(opened[0], clock.due_at_us(soonest), soonest.risk_kind, basis)
    case = replace(case, home_partition=raised[0].arrival.partition)
    return case if closed_by is None else _closed(case, closed_by)


def _last_episode(raises: list[Raise], answers: list[Answer]) -> tuple[list[Raise], Answer | None]:
    """What the case was opened by the last time, and what closed it."""
    opened: list[Raise] = []
    closed_by: Answer | None = None
    events: list[Raise | Answer] = [*raises, *answers]
    for told in sorted(events, key=_arrival):
        if isinstance(told, Answer):
            closed_by = closed_by or told
        elif closed_by is None or not opened:
            opened.append(told)
        else:
            opened, closed_by = [told], None
    return opened, closed_by


def _case(opening: Raise, due_at_us: int, risk_kind: int, basis: tuple[str, ...]) -> Case:
    return Case(
        key=opening.key,
        state=State.OPEN,
        data_class=opening.data_class,
        group_id=opening.group_id,
        risk_kind=risk_kind,
        raised_at_us=opening.occurred_at_us,
        opened_at_us=opening.arrival.received_at_us,
        due_at_us=due_at_us,
        home_partition=opening.arrival.partition,
        basis=basis,
    )


def _closed(case: Case, by: Answer) -> Case:
    return replace(
        case,
        state=State.CLOSED,
        basis=(*case.basis, by.event_id),
        answer=by.answer,
        answered_at_us=by.occurred_at_us,
        closed_at_us=max(by.arrival.received_at_us, case.opened_at_us),
    )


def _retracted(raised: list[Raise], taken_back: Mapping[str, int], clock: Clock) -> Case:
    soonest = min(raised, key=clock.due_at_us)
    basis = tuple(sorted(each.event_id for each in raised))
    case = _case(raised[0], clock.due_at_us(soonest), soonest.risk_kind, basis)
    ends = [max(taken_back[each.event_id], each.arrival.received_at_us) for each in raised]
    return replace(case, state=State.RETRACTED, closed_at_us=max(ends))


def _arrival(told: Raise | Answer) -> Arrival:
    return told.arrival


def alerts(case: Case, as_of_us: int) -> list[Alert]:
    """What whoever is on duty has to know, given that all events up to `as_of_us` are known."""
    if case.state is not State.OPEN:
        return [_alert(case, Level.CLOSED)]
    levels = [Level.OPENED, *([Level.BREACHED] if case.is_breached(as_of_us) else [])]
    return [_alert(case, level) for level in levels]


def escalation(alert: Alert) -> Alert:
    """What follows when an alert cannot be delivered."""
    return _alert(alert.case, Level.ESCALATED, alert.level)


def _alert(case: Case, *levels: Level) -> Alert:
    """The same facts make the same id, whoever looks at them and how often."""
    return Alert(case, levels[0], str(uuid.uuid5(_ALERTS, "\0".join([*case.key, *levels, *case.basis]))))


@dataclass
class Told:
    """What was done about a case."""

    issued: dict[str, Issued] = field(default_factory=dict)
    delivered: dict[tuple[str, str], int] = field(default_factory=dict)
    """When, by alert and target."""

    def missing_targets(self, alert_id: str) -> list[str]:
        """To whom an alert is still to be delivered."""
        issued = self.issued.get(alert_id)
        targets = issued.targets if issued is not None else ()
        return [target for target in targets if (alert_id, target) not in self.delivered]


class Cases:
    """All that is known. Facts may be added in any order, and again."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.unsettled: set[CaseKey] = set()
        """Cases about which there may be something to do."""
        self._events: dict[tuple[str, str], Raise | Answer] = {}
        self._taken_back: dict[tuple[str, str], int] = {}
        self._retractions: dict[bytes, Retractions] = {}
        self._events_of: defaultdict[CaseKey, set[str]] = defaultdict(set)
        self._told: defaultdict[CaseKey, Told] = defaultdict(Told)
        self._cache: dict[CaseKey, Case | None] = {}

    def add(self, record_key: bytes, fact: Fact) -> bool:
        """Joins a fact, and tells whether it was news. `record_key`: under which it is kept."""
        match fact:
            case Raise() | Answer():
                return self._add_event(fact)
            case Retractions():
                return self._add_retractions(record_key, fact)
            case Issued():
                return self._add_issued(fact)
            case Delivered():
                return self._add_delivered(fact)

    def at(self, home_partition: int) -> set[CaseKey]:
        """The cases that whoever has the partition looks after."""
        cases = map(self.case, self._events_of)
        return {each.key for each in cases if each is not None and each.home_partition == home_partition}

    def case(self, key: CaseKey) -> Case | None:
        if key not in self._cache:
            events = [self._events[key.tenant_id, each] for each in self._events_of.get(key, ())]
            raises = [each for each in events if isinstance(each, Raise)]
            answers = [each for each in events if isinstance(each, Answer)]
            self._cache[key] = case_of(raises, answers, self._taken_back_of(key), self.clock)
        return self._cache[key]

    def told(self, key: CaseKey) -> Told:
        return self._told[key]

    def revision(self, key: CaseKey) -> int:
        """How much is known about a case: of two workers the one with more facts is right."""
        told = self._told[key]
        counts = (self._events_of[key], self._taken_back_of(key), told.issued, told.delivered)
        return sum(map(len, counts))

    def wanted(self, key: CaseKey, as_of_us: int, undelivered_since_us: int) -> list[Alert]:
        """The alerts that hold now. `undelivered_since_us`: what is older and undelivered is escalated."""
        case = self.case(key)
        if case is None:
            return []
        found, told = alerts(case, case.due_at_us), self._told[key]
        if found[-1].alert_id not in told.issued:  # a breach that was told of stays one
            found = alerts(case, as_of_us)
        if case.state is not State.OPEN:
            return found
        late = [
            each
            for each in found
            if told.missing_targets(each.alert_id)
            and told.issued[each.alert_id].issued_at_us <= undelivered_since_us
        ]
        return [*found, *map(escalation, late)]

    def forgettable(self, before_us: int) -> dict[bytes, Retractions]:
        """Retractions of events that never came, by the key under which they are kept."""
        return {
            record_key: each
            for record_key, each in self._retractions.items()
            if each.arrival.received_at_us < before_us
            and not any((each.tenant_id, event_id) in self._events for event_id in each.event_ids)
        }

    def forget(self, record_key: bytes) -> None:
        """Drops retractions; what else is kept under a key stays."""
        dropped = self._retractions.pop(record_key, None)
        if dropped is not None:
            for event_id in dropped.event_ids:
                self._taken_back.pop((dropped.tenant_id, event_id), None)
                self._touch_event((dropped.tenant_id, event_id))

    def _add_event(self, event: Raise | Answer) -> bool:
        """Of several bodies or copies under one event id the first that arrived counts."""
        place = (event.key.tenant_id, event.event_id)
        known = self._events.get(place)
        if known is not None and known.arrival <= event.arrival:
            return False
        if known is not None:
            self._events_of[known.key].discard(event.event_id)
            self._touch(known.key)
        self._events[place] = event
        self._events_of[event.key].add(event.event_id)
        self._touch(event.key)
        return True

    def _add_retractions(self, record_key: bytes, fact: Retractions) -> bool:
        if record_key in self._retractions:
            return False
        self._retractions[record_key] = fact
        for event_id in fact.event_ids:
            place, received_at_us = (fact.tenant_id, event_id), fact.arrival.received_at_us
            self._taken_back[place] = min(received_at_us, self._taken_back.get(place, received_at_us))
            self._touch_event(place)
        return True

    def _add_issued(self, fact: Issued) -> bool:
        issued = self._told[fact.key].issued
        if fact.alert_id in issued:
            return False
        issued[fact.alert_id] = fact
        self._touch(fact.key)
        return True

    def _add_delivered(self, fact: Delivered) -> bool:
        delivered = self._told[fact.key].delivered
        if (fact.alert_id, fact.target) in delivered:
            return False
        delivered[fact.alert_id, fact.target] = fact.delivered_at_us
        self._touch(fact.key)
        return True

    def _taken_back_of(self, key: CaseKey) -> dict[str, int]:
        places = {each: (key.tenant_id, each) for each in self._events_of.get(key, ())}
        return {each: self._taken_back[place] for each, place in places.items() if place in self._taken_back}

    def _touch_event(self, place: tuple[str, str]) -> None:
        if place in self._events:
            self._touch(self._events[place].key)

    def _touch(self, key: CaseKey) -> None:
        self._cache.pop(key, None)
        self.unsettled.add(key)
