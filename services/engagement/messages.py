"""Bytes to acts, and state and figures to bytes. Pure; where the bytes come from and go is `worker`'s."""

from __future__ import annotations

from collections import Counter
from typing import Any

from circles.engagement.v1.engagement_bucket_pb2 import EngagementBucket
from circles.engagement.v1.group_engagement_pb2 import GroupEngagement
from circles.failures.v1 import failed_event_pb2
from circles.participation.v1.participation_event_envelope_pb2 import ParticipationEventEnvelope
from google.protobuf.message import DecodeError

from services.engagement.buckets import Act, Bucket, BucketKey, PartitionState, WindowFigures, hash64
from services.kafka.topics import MAX_ENVELOPE_EVENTS

DATA_CLASSES = (1, 2, 3)


class Unusable(Exception):
    """A record that the gateway did not write."""

    def __init__(self, reason: failed_event_pb2.FailureReason.ValueType, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def acts(key: bytes | None, value: bytes | None) -> list[Act]:
    """The acts of one record. Raises Unusable; then none of it is used."""
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
    return [_act(envelope.tenant_id, envelope.data_class, event) for event in events]


def _is_event(event: Any) -> bool:
    return (
        len(event.event_id) == 36 and event.HasField("occurred_at") and event.WhichOneof("kind") is not None
    )


def _act(tenant_id: str, data_class: int, event: Any) -> Act:
    participant = event.participant_ref
    return Act(
        tenant_id=tenant_id,
        data_class=data_class,
        group_id=event.group_ref,
        event=hash64(event.event_id),
        participant=hash64(participant) if participant else None,
        occurred_at_seconds=event.occurred_at.seconds,
        kind=event.WhichOneof("kind"),
    )


def bucket_key(key: BucketKey) -> bytes:
    return f"{key.tenant_id}\0{key.group_id}\0{key.started_at_seconds}".encode()


def bucket_value(state: PartitionState, key: BucketKey, topic_id: str) -> bytes:
    bucket = state.bucket(key)
    group = state.groups[key.tenant_id, key.group_id]
    return EngagementBucket(
        tenant_id=key.tenant_id,
        data_class=group.data_class,  # type: ignore[arg-type]
        group_id=key.group_id,
        started_at_seconds=key.started_at_seconds,
        applied_offset=bucket.applied_offset,
        topic_id=topic_id,
        count_by_kind=bucket.count_by_kind,
        participants=bucket.participants,
        event_ids=bucket.events,
    ).SerializeToString()


def restored(value: bytes) -> tuple[BucketKey, EngagementBucket, Bucket]:
    """A bucket as it was written. Raises DecodeError."""
    message = EngagementBucket.FromString(value)
    bucket = Bucket(
        restored_offset=message.applied_offset,
        applied_offset=message.applied_offset,
        count_by_kind=Counter(dict(message.count_by_kind)),
        participants=set(message.participants),
        events=set(message.event_ids),
    )
    return BucketKey(message.tenant_id, message.group_id, message.started_at_seconds), message, bucket


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
