"""One asset per raw table: the verdicts on its pending slices, with one check per rule.

The checks stop no run: a blocked slice is kept out of staging by its verdict, and the slices of other
tenants go on. A broken rule that blocks is an error, because somebody has to decide about the slice; one that
warns is a warning.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from pipelines.defs.admission.plots import plot_of
from pipelines.defs.days import DAYS
from pipelines.defs.landing.assets import raw_key
from pipelines.defs.resources import Database, Lake
from pipelines.quality.admission import Judged, JudgedDay, admit, judged_days
from pipelines.quality.rules import BLOCK, Rule
from pipelines.quality.suites import RAW_SUITES, raw_rules
from services.runtime.lake import current_snapshot

GROUP = "admission"
DRAWN_DAYS = 28


def admission_key(raw_table: str) -> dg.AssetKey:
    return dg.AssetKey(["admission", raw_table])


def assets() -> Iterator[dg.AssetsDefinition]:
    return (_asset(raw_table) for raw_table in RAW_SUITES)


def _asset(raw_table: str) -> dg.AssetsDefinition:
    key, rules = admission_key(raw_table), raw_rules(raw_table)

    @dg.asset(
        key=key,
        deps=[raw_key(raw_table)],
        group_name=GROUP,
        kinds={"greatexpectations"},
        description=f"Verdicts on slices of raw.{raw_table}: one tenant's rows between two landings.",
        check_specs=[dg.AssetCheckSpec(rule.name, asset=key, description=rule.meaning) for rule in rules],
        partitions_def=DAYS,
        # Whatever days are asked for: all that waits is judged.
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def admission(context: dg.AssetExecutionContext, lake: Lake, database: Database) -> dg.MaterializeResult:  # type: ignore[type-arg]
        started = time.monotonic()
        with lake.open() as connection:
            judged = admit(connection, database.settings, raw_table, context.run.run_id)
            # Where nothing was new, the picture would be that of the last time.
            days = judged_days(connection, raw_table, DRAWN_DAYS) if judged else []
            snapshot = current_snapshot(connection)
        return dg.MaterializeResult(
            metadata=_metadata(judged, days, snapshot, time.monotonic() - started),
            check_results=[_check(key, rule, judged) for rule in rules],
        )

    return admission


def _metadata(
    judged: Sequence[Judged], days: Sequence[JudgedDay], snapshot: int, seconds: float
) -> dict[str, Any]:
    verdicts = [each.verdict for each in judged]
    plot = {"plot": dg.MetadataValue.md(plot_of(days))} if days else {}
    return {
        "dagster/row_count": sum(each.slice.count_rows for each in judged),
        "slices_passed": verdicts.count("passed"),
        "slices_blocked": verdicts.count("blocked"),
        "slices_without_verdict": verdicts.count(None),
        "lake_snapshot": snapshot,
        "seconds": round(seconds, 2),
        **plot,
    }


def _check(key: dg.AssetKey, rule: Rule, judged: Sequence[Judged]) -> dg.AssetCheckResult:
    broken = list(_broken(rule.name, judged))
    # Whatever the rule's own severity: a broken check needs somebody.
    is_error = rule.severity == BLOCK or any(each.problem for each in judged)
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=rule.name,
        passed=not broken,
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        metadata={
            "severity": rule.severity,
            "slices": len(judged),
            "broken_in": dg.MetadataValue.json(broken),
        },
    )


def _broken(rule: str, judged: Sequence[Judged]) -> Iterator[dict[str, object]]:
    """Slices in which the rule is broken or could not be judged: counts, and values that identify nobody."""
    for each in judged:
        if each.problem:
            yield {"tenant": each.slice.tenant_id, "problem": each.problem}
        for result in each.results:
            if result.rule == rule and not result.passed:
                yield {
                    "tenant": each.slice.tenant_id,
                    "landings": f"{each.slice.first_landed_seq} to {each.slice.last_landed_seq}",
                    "rows": result.count_rows,
                    "unexpected": result.count_unexpected,
                    "sample": list(result.sample),
                    "problem": result.problem,
                }
