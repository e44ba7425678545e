"""The gateway's hand-cut envelope is what protobuf itself would write."""

from __future__ import annotations

import struct
import uuid

from circles.common.v1 import common_pb2
from circles.participation.v1 import participation_event_envelope_pb2, participation_event_pb2
from hypothesis import given
from hypothesis import strategies as st

from services.ingestion.envelopes import EnvelopeBuilder, body_hash, partition_of
from services.ingestion.keys import Tenant
from services.kafka.topics import topic

TOPIC = topic("participation-events")
TENANT = Tenant("a-tenant", common_pb2.DATA_CLASS_LIVE)


def event(group: str, minutes: int = 5) -> participation_event_pb2.ParticipationEvent:
    made = participation_event_pb2.ParticipationEvent(event_id=str(uuid.uuid4()), group_ref=group)
    made.occurred_at.FromSeconds(1_700_000_000)
    made.session_attended.session_ref = "s" * 200
    made.session_attended.minutes = minutes
    return made


@given(st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=60))
def test_an_envelope_parses_to_the_events_of_its_partition(groups: list[str]) -> None:
    events = [event(group, i) for i, group in enumerate(groups)]
    builder = EnvelopeBuilder(TOPIC, TENANT)
    for each in events:
        builder.add(each)
    envelopes = list(builder.envelopes())
    seen = 0
    for envelope in envelopes:
        parsed = participation_event_envelope_pb2.ParticipationEventEnvelope.FromString(envelope.value)
        assert (parsed.tenant_id, parsed.data_class, envelope.key) == ("a-tenant", 1, b"a-tenant")
        expected = [each for each in events if partition_of(TOPIC, "a-tenant", each) == envelope.partition]
        assert [accepted.event for accepted in parsed.events] == expected
        for accepted in parsed.events:
            body = accepted.event.SerializeToString(deterministic=True)
            assert struct.pack("<q", accepted.body_hash) == body_hash(body)
        seen += len(parsed.events)
    assert seen == len(events)


def test_a_field_that_this_version_does_not_know_survives() -> None:
    newer = participation_event_pb2.ParticipationEvent.FromString(
        event("g").SerializeToString() + bytes([0x82, 0x7D, 3]) + b"new"  # field 2000, length 3
    )
    builder = EnvelopeBuilder(TOPIC, TENANT)
    builder.add(newer)
    (envelope,) = builder.envelopes()
    assert b"new" in envelope.value
