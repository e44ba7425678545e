"""One check per rule of each mart, all in one step: one process imports Great Expectations once.

A broken rule keeps its tenant out of the next release, and nobody else. Evidence waits for the verdict and
for nothing else: that there is one is the check that blocks. What is checked stands in `quality.marts`.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from pipelines.builds.one import building
from pipelines.defs.resources import Database, Lake
from pipelines.quality.expectations import RuleResult
from pipelines.quality.marts import MartChecked, judge
from pipelines.quality.rules import BLOCK
from pipelines.quality.suites.marts import MARTS
from services.runtime.lake import current_snapshot

HAS_VERDICT = "has_a_verdict"


def mart_key(mart: str) -> dg.AssetKey:
    return dg.AssetKey(["marts", mart])


def _specs() -> Iterator[dg.AssetCheckSpec]:
    for mart in MARTS.values():
        key = mart_key(mart.name)
        yield dg.AssetCheckSpec(
            HAS_VERDICT,
            asset=key,
            blocking=True,
            description="What blocks could be put down to single tenants. Without it nothing is released.",
        )
        for rule in mart.rules:
            yield dg.AssetCheckSpec(rule.name, asset=key, description=rule.meaning)


@dg.multi_asset_check(name="marts", specs=[*_specs()], can_subset=True)
def checks(
    context: dg.AssetCheckExecutionContext, lake: Lake, database: Database
) -> Iterator[dg.AssetCheckResult]:
    """All marts are judged, also where one is asked about: a verdict is one of all."""
    with building(database.settings), lake.open(read_only=True) as connection:
        snapshot = current_snapshot(connection)
    with lake.open(snapshot=snapshot) as connection:
        checked = judge(connection, snapshot, database.settings, context.run.run_id)
    asked = context.selected_asset_check_keys
    results = (
        found
        for each in checked
        for found in (_verdict(each, snapshot), *(_check_result(each, result) for result in each.results))
    )
    yield from (each for each in results if _key(each) in asked)


def _key(result: dg.AssetCheckResult) -> dg.AssetCheckKey:
    """Its results name both."""
    return dg.AssetCheckKey(result.asset_key, result.check_name)  # type: ignore[arg-type]


def _verdict(checked: MartChecked, snapshot: int) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=mart_key(checked.mart),
        check_name=HAS_VERDICT,
        passed=checked.is_judged,
        metadata={
            "rows": sum(rows for rows, _ in checked.measured.values()),
            "tenants": len(checked.measured),
            "kept_out_of_the_release": dg.MetadataValue.json(sorted(checked.held)),
            "lake_snapshot": snapshot,
            "seconds": round(checked.seconds, 2),
            "seconds_in_great_expectations": round(checked.seconds_in_expectations, 2),
        },
    )


def _check_result(checked: MartChecked, result: RuleResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=mart_key(checked.mart),
        check_name=result.rule,
        passed=result.passed,
        severity=dg.AssetCheckSeverity.ERROR if result.severity == BLOCK else dg.AssetCheckSeverity.WARN,
        metadata={
            "severity": result.severity,
            "rows": result.count_rows,
            "unexpected": result.count_unexpected,
            "broken_in": dg.MetadataValue.json(_broken(checked, result)),
            "problem": result.problem,
        },
    )


def _broken(checked: MartChecked, result: RuleResult) -> Sequence[dict[str, object]]:
    told = checked.told.get(result.rule, {})
    return [
        {"tenant": tenant, "unexpected": count, "sample": list(told.get(tenant, ()))}
        for tenant, count in sorted(result.by_tenant.items())
    ]
