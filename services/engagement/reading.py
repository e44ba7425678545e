"""Records of `participation-events` to rows: what some records of a partition tell. Pure.

A record that the gateway did not write is Unusable as a whole; what becomes of it is the worker's business.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash
from circles.failures.v1 import failed_event_pb2
from circles.participation.v1.participation_event_envelope_pb2 import ParticipationEventEnvelope
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from services.engagement.groups import GroupKey, Retraction
from services.engagement.layout import EVENT, NOBODY, NUMBER_BY_KIND, Events
from services.kafka.topics import MAX_ENVELOPE_EVENTS

DATA_CLASSES = (1, 2, 3)
PSEUDONYM_CHARACTERS = 36
"""`prt_` and 32 hexadecimal digits, of which the first 16 are kept: 64 bits, in the order of the texts."""

_pack = struct.Struct("<qQQQQQBBx5x").pack
_hash = xxhash.xxh64_intdigest

REFERENCES = {
    "session_held": ("session_ref", "", ""),
    "session_cancelled": ("session_ref", "", ""),
    "session_attended": ("session_ref", "", ""),
    "thread_started": ("thread_ref", "act_ref", ""),
    "reply_posted": ("thread_ref", "act_ref", "in_reply_to_act_ref"),
    "moderation_acted": ("", "act_ref", ""),
}
"""Fields of a kind that are kept: thread or session, act, and the act that it answers."""
CODES = {"session_attended": "role", "moderation_acted": "action"}


class Unusable(Exception):
    """A record that the gateway did not write."""

    def __init__(self, reason: failed_event_pb2.FailureReason.ValueType, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class Told:
    """What some records of one partition tell."""

    groups: list[tuple[GroupKey, int]] = field(default_factory=list)
    """Each group once, and its data class."""
    events: Events = field(default_factory=lambda: np.zeros(0, EVENT))
    group: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """Place of each event's group in `groups`."""
    offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Of each event's record."""
    retractions: dict[int, list[Retraction]] = field(default_factory=lambda: defaultdict(list))
    """By the place of the group."""


class Reader:
    """Collects records of one partition until `take`."""

    def __init__(self) -> None:
        self._told = Told()
        self._place: dict[GroupKey, int] = {}
        self._rows: list[bytes] = []
        self._group: list[int] = []
        self._offsets: list[int] = []

    def read(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """Takes in one record. Raises Unusable; then none of it is used."""
        envelope = _envelope(key, value)
        retractions: list[tuple[int, Retraction]] = []
        rows, groups = [], []
        try:
            for accepted in envelope.events:
                event = accepted.event
                group = self._group_of(envelope, event.group_ref)
                kind = event.WhichOneof("kind") or ""
                if kind == "event_retracted":
                    taken_back = _hash(event.event_retracted.retracted_event_id.encode())
                    retractions.append((group, Retraction(taken_back, envelope.received_at.seconds)))
                else:
                    rows.append(_row(event, kind))
                    groups.append(group)
        except (ValueError, KeyError, struct.error) as error:
            raise _not_ours() from error
        for group, retraction in retractions:
            self._told.retractions[group].append(retraction)
        self._rows += rows
        self._group += groups
        self._offsets += [offset] * len(rows)

    def take(self) -> Told:
        """What has come since the last time."""
        told = self._told
        told.events = np.frombuffer(b"".join(self._rows), EVENT).copy()
        told.group, told.offsets = np.array(self._group, np.int32), np.array(self._offsets, np.int64)
        self.__init__()  # type: ignore[misc]
        return told

    def _group_of(self, envelope: ParticipationEventEnvelope, group_ref: str) -> int:
        key = GroupKey(envelope.tenant_id, group_ref)
        place = self._place.get(key)
        if place is None:
            _number(group_ref)
            place = self._place[key] = len(self._told.groups)
            self._told.groups.append((key, envelope.data_class))
        return place


def _envelope(key: bytes | None, value: bytes | None) -> ParticipationEventEnvelope:
    try:
        envelope = ParticipationEventEnvelope.FromString(value or b"")
    except DecodeError as error:
        detail = "not a ParticipationEventEnvelope"
        raise Unusable(failed_event_pb2.FAILURE_REASON_UNREADABLE, detail) from error
    if not value:
        raise Unusable(failed_event_pb2.FAILURE_REASON_UNREADABLE, "empty record")
    is_ours = (
        envelope.tenant_id.encode() == key != b""
        and "\0" not in envelope.tenant_id
        and envelope.data_class in DATA_CLASSES
        and envelope.HasField("received_at")
        and 1 <= len(envelope.events) <= MAX_ENVELOPE_EVENTS
    )
    if not is_ours:
        raise _not_ours()
    return envelope


def _not_ours() -> Unusable:
    return Unusable(failed_event_pb2.FAILURE_REASON_INVALID_ENVELOPE, "not as the gateway writes it")


def _row(event: Any, kind: str) -> bytes:
    """Raises ValueError or KeyError for an event that the gateway did not write."""
    if len(event.event_id) != 36 or not event.HasField("occurred_at"):
        raise ValueError
    thread = act = parent = ""
    content = None
    if kind in REFERENCES:
        names = REFERENCES[kind]
        content = getattr(event, kind)
        thread = getattr(content, names[0]) if names[0] else ""
        act = getattr(content, names[1]) if names[1] else ""
        parent = getattr(content, names[2]) if names[2] else ""
    return _pack(
        event.occurred_at.seconds,
        _hash(event.event_id.encode()),
        _number(event.participant_ref),
        _number(thread),
        _number(act),
        _number(parent),
        NUMBER_BY_KIND[kind],
        getattr(content, CODES[kind]) if kind in CODES else 0,
    )


def _number(pseudonym: str) -> int:
    """The first 64 bits of a pseudonym; NOBODY for none. Raises ValueError."""
    if not pseudonym:
        return NOBODY
    if len(pseudonym) != PSEUDONYM_CHARACTERS:
        raise ValueError
    return int(pseudonym[4:20], 16) or 1


def person_number(pseudonym: str) -> int:
    """As a person's pseudonym stands in a row. Raises ValueError."""
    return _number(pseudonym)


def read_all(records: Iterable[tuple[bytes | None, bytes | None, int]]) -> tuple[Told, list[Unusable]]:
    """Of records (key, value, offset) what can be used, and what of them cannot."""
    reader, unusable = Reader(), []
    for key, value, offset in records:
        try:
            reader.read(key, value, offset)
        except Unusable as error:
            unusable.append(error)
    return reader.take(), unusable
