"""A group's state as records of the compacted topic, and records back to groups. Pure: no Kafka, no clock.

A group's log is written in parts, in the order of arrival: only the newest part is written again, until it is
full. Every worker writes under keys of its own (`epoch`), and joins what it reads: events are a set, what is
remembered of people is a minimum or a maximum. A worker that wakes after it lost its partition therefore
overwrites nothing but its own records, with what is true.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from circles.engagement.v1.engagement_state_pb2 import EngagementState
from google.protobuf.message import DecodeError

from services.engagement.groups import NEVER, Group, GroupKey, Withdrawn
from services.engagement.layout import EVENT, FAR, LAYOUT, PERSON, RETRACTION, Events
from services.engagement.people import joined

PART_EVENTS = 64
"""A part of the log that holds as many is not written again."""

MAX_PART_EVENTS = 50_000
"""So many events are some 3 MB: more in one flush go into several records."""
NOT_ALL = -1
"""In place of an offset, in a record after which more of the same offset follows."""

SHARDED_FROM_PEOPLE = 512
"""What is remembered of as many people is written by the first byte of their pseudonyms."""
UNSHARDED = -1

StateRecord = tuple[bytes, bytes | None]
"""Key and value; None deletes."""


class UnreadableState(Exception):
    """A record of the state topic that this version did not write."""


class InputRecreated(Exception):
    """The state belongs to an earlier topic of the same name: its offsets do not compare."""

    def __init__(self) -> None:
        super().__init__(
            "Topic participation-events was deleted and made anew: its figures would be wrong. "
            "Delete topic engagement-state too and run `circles provision` to begin again"
        )


@dataclass(slots=True)
class Written:
    """What of a group is on the state topic, by name within the group."""

    parts: dict[str, int] = field(default_factory=dict)
    """Newest time in each part that is full or another worker's."""
    others: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Names under which another kind of record was written, by the name without its epoch."""
    number: int = 0
    """Of the open part, which gets more events."""
    open_part: bytes = b""
    open_newest_at: int = NEVER
    expires_at: int = FAR
    """Newest time of the part that leaves the log first."""

    def close_part(self, name: str, newest_at: int) -> None:
        self.parts[name] = newest_at
        self.expires_at = min(self.expires_at, newest_at)

    def expired(self, log_starts_at: int) -> list[str]:
        """Takes out the parts that hold nothing of the log."""
        if self.expires_at >= log_starts_at:
            return []
        gone = [name for name, newest in self.parts.items() if newest < log_starts_at]
        for name in gone:
            del self.parts[name]
        self.expires_at = min(self.parts.values(), default=FAR)
        return gone


@dataclass(frozen=True, slots=True)
class StateWriter:
    """Writes groups of one partition under its own names."""

    epoch: str
    topic_id: str

    def records(
        self, group: Group, written: Written, news: Events, applied_offset: int
    ) -> Iterator[StateRecord]:
        """What has to be written so that the state holds `news` and all else that changed, in this order."""
        writing = _Writing(self, group, written, applied_offset)
        expired = written.expired(group.log_starts_at)
        if expired or group.has_late_people:
            yield from writing.people()
        if group.has_new_retractions:
            yield from writing.retractions()
        if len(news):
            yield from writing.events(news)
            if len(written.open_part) >= PART_EVENTS * EVENT.itemsize:
                self.close(written)
        for name in expired:
            yield writing.key(name), None

    def close(self, written: Written) -> None:
        """The open part gets no more events."""
        if written.open_part:
            written.close_part(self.part_name(written), written.open_newest_at)
            written.open_part, written.open_newest_at = b"", NEVER
            written.number += 1

    def part_name(self, written: Written) -> str:
        return f"e{self.epoch}.{written.number}"


@dataclass(frozen=True, slots=True)
class _Writing:
    """The records of one group in one flush."""

    writer: StateWriter
    group: Group
    written: Written
    applied_offset: int

    def events(self, news: Events) -> Iterator[StateRecord]:
        """The open part with what is new. Only with the last record all is written up to the offset."""
        written = self.written
        while len(news) > MAX_PART_EVENTS:
            first, news = news[:MAX_PART_EVENTS], news[MAX_PART_EVENTS:]
            self.writer.close(written)
            yield self._open_part(first, NOT_ALL)
            self.writer.close(written)
        yield self._open_part(news, self.applied_offset)

    def _open_part(self, news: Events, applied_offset: int) -> StateRecord:
        written = self.written
        written.open_part += _bare(news) if self.group.has_hidden else news.tobytes()
        # Nothing in it is newer.
        written.open_newest_at = self.group.as_of
        return self.key(self.writer.part_name(written)), self._value(applied_offset, events=written.open_part)

    def people(self) -> Iterator[StateRecord]:
        """Those of whom something is remembered that is not written, with all of their shard."""
        group, written, people = self.group, self.written, self.group.people
        shards: Iterable[int] = [UNSHARDED]
        first_bytes = people["person"] >> np.uint64(56)
        if len(people) >= SHARDED_FROM_PEOPLE:
            # With the first sharded writing all of them, because the one record of before goes.
            shards = range(256) if written.others[f"p{UNSHARDED}"] else sorted(group.dirty_people)
        group.dirty_people.clear()
        group.has_late_people = False
        for shard in shards:
            rows = people if shard == UNSHARDED else people[first_bytes == shard]
            if len(rows):
                yield from self._whole(f"p{shard}", people=_bare(rows))
        if UNSHARDED not in shards:
            for name in written.others.pop(f"p{UNSHARDED}", ()):
                yield self.key(name), None

    def retractions(self) -> Iterator[StateRecord]:
        group = self.group
        group.has_new_retractions = False
        rows = np.zeros(len(group.retracted), RETRACTION)
        rows["event"], rows["received_at"] = list(group.retracted), list(group.retracted.values())
        yield from self._whole("r", retractions=rows.tobytes())

    def key(self, name: str) -> bytes:
        return "\0".join((*self.group.key, name)).encode()

    def _whole(self, kind: str, **content: bytes) -> Iterator[StateRecord]:
        """One record in place of all of its kind, which are joined in it."""
        ours = f"{kind}.{self.writer.epoch}"
        yield self.key(ours), self._value(self.applied_offset, **content)
        for earlier in self.written.others[kind] - {ours}:
            yield self.key(earlier), None
        self.written.others[kind] = {ours}

    def _value(self, applied_offset: int, **content: bytes) -> bytes:
        group = self.group
        return EngagementState(
            tenant_id=group.key.tenant_id,
            data_class=group.data_class,  # type: ignore[arg-type]
            group_id=group.key.group_id,
            applied_offset=applied_offset,
            topic_id=self.writer.topic_id,
            layout=LAYOUT,
            **content,
        ).SerializeToString()


def parsed(key: bytes, value: bytes) -> tuple[str, EngagementState]:
    """The record's name within its group, and what it holds. Raises UnreadableState."""
    try:
        message = EngagementState.FromString(value)
        tenant, group, name = key.decode().split("\0")
    except (DecodeError, ValueError) as error:
        raise UnreadableState from error
    size = {"events": EVENT.itemsize, "people": PERSON.itemsize, "retractions": RETRACTION.itemsize}
    content = message.WhichOneof("content")
    is_ours = (
        message.layout == LAYOUT
        and content is not None
        and (message.tenant_id, message.group_id) == (tenant, group)
        and len(getattr(message, content)) % size[content] == 0
    )
    if not is_ours:
        raise UnreadableState
    return name, message


class Restoring:
    """Records of one group, as they are read, to be joined."""

    def __init__(self, key: GroupKey, data_class: int) -> None:
        self.group = Group(key, data_class)
        self.written = Written()
        self._events: list[Events] = []

    def take(self, name: str, message: EngagementState) -> None:
        group = self.group
        match message.WhichOneof("content"):
            case "events":
                # Only here: what else a flush writes of the group is written before its events.
                group.restored_offset = max(group.restored_offset, message.applied_offset)
                events = np.frombuffer(message.events, EVENT)
                self._events.append(events)
                self.written.close_part(name, int(events["at"].max()) if len(events) else NEVER)
            case "people":
                group.people = joined(group.people, np.frombuffer(message.people, PERSON).copy())
                self.written.others[name.split(".", maxsplit=1)[0]].add(name)
            case _:
                rows = np.frombuffer(message.retractions, RETRACTION)
                group.retracted.update(zip(rows["event"].tolist(), rows["received_at"].tolist(), strict=True))
                self.written.others[name.split(".", maxsplit=1)[0]].add(name)

    def finish(self, withdrawn: Withdrawn) -> tuple[Group, Written]:
        group = self.group
        if self._events:
            events = np.concatenate(self._events)
            group.tell(events[np.lexsort((events["event"], events["at"]))], withdrawn)
        group.hide(withdrawn)
        # All of it is written; what is remembered of events of a part has to be when the part is dropped.
        group.news, group.has_new_retractions, group.has_late_people = [], False, False
        group.turned = []
        return group, self.written


def restored(
    records: Mapping[bytes, bytes], withdrawn: Mapping[str, Withdrawn], topic_id: str
) -> tuple[Iterator[tuple[Group, Written]], list[bytes]]:
    """Groups from the newest value of each key, and the keys that are not readable. Raises InputRecreated."""
    groups: dict[GroupKey, Restoring] = {}
    unreadable = []
    for key, value in records.items():
        try:
            name, message = parsed(key, value)
        except UnreadableState:
            unreadable.append(key)
            continue
        if message.topic_id != topic_id:
            raise InputRecreated
        group_key = GroupKey(message.tenant_id, message.group_id)
        if group_key not in groups:
            groups[group_key] = Restoring(group_key, message.data_class)
        groups[group_key].take(name, message)
    return _finished(groups, withdrawn), unreadable


def _finished(
    groups: dict[GroupKey, Restoring], withdrawn: Mapping[str, Withdrawn]
) -> Iterator[tuple[Group, Written]]:
    while groups:
        # What was read of a group is let go as soon as the group stands.
        key, restoring = groups.popitem()
        yield restoring.finish(withdrawn.get(key.tenant_id, ()))


def _bare(rows: np.ndarray) -> bytes:
    """Without what hides them: that follows from retractions and consents."""
    rows = rows.copy()
    rows["hidden"] = 0
    return rows.tobytes()
