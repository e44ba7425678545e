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

from circles.common.v1.common_pb2 import (
    EVENT_STATUS_ACCEPTED,
    EVENT_STATUS_CONFLICT,
    EVENT_STATUS_DEFERRED,
    EVENT_STATUS_DUPLICATE,
    EVENT_STATUS_REFUSED,
    EventResult,
    EventStatus,
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
    events_tag,
    partition_of,
    signed,
)
from services.ingestion.errors import unreadable, wrong_size
from services.ingestion.instruments import answer_violations, is_known
from services.ingestion.keys import Tenant
from services.ingestion.outbox import Outbox, Round
from services.ingestion.pseudonyms import THINGS, Pseudonymiser
from services.ingestion.recent import Recent
from services.ingestion.rules import MAX_FUTURE_SECONDS, text_rule, violation, violations
from services.ingestion.wire import Found, Reader, References
from services.kafka.topics import topic

FAILED_EVENTS = "failed-events"
ANSWER = "questionnaire_answered"
_WORDS = {number: name.removeprefix("EVENT_STATUS_").lower() for name, number in EventStatus.items()}
_is_uuid = text_rule("lower_uuid").holds


@dataclass
class Taken:
    """A batch that was taken. What is in `round` counts when that is acknowledged, and not before."""

    event_ids: list[bytes]
    """As sent; empty where it was not a UUID."""
    sequence: int = 0
    """Of a stream's batch."""
    others: dict[int, EventResult] = field(default_factory=dict)
    """Results that say more than ACCEPTED, by index."""
    fresh: dict[bytes, int] = field(default_factory=dict)
    """Body hash of each event that goes to Kafka now, by event_id."""
    round: Round | None = None
    """None when there is nothing to send."""
    taken_at: float = field(default_factory=time.perf_counter)

    def counts(self) -> Counter[str]:
        """Events by status, as `accepted`; without those that there are none of."""
        others = Counter(_WORDS[each.status] for each in self.others.values())
        others["accepted"] += len(self.event_ids) - len(self.others)
        return +others

    @property
    def count_acknowledged(self) -> int:
        stored_nowhere = (EVENT_STATUS_REFUSED, EVENT_STATUS_CONFLICT)
        return len(self.event_ids) - sum(each.status in stored_nowhere for each in self.others.values())


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
        self._references: dict[tuple[str, str], References] = {}

    def take(self, door: Door, request_class: Any, tenant: Tenant, data: bytes) -> Taken:
        """Takes a request's bytes. Raises CallError when they are no request, or hold too few or too many."""
        now = time.time()
        found = self._reader(door, request_class).read(
            data,
            self.max_events,
            self._references_of(door, tenant),
            int(now - door.late_after_seconds) + 1,
            int(now) + MAX_FUTURE_SECONDS,
        )
        if found is None:
            request = _parsed(request_class, data)
            if not 1 <= len(request.events) <= self.max_events:
                raise wrong_size(len(request.events), self.max_events)
            taken = Taken([b""] * len(request.events), getattr(request, "sequence", 0))
            _OneByOne(self, door, tenant, taken).add(enumerate(request.events))
            return taken
        return self._take_found(door, request_class, tenant, found)

    def _take_found(self, door: Door, request_class: Any, tenant: Tenant, found: Found) -> Taken:
        taken = Taken([b""] * len(found.places), found.sequence)
        ids = self._usual_ids(tenant, found)
        doubtful = found.doubtful()
        event_class = door.event
        # All are parsed before any is taken: what cannot be parsed ends the call.
        events = [(i, _parsed(event_class, found.bytes_of(i), request_class)) for i in doubtful]
        if ids:
            self._put(door, tenant, found, ids, taken)
        if events:
            _OneByOne(self, door, tenant, taken).add(events)
        return taken

    def _usual_ids(self, tenant: Tenant, found: Found) -> list[bytes]:
        """Ids of the good events, without those that Kafka has had: of them something is to be said."""
        ids = found.event_ids()
        for known in self.recent.of(tenant.tenant_id):
            if not known.keys().isdisjoint(ids):
                good = found.is_good.nonzero()[0].tolist()
                for index, event_id in zip(good, ids, strict=True):
                    if event_id in known:
                        found.is_good[index] = 0
                ids = found.event_ids()
        return ids

    def _put(self, door: Door, tenant: Tenant, found: Found, ids: list[bytes], taken: Taken) -> None:
        """The good events of `found` into the filling round."""
        written = found.write(events_tag(door.topic.name), door.topic.partitions)
        taken.fresh = dict(zip(ids, written.hashes(), strict=True))
        taken.round = self.outbox.round()
        entries = taken.round.entries(door.topic, tenant)
        for partition, count, octets in written.entries():
            entries.setdefault(partition, []).append((count, octets))
        if len(ids) == len(taken.event_ids):
            taken.event_ids = ids
        else:
            for index, event_id in zip(found.is_good.nonzero()[0].tolist(), ids, strict=True):
                taken.event_ids[index] = event_id

    def _reader(self, door: Door, request_class: Any) -> Reader:
        name = request_class.DESCRIPTOR.full_name
        known = self._readers.get(name)
        if known is None:
            known = self._readers[name] = Reader(door.topic, request_class.DESCRIPTOR)
        return known

    def _references_of(self, door: Door, tenant: Tenant) -> References:
        key = (door.topic.name, tenant.tenant_id)
        known = self._references.get(key)
        if known is None:
            names = self.pseudonymiser.names(tenant.tenant_id)
            known = self._references[key] = References(door.topic, tenant.tenant_id, names)
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
        self._known = intake.recent.of(tenant.tenant_id)
        now = time.time()
        self._latest = now + MAX_FUTURE_SECONDS
        self._late_before = now - door.late_after_seconds

    def add(self, events: Any) -> None:
        """`events`: index and event, as parsed."""
        for index, event in events:
            whole = _whole_of_newer(event)
            kind = event.WhichOneof("kind")
            admitted = self._admitters[kind](event, self._names, self._latest) if kind is not None else None
            if admitted is None:
                self._refuse(index, event, violations(event))
            else:
                self._admit(index, event, whole, *admitted[1:])

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
            words = f"at most {most} bytes, pseudonyms and unknown fields included"
            self._refuse(index, event, [violation("event", f"{len(body) + len(sealed)} bytes", words)])
            return
        marks = Marks(seconds < self._late_before, sealed)
        if self._is_known(index, event, identity) or self._set_aside(index, event, body, identity, marks):
            return
        partition = partition_of(self._topic, self._tenant.tenant_id, reference)
        entry = entry_bytes(self._topic.name, body, identity, marks)
        self._round().entries(self._topic, self._tenant).setdefault(partition, []).append((1, entry))
        self.taken.event_ids[index] = event.event_id.encode()
        self.taken.fresh[event.event_id.encode()] = identity
        if marks.is_late:
            self._say(index, event.event_id, EVENT_STATUS_ACCEPTED, is_late=True)

    def _is_known(self, index: int, event: Any, identity: int) -> bool:
        newer, older = self._known
        key = event.event_id.encode()
        known = newer.get(key, older.get(key))
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
        self.taken.event_ids[index] = event_id.encode()
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


def _parsed(message_class: Any, data: bytes, request_class: Any | None = None) -> Any:
    """Raises CallError that names the request."""
    try:
        return message_class.FromString(data)
    except DecodeError as error:
        raise unreadable((request_class or message_class).DESCRIPTOR.full_name) from error
