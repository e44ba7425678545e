"""`rebuild`: what `circles rebuild` does from raw tables on, started from Dagster's page and queued with the
other runs. Landing again from Kafka is the command line's: raw tables are filled outside of Dagster.
"""

from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.builds.rebuild import UNITS, expected
from pipelines.builds.rebuild import rebuild as build_again
from pipelines.defs.resources import Database, Lake
from pipelines.defs.transformation.project import build_anew


class RebuildConfig(dg.Config):
    """What is asked of the job."""

    dry_run: bool = Field(default=True, description="Only say what would be done, and roughly how long.")


@dg.op(description="Admits what waits, computes every table anew, and releases the evidence.")
def everything_downstream(
    context: dg.OpExecutionContext, config: RebuildConfig, lake: Lake, database: Database
) -> None:
    if config.dry_run:
        for each in expected(lake.settings, database.settings):
            context.log.info("%s: %d rows, roughly %.0f s", each.name, each.count_rows, each.seconds)
        context.log.info("Nothing was changed. Start it with dry_run: false.")
        return
    metadata: dict[str, Any] = {}
    for step in build_again(lake.settings, database.settings, build_anew, context.run_id):
        context.log.info("%s: %d %s, %.1f s", step.name, step.count, UNITS[step.name], step.seconds)
        metadata |= {f"{step.name} ({UNITS[step.name]})": step.count}
    context.add_output_metadata(metadata)


@dg.job(
    executor_def=dg.in_process_executor,
    description="Computes everything downstream of the raw tables again; verdicts stay. Safe to repeat.",
)
def rebuild() -> None:
    everything_downstream()
