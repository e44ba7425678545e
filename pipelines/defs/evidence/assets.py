"""The candidate evidence tables, computed together from one snapshot, each with its blocking checks.

A candidate that fails a check is kept for a look and never released.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.defs import freshness
from pipelines.defs.automation.conditions import WHEN_MOVED
from pipelines.defs.evidence.plots import plot_of
from pipelines.defs.resources import Database, Lake
from pipelines.evidence.controlled_comparison import controlled_comparison
from pipelines.evidence.group_engagement import group_engagement
from pipelines.evidence.inputs import Inputs, read_inputs
from pipelines.evidence.rows import CONTROLLED_COMPARISON, GROUP_ENGAGEMENT, TABLES, Table
from pipelines.publication.candidate import approve, provenance, read_candidate, write_candidate
from pipelines.publication.disclosure import control, threshold_of
from pipelines.quality.expectations import RuleResult, check
from pipelines.quality.results import Checked, crashed, record
from pipelines.quality.rules import Suite
from pipelines.quality.suites.evidence import evidence_suite
from services.runtime.lake import current_snapshot

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

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
    return evidence_suite(table.name, names, table.key, threshold_of)


def assets() -> dg.AssetsDefinition:
    suites = {name: suite_of(table) for name, table in TABLES.items()}

    @dg.multi_asset(
        name="evidence",
        specs=[_spec(table) for table in TABLES.values()],
        check_specs=[
            dg.AssetCheckSpec(rule.name, asset=evidence_key(name), blocking=True)
            for name, suite in suites.items()
            for rule in suite.rules
        ],
    )
    def evidence(
        context: dg.AssetExecutionContext, lake: Lake, database: Database
    ) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
        started = time.monotonic()
        with lake.open(read_only=True) as connection:
            snapshot = current_snapshot(connection)
        # What lands meanwhile does not move the ground: all tables are read at one snapshot.
        with lake.open(snapshot=snapshot) as connection:
            inputs = read_inputs(connection)
        frames = {name: control(BUILDERS[name](inputs)) for name in TABLES}
        release_id = write_candidate(database.settings, [*TABLES.values()], frames, provenance(snapshot))
        results = {name: _checked(database, release_id, TABLES[name], suites[name]) for name in TABLES}
        record(
            database.settings,
            context.run.run_id,
            [
                Checked("evidence", suites[name].name, found, release_id=release_id)
                for name, found in results.items()
            ],
        )
        if all(each.passed for found in results.values() for each in found):
            approve(database.settings, release_id)
        for name, found in results.items():
            yield dg.MaterializeResult(
                asset_key=evidence_key(name),
                metadata=_metadata(name, frames[name], release_id, snapshot, time.monotonic() - started),
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


def _checked(database: Database, release_id: int, table: Table, suite: Suite) -> list[RuleResult]:
    """The checks look at what is in PostgreSQL, not at what was meant to be written."""
    rows = read_candidate(database.settings, release_id, table)
    try:
        return check(suite.derive(rows), suite)
    except Exception as error:
        # Whatever broke, no rule has been seen to hold.
        log.exception("the check of %s broke", table.name)
        return [crashed(rule.name, error, len(rows)) for rule in suite.rules]


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
