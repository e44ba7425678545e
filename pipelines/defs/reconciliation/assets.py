"""The live figures, which services fill outside Dagster, and their reconciliation with the lake.

What is compared, and what explains a difference, stands in `pipelines.quality.reconciliation`.
"""

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import duckdb

from pipelines.defs import freshness
from pipelines.defs.automation.conditions import HOURLY_WHEN_MOVED
from pipelines.defs.resources import Database, Lake
from pipelines.defs.streaming.assets import LIVE
from pipelines.quality.reconciliation import Reconciliation, read_live, reconcile, record
from services.runtime.lake import current_snapshot

GROUP = "reconciliation"
RECONCILIATION = dg.AssetKey(["reconciliation", "live_reconciliation"])
CHECK = "live_figures_equal_their_recomputation"


@dg.asset(
    key=RECONCILIATION,
    deps=[
        LIVE,
        dg.AssetKey(["staging", "stg_participation__events"]),
        dg.AssetKey(["staging", "stg_participation__identities"]),
        dg.AssetKey(["marts", "dim_participant"]),
    ],
    group_name=GROUP,
    kinds={"postgres"},
    automation_condition=HOURLY_WHEN_MOVED,
    freshness_policy=freshness.BUILT,
    description="Each live figure against its recomputation from the lake: table live.reconciliation.",
    check_specs=[dg.AssetCheckSpec(CHECK, asset=RECONCILIATION)],
)
def live_reconciliation(
    context: dg.AssetExecutionContext, lake: Lake, database: Database
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    started = time.monotonic()
    result, snapshot = _compared(lake, database)
    if result.count_unexplained:
        # What the stream heard a moment before it was read may not have landed: only what stays counts.
        result, snapshot = _compared(lake, database)
    record(database.settings, context.run.run_id, result)
    return dg.MaterializeResult(
        metadata={
            **_metadata(result),
            "lake_snapshot": snapshot,
            "seconds": round(time.monotonic() - started, 2),
        },
        check_results=[_check(result)],
    )


def _compared(lake: Lake, database: Database) -> tuple[Reconciliation, int]:
    """The comparison and the snapshot of the lake that it was made with."""
    read_at = datetime.now(UTC)
    live = read_live(database.settings)
    with lake.open(read_only=True) as connection:
        snapshot = current_snapshot(connection)
    if not live.num_rows:
        return Reconciliation(read_at), snapshot
    try:
        with lake.open(snapshot=snapshot) as connection:
            return reconcile(connection, live, read_at), snapshot
    except duckdb.CatalogException as error:
        raise dg.Failure("Nothing has been staged yet: run build_warehouse first.") from error


def _metadata(result: Reconciliation) -> dict[str, Any]:
    tenants = result.tenants
    return {
        "dagster/row_count": len(tenants),
        "groups_compared": sum(each.count_groups_compared for each in tenants),
        "groups_not_landed": sum(each.count_groups_not_landed for each in tenants),
        "groups_not_staged": sum(each.count_groups_not_staged for each in tenants),
        "figures_compared": sum(each.count_figures_compared for each in tenants),
        "explained": dg.MetadataValue.json(dict(result.explained)),
        "unexplained": result.count_unexplained,
        "examples": dg.MetadataValue.json([asdict(each) for each in result.examples]),
    }


def _check(result: Reconciliation) -> dg.AssetCheckResult:
    unexplained = [asdict(each) for each in result.examples if not each.reason]
    return dg.AssetCheckResult(
        asset_key=RECONCILIATION,
        check_name=CHECK,
        passed=result.count_unexplained == 0,
        metadata={
            "unexplained": result.count_unexplained,
            "example": dg.MetadataValue.json(unexplained[0] if unexplained else {}),
        },
    )
