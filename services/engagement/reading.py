"""Records of `participation-events` to rows: what some records of one partition tell. Pure.

The usual record is read by the loops of `wire`, any other by protobuf. A record that the gateway did not
write is Unusable as a whole; what becomes of it is the worker's business.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash
from circles.participation.v1.participation_event_envelope_pb2 import ParticipationEventEnvelope
from numpy.typing import NDArray

from services.engagement import wire
from services.engagement.groups import GroupKey, Retraction
from services.engagement.layout import EVENT, NOBODY, NUMBER_BY_KIND, Events
from services.kafka.envelopes import DATA_CLASSES, Unusable, not_ours, participation_envelope
from services.kafka.records import Record

PSEUDONYM_CHARACTERS = 36
"""`prt_` and 32 hexadecimal digits, of which the first 16 are kept: 64 bits, in the order of the texts."""
UUID_GROUPS = (8, 4, 4, 4, 12)

_pack = struct.Struct("<qQQQQQBBBBI").pack


@dataclass(slots=True)
class Told:
    """What some records of one partition tell."""

    groups: list[tuple[GroupKey, int]]
    """Each group once, and its data class."""
    events: Events
    group: NDArray[np.int32]
    """Place of each event's group in `groups`."""
    offsets: NDArray[np.int64]
    """Of each event's record."""
    retractions: dict[int, list[Retraction]] = field(default_factory=lambda: defaultdict(list))
    """By the place of the group."""


def read(records: Sequence[Record]) -> tuple[Told, list[tuple[Record, Unusable]]]:
    """What the records tell, and which of them cannot be used."""
    told, usual = _read_usual(records)
    unusual = _Unusual(told)
    unusable = []
    for record, is_usual in zip(records, usual, strict=True):
        if not is_usual:
            try:
                unusual.read(record)
            except Unusable as error:
                unusable.append((record, error))
    return unusual.take(), unusable


def event_number(event_id: str) -> int:
    """As an event's id stands in a row: of a UUID, 64 bits mixed from its 128."""
    parts = event_id.split("-")
    if tuple(map(len, parts)) == UUID_GROUPS and not set("".join(parts)) - set("0123456789abcdef"):
        number = int("".join(parts), 16)
        return int(wire.mixed(np.uint64(number >> 64), np.uint64(number & (1 << 64) - 1)))
    return xxhash.xxh64_intdigest(event_id.encode())


def _read_usual(records: Sequence[Record]) -> tuple[Told, list[bool]]:
    """What `wire` can read, and whether it could, of each record."""
    values, tenants, names = [], [], dict[bytes, int]()
    for key, value, _ in records:
        is_ours = key and value and _begins_with_tenant(key, value)
        values.append(value if is_ours and value else b"")
        tenants.append(names.setdefault(key or b"", len(names)))
    data = np.frombuffer(b"".join(values), np.uint8)
    starts = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(value) for value in values], out=starts[1:])
    most = len(data) // wire.SMALLEST_EVENT_BYTES + 1
    rows, at, record_of = np.empty(most, EVENT), np.empty(most, np.int64), np.empty(most, np.int32)
    groups, places = np.empty(most, np.int32), np.empty(most, np.int32)
    usual = np.zeros(len(values), np.bool_)
    tenant_of = np.array(tenants, np.int32)
    count, count_groups = wire.read(
        data, starts, tenant_of, rows, at, record_of, groups, places, usual, wire.FIELDS
    )  # fmt: skip
    tenant_names = [name.decode() for name in names]
    known = []
    for row in places[:count_groups].tolist():
        record, name = int(record_of[row]), data[at[row] : at[row] + PSEUDONYM_CHARACTERS].tobytes().decode()
        known.append((GroupKey(tenant_names[tenant_of[record]], name), _data_class(values[record])))
    offsets = np.array([offset for _, _, offset in records], np.int64)
    told = Told(known, rows[:count], groups[:count], offsets[record_of[:count]])
    return told, usual.tolist()


def _begins_with_tenant(key: bytes, value: bytes) -> bool:
    """As the gateway writes it, the tenant comes first; its name is as long as one byte can tell."""
    size = len(key)
    return size < 128 and value[:2] == bytes((0x0A, size)) and value[2 : 2 + size] == key and b"\0" not in key


def _data_class(value: bytes) -> int:
    """Right behind the tenant's name, as the gateway writes it; elsewhere protobuf finds it."""
    at = 2 + value[1]
    if value[at] == 0x10 and value[at + 1] in DATA_CLASSES:
        return value[at + 1]
    return ParticipationEventEnvelope.FromString(value).data_class


class _Unusual:
    """Adds what protobuf reads to what was told."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._place = {key: place for place, (key, _) in enumerate(told.groups)}
        self._rows: list[bytes] = []
        self._group: list[int] = []
        self._offsets: list[int] = []

    def read(self, record: Record) -> None:
        """Takes in one record. Raises Unusable; then none of it is used."""
        key, value, offset = record
        envelope = _envelope(key, value)
        rows: list[tuple[str, bytes]] = []
        retractions: list[tuple[str, Retraction]] = []
        try:
            for accepted in envelope.events:
                event = accepted.event
                pseudonym_number(event.group_ref or "?")
                kind = event.WhichOneof("kind") or ""
                if kind == "event_retracted":
                    taken_back = event_number(event.event_retracted.retracted_event_id)
                    retraction = Retraction(taken_back, envelope.received_at.seconds)
                    retractions.append((event.group_ref, retraction))
                else:
                    rows.append((event.group_ref, _row(event, kind)))
        except (ValueError, KeyError, struct.error) as error:
            raise not_ours() from error
        for group_ref, retraction in retractions:
            self._told.retractions[self._group_of(envelope, group_ref)].append(retraction)
        for group_ref, row in rows:
            self._rows.append(row)
            self._group.append(self._group_of(envelope, group_ref))
            self._offsets.append(offset)

    def take(self) -> Told:
        told = self._told
        if self._rows:
            told.events = np.concatenate([told.events, np.frombuffer(b"".join(self._rows), EVENT)])
            told.group = np.concatenate([told.group, np.array(self._group, np.int32)])
            told.offsets = np.concatenate([told.offsets, np.array(self._offsets, np.int64)])
        return told

    def _group_of(self, envelope: ParticipationEventEnvelope, group_ref: str) -> int:
        key = GroupKey(envelope.tenant_id, group_ref)
        if key not in self._place:
            self._place[key] = len(self._told.groups)
            self._told.groups.append((key, envelope.data_class))
        return self._place[key]


def _envelope(key: bytes | None, value: bytes | None) -> ParticipationEventEnvelope:
    envelope = participation_envelope(key, value)
    if "\0" in envelope.tenant_id:  # it parts the keys of the state
        raise not_ours()
    return envelope


def _row(event: Any, kind: str) -> bytes:
    """Raises ValueError or KeyError for an event that the gateway did not write."""
    if len(event.event_id) != 36 or not event.HasField("occurred_at"):
        raise ValueError
    number = NUMBER_BY_KIND[kind]
    content = getattr(event, kind)
    kept: dict[int, Any] = {
        int(what): getattr(content, content.DESCRIPTOR.fields_by_number[place].name)
        for place, what in enumerate(wire.FIELDS[number])
        if 0 < what <= wire.CODE
    }
    references = (
        event.participant_ref,
        *(kept.get(what, "") for what in (wire.THREAD, wire.ACT, wire.PARENT)),
    )
    numbers = map(pseudonym_number, references)
    return _pack(
        event.occurred_at.seconds,
        event_number(event.event_id),
        *numbers,
        number,
        kept.get(wire.CODE, 0),
        0,
        0,
        0,
    )


def pseudonym_number(pseudonym: str) -> int:
    """The first 64 bits of a pseudonym; NOBODY for none. Raises ValueError."""
    if not pseudonym:
        return NOBODY
    if len(pseudonym) != PSEUDONYM_CHARACTERS:
        raise ValueError
    return int(pseudonym[4:20], 16) or 1
