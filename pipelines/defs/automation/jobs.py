"""The jobs: one builds the warehouse from the raw tables to the release, one compares live figures with it,
one looks whether what lands is healthy, one keeps the lake's files few.

What starts them stands beside this.
"""

from __future__ import annotations

import dagster as dg

from pipelines.defs.health.checks import checks as health_checks
from pipelines.defs.maintenance.assets import MAINTENANCE
from pipelines.defs.reconciliation.assets import RECONCILIATION


def _job(name: str, selection: dg.AssetSelection, description: str) -> dg.UnresolvedAssetJobDefinition:
    """In one process: each of its own would import Great Expectations again, longer than the work takes."""
    return dg.define_asset_job(
        name, selection=selection, description=description, executor_def=dg.in_process_executor
    )


build_warehouse = _job(
    "build_warehouse",
    dg.AssetSelection.all()
    - dg.AssetSelection.assets(RECONCILIATION, MAINTENANCE)
    - dg.AssetSelection.checks(health_checks),
    "Admits what has landed, builds staging to marts, computes evidence and releases it.",
)

reconcile_live = _job(
    "reconcile_live",
    dg.AssetSelection.assets(RECONCILIATION),
    "Computes each live figure again from the lake, and says which differ and why.",
)

maintain_lake = _job(
    "maintain_lake",
    dg.AssetSelection.assets(MAINTENANCE),
    "Merges small files, expires snapshots by policy, deletes files that nothing names.",
)

check_health = _job(
    "check_health",
    dg.AssetSelection.checks(health_checks),
    "Lag of landing, share of failed events, partners' clocks.",
)
