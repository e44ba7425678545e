"""The code location: joins what `defs` holds into one object. Nothing is defined here.

Loading takes seconds and touches neither the lake nor a server; heavy imports wait for the step that needs
them.
"""

from __future__ import annotations

import dagster as dg

from pipelines.defs.admission import assets as admission
from pipelines.defs.automation.conditions import automation
from pipelines.defs.automation.failures import failure_sensor
from pipelines.defs.automation.jobs import build_warehouse, check_health, maintain_lake, reconcile_live
from pipelines.defs.automation.schedules import daily_build, health_look, hourly_maintenance
from pipelines.defs.automation.sensors import new_data_sensor
from pipelines.defs.evidence import assets as evidence
from pipelines.defs.health.checks import checks as health_checks
from pipelines.defs.landing import assets as landing
from pipelines.defs.maintenance import assets as maintenance
from pipelines.defs.marts.checks import checks as mart_checks
from pipelines.defs.operations.publish import publish_by_hand
from pipelines.defs.operations.replay import replay_failed_events
from pipelines.defs.operations.retention import retention
from pipelines.defs.publication import assets as publication
from pipelines.defs.rebuild.jobs import rebuild
from pipelines.defs.reconciliation import assets as reconciliation
from pipelines.defs.resources import Database, Lake
from pipelines.defs.streaming import assets as streaming
from pipelines.defs.streaming.state import streaming_state
from pipelines.defs.transformation import assets as transformation

defs = dg.Definitions(
    assets=[
        *streaming.specs(),
        *landing.specs(),
        *admission.assets(),
        transformation.assets(),
        evidence.assets(),
        publication.release,
        reconciliation.live_reconciliation,
        maintenance.lake_maintenance,
    ],
    asset_checks=[health_checks, mart_checks],
    jobs=[
        build_warehouse,
        reconcile_live,
        check_health,
        maintain_lake,
        replay_failed_events,
        retention,
        publish_by_hand,
        rebuild,
    ],
    schedules=[daily_build, health_look, hourly_maintenance],
    sensors=[new_data_sensor, automation, failure_sensor, streaming_state],
    resources={"lake": Lake(), "database": Database(), "dbt": transformation.dbt_resource()},
    executor=dg.in_process_executor,
)
