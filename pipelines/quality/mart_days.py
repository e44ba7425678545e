"""What is usual for a tenant's part of a mart: its volume and figures, day by day for four weeks.

Kept as rows of `quality.mart_days`, one per mart, tenant and day. What is measured and what follows is
`marts`'.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from psycopg2.extras import execute_values

from pipelines.quality.suites.marts import MIN_DAYS
from pipelines.quality.trailing import Figure
from services.runtime.postgres import connect
from services.runtime.settings import PostgresSettings

DAYS = 28
MIN_ROWS = 200
"""A mart has no usual volume or figures of a tenant with fewer rows."""

Figures = Mapping[str, float | None]
"""Means and shares by name."""

Days = Mapping[str, Sequence[tuple[int, Figures]]]
"""By tenant, the last build of each day of the weeks before: rows, and figures."""

TODAY = "(now() AT TIME ZONE 'UTC')::date"

DAYS_BEFORE = """
SELECT mart, tenant_id, count_rows, figures FROM quality.mart_days
WHERE counted_on < {today} AND counted_on >= {today} - %s ORDER BY mart, tenant_id, counted_on
"""

REMEMBER = """
INSERT INTO quality.mart_days (mart, tenant_id, counted_on, count_rows, figures) VALUES %s
ON CONFLICT (mart, tenant_id, counted_on)
DO UPDATE SET count_rows = excluded.count_rows, figures = excluded.figures
"""


def days_before(postgres: PostgresSettings) -> dict[str, dict[str, list[tuple[int, Figures]]]]:
    """By mart and tenant, the days of the four weeks before today (UTC)."""
    found: dict[str, dict[str, list[tuple[int, Figures]]]] = {}
    with closing(connect(postgres, postgres.database_published)) as connection, connection.cursor() as cursor:
        cursor.execute(DAYS_BEFORE.format(today=TODAY), (DAYS,))
        for mart, tenant, rows, figures in cursor.fetchall():
            found.setdefault(mart, {}).setdefault(tenant, []).append((rows, figures))
    return found


def remember(postgres: PostgresSettings, measured: Mapping[tuple[str, str], tuple[int, Figures]]) -> None:
    """Notes rows and figures by mart and tenant. The newest build of a day is that day's."""
    rows = [(*whose, rows, json.dumps(figures)) for whose, (rows, figures) in measured.items() if rows]
    with (
        closing(connect(postgres, postgres.database_published, autocommit=False)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        execute_values(cursor, REMEMBER, rows, template=f"(%s, %s, {TODAY}, %s, %s)")
        cursor.execute(f"DELETE FROM quality.mart_days WHERE counted_on < {TODAY} - %s", (DAYS,))  # noqa: S608


def compared_with(
    count_rows: int, figures: Figures, days: Sequence[tuple[int, Figures]]
) -> tuple[Figure, Figure]:
    """Volume and figures against the median of the days before; a value of None is not judged."""
    usual = statistics.median([rows for rows, _ in days]) if days else 0
    if len(days) < MIN_DAYS:
        short = Figure(None, f"{len(days)} of {MIN_DAYS} days before have a build")
        return short, short
    if max(usual, count_rows) < MIN_ROWS:
        few = Figure(None, f"fewer than {MIN_ROWS} rows")
        return few, few
    volume = Figure(count_rows / usual if usual else math.inf, f"{count_rows} rows, {usual:.0f} before")
    moved = [
        _moved(name, value, [of_day[name] for _, of_day in days if of_day.get(name) is not None])
        for name, value in figures.items()
        if value is not None
    ]
    return volume, max(moved, key=lambda each: each.value or 0, default=Figure(None, "no figures"))


def _moved(name: str, value: float, before: Sequence[Any]) -> Figure:
    """How many times as large, or as small, as the median of the days before."""
    usual = statistics.median(before) if len(before) >= MIN_DAYS else 0.0
    if usual <= 0 or value <= 0:
        return Figure(None, f"{name}: nothing to compare with")
    return Figure(max(value / usual, usual / value), f"{name} {value:.3g}, {usual:.3g} before")
