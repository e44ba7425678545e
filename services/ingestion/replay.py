"""Deferred events onto their topics after all: what is in raw.failed_events and can be used now, as it came.

Which events are deferred is decided by `intake`; what an operator sees of a replay is the command's. To
repeat a replay is harmless: an event keeps its identity, and what is in raw already is left out.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import duckdb
from circles.common.v1.common_pb2 import DataClass
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from services.ingestion.envelopes import Envelope, partition_of
from services.ingestion.instruments import answer_violations
from services.ingestion.intake import ANSWER
from services.kafka.client import producer
from services.kafka.topics import Topic, event_topics
from services.runtime.instruments import is_known
from services.runtime.settings import KafkaSettings

REASON = "deferred"

NOT_REPLAYED = {
    "unreadable": "its bytes are no event; they stay encrypted on failed-events for 7 days, to be looked at",
    "invalid_envelope": "somebody else than the gateway wrote it; events come in through the gateway only",
    "conflict": "the first body under an event_id is the event; a partner posts a correction under a new id",
}
"""Why failed events of the other reasons are not replayed."""

IS_WHOLE = (
    "tenant_id IS NOT NULL AND received_at IS NOT NULL AND data_class IN ('live', 'public', 'synthetic')"
)
"""What else is there did not come from our gateway; admission blocks and tells of it."""

READ_ROWS = 1000
UNACKNOWLEDGED = 500
ACKNOWLEDGE_SECONDS = 60


class Selection(NamedTuple):
    """Which deferred events: of one tenant, received from `since` on and before `until`. None: all."""

    tenant_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Deferred(NamedTuple):
    """An event as the gateway deferred it. `event` is None when its bytes cannot be read."""

    topic: Topic
    event: Any | None
    tenant_id: str
    data_class: str
    received_at: datetime
    body_hash: int
    is_late: bool
    sealed_event: bytes


class Fate(NamedTuple):
    """What becomes of deferred events of one kind."""

    tenant_id: str
    instrument: str
    version: str
    why_it_stays: str
    """Empty: it is replayed."""


Send = Callable[[Envelope], Any]
"""Hands a record to Kafka; the future that it returns ends when all replicas have the record."""


def deferred_events(lake: duckdb.DuckDBPyConnection, selection: Selection) -> Iterator[Deferred]:
    """Each deferred event once, without those that are in raw of their domain.

    `lake` is for nothing else meanwhile.
    """
    for topic in event_topics():
        statement, values = _statement(topic, selection)
        found = lake.execute(statement, values)
        while rows := found.fetchmany(READ_ROWS):
            for event_bytes, *others in rows:
                yield Deferred(topic, _parsed(topic, event_bytes), *others)


def replay(
    events: Iterable[Deferred], send: Send | None, on_progress: Callable[[], None] = lambda: None
) -> Counter[Fate]:
    """Sends what can be used now, or with `send` None only counts. Returns when Kafka has all of it.

    Raises KafkaError when it has not; what was sent till then counts all the same.
    """
    fates: Counter[Fate] = Counter()
    unacknowledged: deque[Any] = deque()
    for each in events:
        fate = fate_of(each)
        fates[fate] += 1
        if send is not None and not fate.why_it_stays:
            unacknowledged.append(send(envelope_of(each)))
        if len(unacknowledged) > UNACKNOWLEDGED:
            unacknowledged.popleft().get(timeout=ACKNOWLEDGE_SECONDS)
        on_progress()
    for future in unacknowledged:
        future.get(timeout=ACKNOWLEDGE_SECONDS)
    return fates


@contextmanager
def sending(settings: KafkaSettings) -> Iterator[Send]:
    """Sends to Kafka while the block runs. Raises KafkaUnavailable."""
    with closing(producer(settings, linger_ms=10)) as sink:
        yield lambda each: sink.send(each.topic, each.value, key=each.key, partition=each.partition)


def fate_of(deferred: Deferred) -> Fate:
    """By what this deployment knows of instruments now."""
    event = deferred.event
    if event is None:
        return Fate(deferred.tenant_id, "", "", "its bytes cannot be read")
    if event.WhichOneof("kind") != ANSWER:
        return Fate(deferred.tenant_id, "", "", "")
    answer = event.questionnaire_answered
    why = ""
    if not is_known(answer.instrument, answer.instrument_version):
        why = "its instrument is still unknown"
    elif any(answer_violations(answer)):
        why = "it breaks the rules of its instrument"
    return Fate(deferred.tenant_id, answer.instrument, answer.instrument_version, why)


def envelope_of(deferred: Deferred) -> Envelope:
    """The event in an envelope of its own, as the gateway would have written it when it came."""
    topic, event = deferred.topic, deferred.event
    envelope: Any = topic.message_class()
    envelope.tenant_id = deferred.tenant_id
    envelope.data_class = DataClass.Value(f"DATA_CLASS_{deferred.data_class.upper()}")
    envelope.received_at.FromDatetime(deferred.received_at.astimezone(UTC))
    envelope.events.add(
        body_hash=deferred.body_hash,
        event=event,
        is_late=deferred.is_late,
        sealed_event=deferred.sealed_event,
    )
    reference = getattr(event, topic.partitioned_by[1])
    partition = partition_of(topic, deferred.tenant_id, reference)
    return Envelope(topic.name, partition, deferred.tenant_id.encode(), envelope.SerializeToString())


def _statement(topic: Topic, selection: Selection) -> tuple[str, list[Any]]:
    conditions = {
        "tenant_id = ?": selection.tenant_id,
        "received_at >= ?": selection.since,
        "received_at < ?": selection.until,
    }
    chosen = {condition: value for condition, value in conditions.items() if value is not None}
    statement = f"""
        SELECT coalesce(event_bytes, ''), tenant_id, data_class, received_at, body_hash,
          coalesce(is_late, false), coalesce(sealed_event, '')
        FROM raw.failed_events AS deferred
        ANTI JOIN raw.{topic.raw_table} AS landed USING (tenant_id, event_id, body_hash)
        WHERE {" AND ".join(["stage = 'ingestion'", "reason = ?", "topic = ?", IS_WHOLE, *chosen])}
        QUALIFY row_number() OVER (PARTITION BY tenant_id, event_id, body_hash ORDER BY landed_seq) = 1
        ORDER BY tenant_id, received_at
        """  # noqa: S608  # names come from the registry, values are bound
    return statement, [REASON, topic.name, *chosen.values()]


def _parsed(topic: Topic, event_bytes: bytes) -> Any | None:
    try:
        event: Any = GetMessageClass(topic.event).FromString(event_bytes)
    except DecodeError:
        return None
    return event if event.WhichOneof("kind") is not None else None
