"""What happened in each group: its log of the last 28 days, who was seen before, what was taken back.

Pure: knows no Kafka, no Faust, no clock, no bytes. What is told may come late, twice, in any order, after it
was taken back or by people who withdrew: what a group holds depends on the set of what was told. Figures of
it are `tables`; how it is written is `state`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from services.engagement import kernels
from services.engagement.layout import (
    EVENT,
    FAR,
    LOG_SECONDS,
    RETRACTED,
    STEP_SECONDS,
    WITHDRAWN,
    Events,
    People,
)
from services.engagement.people import is_active, joined, nobody, remembered

MAX_SECONDS_AHEAD = 300
"""The gateway refuses an event that says to have occurred later than this after its arrival."""

MAX_RETRACTIONS = 10_000
"""Of one group. A bound on memory: of more within the log the earliest are forgotten, and a further copy of
an event that one of them took back would count."""

NEVER = -FAR

Withdrawn = Collection[int]
"""People of one tenant whose events do not count."""


class GroupKey(NamedTuple):
    tenant_id: str
    group_id: str


class Retraction(NamedTuple):
    """Takes back `event` of its group."""

    event: int
    received_at: int


@dataclass(slots=True)
class Group:
    key: GroupKey
    data_class: int
    as_of: int = NEVER
    """NEVER: nothing but retractions has come so far."""
    restored_offset: int = -1
    """Everything up to here came back with the state."""
    events: Events = field(default_factory=lambda: np.zeros(0, EVENT))
    """Room for the log; in use are the first `count`, in order of (at, event)."""
    count: int = 0
    people: People = field(default_factory=nobody)
    retracted: dict[int, int] = field(default_factory=dict)
    """When each retraction was received, by the event that it takes back, in the order of arrival."""
    news: list[Events] = field(default_factory=list)
    """What came into the log since `take_news`."""
    turned: list[tuple[Events, int]] = field(default_factory=list)
    """Events that were hidden (−1) or came back (+1) since `take_turned`."""
    has_hidden: bool = False
    """Some row may be hidden."""
    is_disturbed: bool = False
    """More has changed since the last figures than that events came."""
    dirty_people: set[int] = field(default_factory=set)
    """First bytes of people of whom something is remembered that only their events in the state tell."""
    has_late_people: bool = False
    """Something is remembered of events that never came into the log: nothing in the state tells it."""
    has_new_retractions: bool = False

    @property
    def log(self) -> Events:
        return self.events[: self.count]

    @property
    def has_events(self) -> bool:
        """Also where all are hidden."""
        return self.as_of != NEVER

    @property
    def log_starts_at(self) -> int:
        return self.as_of - LOG_SECONDS

    def tell(self, news: Events, withdrawn: Withdrawn) -> None:
        """Takes in events that nothing hides, in order of (at, event). `news` is changed."""
        if len(news) == 0:
            return
        self._move_to(int(news[-1]["at"]))
        if self.retracted or withdrawn:
            self.has_hidden = True
        if self.retracted:
            known = np.fromiter(self.retracted, np.uint64, len(self.retracted))
            news["hidden"] |= np.where(np.isin(news["event"], known), RETRACTED, 0).astype(np.uint8)
        _hide(news, withdrawn)
        if news[0]["at"] < self.log_starts_at:
            first = int(np.searchsorted(news["at"], self.log_starts_at))
            self._remember(news[:first])
            self.has_late_people = True
            news = news[first:]
        self._put(news)

    def retract(self, retractions: Iterable[Retraction]) -> None:
        """What is taken back does not count, also when it comes later."""
        for each in retractions:
            self.retracted.setdefault(each.event, each.received_at)
            if len(self.retracted) > MAX_RETRACTIONS:
                del self.retracted[next(iter(self.retracted))]
            found = self.log["event"] == each.event
            self.turned.append((self.log[found & (self.log["hidden"] == 0)], -1))
            self.log["hidden"][found] |= RETRACTED
        self.has_new_retractions = True
        self.has_hidden = True
        self.is_disturbed = True

    def hide(self, withdrawn: Withdrawn) -> None:
        """Follows what people say of their consent."""
        self.has_hidden = True
        was_hidden = self.log["hidden"] != 0
        for rows in (self.log, self.people):
            rows["hidden"] &= ~np.uint8(WITHDRAWN)
            _hide(rows, withdrawn)
        is_hidden = self.log["hidden"] != 0
        self.turned += [(self.log[is_hidden & ~was_hidden], -1), (self.log[was_hidden & ~is_hidden], 1)]
        self.is_disturbed = True

    def knows(self, persons: Collection[int]) -> bool:
        """Whether one of them did something here."""
        if not persons:
            return False
        wanted = np.fromiter(persons, np.uint64, len(persons))
        return any(bool(np.isin(rows["person"], wanted).any()) for rows in (self.log, self.people))

    def forget_retractions(self) -> None:
        """Drops those of what has left the log: an event occurred before its retraction came, give or take
        what clocks may differ.
        """
        if not self.retracted:
            return
        oldest = self.log_starts_at - MAX_SECONDS_AHEAD
        expired = [event for event, received_at in self.retracted.items() if received_at < oldest]
        for event in expired:
            del self.retracted[event]
        self.has_new_retractions |= bool(expired)

    def take_news(self) -> Events:
        """What came into the log since the last time."""
        news, self.news = self.news, []
        return news[0] if len(news) == 1 else np.concatenate([*news, self.events[:0]])

    def take_turned(self) -> list[tuple[Events, int]]:
        turned, self.turned = self.turned, []
        return turned

    def newest_active_at(self) -> int | None:
        """Of an event that makes somebody active and is not hidden."""
        for begin in range(self.count, 0, -64):
            rows = self.events[max(0, begin - 64) : begin]
            active = rows["at"][is_active(rows) & (rows["hidden"] == 0)]
            if len(active):
                return int(active[-1])
        return None

    def _move_to(self, newest: int) -> None:
        """Every window ends with the five minutes of the newest event."""
        as_of = newest // STEP_SECONDS * STEP_SECONDS + STEP_SECONDS
        if as_of <= self.as_of:
            return
        self.as_of = as_of
        self.is_disturbed = True
        if self.count and self.events[0]["at"] < self.log_starts_at:
            gone = int(np.searchsorted(self.log["at"], self.log_starts_at))
            self._remember(self.log[:gone])
            self.events[: self.count - gone] = self.events[gone : self.count]
            self.count -= gone

    def _remember(self, gone: Events) -> None:
        people = remembered(gone)
        hidden = gone["person"][gone["hidden"] & WITHDRAWN != 0]
        people["hidden"] = np.where(np.isin(people["person"], hidden), WITHDRAWN, 0)
        self.people = joined(self.people, people)
        self.dirty_people.update((people["person"] >> np.uint64(56)).tolist())
        self.is_disturbed = True

    def _put(self, news: Events) -> None:
        needed = self.count + len(news)
        if needed > len(self.events):
            roomier = np.empty(needed + self.count // 4, EVENT)
            roomier[: self.count] = self.log
            self.events = roomier
        count_new = kernels.merge(self.events, self.count, news)
        if count_new > 0:
            self.count += count_new
            self.news.append(news[:count_new])


def _hide(rows: Events | People, withdrawn: Withdrawn) -> None:
    if not withdrawn:
        return
    people = np.fromiter(withdrawn, np.uint64, len(withdrawn))
    rows["hidden"] |= np.where(np.isin(rows["person"], people), WITHDRAWN, 0).astype(np.uint8)
