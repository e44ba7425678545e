"""What becomes of each event of a batch: refused, known already, deferred, or into the outbox.

The steps of an event stand here in order; each step's rules are in the module that it names. Nothing
here waits: a batch is taken in one go, and is acknowledged when its round is.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
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

from services.ingestion.compiled import NAMES, admitters
from services.ingestion.doors import Door
from services.ingestion.envelopes import Envelope, Marks, body_hash, entry_bytes, partition_of, signed
from services.ingestion.instruments import answer_violations, is_known
from services.ingestion.keys import Tenant
from services.ingestion.outbox import Outbox, Round
from services.ingestion.pseudonyms import Pseudonymiser
from services.ingestion.recent import Recent
from services.ingestion.rules import MAX_FUTURE_SECONDS, text_rule, violation, violations
from services.kafka.topics import Topic, topic

FAILED_EVENTS = "failed-events"
ANSWER = "questionnaire_answered"
_WORDS = {number: name.removeprefix("EVENT_STATUS_").lower() for name, number in EventStatus.items()}


@dataclass
class Taken:
    """A batch that was taken. What is in `round` counts when that is acknowledged, and not before."""

    event_ids: list[str] = field(default_factory=list)
    """As sent; empty where it was not a UUID."""
    others: dict[int, EventResult] = field(default_factory=dict)
    """Results that say more than ACCEPTED, by index."""
    fresh: dict[str, int] = field(default_factory=dict)
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


@dataclass(frozen=True)
class Intake:
    """Takes the batches of all calls."""

    pseudonymiser: Pseudonymiser
    recent: Recent
    outbox: Outbox
    seal: Callable[[bytes], bytes]
    """Bytes under the operator's quarantine key."""
    max_event_bytes: int

    def take(self, door: Door, tenant: Tenant, events: Sequence[Any], unknown: Mapping[int, Any]) -> Taken:
        """`unknown`: by index, events with their fields that this version does not know."""
        batch = _Batch(self, door, tenant)
        batch.add_all(events, unknown)
        return batch.taken


class _Batch:
    """One call's batch while it is taken. `add_all` is the hot path of the gateway: it is written flat."""

    def __init__(self, intake: Intake, door: Door, tenant: Tenant) -> None:
        self.taken = Taken()
        self._intake = intake
        self._topic = door.topic
        self._tenant = tenant
        names = intake.pseudonymiser.names(tenant.tenant_id)
        self._names = [names[kind] for kind in NAMES]
        self._admitters = admitters(door.topic.event, door.topic.partitioned_by[1])
        self._partitions = _partitions(door.topic.name, tenant.tenant_id)
        self._known = intake.recent.of(tenant.tenant_id)

    def add_all(self, events: Sequence[Any], unknown: Mapping[int, Any]) -> None:
        taken, fresh = self.taken, self.taken.fresh
        admitters, names, partitions = self._admitters, self._names, self._partitions
        newer, older = self._known
        topic_name = self._topic.name
        now = time.time()
        latest, late_before = now + MAX_FUTURE_SECONDS, now - late_after_seconds(self._topic)
        max_bytes = self._intake.max_event_bytes
        entries: dict[int, list[bytes]] | None = None
        for index, event in enumerate(events):
            kind = event.WhichOneof("kind")
            admitted = admitters[kind](event, names, latest) if kind is not None else None
            if admitted is None:
                self._refuse(index, event, violations(event))
                continue
            event_id, seconds, reference = admitted
            body = event.SerializeToString()
            identity, is_late = body_hash(body), seconds < late_before
            is_known = event_id in newer or event_id in older
            if is_known or is_late or kind == ANSWER or len(body) > max_bytes or index in unknown:
                self._add_unusual(index, event, unknown.get(index), is_late, reference)
                continue
            if entries is None:
                entries = self._entries()
            entries.setdefault(partitions[reference], []).append(entry_bytes(topic_name, body, identity))
            fresh[event_id] = identity
            taken.event_ids.append(event_id)

    def _add_unusual(
        self, index: int, event: Any, unknown: Any | None, is_late: bool, reference: str
    ) -> None:
        """An event with something to be said of it. It keeps its rules, and its references are replaced."""
        kind, body = event.WhichOneof("kind"), event.SerializeToString()
        sealed = b""
        identity = body_hash(body)
        if unknown is not None:
            self._intake.pseudonymiser.replace(self._tenant.tenant_id, unknown, kind)
            whole = unknown.SerializeToString(deterministic=True)
            identity, sealed = body_hash(whole), self._intake.seal(whole)
        most = self._intake.max_event_bytes
        if len(body) + len(sealed) > most:
            words = f"at most {most} bytes, pseudonyms and unknown fields included"
            self._refuse(index, event, [violation("event", f"{len(body) + len(sealed)} bytes", words)])
        elif not self._is_known(index, event.event_id, identity):
            marks = Marks(is_late, sealed)
            if kind == ANSWER and self._set_aside(index, event, body, identity, marks):
                return
            entry = entry_bytes(self._topic.name, body, identity, marks)
            self._entries().setdefault(self._partitions[reference], []).append(entry)
            self.taken.fresh[event.event_id] = identity
            self.taken.event_ids.append(event.event_id)
            if is_late:
                self._say(index, event.event_id, EVENT_STATUS_ACCEPTED, is_late=True)

    def _is_known(self, index: int, event_id: str, identity: int) -> bool:
        newer, older = self._known
        known = newer.get(event_id, older.get(event_id))
        if known is None:
            return False
        self.taken.event_ids.append(event_id)
        if known == identity:
            self._say(index, event_id, EVENT_STATUS_DUPLICATE)
        else:
            words = "an id of its own: another body is known under this one"
            found = [violation("event_id", event_id, words)]
            self._say(index, event_id, EVENT_STATUS_CONFLICT, violations=found)
        return True

    def _refuse(self, index: int, event: Any, found: Sequence[Any]) -> None:
        event_id = event.event_id if _is_uuid(event.event_id) else ""
        self.taken.event_ids.append(event_id)
        self._say(index, event_id, EVENT_STATUS_REFUSED, violations=found)

    def _say(self, index: int, event_id: str, status: Any, **more: Any) -> None:
        self.taken.others[index] = EventResult(index=index, event_id=event_id, status=status, **more)

    def _set_aside(self, index: int, event: Any, body: bytes, identity: int, marks: Marks) -> bool:
        """Whether a questionnaire's event is settled: refused for its answers, or deferred."""
        answer = event.questionnaire_answered
        if is_known(answer.instrument, answer.instrument_version):
            found = list(answer_violations(answer))
            if found:
                self._refuse(index, event, found)
            return bool(found)
        self._defer(event.event_id, body, identity, marks)
        words = "an instrument that is known here; the event is kept and can be replayed"
        shown = f"{answer.instrument} version {answer.instrument_version}"
        self.taken.event_ids.append(event.event_id)
        found = [violation(f"{ANSWER}.instrument", shown, words)]
        self._say(index, event.event_id, EVENT_STATUS_DEFERRED, violations=found)
        return True

    def _defer(self, event_id: str, body: bytes, identity: int, marks: Marks) -> None:
        target, received_at = topic(FAILED_EVENTS), self._filling().received_at
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
        self._filling().add_record(Envelope(target.name, partition, b"", failed.SerializeToString()))

    def _entries(self) -> dict[int, list[bytes]]:
        return self._filling().entries(self._topic, self._tenant)

    def _filling(self) -> Round:
        if self.taken.round is None:
            self.taken.round = self._intake.outbox.round()
        return self.taken.round


def late_after_seconds(topic: Topic) -> float:
    """How long the topic keeps its records: who would rebuild from Kafka finds older events alone."""
    return int(topic.config["retention.ms"]) / 1000


_is_uuid = text_rule("lower_uuid").holds


class _Partitions(dict[str, int]):
    """Partition by pseudonym."""

    MAX_REMEMBERED = 50_000

    def __init__(self, topic_name: str, tenant_id: str) -> None:
        super().__init__()
        self._topic = topic(topic_name)
        self._tenant_id = tenant_id

    def __missing__(self, reference: str) -> int:
        if len(self) >= self.MAX_REMEMBERED:
            self.clear()
        self[reference] = found = partition_of(self._topic, self._tenant_id, reference)
        return found


@cache
def _partitions(topic_name: str, tenant_id: str) -> _Partitions:
    return _Partitions(topic_name, tenant_id)
