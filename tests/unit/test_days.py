"""Days of landing: which run is the usual build, and which computes earlier days again."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from pipelines.defs.days import DAYS, days_between, earlier_days, today
from pipelines.defs.transformation.assets import again

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def found_by(**options: str | dict[str, str]) -> tuple[date, date] | None:
    """What an asset finds out about the days of its run."""
    found: list[tuple[date, date] | None] = []

    @dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
    def table(context) -> None:  # type: ignore[no-untyped-def]  # Dagster reads annotations at run time
        found.append(earlier_days(context))

    job = dg.define_asset_job("job", selection=[table])
    resolved = dg.Definitions([table], jobs=[job]).resolve_job_def("job")
    assert resolved.execute_in_process(instance=dg.DagsterInstance.ephemeral(), **options).success  # type: ignore[arg-type]
    return found[0]


def test_a_run_of_today_is_the_usual_build() -> None:
    day = today()
    assert found_by(partition_key=day) is None or day != today()
    assert again(None) == []


def test_a_run_of_earlier_days_computes_them_again() -> None:
    may = date(2026, 5, 1)
    assert found_by(partition_key="2026-05-01") == (may, may)
    month = dict(zip(RANGE, ("2026-05-01", "2026-05-30"), strict=True))
    days = found_by(tags=month)
    assert days == (may, date(2026, 5, 30))
    assert again(days) == [
        "--vars", '{"recompute_landed_from": "2026-05-01", "recompute_landed_to": "2026-05-30"}'
    ]  # fmt: skip
    with_today = dict(zip(RANGE, ("2026-05-01", today()), strict=True))
    assert found_by(tags=with_today) == (may, date.fromisoformat(with_today[RANGE[1]]))


@pytest.mark.parametrize("hours", [0, 1, 23])
def test_today_is_a_day_from_midnight_on_and_tomorrow_is_none(hours: int) -> None:
    now = datetime(2026, 5, 1, hours, 0, 1, tzinfo=UTC)
    keys = DAYS.get_partition_keys(current_time=now)
    assert keys[0] == "2026-01-01" and keys[-1] == "2026-05-01"
    assert days_between(date(2026, 4, 29), now.date()) == [now.date() - timedelta(days=n) for n in (2, 1, 0)]
