"""The arithmetic of rolling engagement: buckets of five minutes of event time, and windows over them.

Pure: knows no Kafka, no Faust, no clock. The result depends on the set of events, not on their order:
late events reach their own bucket, a second copy of an event counts nothing, and a group's windows end
at its newest event.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

BUCKET_SECONDS = 300
WINDOWS_HOURS = (1, 24)
LONGEST_WINDOW_SECONDS = max(WINDOWS_HOURS) * 3600

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

NOT_COUNTED = frozenset({"event_retracted"})
"""Events about events: nothing happened in the group."""


class Act(NamedTuple):
    """One event as far as engagement needs it. Ids are 64-bit hashes."""

    tenant_id: str
    data_class: int
    group_id: str
    event: int
    participant: int | None
    occurred_at_seconds: int
    kind: str


class BucketKey(NamedTuple):
    tenant_id: str
    group_id: str
    started_at_seconds: int


@dataclass(slots=True)
class Bucket:
    """What a group did in five minutes. A record at or before `restored_offset` is in it already."""

    restored_offset: int = -1
    applied_offset: int = -1
    count_by_kind: Counter[str] = field(default_factory=Counter)
    participants: set[int] = field(default_factory=set)
    events: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Group:
    tenant_id: str
    data_class: int
    group_id: str
    buckets: dict[int, Bucket] = field(default_factory=dict)
    newest_start: int | None = None

    def oldest_kept(self) -> int:
        """Start of the oldest bucket that any window can hold."""
        assert self.newest_start is not None  # noqa: S101  # a group exists by its first event
        return self.newest_start + BUCKET_SECONDS - LONGEST_WINDOW_SECONDS

    def expire(self) -> list[int]:
        """Drops the buckets that have left every window; returns their starts."""
        expired = [start for start in self.buckets if start < self.oldest_kept()]
        for start in expired:
            del self.buckets[start]
        return expired


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """One group over one window that ends at `as_of_seconds`, exclusive."""

    group: Group
    window_hours: int
    as_of_seconds: int
    count_by_kind: Counter[str]
    count_active_participants: int


class PartitionState:
    """All groups of one partition, and what changed since the last flush."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, str], Group] = {}
        self.applied_offset = -1
        self.touched: set[BucketKey] = set()
        self.expired: set[BucketKey] = set()
        self.touched_groups: set[tuple[str, str]] = set()

    def restore(self, key: BucketKey, data_class: int, bucket: Bucket) -> None:
        """Puts a bucket back as it was written. Of two versions the one with the later offset wins."""
        group = self._group(key.tenant_id, data_class, key.group_id)
        known = group.buckets.get(key.started_at_seconds)
        if known is None or known.applied_offset <= bucket.applied_offset:
            group.buckets[key.started_at_seconds] = bucket
        group.newest_start = max(group.newest_start or key.started_at_seconds, key.started_at_seconds)

    def apply(self, acts: Iterable[Act], offset: int) -> None:
        """Adds the acts of the record at `offset`. Cannot fail half-way: everything is parsed already."""
        for act in acts:
            self._apply_act(act, offset)
        self.applied_offset = offset

    def take_changes(self) -> tuple[set[BucketKey], set[BucketKey], list[WindowFigures]]:
        """Buckets to write, buckets to delete, figures to send; and begins to collect anew."""
        for group_key in self.touched_groups:
            group = self.groups[group_key]
            self.expired |= {BucketKey(*group_key, start) for start in group.expire()}
        figures = [each for key in self.touched_groups for each in windows(self.groups[key])]
        changes = (self.touched - self.expired, self.expired, figures)
        self.touched, self.expired, self.touched_groups = set(), set(), set()
        return changes

    def bucket(self, key: BucketKey) -> Bucket:
        return self.groups[key.tenant_id, key.group_id].buckets[key.started_at_seconds]

    def _group(self, tenant_id: str, data_class: int, group_id: str) -> Group:
        key = (tenant_id, group_id)
        if key not in self.groups:
            self.groups[key] = Group(tenant_id, data_class, group_id)
        return self.groups[key]

    def _apply_act(self, act: Act, offset: int) -> None:
        if act.kind in NOT_COUNTED:
            return
        group = self._group(act.tenant_id, act.data_class, act.group_id)
        start = act.occurred_at_seconds // BUCKET_SECONDS * BUCKET_SECONDS
        group.newest_start = start if group.newest_start is None else max(group.newest_start, start)
        if start < group.oldest_kept():
            return
        bucket = group.buckets.setdefault(start, Bucket())
        if offset <= bucket.restored_offset:
            # In the bucket already, but the figures may not have been sent before the crash.
            self.touched_groups.add((act.tenant_id, act.group_id))
            return
        if act.event in bucket.events:
            return
        bucket.events.add(act.event)
        bucket.count_by_kind[act.kind] += 1
        if act.participant is not None and act.kind in ACTIVE_KINDS:
            bucket.participants.add(act.participant)
        bucket.applied_offset = offset
        self.touched.add(BucketKey(act.tenant_id, act.group_id, start))
        self.touched_groups.add((act.tenant_id, act.group_id))


def windows(group: Group) -> Iterator[WindowFigures]:
    """The group's figures over each window."""
    assert group.newest_start is not None  # noqa: S101  # a group exists by its first event
    as_of = group.newest_start + BUCKET_SECONDS
    for hours in WINDOWS_HOURS:
        inside = [bucket for start, bucket in group.buckets.items() if as_of - hours * 3600 <= start]
        counts: Counter[str] = sum((bucket.count_by_kind for bucket in inside), Counter())
        participants = set().union(*(bucket.participants for bucket in inside))
        yield WindowFigures(group, hours, as_of, counts, len(participants))


def hash64(text: str) -> int:
    """A 64-bit hash: of a million people in a group two share one with probability 3e-8."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
