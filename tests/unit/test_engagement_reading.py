"""The compiled reader of envelopes reads what protobuf reads, and leaves to it what it does not know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from circles.failures.v1 import failed_event_pb2
from circles.participation.v1.participation_event_envelope_pb2 import ParticipationEventEnvelope
from hypothesis import given, settings
from hypothesis import strategies as st

from services.engagement.layout import EVENT
from services.engagement.reading import (
    Told,
    _read_usual,
    _Unusual,
    event_number,
    read,
)
from services.kafka.envelopes import Unusable
from services.kafka.records import Record
from tests.fakes.engagement_histories import GroupHistory, histories, random_histories
from tests.fakes.engagement_memory import TENANT, event_of, record_of
from tests.fakes.engagement_oracle import Told as Event

GROUPS = [f"grp_{letter * 32}" for letter in "ab0"]


def by_protobuf(records: Sequence[Record]) -> tuple[Told, list[Unusable]]:
    nothing = np.zeros(0, np.int64)
    reader, unusable = _Unusual(Told([], np.zeros(0, EVENT), nothing.astype(np.int32), nothing)), []
    for record in records:
        try:
            reader.read(record)
        except Unusable as error:
            unusable.append(error)
    return reader.take(), unusable


def flat(told: Told) -> list[tuple[object, ...]]:
    """Each event with its group and offset, and each retraction: in an order of its own."""
    events = [
        (*told.groups[group], int(offset), *row.tolist())
        for group, offset, row in zip(told.group, told.offsets, told.events, strict=True)
    ]
    return sorted(events) + sorted(
        (*told.groups[group], *each) for group, found in told.retractions.items() for each in found
    )


@settings(deadline=None)
@given(histories(), st.data())
def test_both_read_the_same(history: GroupHistory, data: st.DataObject) -> None:
    records: list[Record] = []
    rest = list(history.told)
    while rest:
        size = data.draw(st.integers(1, 8))
        events = [event_of(each, data.draw(st.sampled_from(GROUPS))) for each in rest[:size]]
        records.append((*record_of(events, 1), len(records)))
        rest = rest[size:]
    told, unusable = read(records)
    assert not unusable
    assert flat(told) == flat(by_protobuf(records)[0])


@settings(deadline=None, max_examples=400)
@given(histories(max_events=6), st.data())
def test_of_spoilt_bytes_both_read_the_same(history: GroupHistory, data: st.DataObject) -> None:
    key, value = record_of([event_of(each) for each in history.told], 1)
    spoilt = bytearray(value)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(spoilt) - 1))
        match data.draw(st.integers(0, 2)):
            case 0:
                spoilt[at] = data.draw(st.integers(0, 255))
            case 1:
                del spoilt[at : at + data.draw(st.integers(1, 40))]
            case _:
                spoilt[at:at] = data.draw(st.binary(max_size=8))
        if not spoilt:
            return
    record = (key, bytes(spoilt), 7)
    told, usual = _read_usual([record])
    if usual[0]:
        expected, unusable = by_protobuf([record])
        assert not unusable
        assert flat(told) == flat(expected)


def test_the_usual_record_is_read_by_the_loops() -> None:
    told = [each for each in _history() if each.kind not in ("event_retracted", "text_features_measured")]
    key, value = record_of([event_of(each) for each in told], 1)
    assert _read_usual([(key, value, 0)])[1] == [True]


def _history() -> list[Event]:
    (history,) = random_histories(1, 1)
    return history.told


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"t", None, "UNREADABLE"),
        (b"t", b"", "UNREADABLE"),
        (b"t", b"\xff\xff", "UNREADABLE"),
        (b"other", record_of([], 1)[1], "INVALID_ENVELOPE"),
        (TENANT.encode(), record_of([], 1)[1], "INVALID_ENVELOPE"),
        (None, record_of([], 1)[1], "INVALID_ENVELOPE"),
    ],
)
def test_what_the_gateway_did_not_write_is_unusable(
    key: bytes | None, value: bytes | None, reason: str
) -> None:
    told, [(record, error)] = read([(key, value, 3)])
    assert record == (key, value, 3)
    assert failed_event_pb2.FailureReason.Name(error.reason) == f"FAILURE_REASON_{reason}"
    assert len(told.events) == 0


def test_a_record_with_one_wrong_event_is_unusable_as_a_whole() -> None:
    good = [event_of(each) for each in _history()[:3]]
    key, value = record_of(good, 1)
    envelope = ParticipationEventEnvelope.FromString(value)
    envelope.events[1].event.group_ref = "not a pseudonym"
    told, unusable = read([(key, envelope.SerializeToString(), 0), (key, value, 1)])
    assert [record[2] for record, _ in unusable] == [0]
    assert set(told.offsets.tolist()) <= {1}


def test_a_uuid_has_one_number_however_it_is_read() -> None:
    (told,) = [each for each in _history() if each.kind != "event_retracted"][:1]
    key, value = record_of([event_of(told)], 1)
    assert int(_read_usual([(key, value, 0)])[0].events["event"][0]) == event_number(told.event_id)
    assert event_number("x") != event_number("y")
