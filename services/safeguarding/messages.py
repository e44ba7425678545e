"""Bytes to facts and back, and alerts to bytes: the record of the topic, the body of a webhook. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from circles.common.v1.common_pb2 import DataClass
from circles.participation.v1.participation_event_envelope_pb2 import ParticipationEventEnvelope
from circles.participation.v1.participation_event_pb2 import RiskAnswer, RiskKind
from circles.safeguarding.v1 import safeguarding_alert_pb2 as alert_pb2
from circles.safeguarding.v1.safeguarding_alert_pb2 import SafeguardingAlert
from circles.safeguarding.v1.safeguarding_fact_pb2 import SafeguardingFact
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from services.kafka.envelopes import not_ours, participation_envelope
from services.safeguarding.cases import (
    Alert,
    Answer,
    Arrival,
    CaseKey,
    Delivered,
    Fact,
    Issued,
    Level,
    Raise,
    Retractions,
)

OF_A_CASE = ("risk_raised", "risk_answered")
NAME = re.compile(r"[!-~]{1,200}")
"""What the gateway lets through as a reference is less; what PostgreSQL cannot hold is none."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UnreadableFact(Exception):
    """A record of the cases' topic that no worker wrote."""


class Place(NamedTuple):
    """Of a record of the input."""

    topic_id: str
    partition: int
    offset: int


class Record(NamedTuple):
    """A fact as it is kept: on `partition` of the cases' topic under `key`, which no other fact has."""

    partition: int
    key: bytes
    value: bytes
    fact: Fact


class Found(NamedTuple):
    """What a record of the input tells."""

    received_at_us: int
    records: list[Record]


def found(place: Place, key: bytes | None, value: bytes | None) -> Found:
    """Raises Unusable; then none of the record is used."""
    envelope = participation_envelope(key, value)
    records = _records(place, envelope)
    if not all(map(_is_complete, records)):
        raise not_ours()
    return Found(_us(envelope.received_at), records)


def _records(place: Place, envelope: ParticipationEventEnvelope) -> list[Record]:
    """One for each event of a case, and one for all that the envelope takes back."""
    # Most events are nothing to us; this line is all that they cost.
    kinds = [accepted.event.WhichOneof("kind") for accepted in envelope.events]
    records = [
        _case_record(place, envelope, index, envelope.events[index].event, kind)
        for index, kind in enumerate(kinds)
        if kind in OF_A_CASE
    ]
    taken_back = [
        envelope.events[index].event.event_retracted.retracted_event_id
        for index, kind in enumerate(kinds)
        if kind == "event_retracted"
    ]
    return [*records, _retraction_record(place, envelope, taken_back)] if taken_back else records


def _case_record(
    place: Place, envelope: ParticipationEventEnvelope, index: int, event: Any, kind: str
) -> Record:
    told = getattr(event, kind)
    message = _fact(place, envelope.tenant_id, envelope.data_class, told.case_ref, envelope.received_at)
    message.event_index = index
    if kind == "risk_raised":
        message.raised.event_id = event.event_id
        message.raised.group_id = event.group_ref
        message.raised.risk_kind = told.risk_kind
        message.raised.occurred_at.CopyFrom(event.occurred_at)
    else:
        message.answered.event_id = event.event_id
        message.answered.answer = told.answer
        message.answered.occurred_at.CopyFrom(event.occurred_at)
    where = (place.topic_id, str(place.partition), str(place.offset), str(index))
    return _record(message, "event", *where)


def _retraction_record(place: Place, envelope: ParticipationEventEnvelope, event_ids: list[str]) -> Record:
    message = _fact(place, envelope.tenant_id, envelope.data_class, "", envelope.received_at)
    message.retracted.event_ids.extend(event_ids)
    return _record(message, "retracted", place.topic_id, str(place.partition), str(place.offset))


def _is_complete(record: Record) -> bool:
    match record.fact:
        case Raise() as raised:
            names: Iterable[str] = (*raised.key, raised.event_id, raised.group_id)
        case Answer() as answered:
            names = (*answered.key, answered.event_id)
        case Retractions() as retractions:
            names = (retractions.tenant_id, *retractions.event_ids)
        case _:
            return False
    return all(map(NAME.fullmatch, names))


def done(place: Place, home_partition: int, data_class: int, fact: Issued | Delivered) -> Record:
    """What was done about an alert. `place`: up to where the input was applied."""
    key = fact.key
    message = _fact(place, key.tenant_id, data_class, key.case_ref, None)
    message.kafka_partition = home_partition
    if isinstance(fact, Issued):
        message.issued.alert_id = fact.alert_id
        message.issued.level = _level(fact.level)
        message.issued.issued_at.CopyFrom(timestamp(fact.issued_at_us))
        message.issued.targets.extend(fact.targets)
        return _record(message, "issued", fact.alert_id)
    message.delivered.alert_id = fact.alert_id
    message.delivered.target = fact.target
    message.delivered.delivered_at.CopyFrom(timestamp(fact.delivered_at_us))
    return _record(message, "delivered", fact.alert_id, fact.target)


def _fact(
    place: Place, tenant_id: str, data_class: int, case_ref: str, received_at: Timestamp | None
) -> SafeguardingFact:
    return SafeguardingFact(
        tenant_id=tenant_id,
        data_class=data_class,  # type: ignore[arg-type]
        case_ref=case_ref,
        topic_id=place.topic_id,
        kafka_partition=place.partition,
        applied_offset=place.offset,
        received_at=received_at,
    )


def _record(message: SafeguardingFact, *names: str) -> Record:
    key = "\0".join([message.tenant_id, message.case_ref, *names]).encode()
    return Record(message.kafka_partition, key, message.SerializeToString(), _fact_of(message))


def parsed_fact(value: bytes) -> tuple[str, Fact]:
    """Id of the input topic, and the fact, of a value of the cases' topic. Raises UnreadableFact."""
    try:
        message = SafeguardingFact.FromString(value)
        return message.topic_id, _fact_of(message)
    except (DecodeError, ValueError) as error:
        raise UnreadableFact from error


def _fact_of(message: SafeguardingFact) -> Fact:
    """Raises ValueError."""
    key = CaseKey(message.tenant_id, message.case_ref)
    arrival = Arrival(
        _us(message.received_at), message.kafka_partition, message.applied_offset, message.event_index
    )
    match message.WhichOneof("content"):
        case "raised":
            raised = message.raised
            return Raise(
                key, raised.event_id, arrival, message.data_class, raised.group_id,
                raised.risk_kind, _us(raised.occurred_at),
            )  # fmt: skip
        case "answered":
            answered = message.answered
            return Answer(
                key, answered.event_id, arrival, message.data_class, answered.answer,
                _us(answered.occurred_at),
            )  # fmt: skip
        case "retracted":
            event_ids = tuple(message.retracted.event_ids)
            return Retractions(message.tenant_id, message.data_class, event_ids, arrival)
        case "issued":
            issued = message.issued
            level = Level(_word(alert_pb2.AlertLevel.Name(issued.level), "ALERT_LEVEL"))
            return Issued(key, issued.alert_id, level, _us(issued.issued_at), tuple(issued.targets))
        case "delivered":
            delivered = message.delivered
            return Delivered(key, delivered.alert_id, delivered.target, _us(delivered.delivered_at))
    raise ValueError("a fact without content")


def alert_key(alert: Alert) -> bytes:
    return "\0".join([*alert.case.key, alert.level, alert.alert_id]).encode()


def alert_value(alert: Alert, issued_at_us: int, contact: str, revision: int) -> bytes:
    """The record of the alerts' topic."""
    case = alert.case
    message = SafeguardingAlert(
        alert_id=alert.alert_id,
        level=_level(alert.level),
        tenant_id=case.key.tenant_id,
        data_class=case.data_class,  # type: ignore[arg-type]
        case_ref=case.key.case_ref,
        group_id=case.group_id,
        risk_kind=case.risk_kind,  # type: ignore[arg-type]
        state=alert_pb2.CaseState.Value(f"CASE_STATE_{case.state.upper()}"),
        raised_at=timestamp(case.raised_at_us),
        opened_at=timestamp(case.opened_at_us),
        due_at=timestamp(case.due_at_us),
        answer=case.answer,  # type: ignore[arg-type]
        answered_at=_timestamp_or_none(case.answered_at_us),
        closed_at=_timestamp_or_none(case.closed_at_us),
        contact=contact if alert.level is Level.ESCALATED else "",
        issued_at=timestamp(issued_at_us),
        revision=revision,
        kafka_partition=case.home_partition,
    )
    return message.SerializeToString()


def alert_body(alert: Alert, issued_at_us: int, contact: str) -> bytes:
    """The body of a webhook: the same for the same alert, however often it is sent."""
    case = alert.case
    body: dict[str, Any] = {
        "alert_id": alert.alert_id,
        "level": alert.level,
        "tenant_id": case.key.tenant_id,
        "data_class": data_class_word(case.data_class),
        "case_ref": case.key.case_ref,
        "risk_kind": risk_kind_word(case.risk_kind),
        "state": case.state,
        "raised_at": _iso(case.raised_at_us),
        "opened_at": _iso(case.opened_at_us),
        "due_at": _iso(case.due_at_us),
        "answer": answer_word(case.answer),
        "answered_at": _iso(case.answered_at_us),
        "closed_at": _iso(case.closed_at_us),
        "issued_at": _iso(issued_at_us),
    }
    if alert.level is Level.ESCALATED:
        body["contact"] = contact
    return _json(body)


def heartbeat_key(partition: int) -> bytes:
    return f"heartbeat\0{partition}".encode()


def heartbeat_value(partition: int, issued_at_us: int) -> bytes:
    return SafeguardingAlert(
        level=alert_pb2.ALERT_LEVEL_HEARTBEAT,
        kafka_partition=partition,
        issued_at=timestamp(issued_at_us),
    ).SerializeToString()


def sign_of_life_body(level: str, alert_id: str, issued_at_us: int, partitions: Iterable[int] = ()) -> bytes:
    """The body of a heartbeat or of a test: nothing about anybody."""
    body = {
        "alert_id": alert_id,
        "level": level,
        "issued_at": _iso(issued_at_us),
        "partitions": sorted(partitions),
    }
    return _json(body)


def risk_kind_word(risk_kind: int) -> str:
    return _name(RiskKind, risk_kind, "RISK_KIND")


def answer_word(answer: int | None) -> str | None:
    return None if answer is None else _name(RiskAnswer, answer, "RISK_ANSWER")


def data_class_word(data_class: int) -> str:
    return _name(DataClass, data_class, "DATA_CLASS")


def moment(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def moment_or_none(us: int | None) -> datetime | None:
    return None if us is None else moment(us)


def timestamp(us: int) -> Timestamp:
    return Timestamp(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1000)


def _timestamp_or_none(us: int | None) -> Timestamp | None:
    return None if us is None else timestamp(us)


def _us(moment: Timestamp) -> int:
    return moment.seconds * 1_000_000 + moment.nanos // 1000


def _iso(us: int | None) -> str | None:
    return None if us is None else moment(us).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _level(level: Level) -> alert_pb2.AlertLevel.ValueType:
    return alert_pb2.AlertLevel.Value(f"ALERT_LEVEL_{level.upper()}")


def _name(enum: Any, value: int, prefix: str) -> str:
    """Of a code that this version does not know: its number."""
    return _word(enum.Name(value), prefix) if value in enum.values() else str(value)


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(f"{prefix}_").lower()
