"""A replayed event is what the gateway would have written when it came; what cannot be used stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from circles.common.v1.common_pb2 import DATA_CLASS_LIVE
from circles.failures.v1 import failed_event_pb2
from circles.failures.v1.failed_event_pb2 import FailedEvent
from kafka.errors import KafkaTimeoutError

from services.ingestion.envelopes import Envelope, partition_of
from services.ingestion.replay import (
    Fate,
    Selection,
    deferred_events,
    envelope_of,
    replay,
)
from services.kafka.topics import topic
from services.landing.decode import Record, decode
from tests.fakes.histories import outcome
from tests.fakes.raw_lake import RawLake, deferred

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
TOPIC = topic("outcome-events")


def answer(name: str, instrument: str = "phq-9", total: float = 7) -> Any:
    answered = {"instrument": instrument, "instrument_version": "1", "total": total}
    return outcome(name, at=AT, participant=f"prt_{name}", questionnaire_answered=answered)


def deferral(event: Any, tenant: str = "a", received_at: datetime = AT, **more: Any) -> FailedEvent:
    made = deferred("outcome_events", event, tenant, DATA_CLASS_LIVE)
    made.received_at.FromDatetime(received_at)
    made.MergeFrom(FailedEvent(**more))
    return made


@pytest.fixture
def raw(home: object) -> Iterator[RawLake]:
    """Raw tables without a lake behind them."""
    with duckdb.connect() as connection:
        connection.execute("ATTACH ':memory:' AS lake; USE lake; SET TimeZone = 'UTC'")
        yield RawLake(connection)


def found(raw: RawLake, **selection: Any) -> list[str]:
    chosen = deferred_events(raw.lake, Selection(**selection))
    return sorted(each.event.participant_ref for each in chosen if each.event is not None)


def test_the_envelope_is_the_one_that_the_event_would_have_had(raw: RawLake) -> None:
    sent = deferral(answer("p"), is_late=True, sealed_event=b"under a key", body_hash=-(2**63) + 5)
    raw.land_failures([sent])
    (event,) = deferred_events(raw.lake, Selection())
    envelope = envelope_of(event)
    assert envelope.partition == partition_of(TOPIC, "a", "prt_p")
    decoded = decode(TOPIC, [Record(envelope.partition, 0, envelope.key, envelope.value)])
    (row,) = decoded.rows.to_pylist()
    assert {name: row[name] for name in ("tenant_id", "data_class", "event_id", "participant_ref")} == {
        "tenant_id": "a", "data_class": "live", "event_id": sent.event_id, "participant_ref": "prt_p"
    }  # fmt: skip
    assert (row["received_at"], row["body_hash"]) == (AT, sent.body_hash)
    assert (row["is_late"], row["sealed_event"]) == (True, b"under a key")
    parsed: Any = TOPIC.message_class.FromString(envelope.value)
    assert parsed.events[0].event.SerializeToString() == sent.event_bytes


def test_an_event_is_found_once_and_not_when_it_has_come_in(raw: RawLake) -> None:
    raw.land_failures([deferral(answer("p")), deferral(answer("q")), deferral(answer("p"))])
    raw.land_failures([deferral(answer("p"))])
    assert found(raw) == ["prt_p", "prt_q"]
    raw.land("outcome_events", [answer("p"), answer("q", total=8)], tenant="a", data_class=DATA_CLASS_LIVE)
    raw.land("outcome_events", [answer("q")], tenant="b", data_class=DATA_CLASS_LIVE)
    assert found(raw) == ["prt_q"], "another body under its id, or another tenant's, is another event"


def test_a_tenant_and_a_time_are_chosen(raw: RawLake) -> None:
    later = AT + timedelta(hours=1)
    raw.land_failures([deferral(answer("p")), deferral(answer("q"), "b"), deferral(answer("r"), "b", later)])
    assert found(raw, tenant_id="b") == ["prt_q", "prt_r"]
    assert found(raw, since=later) == ["prt_r"]
    assert found(raw, until=later) == ["prt_p", "prt_q"]
    assert found(raw, tenant_id="a", since=AT, until=later) == ["prt_p"]


def test_what_others_have_set_aside_is_not_found(raw: RawLake) -> None:
    by_landing = deferral(answer("p"), stage=failed_event_pb2.FAILURE_STAGE_LANDING)
    foreign = deferral(answer("q"), reason=failed_event_pb2.FAILURE_REASON_INVALID_ENVELOPE)
    of_nobody = deferral(answer("r"))
    of_nobody.ClearField("data_class")
    raw.land_failures([by_landing, foreign, of_nobody])
    assert found(raw) == []


def test_what_can_be_used_now_is_sent_and_the_others_stay_with_a_reason(raw: RawLake) -> None:
    unreadable = deferral(answer("u"))
    unreadable.event_bytes = b"\xff"
    raw.land_failures(
        [
            deferral(answer("p")),
            deferral(answer("q", "not-known-yet")),
            deferral(answer("r", total=28)),
            unreadable,
        ]
    )
    kafka = _Kafka()
    expected = Counter(
        {
            Fate("a", "phq-9", "1", ""): 1,
            Fate("a", "phq-9", "1", "it breaks the rules of its instrument"): 1,
            Fate("a", "not-known-yet", "1", "its instrument is still unknown"): 1,
            Fate("a", "", "", "its bytes cannot be read"): 1,
        }
    )
    assert replay(deferred_events(raw.lake, Selection()), None) == expected
    assert replay(deferred_events(raw.lake, Selection()), kafka) == expected
    assert [each.partition for each in kafka.sent] == [partition_of(TOPIC, "a", "prt_p")]


@pytest.mark.parametrize("count", [1, 700])
def test_a_replay_ends_when_kafka_has_everything(raw: RawLake, count: int) -> None:
    raw.land_failures([deferral(answer(f"p{i}")) for i in range(count)])
    kafka = _Kafka()
    replay(deferred_events(raw.lake, Selection()), kafka)
    assert [each.was_awaited for each in kafka.futures] == [True] * count


def test_what_kafka_does_not_acknowledge_is_told(raw: RawLake) -> None:
    raw.land_failures([deferral(answer("p"))])
    with pytest.raises(KafkaTimeoutError):
        replay(deferred_events(raw.lake, Selection()), _Kafka(KafkaTimeoutError()))


class _Future:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.was_awaited = False

    def get(self, timeout: float) -> None:
        self.was_awaited = True
        if self.error is not None:
            raise self.error


class _Kafka:
    """Takes records; every future ends with `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.sent: list[Envelope] = []
        self.futures: list[_Future] = []

    def __call__(self, envelope: Envelope) -> _Future:
        self.sent.append(envelope)
        self.futures.append(_Future(self.error))
        return self.futures[-1]
