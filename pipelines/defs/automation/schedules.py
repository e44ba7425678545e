"""Starts the warehouse once a day, whatever has landed: so what failed is tried again. Compares live figures
with it every hour: more than once, because a group that is busy may not be comparable at the time.
"""

from __future__ import annotations

import dagster as dg

from pipelines.defs.automation.jobs import build_warehouse, reconcile_live

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
