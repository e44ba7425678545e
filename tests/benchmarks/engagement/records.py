"""The workload as Kafka records, kept in files: every worker reads the very same bytes.

A file is written once for a scale and a form, and again when what makes it has changed. Neither writing
nor reading holds more than one record and one envelope per tenant and partition in memory.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

from circles.common.v1 import common_pb2
from circles.participation.v1 import participation_event_pb2 as participation
from circles.participation.v1.participation_event_envelope_pb2 import ParticipationEventEnvelope
from google.protobuf.timestamp_pb2 import Timestamp

from services.ingestion.envelopes import body_hash, entry_bytes, envelopes, partition_of
from services.kafka.topics import topic
from tests.benchmarks.engagement import workload
from tests.benchmarks.engagement.workload import Event, Scale, events

FOLDER = Path(__file__).parent
CACHE = FOLDER / ".build" / "records"
TOPIC = topic("participation-events")
JSON = 0
"""In place of an envelope's size: one event a record, as JSON."""

_HEAD = struct.Struct("<HHHI")


class Record(NamedTuple):
    partition: int
    events: int
    """How many it carries."""
    key: bytes
    value: bytes


def record_files(scale: Scale, forms: Sequence[int]) -> dict[int, Path]:
    """A file for each size of envelope, or JSON, in `forms`; those that are missing are written."""
    paths = {form: CACHE / f"{_name(scale)}-{form or 'json'}.records" for form in forms}
    missing = {form: path for form, path in paths.items() if not path.exists()}
    if missing:
        _write(scale, missing)
    return paths


def read(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        while head := file.read(_HEAD.size):
            partition, count, key_size, value_size = _HEAD.unpack(head)
            yield Record(partition, count, file.read(key_size), file.read(value_size))


def up_to(records: Iterable[Record], count_events: int) -> Iterator[Record]:
    """The first records that hold so many events; the last of them may hold some more."""
    done = 0
    for record in records:
        if done >= count_events:
            return
        done += record.events
        yield record


def after(records: Iterable[Record], count_events: int) -> Iterator[Record]:
    """What `up_to` leaves."""
    done = 0
    for record in records:
        if done >= count_events:
            yield record
        done += record.events


def groups_of(records: Iterable[Record]) -> set[str]:
    """The groups that the envelopes tell of."""
    return {accepted.event.group_ref for record in records for accepted in opened(record).events}


def opened(record: Record) -> ParticipationEventEnvelope:
    return ParticipationEventEnvelope.FromString(record.value)


def _name(scale: Scale) -> str:
    """Says what is in the file, the code that made it included."""
    made_by = Path(workload.__file__).read_bytes() + Path(__file__).read_bytes() + repr(scale).encode()
    return f"{scale.name}-{hashlib.sha256(made_by).hexdigest()[:12]}"


def _write(scale: Scale, paths: dict[int, Path]) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    unfinished = {form: path.with_suffix(".unfinished") for form, path in paths.items()}
    with ExitStack() as opened_files:
        makers: list[tuple[_Packer | _JsonMaker, BinaryIO]] = [
            (_Packer(form) if form else _JsonMaker(), opened_files.enter_context(path.open("wb")))
            for form, path in unfinished.items()
        ]
        for event in events(scale):
            partition = partition_of(TOPIC, event.tenant, event.group)
            body = _message(event).SerializeToString()
            for maker, file in makers:
                _put(file, maker.take(event, partition, body))
        for maker, file in makers:
            _put(file, maker.rest())
    for form, path in unfinished.items():
        path.rename(paths[form])


def _put(file: BinaryIO, records: Iterable[Record]) -> None:
    for record in records:
        file.write(_HEAD.pack(record.partition, record.events, len(record.key), len(record.value)))
        file.write(record.key)
        file.write(record.value)


class _Packer:
    """Envelopes of `size` events of a tenant and partition, as the gateway writes them when groups mix."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: dict[tuple[str, int], list[bytes]] = {}
        self._received_at = Timestamp()

    def take(self, event: Event, partition: int, body: bytes) -> Iterator[Record]:
        waiting = self._waiting.setdefault((event.tenant, partition), [])
        waiting.append(entry_bytes(TOPIC.name, body, body_hash(body)))
        self._received_at.seconds = max(self._received_at.seconds, event.seconds)
        if len(waiting) == self._size:
            yield from self._envelope(event.tenant, partition)

    def rest(self) -> Iterator[Record]:
        for tenant, partition in list(self._waiting):
            yield from self._envelope(tenant, partition)

    def _envelope(self, tenant: str, partition: int) -> Iterator[Record]:
        entries = self._waiting.pop((tenant, partition))
        made = envelopes(
            TOPIC,
            tenant,
            common_pb2.DATA_CLASS_SYNTHETIC,
            self._received_at,
            {partition: [(len(entries), b"".join(entries))]},
        )
        for each in made:
            yield Record(each.partition, len(entries), each.key, each.value)


class _JsonMaker:
    """A record an event, under its group's name: what a stream processor with keyed state likes best."""

    def take(self, event: Event, partition: int, _: bytes) -> Iterator[Record]:
        facts = {name: value for name, value in event._asdict().items() if value != ""}
        facts["at_milliseconds"] = facts.pop("seconds") * 1000 + facts.pop("nanoseconds") // 10**6
        yield Record(partition, 1, event.group.encode(), json.dumps(facts, separators=(",", ":")).encode())

    def rest(self) -> Iterator[Record]:
        yield from ()


def _message(event: Event) -> participation.ParticipationEvent:
    message = participation.ParticipationEvent(
        event_id=event.event_id, group_ref=event.group, participant_ref=event.participant
    )
    message.occurred_at.seconds, message.occurred_at.nanos = event.seconds, event.nanoseconds
    _KINDS[event.kind](message, event)
    return message


def _read(message: participation.ParticipationEvent, event: Event) -> None:
    message.thread_read.thread_ref = event.place


def _reply(message: participation.ParticipationEvent, event: Event) -> None:
    message.reply_posted.thread_ref = event.place
    message.reply_posted.act_ref = event.act
    message.reply_posted.in_reply_to_act_ref = event.in_reply_to


def _reaction(message: participation.ParticipationEvent, event: Event) -> None:
    message.reaction_given.act_ref = event.act
    message.reaction_given.reaction = participation.REACTION_SUPPORT


def _attendance(message: participation.ParticipationEvent, event: Event) -> None:
    message.session_attended.session_ref = event.place
    message.session_attended.role = participation.ATTENDANCE_ROLE_MEMBER
    message.session_attended.minutes = 50


def _joined(message: participation.ParticipationEvent, _: Event) -> None:
    message.member_joined.SetInParent()


def _thread(message: participation.ParticipationEvent, event: Event) -> None:
    message.thread_started.thread_ref = event.place
    message.thread_started.act_ref = event.act


def _moderation(message: participation.ParticipationEvent, event: Event) -> None:
    message.moderation_acted.action = participation.MODERATION_ACTION_REPLY
    message.moderation_acted.act_ref = event.act


def _session(message: participation.ParticipationEvent, event: Event) -> None:
    message.session_held.session_ref = event.place
    message.session_held.minutes = 60


_KINDS = {
    "thread_read": _read,
    "reply_posted": _reply,
    "reaction_given": _reaction,
    "session_attended": _attendance,
    "member_joined": _joined,
    "thread_started": _thread,
    "moderation_acted": _moderation,
    "session_held": _session,
}
