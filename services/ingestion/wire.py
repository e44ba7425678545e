"""The usual batch at native speed: a request's bytes are read where they lie, references are looked up or
replaced, and the events are written anew, as entries of their partitions.

It knows one shape only: fields in their order, no unknown ones, kinds whose fields are references, codes and
small numbers. It may doubt a good event, never admit a bad one: what it doubts is taken by itself
(`compiled`, `rules`). tests/unit/test_wire.py holds that way and this one to the same result. Here are the
tables that the contract becomes and the memory of references; the loops over bytes are `kernels`.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from services.ingestion import kernels
from services.ingestion.envelopes import Entries, tag_of_events
from services.ingestion.kernels import (
    CODE,
    END,
    EVENT_COLUMNS,
    EVENT_ID,
    KIND,
    MAX_CODE,
    MAX_FIELD,
    MAX_REFS,
    NO_ROOM,
    NOTHING,
    NUMBER,
    PART_END,
    PLACE_COLUMNS,
    REF_COLUMNS,
    REFERENCE,
    ROLE,
    ROW_BYTES,
    START,
    TIME,
)
from services.ingestion.pseudonyms import KINDS, THINGS, Pseudonymiser
from services.ingestion.recent import Known
from services.ingestion.rules import (
    TIMESTAMP,
    WITHOUT_PARTICIPANT,
    bounds_of,
    codes_of,
    may_be_absent,
    message_rules,
)
from services.kafka.topics import Topic, topic

FIRST_ROWS = 1024
MAX_ROWS = 65_536
"""Of one tenant's remembered references; then it begins anew. No more than a processor's cache helps with: to
make a row again costs little more than to fetch one from far away."""

PARTICIPANT, OTHER_ACT = "participation_event.participant", "reply_posted.other_act"
"""The rules over several fields that the kernels know."""


class References:
    """One tenant's references and their pseudonyms, for the kernels: an open hash table of bytes."""

    def __init__(self, tenant_id: str, pseudonymiser: Pseudonymiser) -> None:
        prefixes = np.array([list(f"{thing}_".encode()) for thing in THINGS], np.uint8)
        keyed = np.zeros((len(THINGS), 8), np.uint64)
        for state, thing in zip(keyed, THINGS, strict=True):
            kernels.keyed_state(np.frombuffer(pseudonymiser.key(tenant_id, thing), np.uint8), state)
        self._making = (prefixes, keyed, zlib.crc32(f"{tenant_id}\0".encode()))
        """How a pseudonym and its partition begin."""
        self._used = np.zeros(1, np.int64)
        self._seed = secrets.randbits(62)
        self._allocate(FIRST_ROWS)

    @property
    def tables(self) -> tuple[Any, ...]:
        """In the order in which the kernels take them."""
        return (self._slots, self.rows, self._seed, self._used, *self._making)

    def make_room(self) -> None:
        """Doubles the table, or forgets all when it is as large as it may be."""
        rows, count = self.rows, len(self.rows) // ROW_BYTES
        if count >= MAX_ROWS:
            self._used[0] = 0
            self._allocate(count)
            return
        self._allocate(2 * count)
        self.rows[: len(rows)] = rows
        kernels.insert(self._slots, self.rows, self._seed, self._used[0])

    def _allocate(self, count: int) -> None:
        self.rows = np.zeros(count * ROW_BYTES, np.uint8)
        self._slots = np.full(count * 4, -1, np.int32)


class Scratch(NamedTuple):
    """What the kernels note of a request; used again for the next one."""

    places: np.ndarray
    refs: np.ndarray
    ids: np.ndarray
    is_good: np.ndarray
    parts: np.ndarray


class Reader:
    """Reads requests of one domain and of one type."""

    def __init__(self, topic: Topic, request: Descriptor, max_events: int) -> None:
        self._request = ("sequence" in request.fields_by_name, tag_of_events(request))
        self._tables = _tables(topic.name)
        self._tag = tag_of_events(topic.message)
        self._scratch = Scratch(
            places=np.zeros((max_events, PLACE_COLUMNS), np.int32),
            refs=np.zeros((max_events * MAX_REFS, REF_COLUMNS), np.int32),
            ids=np.zeros((max_events, 2), np.uint64),
            is_good=np.zeros(max_events, np.uint8),
            parts=np.zeros((topic.partitions, 2), np.int64),
        )

    def read(
        self, data: bytes, references: References, known: Known, earliest: int, latest: int
    ) -> Found | None:
        """None when the bytes have another shape, or hold no event, or too many.

        Events outside of `earliest` to `latest`, in seconds since 1970, are not good; nor are those that are
        `known`, because something is to be said of them. What is found is there until the next request.
        """
        octets, count = np.frombuffer(data, np.uint8), NO_ROOM
        while count == NO_ROOM:
            sequence, count, count_good = kernels.read(  # type: ignore[call-arg]  # numba does not count them
                octets,
                *self._request,
                *self._tables,
                earliest,
                latest,
                *known,
                *references.tables,
                *self._scratch,
            )
            if count == NO_ROOM:
                references.make_room()
        if count <= 0:
            return None
        return Found(octets, self._tag, references, self._scratch, sequence, count, count_good)

    def split(self, data: bytes) -> tuple[int, int, list[bytes]] | None:
        """Sequence and events of a request of any shape: how many, and the bytes of as many as may be posted.

        None when the bytes are no request.
        """
        octets, places = np.frombuffer(data, np.uint8), self._scratch.places
        sequence, count = kernels.split(octets, *self._request, places)
        if count < 0:
            return None
        ends = places[:count][:, [START, END]].tolist()
        return int(sequence), count, [data[start:end] for start, end in ends]


class Found(NamedTuple):
    """A request as the kernels read it. Of a good event no more is to be said than that it is accepted."""

    octets: np.ndarray
    tag: int
    """Of an event in its envelope."""
    references: References
    scratch: Scratch
    sequence: int
    """Of a stream's batch; 0 for a unary request."""
    count_events: int
    count_good: int

    def doubtful(self) -> list[tuple[int, bytes]]:
        """Index and bytes of the events that are to be taken by themselves."""
        if self.count_good == self.count_events:
            return []
        found = np.flatnonzero(self.scratch.is_good[: self.count_events] == 0)
        places = self.scratch.places[found][:, [START, END]].tolist()
        return [
            (index, self.octets[start:end].tobytes())
            for index, (start, end) in zip(found.tolist(), places, strict=True)
        ]

    def write(self) -> Written:
        """The good events as they go to Kafka."""
        places, refs, ids, is_good, parts = self.scratch
        out = np.empty(parts[-1, PART_END], np.uint8)
        events = np.empty((self.count_good, EVENT_COLUMNS), np.uint64)
        found = (self.octets, places[: self.count_events], refs, ids, is_good, self.references.rows)
        kernels.write(*found, self.tag, parts, out, events)
        return Written(out.tobytes(), parts.tolist(), events)


class Written(NamedTuple):
    """Events with pseudonyms, as entries of an envelope, partition after partition."""

    octets: bytes
    parts: list[tuple[int, int]]
    """By partition: how many events, and where they end."""
    events: np.ndarray
    """As `recent` keeps them, in the order of the request."""

    def entries(self) -> Iterator[tuple[int, Entries]]:
        """By partition, those that there are."""
        start = 0
        for partition, (count, end) in enumerate(self.parts):
            if count:
                yield partition, (count, self.octets[start:end])
            start = end


# From the contract to tables ------------------------------------------------------------------------------


@cache
def _tables(topic_name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The event type as the kernels see it, in the order in which they take it: by field of the event, by
    kind, by kind and field of its message; and the field that the topic is partitioned by.
    """
    described = topic(topic_name)
    event = described.event
    fields = np.zeros((MAX_FIELD, 2), np.int64)
    kinds = np.zeros((MAX_FIELD, 3), np.int64)
    kind_fields = np.zeros((MAX_FIELD, MAX_FIELD, 2), np.int64)
    members = event.oneofs_by_name["kind"].fields
    for field in event.fields:
        if field not in members:
            fields[field.number] = _role(field)
        elif _is_simple(field):
            fields[field.number, ROLE] = KIND
            kinds[field.number] = _kind(event, field)
            for each in _message(field).fields:
                kind_fields[field.number, each.number] = _role(each)
    return fields, kinds, kind_fields, event.fields_by_name[described.partitioned_by[1]].number


def _is_simple(kind: FieldDescriptor) -> bool:
    """Whether the kernels know all that is in the kind's message, and every rule of it."""
    message = _message(kind)
    rules = {rule.rule_id for rule in message_rules(message)}
    roles = {_role(field)[0] for field in message.fields}
    return roles <= {REFERENCE, CODE, NUMBER} and not message.oneofs and rules <= {OTHER_ACT}


def _kind(event: Descriptor, kind: FieldDescriptor) -> tuple[int, int, int]:
    """Its row; the columns are those of `kernels`."""
    members = event.oneofs_by_name["kind"].fields
    needed = {field for field in event.fields if field not in members and not may_be_absent(field)}
    is_act = any(rule.rule_id == PARTICIPANT for rule in message_rules(event))
    if is_act and kind.name not in WITHOUT_PARTICIPANT:
        needed.add(event.fields_by_name["participant_ref"])
    message = _message(kind)
    kind_needs = _bits(field for field in message.fields if _must_be_there(field))
    return _bits(needed), kind_needs, int(bool(message_rules(message)))


def _bits(fields: Iterable[FieldDescriptor]) -> int:
    return sum(1 << field.number for field in fields)


def _must_be_there(field: FieldDescriptor) -> bool:
    """Whether its zero value, which is not on the wire, breaks its rule."""
    if field.name in KINDS:
        return not may_be_absent(field)
    return field.enum_type is not None and 0 not in codes_of(field)


def _role(field: FieldDescriptor) -> tuple[int, int]:
    """What the field is, and its detail; NOTHING where the kernels do not know it."""
    role, detail = NOTHING, 0
    if field.message_type is not None:
        role = TIME if field.message_type.full_name == TIMESTAMP else NOTHING
    elif field.is_repeated or field.has_presence:
        role = NOTHING
    elif field.name == "event_id":
        role = EVENT_ID
    elif field.name in KINDS:
        role, detail = REFERENCE, THINGS.index(KINDS[field.name])
    elif field.enum_type is not None:
        role, detail = CODE, sum(1 << number for number in codes_of(field) if 0 <= number <= MAX_CODE)
    elif field.type == FieldDescriptor.TYPE_UINT32 and not may_be_absent(field) and bounds_of(field).low <= 0:
        role, detail = NUMBER, int(min(bounds_of(field).high, 2**32 - 1))
    return role, detail


def _message(kind: FieldDescriptor) -> Descriptor:
    assert kind.message_type is not None  # noqa: S101  # every kind is a message
    return kind.message_type
