"""Starts the warehouse once a day, whatever has landed: so what failed is tried again. Compares live figures
with it every hour: more than once, because a group that is busy may not be comparable at the time. Looks at
the health of what lands every quarter of an hour. Keeps the lake in order every hour, between the others.
"""

from __future__ import annotations

import dagster as dg

from pipelines.defs.automation.jobs import build_warehouse, check_health, maintain_lake, reconcile_live
from pipelines.defs.automation.unfinished import has_unfinished_run


def _schedule(name: str, job: dg.UnresolvedAssetJobDefinition, cron: str) -> dg.ScheduleDefinition:
    """A run at these times (UTC), unless one of the job waits or works: so that nothing piles up."""

    def due(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if has_unfinished_run(context.instance, job.name):
            return dg.SkipReason("A run is queued or under way.")
        return dg.RunRequest()

    return dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_fn=due,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


daily_build = _schedule("daily_build", build_warehouse, "0 3 * * *")
hourly_reconciliation = _schedule("hourly_reconciliation", reconcile_live, "30 * * * *")
health_look = _schedule("health_look", check_health, "7,22,37,52 * * * *")
hourly_maintenance = _schedule("hourly_maintenance", maintain_lake, "45 * * * *")
