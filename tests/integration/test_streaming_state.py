"""Dagster's look at the running services, topics and raw tables, as its daemon takes it."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from pipelines.defs.resources import Lake
from pipelines.defs.streaming.state import streaming_state
from tests.partners import attended, lake_rows, new_partner, wait_until_quiet
from tests.stacks import Stack

pytestmark = pytest.mark.stack


def look(cursor: str | None) -> dg.SensorResult:
    with dg.build_sensor_context(cursor=cursor, resources={"lake": Lake()}) as context:
        result = streaming_state(context)
    assert isinstance(result, dg.SensorResult)
    return result


def told(result: dg.SensorResult) -> dict[str, dict[str, Any]]:
    return {
        "/".join(each.asset_key.path): {name: entry.value for name, entry in each.metadata.items()}
        for each in result.asset_events
    }


def test_what_has_landed_is_told_once_and_what_everybody_knows_never(stack: Stack) -> None:
    partner = new_partner(stack, "looked-at")
    partner.call([attended(person=f"p{number}") for number in range(3)])
    wait_until_quiet()
    rows_by_day = dict(
        lake_rows("SELECT landed_at::DATE::VARCHAR, count(*) FROM raw.participation_events GROUP BY ALL")
    )
    first = look(None)
    seen = told(first)
    assert {seen[f"service/{name}"]["state"] for name in ("ingestion", "landing", "live")} == {"ready"}
    assert seen["topic/participation-events"]["waiting_for_landing"] == 0
    assert seen["topic/participation-events"]["messages"] > 0
    (day,) = [each for each in first.asset_events if each.asset_key.path == ["raw", "participation_events"]]
    assert isinstance(day, dg.AssetMaterialization)
    assert day.metadata["dagster/partition_row_count"].value == rows_by_day.get(day.partition, 0)
    assert partner.tenant_id not in str(first)
    again = look(first.cursor)
    assert not [name for name in told(again) if name.startswith("raw/")]
