"""What becomes of each event of a batch: refused, known already, deferred, or into the outbox.

The steps of an event stand here in order; each step's rules are in the module that it names. Nothing
here waits: a batch is taken in one go, and is acknowledged when its round is.
"""

from __future__ import annotations

import time
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
)
from circles.failures.v1 import failed_event_pb2

from services.ingestion.compiled import Admit, admitters
from services.ingestion.doors import Door
from services.ingestion.envelopes import Entry, Envelope, body_hash, entry_bytes, partition_of
from services.ingestion.instruments import answer_violations, is_known
from services.ingestion.keys import Tenant
from services.ingestion.outbox import Outbox, Round
from services.ingestion.pseudonyms import Names, Pseudonymiser
from services.ingestion.recent import Recent
from services.ingestion.rules import MAX_FUTURE_SECONDS, text_rule, violation, violations
from services.kafka.topics import Topic, topic

FAILED_EVENTS = "failed-events"
ANSWER = "questionnaire_answered"


@dataclass
class Taken:
    """A batch that was taken. What is in `round` counts when that is acknowledged, and not before."""

    event_ids: list[str] = field(default_factory=list)
    """As sent; empty where it was not a UUID."""
    others: dict[int, EventResult] = field(default_factory=dict)
    """Results that say more than ACCEPTED, by index."""
    fresh: dict[tuple[str, str], int] = field(default_factory=dict)
    """Body hash of each event that goes to Kafka now, by (tenant_id, event_id)."""
    round: Round | None = None
    """None when there is nothing to send."""
    taken_at: float = field(default_factory=time.perf_counter)

    def count_of(self, status: int) -> int:
        if status == EVENT_STATUS_ACCEPTED:
            return len(self.event_ids) - sum(each.status != status for each in self.others.values())
        return sum(each.status == status for each in self.others.values())

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
        taken = batch.taken
        for i, event in enumerate(events):
            batch.add(i, event, unknown.get(i))
        return taken


class _Batch:
    """One call's batch while it is taken."""

    def __init__(self, intake: Intake, door: Door, tenant: Tenant) -> None:
        self.taken = Taken()
        self._intake = intake
        self._topic = door.topic
        self._tenant = tenant
        self._names = intake.pseudonymiser.names(tenant.tenant_id)
        self._admitters = admitters(door.topic.event, door.topic.partitioned_by[1])
        self._partitions = _partitions(door.topic.name, tenant.tenant_id)
        now = time.time()
        self._latest = now + MAX_FUTURE_SECONDS
        self._late_before = now - late_after_seconds(door.topic)

    def add(self, index: int, event: Any, unknown: Any | None) -> None:
        kind = event.WhichOneof("kind")
        admitted = _admit(self._admitters, kind, event, self._names, self._latest)
        if admitted is None:
            self._refuse(index, event, violations(event))
            return
        event_id, seconds, reference = admitted
        entry = self._entry(event, kind, unknown, seconds < self._late_before)
        if len(entry.body) > self._intake.max_event_bytes:
            words = f"at most {self._intake.max_event_bytes} bytes"
            self._refuse(index, event, [violation("event", f"{len(entry.body)} bytes", words)])
            return
        if kind == ANSWER and self._set_aside(index, event, entry):
            return
        if not self._is_known(index, event_id, entry):
            self._put(entry, reference)
            self.taken.event_ids.append(event_id)
            if entry.is_late:
                result = EventResult(
                    index=index, event_id=event_id, status=EVENT_STATUS_ACCEPTED, is_late=True
                )
                self.taken.others[index] = result

    def _entry(self, event: Any, kind: str, unknown: Any | None, is_late: bool) -> Entry:
        body = event.SerializeToString()
        if unknown is None:
            return Entry(body, body_hash(body), is_late)
        self._intake.pseudonymiser.replace(self._tenant.tenant_id, unknown, kind)
        whole = unknown.SerializeToString(deterministic=True)
        return Entry(body, body_hash(whole), is_late, self._intake.seal(whole))

    def _is_known(self, index: int, event_id: str, entry: Entry) -> bool:
        key = (self._tenant.tenant_id, event_id)
        known = self._intake.recent.body_hash(key)
        if known is None:
            self.taken.fresh[key] = entry.body_hash
            return False
        if known == entry.body_hash:
            result = EventResult(index=index, event_id=event_id, status=EVENT_STATUS_DUPLICATE)
        else:
            words = "an id of its own: another body is known under this one"
            found = [violation("event_id", event_id, words)]
            result = EventResult(
                index=index, event_id=event_id, status=EVENT_STATUS_CONFLICT, violations=found
            )
        self._settle(index, event_id, result)
        return True

    def _put(self, entry: Entry, reference: str) -> None:
        entries = self._round().entries(self._topic, self._tenant)
        entries.setdefault(self._partitions[reference], []).append(entry_bytes(self._topic, entry))

    def _refuse(self, index: int, event: Any, found: Sequence[Any]) -> None:
        event_id = event.event_id if _is_uuid(event.event_id) else ""
        result = EventResult(index=index, event_id=event_id, status=EVENT_STATUS_REFUSED, violations=found)
        self._settle(index, event_id, result)

    def _settle(self, index: int, event_id: str, result: EventResult) -> None:
        self.taken.event_ids.append(event_id)
        self.taken.others[index] = result

    def _set_aside(self, index: int, event: Any, entry: Entry) -> bool:
        """Whether a questionnaire's event is settled: refused for its answers, or deferred."""
        answer = event.questionnaire_answered
        if is_known(answer.instrument, answer.instrument_version):
            found = list(answer_violations(answer))
            if found:
                self._refuse(index, event, found)
            return bool(found)
        self._round().add_record(self._deferral(event, entry))
        words = "an instrument that is known here; the event is kept and can be replayed"
        shown = f"{answer.instrument} version {answer.instrument_version}"
        result = EventResult(index=index, event_id=event.event_id, status=EVENT_STATUS_DEFERRED)
        result.violations.append(violation(f"{ANSWER}.instrument", shown, words))
        self._settle(index, event.event_id, result)
        return True

    def _deferral(self, event: Any, entry: Entry) -> Envelope:
        target = topic(FAILED_EVENTS)
        failed = failed_event_pb2.FailedEvent(
            stage=failed_event_pb2.FAILURE_STAGE_INGESTION,
            reason=failed_event_pb2.FAILURE_REASON_DEFERRED,
            detail="the instrument is not known yet",
            topic=self._topic.name,
            failed_at=self._round().received_at,
            tenant_id=self._tenant.tenant_id,
            event_id=event.event_id,
            event_bytes=entry.body,
            body_hash=entry.body_hash - (1 << 64 if entry.body_hash >> 63 else 0),
            data_class=self._tenant.data_class,
            received_at=self._round().received_at,
            is_late=entry.is_late,
            sealed_event=entry.sealed_event,
        )
        partition = partition_of(target, self._tenant.tenant_id, event.event_id)
        return Envelope(target.name, partition, b"", failed.SerializeToString())

    def _round(self) -> Round:
        if self.taken.round is None:
            self.taken.round = self._intake.outbox.round()
        return self.taken.round


def late_after_seconds(topic: Topic) -> float:
    """How long the topic keeps its records: who would rebuild from Kafka finds older events alone."""
    return int(topic.config["retention.ms"]) / 1000


_is_uuid = text_rule("lower_uuid").holds


def _admit(
    known: Mapping[str, Admit], kind: str | None, event: Any, names: Mapping[str, Names], latest: float
) -> tuple[str, int, str] | None:
    return known[kind](event, names, latest) if kind is not None else None


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
