"""Tells Dagster once a minute how services, topics and raw tables are, as `circles status` knows it.

Only what is new is told, so that Dagster's log does not fill with what everybody knows: a changed state at
once, figures that moved every quarter of an hour. That a raw table has all that its topic has is told every
half hour, as a materialisation, because Dagster finds out by those whether a table is fresh.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import duckdb

from pipelines.defs.days import days_between
from pipelines.defs.landing.assets import raw_key
from pipelines.defs.resources import Lake
from pipelines.defs.streaming.assets import SERVICES, service_key, topic_key
from services.kafka.client import KafkaUnavailable
from services.kafka.positions import Reading, read_ends, read_stands, readings
from services.kafka.topics import landed_topics, topics
from services.runtime import heartbeat
from services.runtime.lake import current_snapshot
from services.runtime.settings import HealthSettings, KafkaSettings

SECONDS = 60
FIGURES = timedelta(minutes=15)
RAW = timedelta(minutes=30)
MOST_DAYS = 31
"""So many days of a raw table are told of at once, when nobody did meanwhile."""

LANDING = "landing"
KEEPS_UP = "keeps up"
IS_THERE = "is there"
"""Said of a topic that nobody reads but who writes it."""
NO_ANSWER = "Kafka or the lake does not answer"
NOT_SEEN = "no heartbeat here"


@dataclass(frozen=True)
class Look:
    """An asset as it is. A change of `state` is news, one of `figures` is news now and then."""

    key: dg.AssetKey
    state: str
    figures: Mapping[str, Any]
    words: tuple[str, ...] = ()
    """For a person: what it waits for. Part of the state."""


@dataclass(frozen=True)
class Told:
    """What was told of an asset, and when."""

    state: str
    figures: Mapping[str, Any]
    at: datetime


Book = dict[str, Told]
"""What was told of each asset: the sensor's cursor."""


@dg.sensor(
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells how services, topics and raw tables are. Starts nothing.",
)
def streaming_state(context: dg.SensorEvaluationContext, lake: Lake) -> dg.SensorResult:
    now, book = datetime.now(UTC), read_book(context.cursor)
    found = _readings(lake)
    looks = [*map(service_look, SERVICES), *topic_looks(found)]
    news = [each for each in looks if is_news(each, book.get(_name(each.key)), now)]
    due = [each for each in whole_tables(found) if is_due(book.get(_name(each)), now)]
    days = [day for key in due for day in _days(lake, key, book.get(_name(key)), now)]
    book |= {_name(each.key): Told(_state(each), each.figures, now) for each in news}
    book |= {_name(key): Told(KEEPS_UP, {}, now) for key in due}
    return dg.SensorResult(
        asset_events=[*map(_observation, news), *days],
        cursor=write_book(book),
        skip_reason=f"Told of {len(news)} assets that changed and of {len(due)} raw tables.",
    )


# --- How they are -------------------------------------------------------------------------------------------


def service_look(name: str) -> Look:
    """By the service's own word. Its heartbeat is a file: from another container it is not seen."""
    beat = heartbeat.read(name)
    if beat is None:
        return Look(service_key(name), NOT_SEEN, {})
    return Look(service_key(name), beat.state if beat.is_fresh else "silent", beat.figures, beat.alarms)


def topic_looks(found: Sequence[Reading] | None) -> Iterator[Look]:
    """Each topic with the lags of those that read it. `found` is None when nobody could be asked."""
    limit = HealthSettings.load().max_landing_lag
    for name in topics():
        of_topic = [each for each in found or () if each.topic == name]
        behind = "; ".join(f"{each.consumer} is behind" for each in of_topic if each.lag > limit)
        good = KEEPS_UP if of_topic else IS_THERE
        figures = {f"waiting_for_{each.consumer}": each.lag for each in of_topic}
        if of_topic:
            figures["messages"] = of_topic[0].messages
        yield Look(topic_key(name), NO_ANSWER if found is None else behind or good, figures)


def whole_tables(found: Sequence[Reading] | None) -> list[dg.AssetKey]:
    """Raw tables that have all of their topic but what is on its way, while landing says that it works."""
    beat, limit = heartbeat.read(LANDING), HealthSettings.load().max_landing_lag
    if found is None or (beat is not None and not beat.is_ready):
        return []
    keep_up = {each.topic for each in found if each.consumer == LANDING and each.lag <= limit}
    return [raw_key(str(topic.raw_table)) for topic in landed_topics() if topic.name in keep_up]


def _readings(lake: Lake) -> list[Reading] | None:
    try:
        ends = read_ends(KafkaSettings.load())
        with lake.open(read_only=True) as connection:
            return list(readings(ends, read_stands(connection)))
    except (OSError, KafkaUnavailable, duckdb.Error):
        return None


# --- What is told, and when ---------------------------------------------------------------------------------


def is_news(look: Look, told: Told | None, now: datetime) -> bool:
    if told is None or told.state != _state(look):
        return True
    return told.figures != look.figures and now - told.at >= FIGURES


def is_due(told: Told | None, now: datetime) -> bool:
    """Whether to say again that a raw table has all. At midnight in any case: the day is then complete."""
    return told is None or now - told.at >= RAW or told.at.date() != now.date()


def _state(look: Look) -> str:
    return "; ".join([look.state, *look.words])


def _observation(look: Look) -> dg.AssetObservation:
    words = {"waits_for": "\n\n".join(look.words)} if look.words else {}
    figures = {
        # Heartbeats know numbers only.
        name: dg.MetadataValue.timestamp(float(value)) if name.endswith("_at") else value
        for name, value in look.figures.items()
    }
    return dg.AssetObservation(look.key, metadata={"state": look.state, **words, **figures})


def _days(
    lake: Lake, key: dg.AssetKey, told: Told | None, now: datetime
) -> Iterator[dg.AssetMaterialization]:
    """Each day of a raw table since it was told of, today last."""
    today = now.date()
    first = max(told.at.date() if told else today, today - timedelta(days=MOST_DAYS))
    with lake.open(read_only=True) as connection:
        rows, snapshot = _rows_by_day(connection, key.path[-1], first), current_snapshot(connection)
    for day in days_between(first, today):
        count, newest = rows.get(day, (0, None))
        metadata = {"dagster/partition_row_count": count, "lake_snapshot": snapshot}
        landed = {"newest_landing": newest} if newest is not None else {}
        yield dg.AssetMaterialization(key, partition=day.isoformat(), metadata=metadata | landed)


def _rows_by_day(
    lake: duckdb.DuckDBPyConnection, table: str, first: date
) -> dict[date, tuple[int, int | None]]:
    """Rows that landed on each day, in UTC, and the number of the day's newest landing."""
    found = lake.execute(
        f"SELECT landed_at::DATE, count(*), max(landed_seq) FROM raw.{table} "  # noqa: S608  # name is ours
        "WHERE landed_at >= ?::DATE GROUP BY ALL",
        [first],
    ).fetchall()
    return {day: (count, newest) for day, count, newest in found}


# --- The cursor ---------------------------------------------------------------------------------------------


def read_book(cursor: str | None) -> Book:
    told = json.loads(cursor or "{}")
    return {
        name: Told(state, figures, datetime.fromisoformat(at)) for name, (state, figures, at) in told.items()
    }


def write_book(book: Book) -> str:
    return json.dumps({name: (each.state, each.figures, each.at.isoformat()) for name, each in book.items()})


def _name(key: dg.AssetKey) -> str:
    return "/".join(key.path)
