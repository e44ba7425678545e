"""The candidate evidence tables, computed together from one snapshot, each with its blocking checks.

A candidate that fails a check is kept for a look and never released.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.builds.evidence import make_candidate, suite_of
from pipelines.defs import freshness
from pipelines.defs.automation.conditions import WHEN_MOVED
from pipelines.defs.evidence.plots import plot_of
from pipelines.defs.resources import Database, Lake
from pipelines.evidence.rows import CONTROLLED_COMPARISON, GROUP_ENGAGEMENT, TABLES, Table
from pipelines.quality.expectations import RuleResult

if TYPE_CHECKING:
    import pandas as pd

GROUP = "evidence"

MARTS = {
    GROUP_ENGAGEMENT.name: ("fct_group_engagement", "fct_group_membership"),
    CONTROLLED_COMPARISON.name: ("fct_study_arm_outcome", "dim_study"),
}
"""What each table is computed from."""


def evidence_key(table: str) -> dg.AssetKey:
    return dg.AssetKey(["evidence", table])


def assets() -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="evidence",
        specs=[_spec(table) for table in TABLES.values()],
        check_specs=[
            dg.AssetCheckSpec(rule.name, asset=evidence_key(name), blocking=True)
            for name, table in TABLES.items()
            for rule in suite_of(table).rules
        ],
    )
    def evidence(
        context: dg.AssetExecutionContext, lake: Lake, database: Database
    ) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
        started = time.monotonic()
        made = make_candidate(lake.settings, database.settings, context.run.run_id)
        for name, found in made.results.items():
            yield dg.MaterializeResult(
                asset_key=evidence_key(name),
                metadata=_metadata(
                    name, made.frames[name], made.release_id, made.lake_snapshot, time.monotonic() - started
                ),
                check_results=[_check_result(name, each) for each in found],
            )

    return evidence


def _spec(table: Table) -> dg.AssetSpec:
    return dg.AssetSpec(
        evidence_key(table.name),
        deps=[dg.AssetKey(["marts", mart]) for mart in MARTS[table.name]],
        description=f"{table.description} Candidate: after disclosure control, before release.",
        group_name=GROUP,
        kinds={"python", "postgres"},
        automation_condition=WHEN_MOVED,
        freshness_policy=freshness.BUILT,
    )


def _metadata(
    name: str, rows: "pd.DataFrame", release_id: int, snapshot: int, seconds: float
) -> dict[str, Any]:
    return {
        "dagster/row_count": len(rows),
        "rows_suppressed": int(rows["suppressed"].sum()),
        "candidate": release_id,
        "lake_snapshot": snapshot,
        "seconds": round(seconds, 2),
        "plot": dg.MetadataValue.md(plot_of(name, rows)),
    }


def _check_result(table: str, result: RuleResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=evidence_key(table),
        check_name=result.rule,
        passed=result.passed,
        metadata={
            "rows": result.count_rows,
            "unexpected": result.count_unexpected,
            "sample": dg.MetadataValue.json(list(result.sample)),
            "problem": result.problem,
        },
    )
