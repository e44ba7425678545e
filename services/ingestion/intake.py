"""What becomes of each event of a batch: refused, known already, deferred, or into the outbox.

The usual events go by `wire`, all at once; what it doubts, and whatever something is to be said of, goes by
`_OneByOne`, where the steps of an event stand in order. Nothing here waits: a batch is taken in one go, and
is acknowledged when its round is.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from circles.common.v1.common_pb2 import (
    EVENT_STATUS_ACCEPTED,
    EVENT_STATUS_CONFLICT,
    EVENT_STATUS_DEFERRED,
    EVENT_STATUS_DUPLICATE,
    EVENT_STATUS_REFUSED,
    EventResult,
    EventStatus,
    FieldViolation,
)
from circles.failures.v1 import failed_event_pb2
from google.protobuf.message import DecodeError

from services.ingestion.compiled import admitters
from services.ingestion.doors import Door
from services.ingestion.envelopes import (
    Envelope,
    Marks,
    body_hash,
    entry_bytes,
    partition_of,
    signed,
)
from services.ingestion.errors import unreadable, wrong_size
from services.ingestion.instruments import answer_violations
from services.ingestion.kernels import INDEX
from services.ingestion.keys import Tenant
from services.ingestion.outbox import Outbox, Round
from services.ingestion.pseudonyms import THINGS, Pseudonymiser
from services.ingestion.recent import NO_EVENTS, Recent, event_row
from services.ingestion.rules import MAX_FUTURE_SECONDS, text_rule, violation, violations
from services.ingestion.wire import Reader, References, Written
from services.kafka.topics import topic
from services.runtime.instruments import is_known

LARGEST_PARSED = 4
"""Times the largest event: what is larger is refused unread, and its result has no event_id."""

FAILED_EVENTS = "failed-events"
ANSWER = "questionnaire_answered"
_WORDS = {number: name.removeprefix("EVENT_STATUS_").lower() for name, number in EventStatus.items()}
_is_uuid = text_rule("lower_uuid").holds


@dataclass
class Taken:
    """A batch that was taken. What is in `round` counts when that is acknowledged, and not before."""

    count_events: int
    sequence: int = 0
    """Of a stream's batch."""
    others: dict[int, EventResult] = field(default_factory=dict)
    """Results that say more than ACCEPTED, by index."""
    fresh: np.ndarray = field(default_factory=lambda: NO_EVENTS)
    """The events that go to Kafka now, as `recent` keeps them, in the order of their indexes."""
    round: Round | None = None
    """None when there is nothing to send."""
    taken_at: float = field(default_factory=time.perf_counter)

    def counts(self) -> Counter[str]:
        """Events by status, as `accepted`; without those that there are none of."""
        others = Counter(_WORDS[each.status] for each in self.others.values())
        others["accepted"] += self.count_events - len(self.others)
        return +others

    @property
    def count_acknowledged(self) -> int:
        stored_nowhere = (EVENT_STATUS_REFUSED, EVENT_STATUS_CONFLICT)
        return self.count_events - sum(each.status in stored_nowhere for each in self.others.values())


class Intake:
    """Takes the batches of all calls."""

    def __init__(
        self,
        pseudonymiser: Pseudonymiser,
        recent: Recent,
        outbox: Outbox,
        *,
        seal: Callable[[bytes], bytes],
        max_events: int,
        max_event_bytes: int,
    ) -> None:
        """`seal`: bytes under the operator's quarantine key."""
        self.pseudonymiser = pseudonymiser
        self.recent = recent
        self.outbox = outbox
        self.seal = seal
        self.max_events = max_events
        self.max_event_bytes = max_event_bytes
        self._readers: dict[str, Reader] = {}
        self._references: dict[str, References] = {}

    def take(self, door: Door, request_class: Any, tenant: Tenant, data: bytes) -> Taken:
        """Takes a request's bytes. Raises CallError when they are no request, or hold too few or too many."""
        reader, now = self._reader(door, request_class), time.time()
        found = reader.read(
            data,
            self._references_of(tenant.tenant_id),
            self.recent.known(tenant.tenant_id),
            int(now - door.late_after_seconds) + 1,
            int(now) + MAX_FUTURE_SECONDS,
        )
        if found is None:
            taken, singly = self._split(reader, request_class, data)
        else:
            taken, singly = Taken(found.count_events, found.sequence), found.doubtful()
        # All are parsed before any is taken: what cannot be parsed ends the call.
        events = [(index, self._parsed(door, request_class, octets)) for index, octets in singly]
        if found is not None and found.count_good:
            self._put(door, tenant, found.write(), taken)
        if events:
            _OneByOne(self, door, tenant, taken).add(events)
        return taken

    def _split(
        self, reader: Reader, request_class: Any, data: bytes
    ) -> tuple[Taken, list[tuple[int, bytes]]]:
        """A request of an unusual shape, to be taken singly. It is not parsed as a whole: two million empty
        events are 4 MiB, and several hundred when protobuf has made them into messages.
        """
        request = reader.split(data)
        if request is None:
            raise unreadable(request_class.DESCRIPTOR.full_name)
        sequence, count, events = request
        if not 1 <= count <= self.max_events:
            raise wrong_size(count, self.max_events)
        return Taken(count, sequence), list(enumerate(events))

    def _parsed(self, door: Door, request_class: Any, octets: bytes) -> Any | None:
        """An event; None when it is so large that it is not even looked at. Raises CallError."""
        if len(octets) > LARGEST_PARSED * self.max_event_bytes:
            return None
        try:
            return door.event.FromString(octets)
        except DecodeError as error:
            raise unreadable(request_class.DESCRIPTOR.full_name) from error

    def _put(self, door: Door, tenant: Tenant, written: Written, taken: Taken) -> None:
        """Into the filling round."""
        taken.fresh, taken.round = written.events, self.outbox.round()
        entries = taken.round.entries(door.topic, tenant)
        for partition, some in written.entries():
            entries.setdefault(partition, []).append(some)

    def _reader(self, door: Door, request_class: Any) -> Reader:
        name = request_class.DESCRIPTOR.full_name
        known = self._readers.get(name)
        if known is None:
            known = self._readers[name] = Reader(door.topic, request_class.DESCRIPTOR, self.max_events)
        return known

    def _references_of(self, tenant_id: str) -> References:
        known = self._references.get(tenant_id)
        if known is None:
            known = self._references[tenant_id] = References(tenant_id, self.pseudonymiser)
        return known


class _OneByOne:
    """Events of one call that are taken singly."""

    def __init__(self, intake: Intake, door: Door, tenant: Tenant, taken: Taken) -> None:
        self.taken = taken
        self._intake = intake
        self._topic = door.topic
        self._tenant = tenant
        names = intake.pseudonymiser.names(tenant.tenant_id)
        self._names = [names[kind] for kind in THINGS]
        self._admitters = admitters(door.topic.event, door.topic.partitioned_by[1])
        self._fresh: list[tuple[int, int, int, int]] = []
        now = time.time()
        self._latest = now + MAX_FUTURE_SECONDS
        self._late_before = now - door.late_after_seconds

    def add(self, events: Any) -> None:
        """`events`: index and event, as parsed; None for one that is too large."""
        for index, event in events:
            if event is None:
                most = self._intake.max_event_bytes
                self._say(index, "", EVENT_STATUS_REFUSED, violations=[_too_large("too many", most)])
                continue
            whole = _whole_of_newer(event)
            kind = event.WhichOneof("kind")
            admitted = self._admitters[kind](event, self._names, self._latest) if kind is not None else None
            if admitted is None:
                self._refuse(index, event, violations(event))
            else:
                self._admit(index, event, whole, *admitted[1:])
        if self._fresh:
            fresh = np.concatenate([self.taken.fresh, np.array(self._fresh, np.uint64)])
            self.taken.fresh = fresh[fresh[:, INDEX].argsort()]

    def _admit(self, index: int, event: Any, whole: Any | None, seconds: int, reference: str) -> None:
        """An event that keeps its rules, and has its pseudonyms."""
        body, sealed = event.SerializeToString(), b""
        identity = body_hash(body)
        if whole is not None:
            self._intake.pseudonymiser.replace(self._tenant.tenant_id, whole, whole.WhichOneof("kind"))
            octets = whole.SerializeToString(deterministic=True)
            identity, sealed = body_hash(octets), self._intake.seal(octets)
        most = self._intake.max_event_bytes
        if len(body) + len(sealed) > most:
            self._refuse(index, event, [_too_large(len(body) + len(sealed), most)])
            return
        marks = Marks(seconds < self._late_before, sealed)
        if self._is_known(index, event, identity) or self._set_aside(index, event, body, identity, marks):
            return
        partition = partition_of(self._topic, self._tenant.tenant_id, reference)
        entry = entry_bytes(self._topic.name, body, identity, marks)
        self._round().entries(self._topic, self._tenant).setdefault(partition, []).append((1, entry))
        self._fresh.append(event_row(index, event.event_id, identity))
        if marks.is_late:
            self._say(index, event.event_id, EVENT_STATUS_ACCEPTED, is_late=True)

    def _is_known(self, index: int, event: Any, identity: int) -> bool:
        known = self._intake.recent.body_hash(self._tenant.tenant_id, event.event_id)
        if known == identity:
            self._say(index, event.event_id, EVENT_STATUS_DUPLICATE)
        elif known is not None:
            words = "an id of its own: another body is known under this one"
            found = [violation("event_id", event.event_id, words)]
            self._say(index, event.event_id, EVENT_STATUS_CONFLICT, violations=found)
        return known is not None

    def _refuse(self, index: int, event: Any, found: Sequence[Any]) -> None:
        event_id = event.event_id if _is_uuid(event.event_id) else ""
        self._say(index, event_id, EVENT_STATUS_REFUSED, violations=found)

    def _say(self, index: int, event_id: str, status: Any, **more: Any) -> None:
        self.taken.others[index] = EventResult(index=index, event_id=event_id, status=status, **more)

    def _set_aside(self, index: int, event: Any, body: bytes, identity: int, marks: Marks) -> bool:
        """Whether a questionnaire's event is settled: refused for its answers, or deferred."""
        if event.WhichOneof("kind") != ANSWER:
            return False
        answer = event.questionnaire_answered
        if is_known(answer.instrument, answer.instrument_version):
            found = list(answer_violations(answer))
            if found:
                self._refuse(index, event, found)
            return bool(found)
        self._defer(event.event_id, body, identity, marks)
        self._fresh.append(event_row(index, event.event_id, identity))
        words = "an instrument that is known here; the event is kept and can be replayed"
        shown = f"{answer.instrument} version {answer.instrument_version}"
        found = [violation(f"{ANSWER}.instrument", shown, words)]
        self._say(index, event.event_id, EVENT_STATUS_DEFERRED, violations=found)
        return True

    def _defer(self, event_id: str, body: bytes, identity: int, marks: Marks) -> None:
        target, received_at = topic(FAILED_EVENTS), self._round().received_at
        failed = failed_event_pb2.FailedEvent(
            stage=failed_event_pb2.FAILURE_STAGE_INGESTION,
            reason=failed_event_pb2.FAILURE_REASON_DEFERRED,
            detail="the instrument is not known yet",
            topic=self._topic.name,
            failed_at=received_at,
            tenant_id=self._tenant.tenant_id,
            event_id=event_id,
            event_bytes=body,
            body_hash=signed(identity),
            data_class=self._tenant.data_class,
            received_at=received_at,
            is_late=marks.is_late,
            sealed_event=marks.sealed_event,
        )
        partition = partition_of(target, self._tenant.tenant_id, event_id)
        self._round().add_record(Envelope(target.name, partition, b"", failed.SerializeToString()))

    def _round(self) -> Round:
        if self.taken.round is None:
            self.taken.round = self._intake.outbox.round()
        return self.taken.round


def _whole_of_newer(event: Any) -> Any | None:
    """Takes fields that this version does not know out of `event`; returns it with them, if it had some."""
    size = event.ByteSize()
    whole = type(event)()
    whole.CopyFrom(event)
    event.DiscardUnknownFields()
    return whole if event.ByteSize() != size else None


def _too_large(size: object, most: int) -> FieldViolation:
    words = f"at most {most} bytes, pseudonyms and unknown fields included"
    return violation("event", f"{size} bytes", words)
