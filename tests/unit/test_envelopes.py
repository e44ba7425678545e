"""The gateway's hand-cut envelope is what protobuf itself would write."""

from __future__ import annotations

import uuid

from circles.common.v1 import common_pb2
from circles.participation.v1 import participation_event_envelope_pb2, participation_event_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from services.ingestion.envelopes import (
    MAX_ENVELOPE_BYTES,
    Marks,
    body_hash,
    entry_bytes,
    envelopes,
    partition_of,
    varint,
)
from services.kafka.topics import MAX_ENVELOPE_EVENTS, topic

TOPIC = topic("participation-events")
RECEIVED_AT = Timestamp(seconds=1_700_000_100)
Envelope = participation_event_envelope_pb2.ParticipationEventEnvelope


def event(group: str, session: str = "s" * 200) -> participation_event_pb2.ParticipationEvent:
    made = participation_event_pb2.ParticipationEvent(event_id=str(uuid.uuid4()), group_ref=group)
    made.occurred_at.FromSeconds(1_700_000_000)
    made.session_attended.session_ref = session
    return made


entries = st.tuples(
    st.text("abc", max_size=9).map(lambda group: event(group).SerializeToString()),
    st.integers(1, 2**64 - 1),
    st.builds(Marks, is_late=st.booleans(), sealed_event=st.binary(max_size=300)),
)


@given(st.lists(st.tuples(st.integers(0, 15), entries), min_size=1, max_size=40))
def test_an_envelope_parses_to_the_entries_of_its_partition(
    placed: list[tuple[int, tuple[bytes, int, Marks]]],
) -> None:
    by_partition: dict[int, list[tuple[int, bytes]]] = {}
    for partition, entry in placed:
        by_partition.setdefault(partition, []).append((1, entry_bytes(TOPIC.name, *entry)))
    made = list(envelopes(TOPIC, "a-tenant", common_pb2.DATA_CLASS_LIVE, RECEIVED_AT, by_partition))
    assert [each.partition for each in made] == list(by_partition)
    for each in made:
        parsed = Envelope.FromString(each.value)
        assert (each.topic, each.key, parsed.tenant_id) == (TOPIC.name, b"a-tenant", "a-tenant")
        assert (parsed.data_class, parsed.received_at) == (common_pb2.DATA_CLASS_LIVE, RECEIVED_AT)
        assert parsed.SerializeToString() == each.value
        expected = [entry for partition, entry in placed if partition == each.partition]
        found = [
            (one.event.SerializeToString(), one.body_hash % 2**64, Marks(one.is_late, one.sealed_event))
            for one in parsed.events
        ]
        assert found == expected


def test_an_envelope_is_never_larger_than_its_readers_take() -> None:
    small = 1, entry_bytes(TOPIC.name, event("g").SerializeToString(), 1)
    large = 1, entry_bytes(TOPIC.name, event("g", "x" * 30_000).SerializeToString(), 1)
    listed = [*[small] * (2 * MAX_ENVELOPE_EVENTS + 1), *[large] * 100]
    made = list(envelopes(TOPIC, "t", 1, RECEIVED_AT, {3: listed}))
    counts = [len(Envelope.FromString(each.value).events) for each in made]
    assert sum(counts) == len(listed) and max(counts) <= MAX_ENVELOPE_EVENTS
    assert max(len(each.value) for each in made) <= MAX_ENVELOPE_BYTES + 100
    assert {each.partition for each in made} == {3}


@given(st.integers(0, 2**40))
def test_a_varint_is_as_protobuf_writes_it(number: int) -> None:
    assert b"\x18" + varint(number) == (
        b"\x18\x00"
        if number == 0
        else Timestamp(seconds=number).SerializeToString().replace(b"\x08", b"\x18", 1)
    )


def test_a_hash_tells_bodies_apart_and_a_partition_is_stable() -> None:
    assert body_hash(b"a") != body_hash(b"b") and body_hash(b"a") == body_hash(b"a") < 2**64
    assert (
        partition_of(TOPIC, "a-tenant", "grp_1")
        == partition_of(TOPIC, "a-tenant", "grp_1")
        < TOPIC.partitions
    )
