"""The jobs: one builds the warehouse from the raw tables to the release, one compares live figures with it,
one looks whether what lands is healthy, one keeps the lake's files few.

What starts them stands beside this.
"""

from __future__ import annotations

import dagster as dg

from pipelines.defs.health.checks import checks as health_checks
from pipelines.defs.maintenance.assets import MAINTENANCE
from pipelines.defs.reconciliation.assets import RECONCILIATION

build_warehouse = dg.define_asset_job(
    "build_warehouse",
    selection=dg.AssetSelection.all()
    - dg.AssetSelection.assets(RECONCILIATION, MAINTENANCE)
    - dg.AssetSelection.checks(health_checks),
    description="Admits what has landed, builds staging to marts, computes evidence and releases it.",
    # One process: each of its own would import Great Expectations again, which takes longer than the work.
    executor_def=dg.in_process_executor,
)

reconcile_live = dg.define_asset_job(
    "reconcile_live",
    selection=dg.AssetSelection.assets(RECONCILIATION),
    description="Computes each live figure again from the lake, and says which differ and why.",
    executor_def=dg.in_process_executor,
)

maintain_lake = dg.define_asset_job(
    "maintain_lake",
    selection=dg.AssetSelection.assets(MAINTENANCE),
    description="Merges small files, expires snapshots by policy, deletes files that nothing names.",
    executor_def=dg.in_process_executor,
)

check_health = dg.define_asset_job(
    "check_health",
    selection=dg.AssetSelection.checks(health_checks),
    description="Lag of landing, share of failed events, partners' clocks.",
    executor_def=dg.in_process_executor,
)
