"""What starts at its time, because time is the reason. The warehouse once a day, whatever has landed: so
what failed is tried again. The look at the health of what lands every quarter of an hour. The upkeep of the
lake every hour.

What starts because something has moved stands in `sensors` and `conditions`.
"""

from __future__ import annotations

import dagster as dg

from pipelines.defs.automation.jobs import build_warehouse, check_health, maintain_lake
from pipelines.defs.automation.unfinished import has_unfinished_run
from pipelines.defs.days import today


def _schedule(
    name: str, job: dg.UnresolvedAssetJobDefinition, cron: str, *, of_today: bool = False
) -> dg.ScheduleDefinition:
    """A run at these times (UTC), unless one of the job waits or works: so that nothing piles up.

    `of_today`: the job's assets have days.
    """

    def due(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if has_unfinished_run(context.instance, job.name):
            return dg.SkipReason("A run is queued or under way.")
        return dg.RunRequest(partition_key=today() if of_today else None)

    return dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_fn=due,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


daily_build = _schedule("daily_build", build_warehouse, "0 3 * * *", of_today=True)
health_look = _schedule("health_look", check_health, "7,22,37,52 * * * *")
hourly_maintenance = _schedule("hourly_maintenance", maintain_lake, "45 * * * *")
