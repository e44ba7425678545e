"""Starts the warehouse once a day, whatever has landed: so what failed is tried again. Compares live figures
with it every hour: more than once, because a group that is busy may not be comparable at the time. Keeps the
lake in order every hour, between the two.
"""

from __future__ import annotations

import dagster as dg

from pipelines.defs.automation.jobs import build_warehouse, maintain_lake, reconcile_live
from pipelines.defs.automation.runs import is_under_way

daily_build = dg.ScheduleDefinition(
    name="daily_build",
    job=build_warehouse,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

hourly_reconciliation = dg.ScheduleDefinition(
    name="hourly_reconciliation",
    job=reconcile_live,
    cron_schedule="30 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


@dg.schedule(
    job=maintain_lake,
    cron_schedule="45 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def hourly_maintenance(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One at a time: behind a long build the hours do not pile up."""
    if is_under_way(context.instance, maintain_lake.name):
        return dg.SkipReason("A maintenance is queued or under way.")
    return dg.RunRequest()
