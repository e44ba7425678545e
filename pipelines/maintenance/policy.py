"""What the lake may forget, and when: pure decisions on snapshots and raw rows.

How it is forgotten is `maintenance`'s; the settings themselves stand in `services.runtime.settings`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta

from pipelines.publication.release import NamedSnapshot

STAGED_IN = {
    "participation_events": "stg_participation__events",
    "outcome_events": "stg_outcomes__events",
    "group_events": "stg_groups__events",
    "study_events": "stg_studies__events",
}
"""Raw tables whose rows may be deleted, and where they must stand before. Failed events are not among them:
their table in staging is made anew from all of them."""


def kept_for_releases(named: Iterable[NamedSnapshot], now: datetime, release_days: int) -> set[int]:
    """Snapshots that somebody may want to compute a release from again.

    Of releases and candidates whose tables are there, or of which readers see a row: every one. Of older
    releases: the last of each day (UTC) for so many days. A busy lake makes a release every minute, each with
    its own copy of the marts.
    """
    named = list(named)
    since = now - timedelta(days=release_days)
    last_of_day: dict[date, NamedSnapshot] = {}
    for each in sorted(named, key=lambda each: each.release_id):
        if each.released_at is not None and each.released_at >= since:
            last_of_day[each.released_at.astimezone(UTC).date()] = each
    there = (each for each in named if each.is_there or each.has_shown_rows)
    return {each.lake_snapshot for each in (*there, *last_of_day.values())}


def raw_cutoffs(raw_days: str, now: datetime) -> Mapping[str, datetime]:
    """Of each raw table with a limit, the landing time before which staged rows go: a midnight in UTC.

    Whole days, because a file holds one: it then goes as a whole. Raises ValueError naming the setting.
    """
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    cutoffs = {}
    for pair in filter(None, (each.strip() for each in raw_days.split(","))):
        table, _, days = pair.partition("=")
        if table not in STAGED_IN or not days.isdecimal() or int(days) < 1:
            raise ValueError(
                f"CIRCLES_RETENTION_RAW_DAYS: {pair!r} is not TABLE=DAYS with TABLE one of "
                f"{', '.join(STAGED_IN)} and at least one day"
            )
        cutoffs[table] = midnight - timedelta(days=int(days))
    return cutoffs
