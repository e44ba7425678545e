"""The arithmetic of rolling engagement: buckets of five minutes of event time, and windows over them.

Pure: knows no Kafka, no Faust, no clock. The figures depend on the set of events and retractions, not on
their order: late events reach their own bucket, a second copy of an event counts nothing, an event that
is taken back counts nothing whichever of the two comes first. A group's windows end at its newest event,
also when that one is taken back: they never move back.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

_Counted = TypeVar("_Counted", str, int)

BUCKET_SECONDS = 300
WINDOWS_HOURS = (1, 24)
LONGEST_WINDOW_SECONDS = max(WINDOWS_HOURS) * 3600

MAX_SECONDS_AHEAD = 300
"""The gateway refuses an event that says to have occurred later than this after its arrival."""

MAX_RETRACTIONS = 10_000
"""Of one group. A bound on memory: of more within a day the earliest are forgotten, and a further copy of
an event that one of them took back would count."""

ACTIVE_KINDS = frozenset(
    {
        "member_joined",
        "session_attended",
        "thread_started",
        "reply_posted",
        "reaction_given",
        "thread_read",
        "moderation_acted",
    }
)
"""What makes a person active. Leaving, being measured and being at risk do not."""

NOBODY = 0
"""In place of a participant, whose hash is never 0."""


class Act(NamedTuple):
    """One event as far as engagement needs it. Ids are 64-bit hashes."""

    tenant_id: str
    data_class: int
    group_id: str
    event: int
    participant: int
    occurred_at_seconds: int
    kind: str


class Retraction(NamedTuple):
    """Takes back `event` of the same tenant and group."""

    tenant_id: str
    data_class: int
    group_id: str
    event: int
    received_at_seconds: int


class GroupKey(NamedTuple):
    tenant_id: str
    group_id: str


class BucketKey(NamedTuple):
    tenant_id: str
    group_id: str
    started_at_seconds: int


@dataclass(slots=True)
class Bucket:
    """What a group did in five minutes. A record at or before `restored_offset` is in it already."""

    restored_offset: int = -1
    applied_offset: int = -1
    events: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Kind and active participant of each event that counts: what a retraction has to take out."""
    count_by_kind: Counter[str] = field(default_factory=Counter)
    count_by_participant: Counter[int] = field(default_factory=Counter)
    """Events of each person whom they make active."""

    def add(self, event: int, kind: str, participant: int) -> None:
        """Counts an event that is not in here yet."""
        active = participant if kind in ACTIVE_KINDS else NOBODY
        self.events[event] = (kind, active)
        self.count_by_kind[kind] += 1
        if active != NOBODY:
            self.count_by_participant[active] += 1

    def take_out(self, event: int) -> bool:
        """Whether the event was in here."""
        if event not in self.events:
            return False
        kind, active = self.events.pop(event)
        _decrement(self.count_by_kind, kind)
        if active != NOBODY:
            _decrement(self.count_by_participant, active)
        return True


@dataclass(slots=True)
class Group:
    tenant_id: str
    data_class: int
    group_id: str
    buckets: dict[int, Bucket] = field(default_factory=dict)
    newest_start: int | None = None
    """None: nothing but retractions has come so far."""
    retracted: dict[int, int] = field(default_factory=dict)
    """When each retraction was received, by the event that it takes back, in the order of arrival."""

    def oldest_kept(self) -> int:
        """Start of the oldest bucket that any window can hold."""
        assert self.newest_start is not None  # noqa: S101  # asked only where there are buckets
        return self.newest_start + BUCKET_SECONDS - LONGEST_WINDOW_SECONDS

    def expire(self) -> list[int]:
        """Drops the buckets that have left every window; returns their starts."""
        expired = [start for start in self.buckets if start < self.oldest_kept()]
        for start in expired:
            del self.buckets[start]
        return expired

    def retract(self, event: int, received_at_seconds: int) -> None:
        """Remembers that `event` does not count, also when it comes later."""
        self.retracted.setdefault(event, received_at_seconds)
        if len(self.retracted) > MAX_RETRACTIONS:
            del self.retracted[next(iter(self.retracted))]

    def expire_retractions(self) -> bool:
        """Drops retractions of what has left every window; whether there were any.

        An event occurred before its retraction arrived, give or take what clocks may differ.
        """
        oldest = self.oldest_kept() - MAX_SECONDS_AHEAD
        expired = [event for event, received_at in self.retracted.items() if received_at < oldest]
        for event in expired:
            del self.retracted[event]
        return bool(expired)


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """One group over one window that ends at `as_of_seconds`, exclusive."""

    group: Group
    window_hours: int
    as_of_seconds: int
    count_by_kind: Counter[str]
    count_active_participants: int


@dataclass(slots=True)
class Changes:
    """What a flush has to write: state that changed, state to delete, and figures."""

    buckets: set[BucketKey] = field(default_factory=set)
    expired: set[BucketKey] = field(default_factory=set)
    retractions: set[GroupKey] = field(default_factory=set)
    """Groups; one without retractions has none left."""
    figures: list[WindowFigures] = field(default_factory=list)


class PartitionState:
    """All groups of one partition, and what changed since the last flush."""

    def __init__(self) -> None:
        self.groups: dict[GroupKey, Group] = {}
        self.applied_offset = -1
        self.changes = Changes()
        self.touched_groups: set[GroupKey] = set()

    def restore(self, key: BucketKey, data_class: int, bucket: Bucket) -> None:
        """Puts a bucket back as it was written."""
        group = self._group(key.tenant_id, data_class, key.group_id)
        start = key.started_at_seconds
        group.buckets[start] = bucket
        group.newest_start = start if group.newest_start is None else max(group.newest_start, start)

    def restore_retractions(self, key: GroupKey, data_class: int, retracted: dict[int, int]) -> None:
        """Puts a group's retractions back as they were written."""
        self._group(key.tenant_id, data_class, key.group_id).retracted = retracted

    def apply(self, found: Iterable[Act | Retraction], offset: int) -> None:
        """Adds what the record at `offset` tells. Cannot fail half-way: everything is parsed already."""
        for each in found:
            if isinstance(each, Retraction):
                self._take_back(each, offset)
            else:
                self._count(each, offset)
        self.applied_offset = offset

    def take_changes(self) -> Changes:
        """What has to be written; and begins to collect anew."""
        changes, self.changes = self.changes, Changes()
        for key in self.touched_groups:
            group = self.groups[key]
            changes.expired |= {BucketKey(*key, start) for start in group.expire()}
            if group.expire_retractions():
                changes.retractions.add(key)
            changes.figures += windows(group)
        changes.buckets -= changes.expired
        self.touched_groups = set()
        return changes

    def bucket(self, key: BucketKey) -> Bucket:
        return self.groups[GroupKey(key.tenant_id, key.group_id)].buckets[key.started_at_seconds]

    def _group(self, tenant_id: str, data_class: int, group_id: str) -> Group:
        key = GroupKey(tenant_id, group_id)
        if key not in self.groups:
            self.groups[key] = Group(tenant_id, data_class, group_id)
        return self.groups[key]

    def _count(self, act: Act, offset: int) -> None:
        group = self._group(act.tenant_id, act.data_class, act.group_id)
        start = act.occurred_at_seconds // BUCKET_SECONDS * BUCKET_SECONDS
        group.newest_start = start if group.newest_start is None else max(group.newest_start, start)
        if start < group.oldest_kept():
            return
        # Also for an event that was taken back: the group has come that far, and a restart must know.
        bucket = group.buckets.setdefault(start, Bucket())
        if offset <= bucket.restored_offset:
            # In the bucket already, but the figures may not have been sent before the crash.
            self.touched_groups.add(GroupKey(act.tenant_id, act.group_id))
            return
        if act.event in bucket.events:
            return
        if act.event not in group.retracted:
            bucket.add(act.event, act.kind, act.participant)
        self._touch(group, start, offset)

    def _take_back(self, retraction: Retraction, offset: int) -> None:
        """Repeating it is harmless, so a restored bucket's offset does not matter here."""
        group = self._group(retraction.tenant_id, retraction.data_class, retraction.group_id)
        key = GroupKey(retraction.tenant_id, retraction.group_id)
        group.retract(retraction.event, retraction.received_at_seconds)
        self.changes.retractions.add(key)
        for start, bucket in group.buckets.items():
            if bucket.take_out(retraction.event):
                self._touch(group, start, offset)
        if group.buckets:
            # The event may be out already, but the figures may not have been sent before the crash.
            self.touched_groups.add(key)

    def _touch(self, group: Group, start: int, offset: int) -> None:
        group.buckets[start].applied_offset = offset
        self.changes.buckets.add(BucketKey(group.tenant_id, group.group_id, start))
        self.touched_groups.add(GroupKey(group.tenant_id, group.group_id))


def windows(group: Group) -> Iterator[WindowFigures]:
    """The group's figures over each window; none for a group without buckets."""
    if group.newest_start is None:
        return
    as_of = group.newest_start + BUCKET_SECONDS
    for hours in WINDOWS_HOURS:
        inside = [bucket for start, bucket in group.buckets.items() if as_of - hours * 3600 <= start]
        counts: Counter[str] = sum((bucket.count_by_kind for bucket in inside), Counter())
        participants = set().union(*(bucket.count_by_participant for bucket in inside))
        yield WindowFigures(group, hours, as_of, counts, len(participants))


def hash64(text: str) -> int:
    """A 64-bit hash, never 0: of a million people in a group two share one with probability 3e-8."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") or 1


def _decrement(counts: Counter[_Counted], key: _Counted) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
