"""The usual batch at native speed: a request's bytes are read where they lie, references are looked up, and
the events are written anew with pseudonyms, as entries of their partitions.

It knows one shape only: fields in their order, no unknown ones, kinds whose fields are references, codes and
small numbers. It may doubt a good event, never admit a bad one: what it doubts is taken by itself
(`compiled`, `rules`). tests/unit/test_wire.py holds that way and this one to the same result. Here are the
tables that the contract becomes and the memory of references; the loops over bytes are `kernels`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from services.ingestion import kernels as compiled_kernels
from services.ingestion.doors import doors
from services.ingestion.envelopes import partition_of
from services.ingestion.kernels import (
    CODE,
    END,
    EVENT_ID,
    ID,
    ID_BYTES,
    KIND,
    MAX_FIELD,
    MAX_REFERENCE_BYTES,
    MAX_REFS,
    NOTHING,
    NUMBER,
    PSEUDONYM_BYTES,
    REFERENCE,
    START,
    TIME,
)
from services.ingestion.pseudonyms import KINDS, THINGS, Names, NotAReference
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
MAX_ROWS = 262_144
"""Of one tenant's remembered references; then it begins anew."""


_ID_OFFSETS = np.arange(ID_BYTES)


@dataclass(frozen=True)
class Shape:
    """An event type as the kernels see it. Tables are by field number; those of kinds by kind and field."""

    roles: np.ndarray
    details: np.ndarray
    """Of a reference: its kind of thing; of a code: a bit per allowed number; of a number: the largest."""
    is_required: np.ndarray
    kind_roles: np.ndarray
    kind_details: np.ndarray
    kind_is_required: np.ndarray
    needs_participant: np.ndarray
    """By kind: the field that must be there besides, or 0."""
    must_differ: np.ndarray
    """By kind: 1 when its last two references must not be the same."""
    partition_field: int


kernels: Any = compiled_kernels
"""numba's functions, whose types only numba knows."""


class References:
    """One tenant's references and their pseudonyms, for the kernels: an open hash table of bytes."""

    def __init__(self, topic: Topic, tenant_id: str, names: dict[str, Names]) -> None:
        self._topic = topic
        self._tenant_id = tenant_id
        self._names = [names[kind] for kind in THINGS]
        self._count = 0
        self._allocate(FIRST_ROWS)

    def rows(self, data: bytes, octets: np.ndarray, references: np.ndarray) -> np.ndarray:
        """The row of each reference (position, length, kind of thing); -1 where a text is no reference."""
        if self._count + len(references) > MAX_ROWS:
            self._clear()
        rows = np.empty(len(references), np.int32)
        count_unknown = kernels.find(octets, references, self.slots, self.texts, self.lengths, rows)
        if count_unknown:
            unknown = np.flatnonzero(rows == -2)
            rows[unknown] = self._add(data, references[unknown].tolist())
        return rows

    def _add(self, data: bytes, references: list[list[int]]) -> list[int]:
        """Makes rows for what is not known yet; the same text may come more than once."""
        texts = [(data[position : position + length], thing) for position, length, thing in references]
        new = {each: self._pseudonym(*each) for each in dict.fromkeys(texts)}
        good = [(text, thing, pseudonym) for (text, thing), pseudonym in new.items() if pseudonym is not None]
        while self._count + len(good) > len(self.lengths):
            self._grow()
        rows = {(text, thing): self._count + i for i, (text, thing, _) in enumerate(good)}
        self._fill(good)
        return [rows.get(each, -1) for each in texts]

    def _pseudonym(self, text: bytes, thing: int) -> bytes | None:
        try:
            return self._names[thing].made(text.decode()).encode()
        except (NotAReference, UnicodeDecodeError):
            return None

    def _fill(self, good: list[tuple[bytes, int, bytes]]) -> None:
        first, self._count = self._count, self._count + len(good)
        place = slice(first, self._count)
        padded = b"".join(text.ljust(MAX_REFERENCE_BYTES, b"\0") for text, _, _ in good)
        self.texts[place] = np.frombuffer(padded, np.uint8).reshape(-1, MAX_REFERENCE_BYTES)
        self.lengths[place] = [len(text) * len(THINGS) + thing for text, thing, _ in good]
        pseudonyms = b"".join(pseudonym for _, _, pseudonym in good)
        self.pseudonyms[place] = np.frombuffer(pseudonyms, np.uint8).reshape(-1, PSEUDONYM_BYTES)
        self.partitions[place] = [self._partition(thing, pseudonym) for _, thing, pseudonym in good]
        kernels.insert(self.slots, self.texts, self.lengths, first, self._count)

    def _partition(self, thing: int, pseudonym: bytes) -> int:
        if THINGS[thing] != KINDS[self._topic.partitioned_by[1]]:
            return 0  # nobody asks
        return partition_of(self._topic, self._tenant_id, pseudonym.decode())

    def _clear(self) -> None:
        self._count = 0
        self._allocate(FIRST_ROWS)

    def _allocate(self, rows: int) -> None:
        self.texts = np.zeros((rows, MAX_REFERENCE_BYTES), np.uint8)
        self.lengths = np.zeros(rows, np.int32)
        self.pseudonyms = np.zeros((rows, PSEUDONYM_BYTES), np.uint8)
        self.partitions = np.zeros(rows, np.int32)
        self.slots = np.full(rows * 4, -1, np.int32)

    def _grow(self) -> None:
        old = (self.texts, self.lengths, self.pseudonyms, self.partitions)
        count = len(self.lengths)
        self._allocate(2 * count)
        new: tuple[np.ndarray, ...] = (self.texts, self.lengths, self.pseudonyms, self.partitions)
        for table, before in zip(new, old, strict=True):
            table[:count] = before
        kernels.insert(self.slots, self.texts, self.lengths, 0, self._count)


def warm_up() -> None:
    """Has the loops compiled, or loads what was compiled before: seconds, which no call should wait."""
    for door in doors():
        request: Any = GetMessageClass(door.post.input_type)()
        request.events.add()
        references = References(door.topic, "", {kind: Names(bytes(32), kind) for kind in THINGS})
        found = Reader(door.topic, door.post.input_type).read(
            request.SerializeToString(), 500, references, 0, 1
        )
        assert found is not None  # noqa: S101  # an empty event is one, and not good
        list(found.write(0, 1).entries())


class Reader:
    """Reads requests of one domain and of one type."""

    def __init__(self, topic: Topic, request: Descriptor) -> None:
        self._tables = _tables(topic.name)
        self._events_tag = request.fields_by_name["events"].number << 3 | 2
        self._has_sequence = "sequence" in request.fields_by_name

    def read(
        self, data: bytes, max_events: int, references: References, earliest: int, latest: int
    ) -> Found | None:
        """None when the bytes have another shape, or hold no event, or too many.

        Events outside of `earliest` to `latest`, in seconds since 1970, are not good.
        """
        octets = np.frombuffer(data, np.uint8)
        places = np.zeros((max_events, 10), np.int32)
        refs = np.empty((max_events * MAX_REFS, 3), np.int32)
        is_good = np.zeros(max_events, np.uint8)
        which = (octets, self._has_sequence, self._events_tag)
        count, sequence, count_refs = kernels.scan(
            *which, *self._tables, earliest, latest, places, refs, is_good
        )
        if count <= 0:
            return None
        rows = references.rows(data, octets, refs[:count_refs])
        kernels.settle(places[:count], rows, is_good)
        return Found(octets, sequence, places[:count], is_good[:count], refs, rows, references)


@dataclass(frozen=True)
class Found:
    """A request as the kernels have read it."""

    octets: np.ndarray
    sequence: int
    """Of a stream's batch; 0 for a unary request."""
    places: np.ndarray
    is_good: np.ndarray
    """Per event: 1 when it keeps every rule and nothing is to be said of it."""
    refs: np.ndarray
    rows: np.ndarray
    references: References

    def doubtful(self) -> list[int]:
        """Which events are to be taken by themselves."""
        indexes: list[int] = [] if self.is_good.all() else np.flatnonzero(self.is_good == 0).tolist()
        return indexes

    def bytes_of(self, index: int) -> bytes:
        """One event as it was sent."""
        start, end = self.places[index, START], self.places[index, END]
        return self.octets[start:end].tobytes()

    def event_ids(self) -> list[bytes]:
        """Of the good events, in their order."""
        good = np.flatnonzero(self.is_good)
        matrix = self.octets[self.places[good, ID][:, None] + _ID_OFFSETS]
        ids: list[bytes] = matrix.view(f"S{ID_BYTES}").ravel().tolist()
        return ids

    def write(self, tag: int, count_partitions: int) -> Written:
        """The good events as entries of an envelope whose events have this tag."""
        return Written(self, tag, count_partitions)


class Written:
    """The good events of one request with pseudonyms, as entries, partition after partition."""

    def __init__(self, found: Found, tag: int, count_partitions: int) -> None:
        good, references = np.flatnonzero(found.is_good), found.references
        self._counts = np.zeros(count_partitions, np.int32)
        self._ends = np.zeros(count_partitions, np.int32)
        where = (found.places, found.refs, found.rows)
        size = kernels.measure(*where, references.partitions, good, self._counts, self._ends)
        self._out = np.empty(size, np.uint8)
        self._hashes = np.empty(len(good), np.uint64)
        tables = (references.pseudonyms, references.partitions)
        starts = np.append(0, self._ends)
        kernels.write(found.octets, *where, *tables, good, tag, starts, self._out, self._hashes)

    def hashes(self) -> list[int]:
        """Each event's body hash, in the order of the request."""
        hashes: list[int] = self._hashes.tolist()
        return hashes

    def entries(self) -> Iterator[tuple[int, int, bytes]]:
        """Partition, how many events, and their bytes in an envelope."""
        out, start = self._out.tobytes(), 0
        sizes = zip(self._counts.tolist(), self._ends.tolist(), strict=True)
        for partition, (count, end) in enumerate(sizes):
            if count:
                yield partition, count, out[start:end]
            start = end


# From the contract to tables ------------------------------------------------------------------------------


def _shape(topic: Topic) -> Shape:
    message = topic.event
    kinds = message.oneofs_by_name["kind"].fields
    shape = Shape(
        roles=np.zeros(MAX_FIELD, np.int64),
        details=np.zeros(MAX_FIELD, np.int64),
        is_required=np.zeros(MAX_FIELD, np.uint8),
        kind_roles=np.zeros((MAX_FIELD, MAX_FIELD), np.int64),
        kind_details=np.zeros((MAX_FIELD, MAX_FIELD), np.int64),
        kind_is_required=np.zeros((MAX_FIELD, MAX_FIELD), np.uint8),
        needs_participant=np.zeros(MAX_FIELD, np.int64),
        must_differ=np.zeros(MAX_FIELD, np.uint8),
        partition_field=message.fields_by_name[topic.partitioned_by[1]].number,
    )
    for field in message.fields:
        if field in kinds:
            _describe_kind(shape, message, field)
        else:
            role = _role(field)
            shape.roles[field.number], shape.details[field.number] = role
            shape.is_required[field.number] = not may_be_absent(field)
    return shape


def _describe_kind(shape: Shape, event: Descriptor, kind: FieldDescriptor) -> None:
    message = kind.message_type
    assert message is not None  # noqa: S101  # every kind is a message
    roles = [_role(field) for field in message.fields]
    rules = [rule.rule_id for rule in message_rules(message)]
    is_simple = all(role in (REFERENCE, CODE, NUMBER) for role, _ in roles) and not message.oneofs
    if not is_simple or set(rules) - {"reply_posted.other_act"}:
        return
    shape.roles[kind.number] = KIND
    shape.must_differ[kind.number] = bool(rules)
    if any(rule.rule_id == "participation_event.participant" for rule in message_rules(event)):
        is_free = kind.name in WITHOUT_PARTICIPANT
        shape.needs_participant[kind.number] = (
            0 if is_free else event.fields_by_name["participant_ref"].number
        )
    for field, (role, detail) in zip(message.fields, roles, strict=True):
        shape.kind_roles[kind.number, field.number] = role
        shape.kind_details[kind.number, field.number] = detail
        shape.kind_is_required[kind.number, field.number] = _must_be_there(field, role)


def _must_be_there(field: FieldDescriptor, role: int) -> bool:
    """Whether its zero value, which is not on the wire, breaks its rule."""
    if role == REFERENCE:
        return not may_be_absent(field)
    return role == CODE and 0 not in codes_of(field)


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
        role, detail = CODE, sum(1 << number for number in codes_of(field) if 0 <= number < 63)
    elif field.type == FieldDescriptor.TYPE_UINT32 and not may_be_absent(field) and bounds_of(field).low <= 0:
        role, detail = NUMBER, int(min(bounds_of(field).high, 2**32 - 1))
    return role, detail


@cache
def _tables(topic_name: str) -> tuple[Any, ...]:
    """The shape's tables in the order in which the kernels take them."""
    shape = _shape(topic(topic_name))
    return tuple(getattr(shape, field.name) for field in fields(shape))
