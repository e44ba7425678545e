"""An envelope of participation events, as the workers read it: the gateway's, or of no use.

What a worker makes of the events is its own business; landing, which reads every topic, has its own way.
"""

from __future__ import annotations

from circles.failures.v1 import failed_event_pb2
from circles.participation.v1.participation_event_envelope_pb2 import ParticipationEventEnvelope
from google.protobuf.message import DecodeError

from services.kafka.topics import MAX_ENVELOPE_EVENTS

DATA_CLASSES = (1, 2, 3)


class Unusable(Exception):
    """A record that the gateway did not write."""

    def __init__(self, reason: failed_event_pb2.FailureReason.ValueType, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def participation_envelope(key: bytes | None, value: bytes | None) -> ParticipationEventEnvelope:
    """A record's envelope, whose events may still be nonsense. Raises Unusable."""
    try:
        envelope = ParticipationEventEnvelope.FromString(value or b"")
    except DecodeError as error:
        detail = "not a ParticipationEventEnvelope"
        raise Unusable(failed_event_pb2.FAILURE_REASON_UNREADABLE, detail) from error
    if not value:
        raise Unusable(failed_event_pb2.FAILURE_REASON_UNREADABLE, "empty record")
    is_ours = (
        envelope.tenant_id.encode() == key != b""
        and envelope.data_class in DATA_CLASSES
        and envelope.HasField("received_at")
        and 1 <= len(envelope.events) <= MAX_ENVELOPE_EVENTS
    )
    if not is_ours:
        raise not_ours()
    return envelope


def not_ours() -> Unusable:
    return Unusable(failed_event_pb2.FAILURE_REASON_INVALID_ENVELOPE, "not as the gateway writes it")
