"""Where landing goes on, and the words with which it says why it does not: no server is asked."""

from __future__ import annotations

import logging
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import KafkaTimeoutError

from infra.cli import status
from infra.local.supervision import State
from services.kafka.client import KafkaUnavailable
from services.kafka.logs import Log
from services.kafka.positions import Stand, landed, read_stands
from services.kafka.topics import Topic, topics
from services.landing.alarms import DISK_FULL, KAFKA_AWAY, POSTGRES_AWAY, Alarms, alarm_of, alarms_of
from services.landing.fence import Fenced
from services.landing.gaps import Cause, accept, plan
from services.landing.raw_tables import ensure_raw_tables
from services.runtime import heartbeat
from services.runtime.heartbeat import beat
from services.runtime.postgres import PostgresUnavailable

TOPIC: Topic = topics()["failed-events"]
FIRST = (TOPIC.name, 0)
NOW = datetime(2026, 5, 1, tzinfo=UTC)
offsets = st.integers(0, 20)


@given(offsets, offsets, offsets)
def test_a_partition_goes_on_where_it_stands_or_not_at_all(stands: int, first: int, length: int) -> None:
    end = first + length
    found = plan([TOPIC], {FIRST: Stand("id", stands, NOW)}, {FIRST: Log("id", first, end)})
    if first <= stands <= end:
        assert found.starts == {FIRST: stands} and not found.gaps
        return
    (gap,) = found.gaps
    assert not found.starts
    assert (gap.topic_id, gap.first_missing_offset, gap.next_topic_id) == ("id", stands, "id")
    assert gap.next_offset == (first if stands < first else end)
    assert gap.cause is (Cause.EXPIRED if stands < first else Cause.CUT)
    assert gap.count_missing == (first - stands if stands < first else None)


def test_another_id_is_a_gap_of_every_partition_whatever_the_offsets() -> None:
    logs = {(TOPIC.name, number): Log("new", 0, 10) for number in range(TOPIC.partitions)}
    found = plan([TOPIC], {FIRST: Stand("old", 5, NOW)}, logs)
    assert not found.starts
    assert [(gap.partition, gap.topic_id, gap.first_missing_offset) for gap in found.gaps] == [
        (number, "old", 5 if number == 0 else 0) for number in range(TOPIC.partitions)
    ]
    assert {gap.cause for gap in found.gaps} == {Cause.RECREATED}


def test_records_that_expired_before_anything_landed_are_missed_too() -> None:
    found = plan([TOPIC], {}, {FIRST: Log("id", 3, 9)})
    assert [(gap.first_missing_offset, gap.next_offset, gap.since) for gap in found.gaps] == [(0, 3, None)]
    assert len(found.absent) == TOPIC.partitions - 1


def test_an_accepted_gap_counts_until_the_partition_lands_again() -> None:
    with duckdb.connect() as lake:
        lake.execute("ATTACH ':memory:' AS lake; USE lake")
        ensure_raw_tables(lake)
        landing = "INSERT INTO raw.landed_offsets VALUES (?, 'id', 0, ?, ?, now())"
        lake.execute(landing, [TOPIC.name, 9, 1])
        assert read_stands(lake)[FIRST][:2] == ("id", 9)
        for log in (Log("id", 0, 4), Log("id", 6, 8)):  # cut, and expired before it went on
            accept(lake, plan([TOPIC], read_stands(lake), {FIRST: log}).gaps)
            assert read_stands(lake)[FIRST][:2] == ("id", 4 if log.first_offset == 0 else 6)
        lake.execute(landing, [TOPIC.name, 7, 2])
        assert read_stands(lake)[FIRST][:2] == ("id", 7)
        rows = lake.execute(
            "SELECT first_missing_offset, next_offset FROM raw.landing_gaps ORDER BY 1"
        ).fetchall()
        assert rows == [(4, 6), (9, 4)]


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (KafkaUnavailable(), "kafka_away"),
        (KafkaTimeoutError(), "kafka_away"),
        (PostgresUnavailable(), "postgres_away"),
        (psycopg2.OperationalError("server closed the connection unexpectedly"), "postgres_away"),
        (duckdb.IOException('Unable to connect to Postgres at "…"'), "postgres_away"),
        (duckdb.IOException("Could not write to file: No space left on device"), "disk_full"),
        (OSError(28, "Error writing bytes to file. Detail: [errno 28] No space left on device"), "disk_full"),
        (PermissionError(13, "Jane Doe"), "lake_refuses"),
        (psycopg2.OperationalError("could not extend file: No space left on device"), "disk_full"),
        (duckdb.ConversionException("Jane Doe"), "lake_refuses"),
        (Fenced(), "another_landing"),
    ],
)
def test_the_end_of_a_session_has_a_name_and_quotes_nothing(error: Exception, name: str) -> None:
    alarm = alarm_of(error)
    assert alarm.name == name and alarm.what and alarm.to_do
    assert "Jane" not in str(alarm)


def test_an_alarm_is_told_once_however_often_it_comes(caplog: pytest.LogCaptureFixture) -> None:
    gaps = list(alarms_of(plan([TOPIC], {}, {FIRST: Log("id", 3, 9)})))
    assert [each.name for each in gaps] == ["records_expired", "topic_missing"]
    alarms = Alarms()
    with caplog.at_level(logging.INFO), duckdb.connect() as lake:
        lake.execute("ATTACH ':memory:' AS lake; USE lake")
        ensure_raw_tables(lake)
        for _ in range(3):
            alarms.working(gaps)
            alarms.failed(KAFKA_AWAY)
        assert len(alarms.words()) == 3  # what waits for a person keeps waiting
        for _ in range(3):
            alarms.failed(POSTGRES_AWAY)
        alarms.working([])
        alarms.record(lake)
        alarms.record(lake)
        assert [record.levelname for record in caplog.records].count("ERROR") == 2 + 3 + 1
        rows = lake.execute(
            "SELECT alarm, count(*) FILTER (is_raised) - count(*) FILTER (NOT is_raised) "
            "FROM raw.landing_alarms GROUP BY alarm ORDER BY alarm"
        ).fetchall()
        assert rows == [
            (name, 0) for name in ("kafka_away", "postgres_away", "records_expired", "topic_missing")
        ]


def test_a_new_process_ends_the_alarms_of_the_one_before() -> None:
    with duckdb.connect() as lake:
        lake.execute("ATTACH ':memory:' AS lake; USE lake")
        ensure_raw_tables(lake)
        first, second = Alarms(), Alarms()
        first.failed(DISK_FULL)
        first.record(lake)
        second.working([])
        second.record(lake)
        rows = lake.execute("SELECT alarm, is_raised FROM raw.landing_alarms ORDER BY told_at").fetchall()
        assert rows == [("disk_full", True), ("disk_full", False)]


def test_status_shows_why_landing_waits_and_the_rest_is_started_all_the_same(home: Path) -> None:
    state = State("landing", "RUNNING", os.getpid(), 60, "")
    for numbers, is_at_work in (({"landed_rows": 1}, True), ({}, False)):
        beat("landing", "waiting", numbers, ["Something is gone. Do this."])
        line = status.line_of("landing", state, {})
        assert (line.state, line.alarms) == ("waiting", ("Something is gone. Do this.",))
        found = heartbeat.read("landing")
        assert found is not None and found.is_at_work is is_at_work and not found.is_ready
    beat("landing", "ready", {"landed_rows": 1})
    assert status.line_of("landing", state, {}).alarms == ()


def test_the_lag_of_a_topic_that_was_made_anew_is_all_of_it() -> None:
    stands = {("a", 0): Stand("old", 9, NOW), ("b", 0): Stand("id", 4, NOW)}
    assert landed(stands, {"a": "new", "b": "id"}) == {("b", 0): 4}


def test_operators_can_look_up_every_alarm() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "operator.md").read_text()
    code = (Path(__file__).parents[2] / "services" / "landing" / "alarms.py").read_text()
    names = set(re.findall(r"Alarm\(\s*\"(\w+)\"", code))
    assert len(names) == 10
    assert [name for name in names if f"| `{name}` |" not in guide] == []
