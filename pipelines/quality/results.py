"""What every check has found, as rows of `quality.expectation_results`: for operators, and for analysts as
counts without tenants. No row holds an identifier or a partner's words.

What is checked is decided by `admission`, publication and `health`. The table is bounded: what passed is kept
for a week, what did not for 90 days.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from psycopg2.extras import execute_values

from pipelines.quality.expectations import RuleResult
from pipelines.quality.rules import BLOCK, Severity
from services.runtime.postgres import connect
from services.runtime.settings import PostgresSettings

KEPT_DAYS_PASSED = 7
KEPT_DAYS_FAILED = 90

INSERT = """
INSERT INTO quality.expectation_results (
  run_id, checked_at, stage, suite, expectation, tenant_id, slice_id, first_landed_seq, last_landed_seq,
  release_id, severity, success, count_rows, count_unexpected, observed_value, problem
) VALUES %s
"""

INSERT_RUNS = """
INSERT INTO quality.suite_runs (
  run_id, checked_at, stage, suite, lake_snapshot, count_checked, count_rows, seconds, seconds_in_expectations
) VALUES %s
"""

FORGET = """
DELETE FROM quality.expectation_results
WHERE checked_at < now() - %(failed)s * interval '1 day'
   OR (success AND checked_at < now() - %(passed)s * interval '1 day');
DELETE FROM quality.suite_runs WHERE checked_at < now() - %(failed)s * interval '1 day'
"""


@dataclass(frozen=True)
class Checked:
    """One table, or one tenant's part of it, and the results of the rules that it was held against."""

    stage: str
    """admission, marts, evidence or health."""
    suite: str
    results: Sequence[RuleResult]
    tenant_id: str | None = None
    slice_id: int | None = None
    """None as well when the check broke: then there is no verdict."""
    landings: tuple[int | None, int | None] = (None, None)
    release_id: int | None = None


@dataclass(frozen=True)
class SuiteRun:
    """How much a suite has checked in one run, and in which time. Columns of `quality.suite_runs`."""

    stage: str
    suite: str
    count_checked: int
    count_rows: int
    seconds: float
    seconds_in_expectations: float
    lake_snapshot: int | None = None


def told_apart(checked: Checked) -> Iterator[Checked]:
    """Of rows of several tenants: the broken rules of each that breaks some; all rules once for the others.
    What cannot be put down to anybody stays as it is."""
    for tenant in sorted({tenant for each in checked.results for tenant in each.by_tenant}):
        broken = [
            replace(each, count_unexpected=each.by_tenant[tenant], sample=_sample_of_one(each), by_tenant={})
            for each in checked.results
            if tenant in each.by_tenant
        ]
        yield replace(checked, tenant_id=tenant, results=broken)
    yield replace(
        checked,
        results=[
            replace(each, passed=True, count_unexpected=0, sample=()) if each.by_tenant else each
            for each in checked.results
        ],
    )


def _sample_of_one(result: RuleResult) -> tuple[str, ...]:
    """A sample of several tenants' rows is none of one's."""
    return result.sample if len(result.by_tenant) == 1 else ()


def crashed(rule: str, error: Exception, count_rows: int = 0, severity: Severity = BLOCK) -> RuleResult:
    """The result of a check that broke: it has not passed. The error's words may hold values: only its kind
    is told."""
    problem = f"the check broke: {type(error).__name__}"
    return RuleResult(rule, False, count_rows, problem=problem, severity=severity)


def record(
    postgres: PostgresSettings, run_id: str, checked: Sequence[Checked], runs: Sequence[SuiteRun] = ()
) -> None:
    """Adds a row per result and one per suite, and forgets what is old, in one transaction."""
    checked_at = datetime.now(UTC)
    rows = [
        (
            run_id,
            checked_at,
            each.stage,
            each.suite,
            result.rule,
            each.tenant_id,
            each.slice_id,
            *each.landings,
            each.release_id,
            result.severity,
            result.passed,
            result.count_rows,
            result.count_unexpected,
            ", ".join(result.sample) or None,
            result.problem or None,
        )
        for each in checked
        for result in each.results
    ]
    if not rows:
        return
    with (
        closing(connect(postgres, postgres.database_published, autocommit=False)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        execute_values(cursor, INSERT, rows)
        execute_values(cursor, INSERT_RUNS, [(run_id, checked_at, *_columns(each)) for each in runs])
        cursor.execute(FORGET, {"failed": KEPT_DAYS_FAILED, "passed": KEPT_DAYS_PASSED})


def _columns(run: SuiteRun) -> tuple[object, ...]:
    return (
        run.stage,
        run.suite,
        run.lake_snapshot,
        run.count_checked,
        run.count_rows,
        round(run.seconds, 3),
        round(run.seconds_in_expectations, 3),
    )
