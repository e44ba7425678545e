"""Landing turns envelopes into rows, sets aside what it cannot read, and loses neither."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from circles.failures.v1 import failed_event_pb2
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass

from services.kafka.topics import Topic, event_topics, landed_topics, topic
from services.landing.decode import Record, decode
from services.landing.raw_tables import ensure_raw_tables, raw_columns
from tests.fakes.envelopes import envelopes_of

EXAMPLES = Path(__file__).parents[2] / "protos" / "examples"
EVENT_TOPICS = list(event_topics())


def records_of(source: Topic) -> list[Record]:
    examples = json.loads((EXAMPLES / f"{source.name}.json").read_text())
    events = [ParseDict(example, GetMessageClass(source.event)()) for example in examples]
    made = envelopes_of(source, "a-tenant", events)
    return [Record(each.partition, i, each.key, each.value) for i, each in enumerate(made)]


@pytest.mark.parametrize("source", EVENT_TOPICS, ids=lambda each: each.name)
def test_every_example_becomes_a_row(source: Topic) -> None:
    examples = json.loads((EXAMPLES / f"{source.name}.json").read_text())
    decoded = decode(source, records_of(source))
    assert decoded.unusable == []
    rows = {row["event_id"]: row for row in decoded.rows.to_pylist()}
    assert rows.keys() == {example["eventId"] for example in examples}
    for example in examples:
        event = ParseDict(example, GetMessageClass(source.event)())
        row = rows[example["eventId"]]
        assert row["kind"] == event.WhichOneof("kind")
        assert row["tenant_id"] == "a-tenant" and row["data_class"] == "live"


def test_codes_numbers_and_absence() -> None:
    source = topic("participation-events")
    rows = {row["kind"]: row for row in decode(source, records_of(source)).rows.to_pylist()}
    attended = rows["session_attended"]
    assert attended["session_attended__role"] == "member"
    assert attended["session_attended__minutes"] == 75
    assert attended["reply_posted__thread_ref"] is None
    assert rows["session_held"]["participant_ref"] is None
    features = rows["text_features_measured"]["text_features_measured__features"]
    assert features == [{"code": "sent_compound", "value": 0.42}, {"code": "n_words", "value": 118.0}]


def test_what_the_gateway_says_of_an_event_stands_beside_it() -> None:
    source = topic("outcome-events")
    record = records_of(source)[0]
    envelope: Any = source.message_class.FromString(record.value or b"")
    late = envelope.events[0]
    late.is_late, late.sealed_event = True, b"under a key"
    rows = decode(source, [record._replace(value=envelope.SerializeToString())]).rows.to_pylist()
    assert (rows[0]["is_late"], rows[0]["sealed_event"]) == (True, b"under a key")
    assert {(row["is_late"], row["sealed_event"]) for row in rows[1:]} <= {(False, None)}
    assert rows[0]["body_hash"] == late.body_hash


def test_a_table_of_an_earlier_version_gets_the_new_columns() -> None:
    with duckdb.connect() as lake:
        lake.execute("ATTACH ':memory:' AS lake; USE lake; CREATE SCHEMA raw")
        lake.execute("CREATE TABLE raw.group_events AS SELECT 'a' AS tenant_id")
        ensure_raw_tables(lake)
        found = lake.execute("SELECT tenant_id, is_late, sealed_event FROM raw.group_events").fetchall()
    assert found == [("a", None, None)]


def test_foreign_records_are_set_aside_and_the_others_land() -> None:
    source = topic("participation-events")
    good = records_of(source)
    foreign = [
        Record(0, 100, b"a-tenant", b"\xff\xfegarbage"),
        Record(0, 101, b"a-tenant", b'{"json": true}'),
        Record(0, 102, b"a-tenant", None),
        Record(0, 103, b"a-tenant", b""),
        Record(0, 104, None, good[0].value),
        Record(0, 105, b"another-tenant", good[0].value),
        Record(0, 106, b"a-tenant", records_of(topic("study-events"))[0].value),
        Record(0, 107, b"a-tenant", failed_event_pb2.FailedEvent(detail="x").SerializeToString()),
    ]
    mixed = foreign[:4] + good + foreign[4:]
    decoded = decode(source, mixed)
    assert decoded.rows.num_rows == decode(source, good).rows.num_rows
    assert sorted(each.record.offset for each in decoded.unusable) == list(range(100, 108))


def test_an_envelope_of_too_many_or_no_events_is_set_aside() -> None:
    source = topic("group-events")
    (record,) = records_of(source)
    envelope = source.message_class.FromString(record.value or b"")
    events = list(envelope.events)  # type: ignore[attr-defined]
    del envelope.events[:]  # type: ignore[attr-defined]
    empty = Record(0, 1, record.key, envelope.SerializeToString())
    envelope.events.extend(events * 200)  # type: ignore[attr-defined]
    large = Record(0, 2, record.key, envelope.SerializeToString())
    decoded = decode(source, [empty, large])
    assert decoded.rows.num_rows == 0
    assert [each.reason for each in decoded.unusable] == [
        failed_event_pb2.FAILURE_REASON_INVALID_ENVELOPE
    ] * 2


def test_positions_tell_every_row_apart() -> None:
    source = topic("participation-events")
    rows = decode(source, records_of(source)).rows.to_pylist()
    places = {(row["kafka_partition"], row["kafka_offset"], row["event_index"]) for row in rows}
    assert len(places) == len(rows)


@pytest.mark.parametrize("source", list(landed_topics()), ids=lambda each: each.name)
def test_raw_columns_have_portable_types(source: Topic) -> None:
    columns = dict(raw_columns(source))
    assert not [kind for kind in columns.values() if kind.startswith("U")]
    assert columns["landed_seq"] == "BIGINT"
    assert "quarantined_bytes" not in columns
