"""Bytes to acts and retractions, and state and figures to bytes and back. Pure; where the bytes come from
and go is `worker`'s.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from circles.engagement.v1.engagement_bucket_pb2 import (
    BucketContent,
    CountedEvents,
    EngagementBucket,
    Retractions,
)
from circles.engagement.v1.group_engagement_pb2 import GroupEngagement
from circles.failures.v1 import failed_event_pb2
from circles.participation.v1.participation_event_envelope_pb2 import ParticipationEventEnvelope
from google.protobuf.message import DecodeError

from services.engagement.buckets import (
    NOBODY,
    Act,
    Bucket,
    BucketKey,
    Changes,
    Group,
    GroupKey,
    PartitionState,
    Retraction,
    WindowFigures,
    hash64,
)
from services.kafka.topics import MAX_ENVELOPE_EVENTS

DATA_CLASSES = (1, 2, 3)


class Unusable(Exception):
    """A record that the gateway did not write."""

    def __init__(self, reason: failed_event_pb2.FailureReason.ValueType, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class UnreadableState(Exception):
    """A record of the state topic that this version did not write."""


def acts(key: bytes | None, value: bytes | None) -> list[Act | Retraction]:
    """The acts and retractions of one record. Raises Unusable; then none of it is used."""
    try:
        envelope = ParticipationEventEnvelope.FromString(value or b"")
    except DecodeError as error:
        detail = "not a ParticipationEventEnvelope"
        raise Unusable(failed_event_pb2.FAILURE_REASON_UNREADABLE, detail) from error
    if not value:
        raise Unusable(failed_event_pb2.FAILURE_REASON_UNREADABLE, "empty record")
    events = [accepted.event for accepted in envelope.events]
    is_ours = (
        envelope.tenant_id.encode() == key != b""
        and envelope.data_class in DATA_CLASSES
        and envelope.HasField("received_at")
        and 1 <= len(events) <= MAX_ENVELOPE_EVENTS
        and all(_is_event(event) for event in events)
    )
    if not is_ours:
        raise Unusable(failed_event_pb2.FAILURE_REASON_INVALID_ENVELOPE, "not as the gateway writes it")
    return [_act_or_retraction(envelope, event) for event in events]


def _is_event(event: Any) -> bool:
    return (
        len(event.event_id) == 36 and event.HasField("occurred_at") and event.WhichOneof("kind") is not None
    )


def _act_or_retraction(envelope: ParticipationEventEnvelope, event: Any) -> Act | Retraction:
    kind = event.WhichOneof("kind")
    if kind == "event_retracted":
        return Retraction(
            tenant_id=envelope.tenant_id,
            data_class=envelope.data_class,
            group_id=event.group_ref,
            event=hash64(event.event_retracted.retracted_event_id),
            received_at_seconds=envelope.received_at.seconds,
        )
    participant = event.participant_ref
    return Act(
        tenant_id=envelope.tenant_id,
        data_class=envelope.data_class,
        group_id=event.group_ref,
        event=hash64(event.event_id),
        participant=hash64(participant) if participant else NOBODY,
        occurred_at_seconds=event.occurred_at.seconds,
        # protobuf makes a new string at every call; a kind is kept with every event.
        kind=sys.intern(kind),
    )


def state_records(
    state: PartitionState, changes: Changes, topic_id: str
) -> Iterator[tuple[bytes, bytes | None]]:
    """Keys and values for the state topic; None deletes."""
    for bucket_key in changes.buckets:
        yield _bucket_key(bucket_key), _bucket_value(state, bucket_key, topic_id)
    for bucket_key in changes.expired:
        yield _bucket_key(bucket_key), None
    for group_key in changes.retractions:
        group = state.groups[group_key]
        key = f"{group_key.tenant_id}\0{group_key.group_id}\0retractions".encode()
        yield key, _retractions_value(group, state.applied_offset, topic_id) if group.retracted else None


def parsed_state(value: bytes) -> EngagementBucket:
    """A value of the state topic. Raises UnreadableState."""
    try:
        message = EngagementBucket.FromString(value)
    except DecodeError as error:
        raise UnreadableState from error
    is_ours = message.WhichOneof("content") is not None and all(
        len(each.event_ids) == len(each.participants) for each in message.bucket.events
    )
    if not is_ours or len(message.retractions.event_ids) != len(message.retractions.received_at_seconds):
        raise UnreadableState
    return message


def restore(state: PartitionState, message: EngagementBucket) -> None:
    """Puts what a record of the state topic holds back into `state`."""
    if message.HasField("bucket"):
        key = BucketKey(message.tenant_id, message.group_id, message.bucket.started_at_seconds)
        state.restore(key, message.data_class, _bucket(message))
    else:
        taken_back = message.retractions
        retracted = dict(zip(taken_back.event_ids, taken_back.received_at_seconds, strict=True))
        group_key = GroupKey(message.tenant_id, message.group_id)
        state.restore_retractions(group_key, message.data_class, retracted)


def _bucket(message: EngagementBucket) -> Bucket:
    bucket = Bucket(restored_offset=message.applied_offset, applied_offset=message.applied_offset)
    for counted in message.bucket.events:
        kind = sys.intern(counted.kind)
        for event, participant in zip(counted.event_ids, counted.participants, strict=True):
            bucket.add(event, kind, participant)
    return bucket


def _bucket_key(key: BucketKey) -> bytes:
    return f"{key.tenant_id}\0{key.group_id}\0{key.started_at_seconds}".encode()


def _bucket_value(state: PartitionState, key: BucketKey, topic_id: str) -> bytes:
    bucket = state.bucket(key)
    by_kind: dict[str, CountedEvents] = defaultdict(CountedEvents)
    for event, (kind, participant) in bucket.events.items():
        by_kind[kind].event_ids.append(event)
        by_kind[kind].participants.append(participant)
    for kind, counted in by_kind.items():
        counted.kind = kind
    message = _state_of(state.groups[GroupKey(key.tenant_id, key.group_id)], bucket.applied_offset, topic_id)
    message.bucket.CopyFrom(BucketContent(started_at_seconds=key.started_at_seconds, events=by_kind.values()))
    return message.SerializeToString()


def _retractions_value(group: Group, applied_offset: int, topic_id: str) -> bytes:
    message = _state_of(group, applied_offset, topic_id)
    message.retractions.CopyFrom(
        Retractions(event_ids=group.retracted.keys(), received_at_seconds=group.retracted.values())
    )
    return message.SerializeToString()


def _state_of(group: Group, applied_offset: int, topic_id: str) -> EngagementBucket:
    return EngagementBucket(
        tenant_id=group.tenant_id,
        data_class=group.data_class,  # type: ignore[arg-type]
        group_id=group.group_id,
        applied_offset=applied_offset,
        topic_id=topic_id,
    )


def figures_key(figures: WindowFigures) -> bytes:
    return f"{figures.group.tenant_id}\0{figures.group.group_id}\0{figures.window_hours}".encode()


def figures_value(figures: WindowFigures, topic_id: str, partition: int, applied_offset: int) -> bytes:
    message = GroupEngagement(
        tenant_id=figures.group.tenant_id,
        data_class=figures.group.data_class,  # type: ignore[arg-type]
        group_id=figures.group.group_id,
        window_hours=figures.window_hours,
        count_by_kind=figures.count_by_kind,
        count_active_participants=figures.count_active_participants,
        count_replies=figures.count_by_kind["reply_posted"],
        count_attendances=figures.count_by_kind["session_attended"],
        topic_id=topic_id,
        kafka_partition=partition,
        applied_offset=applied_offset,
    )
    message.as_of.FromSeconds(figures.as_of_seconds)
    return message.SerializeToString(deterministic=True)
