"""What Dagster is told of services, topics and raw tables: only what is new."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from pipelines.defs.streaming import state
from pipelines.defs.streaming.state import Look, Told
from services.kafka.positions import Reading
from services.runtime import heartbeat
from services.runtime.settings import HealthSettings

KEY = dg.AssetKey(["service", "landing"])
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
READY = Look(KEY, "ready", {"landed_rows": 5})
SOON, LATER = timedelta(minutes=14), timedelta(minutes=15)


@pytest.mark.parametrize(
    ("look", "after", "is_news"),
    [
        (READY, LATER, False),
        (Look(KEY, "ready", {"landed_rows": 6}), SOON, False),
        (Look(KEY, "ready", {"landed_rows": 6}), LATER, True),
        (Look(KEY, "waiting", {"landed_rows": 5}), SOON, True),
        (Look(KEY, "ready", {"landed_rows": 5}, ("kafka_away",)), SOON, True),
    ],
)
def test_a_state_is_told_at_once_figures_now_and_then_and_what_is_known_never(
    look: Look, after: timedelta, is_news: bool
) -> None:
    told = state.read_book(state.write_book({"service/landing": Told("ready", {"landed_rows": 5}, NOON)}))
    assert state.is_news(look, told["service/landing"], NOON + after) is is_news
    assert state.is_news(look, None, NOON + after)


@pytest.mark.parametrize(
    ("after", "is_due"),
    [(timedelta(minutes=29), False), (timedelta(minutes=30), True)],
)
def test_a_raw_table_is_told_of_every_half_hour_and_at_midnight(after: timedelta, is_due: bool) -> None:
    assert state.is_due(Told(state.KEEPS_UP, {}, NOON), NOON + after) is is_due
    just_before = NOON.replace(hour=23, minute=59)
    assert state.is_due(Told(state.KEEPS_UP, {}, just_before), just_before + timedelta(minutes=2))
    assert state.is_due(None, NOON)


def test_a_reader_that_is_behind_is_named_and_a_silent_kafka_too() -> None:
    limit = HealthSettings.load().max_landing_lag
    found = [
        Reading("outcome-events", 90_000, "engagement", limit),
        Reading("outcome-events", 90_000, "landing", limit + 1),
    ]
    looks = {each.key.path[1]: each for each in state.topic_looks(found)}
    assert looks["outcome-events"].state == "landing is behind"
    assert looks["outcome-events"].figures == {
        "messages": 90_000, "waiting_for_engagement": limit, "waiting_for_landing": limit + 1
    }  # fmt: skip
    assert looks["engagement-state"].state == state.IS_THERE
    assert {each.state for each in state.topic_looks(None)} == {state.NO_ANSWER}


def test_a_raw_table_is_whole_while_landing_works_and_keeps_up(home: Path) -> None:
    limit = HealthSettings.load().max_landing_lag
    found = [Reading("group-events", 9, "landing", 1), Reading("study-events", 9, "landing", limit + 1)]

    def whole() -> list[str]:
        return [key.path[-1] for key in state.whole_tables(found)]

    # Between containers nothing but the lag is known.
    assert whole() == ["group_events"]
    heartbeat.beat("landing", "ready", {"landed_rows": 1})
    assert whole() == ["group_events"]
    heartbeat.beat("landing", "waiting", {"landed_rows": 1}, ["group-events is gone"])
    assert whole() == []
    assert state.service_look("landing").words == ("group-events is gone",)
    assert state.whole_tables(None) == []
