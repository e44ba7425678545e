"""The candidate evidence tables, computed together from one snapshot, each with its blocking checks.

Of a tenant that breaks a rule, in the marts or here, the candidate has what is published already. A candidate
that fails a check all the same is kept for a look and never released.
"""

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg

from pipelines.builds.evidence import Candidate, make_candidate, rules_of
from pipelines.defs import freshness
from pipelines.defs.automation.conditions import WHEN_MOVED
from pipelines.defs.evidence.plots import plot_of
from pipelines.defs.evidence.plots_looks import plot_of_looks
from pipelines.defs.resources import Database, Lake
from pipelines.evidence.inputs import marts_of
from pipelines.evidence.rows import TABLES, Table
from pipelines.quality.expectations import RuleResult
from pipelines.quality.rules import BLOCK

GROUP = "evidence"


def evidence_key(table: str) -> dg.AssetKey:
    return dg.AssetKey(["evidence", table])


def assets() -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="evidence",
        specs=[_spec(table) for table in TABLES.values()],
        check_specs=[
            dg.AssetCheckSpec(
                rule.name,
                asset=evidence_key(name),
                blocking=rule.severity == BLOCK,
                description=rule.meaning,
            )
            for name, table in TABLES.items()
            for rule in rules_of(table)
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
                metadata=_metadata(name, made, database, time.monotonic() - started),
                check_results=[_check_result(name, each, made) for each in found],
            )

    return evidence


def _spec(table: Table) -> dg.AssetSpec:
    return dg.AssetSpec(
        evidence_key(table.name),
        deps=[dg.AssetKey(["marts", mart]) for mart in marts_of(table.name)],
        description=f"{table.description} Candidate: after disclosure control, before release.",
        group_name=GROUP,
        kinds={"python", "postgres"},
        automation_condition=WHEN_MOVED,
        freshness_policy=freshness.BUILT,
    )


def _metadata(name: str, made: Candidate, database: Database, seconds: float) -> dict[str, Any]:
    rows = made.frames[name]
    return {
        "dagster/row_count": len(rows),
        "rows_suppressed": int(rows["suppressed"].sum()),
        "candidate": made.release_id,
        "unchanged_tenants": dg.MetadataValue.json(sorted(made.unchanged[name])),
        "kept_as_published": dg.MetadataValue.json(sorted(made.kept)),
        "lake_snapshot": made.lake_snapshot,
        "seconds": round(seconds, 2),
        "plot": dg.MetadataValue.md(plot_of(name, rows)),
        "looks": dg.MetadataValue.md(plot_of_looks(database.settings, name, rows)),
    }


def _check_result(table: str, result: RuleResult, made: Candidate) -> dg.AssetCheckResult:
    # What was kept out stops nobody else; an error would.
    is_error = result.severity == BLOCK and not made.has_passed
    return dg.AssetCheckResult(
        asset_key=evidence_key(table),
        check_name=result.rule,
        passed=result.passed,
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        metadata={
            "severity": result.severity,
            "rows": result.count_rows,
            "unexpected": result.count_unexpected,
            "broken_in": dg.MetadataValue.json(dict(result.by_tenant)),
            "sample": dg.MetadataValue.json(list(result.sample)),
            "problem": result.problem,
        },
    )
