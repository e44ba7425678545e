"""The partitions of the warehouse: days of landing, in UTC. Why these: decision 0022.

A build of today is the usual one: it takes whatever has not been built, also what landed yesterday before
midnight. A build of earlier days computes again what the events that landed on them touch.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from services.runtime.settings import DagsterSettings

DAYS = dg.DailyPartitionsDefinition(
    start_date=DagsterSettings.load().first_day.isoformat(), timezone="UTC", end_offset=1
)
"""With today, which is built while it lasts. Days are counted, not looked up: loading needs no server."""


def today() -> str:
    """Key of the day that it is."""
    return datetime.now(UTC).date().isoformat()


def earlier_days(context: dg.AssetExecutionContext) -> tuple[date, date] | None:
    """First and last day that this run is to compute again. None: it is the usual build."""
    keys = context.partition_key_range
    if keys.start == keys.end == today():
        return None
    return date.fromisoformat(keys.start), date.fromisoformat(keys.end)


def days_between(first: date, last: date) -> list[date]:
    """Both included."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]
