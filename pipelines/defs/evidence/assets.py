"""The candidate evidence tables, computed together from one snapshot, each with its blocking checks.

The snapshot is the one that the marts have a verdict for. Of a tenant that breaks a rule there, or here, the
candidate has what is published already. A candidate that fails a check all the same is kept for a look and
never released.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.defs.evidence.door import Door
from pipelines.defs.evidence.plots import plot_of
from pipelines.defs.resources import Database, Lake
from pipelines.evidence.controlled_comparison import controlled_comparison
from pipelines.evidence.group_engagement import group_engagement
from pipelines.evidence.inputs import Inputs, read_inputs
from pipelines.evidence.protocols import protocols
from pipelines.evidence.rows import CONTROLLED_COMPARISON, GROUP_ENGAGEMENT, TABLES, Table
from pipelines.publication.candidate import approve, provenance, write_candidate
from pipelines.publication.disclosure import control, threshold_of
from pipelines.quality.expectations import RuleResult
from pipelines.quality.marts import newest_verdict
from pipelines.quality.rules import BLOCK, Rule, Suite
from pipelines.quality.suites.evidence import USUAL, evidence_suite
from services.runtime.lake import snapshot_of, snapshots

if TYPE_CHECKING:
    import pandas as pd

GROUP = "evidence"

BUILDERS: Mapping[str, Callable[[Inputs], "pd.DataFrame"]] = {
    GROUP_ENGAGEMENT.name: group_engagement,
    CONTROLLED_COMPARISON.name: controlled_comparison,
}

MARTS = {
    GROUP_ENGAGEMENT.name: ("fct_group_engagement", "fct_group_membership"),
    CONTROLLED_COMPARISON.name: ("fct_study_arm_outcome", "dim_study"),
}
"""What each table is computed from."""


def evidence_key(table: str) -> dg.AssetKey:
    return dg.AssetKey(["evidence", table])


def suite_of(table: Table) -> Suite:
    names = [column.name for column in table.columns]
    studies = [each.study for each in protocols(table.name)]
    return evidence_suite(table.name, names, table.key, studies=studies, threshold_of=threshold_of)


def rules_of(table: Table) -> tuple[Rule, ...]:
    """All that a table is held against."""
    return (*suite_of(table).rules, *USUAL.rules)


def assets() -> dg.AssetsDefinition:
    suites = {name: suite_of(table) for name, table in TABLES.items()}

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
        verdict = newest_verdict(database.settings)
        with lake.open(read_only=True) as connection:
            snapshot = snapshot_of(snapshots(connection), verdict.lake_snapshot)
        # What lands or is built meanwhile does not move the ground: all tables are read at one snapshot.
        with lake.open(snapshot=snapshot) as connection:
            inputs = read_inputs(connection)
        frames = {name: control(BUILDERS[name](inputs)) for name in TABLES}
        release_id = write_candidate(database.settings, [*TABLES.values()], frames, provenance(snapshot))
        door = Door(database.settings, context.run.run_id, release_id, suites)
        door.keep_out(verdict.held)
        door.look()
        if door.can_do_without_broken():
            door.keep_out(door.broken())
            door.look()
        if door.is_open:
            approve(database.settings, release_id)
        for name in TABLES:
            yield dg.MaterializeResult(
                asset_key=evidence_key(name),
                metadata=_metadata(name, frames[name], release_id, snapshot, time.monotonic() - started)
                | {"kept_as_published": dg.MetadataValue.json(sorted(door.kept))},
                check_results=[_check_result(name, each, door) for each in door.first[name]],
            )

    return evidence


def _spec(table: Table) -> dg.AssetSpec:
    return dg.AssetSpec(
        evidence_key(table.name),
        deps=[dg.AssetKey(["marts", mart]) for mart in MARTS[table.name]],
        description=f"{table.description} Candidate: after disclosure control, before release.",
        group_name=GROUP,
        kinds={"python", "postgres"},
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


def _check_result(table: str, result: RuleResult, door: Door) -> dg.AssetCheckResult:
    # What was kept out stops nobody else; an error would.
    is_error = result.severity == BLOCK and not door.is_open
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
