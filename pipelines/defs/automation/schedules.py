"""Starts the warehouse once a day, whatever has landed: so what failed is tried again."""

from __future__ import annotations

import dagster as dg

from pipelines.defs.automation.jobs import build_warehouse

daily_build = dg.ScheduleDefinition(
    name="daily_build",
    job=build_warehouse,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
