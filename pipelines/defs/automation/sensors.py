"""Starts the warehouse when something has landed that no verdict covers yet."""

import dagster as dg
import duckdb

from pipelines.defs.automation.jobs import build_warehouse
from pipelines.defs.automation.unfinished import has_unfinished_run
from pipelines.defs.days import today
from pipelines.defs.resources import Lake
from pipelines.quality.admission import newest_pending

SECONDS = 15
"""Shortest time between two looks."""


@dg.sensor(
    job=build_warehouse,
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts build_warehouse when rows have landed that await admission.",
)
def new_data_sensor(context: dg.SensorEvaluationContext, lake: Lake) -> dg.RunRequest | dg.SkipReason:
    if has_unfinished_run(context.instance, build_warehouse.name):
        return dg.SkipReason("A run is queued or under way; it, or the next look, takes what is new.")
    try:
        with lake.open() as connection:
            newest = newest_pending(connection)
    except duckdb.CatalogException:
        return dg.SkipReason("Nothing has ever landed.")
    if newest is None:
        return dg.SkipReason("Everything that has landed has its verdict.")
    if str(newest) == context.cursor:
        # A slice whose check broke stays pending. It is tried again with the next landing and once a day.
        return dg.SkipReason(f"Landing {newest} has been tried already.")
    context.update_cursor(str(newest))
    return dg.RunRequest(partition_key=today(), tags={"circles/landed_seq": str(newest)})
