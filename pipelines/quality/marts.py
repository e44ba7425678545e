"""The gate between marts and evidence: holds every mart against its suite, at one snapshot of the lake.

A mart cannot be cut into slices that are kept back. A broken rule that blocks keeps the tenant out of what is
released next: what is published of it stays as it was. The verdict is what stands in `quality`; evidence is
computed from the snapshot that it is about, and from no other. Rules stand in `suites.marts`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.quality.expectations import MAX_SAMPLE, RuleResult, check, load, seconds_spent
from pipelines.quality.mart_days import Days, Figures, compared_with, days_before, remember
from pipelines.quality.results import Checked, SuiteRun, crashed, record
from pipelines.quality.rules import BLOCK
from pipelines.quality.schema import check_schema, columns_in_lake
from pipelines.quality.suites.marts import FIGURES, MARTS, VOLUME, Mart, columns_of
from pipelines.quality.trailing import Figure
from services.runtime.instruments import instruments
from services.runtime.postgres import connect
from services.runtime.settings import PostgresSettings

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

STAGE = "marts"
Told = Mapping[str, Mapping[str, tuple[str, ...]]]
"""By rule and tenant, what is to be said: which conditions rows break, or what is unusual. Never a value of
a row."""


class NotJudged(Exception):
    """There is no verdict on the marts that evidence could rest on."""


@dataclass(frozen=True)
class MartChecked:
    """How a mart fared. `results` tell in `by_tenant` whose rows broke a rule."""

    mart: str
    results: tuple[RuleResult, ...]
    told: Told
    measured: Mapping[str, tuple[int, Figures]]
    """By tenant: its rows, and means and shares by name."""
    seconds: float
    seconds_in_expectations: float

    @property
    def is_judged(self) -> bool:
        """Whether every rule that blocks could be put down to the tenants that break it."""
        return all(each.passed or each.by_tenant for each in self.results if each.severity == BLOCK)

    @property
    def held(self) -> set[str]:
        """Tenants of whom a rule that blocks is broken."""
        return {tenant for each in self.results if each.blocks for tenant in each.by_tenant}


@dataclass(frozen=True)
class Verdict:
    """What evidence may rest on: the lake at this snapshot, but for these tenants."""

    run_id: str
    lake_snapshot: int
    held: frozenset[str]


def judge(
    lake: duckdb.DuckDBPyConnection, snapshot: int, postgres: PostgresSettings, run_id: str
) -> list[MartChecked]:
    """Checks all marts and records the verdict. `lake` is opened at `snapshot`."""
    load()
    days = days_before(postgres)
    checked = [look_at(lake, each, days.get(each.name, {})) for each in MARTS.values()]
    record(
        postgres,
        run_id,
        [row for each in checked for row in _rows(each)],
        [_run(each, snapshot) for each in checked],
    )
    remember(
        postgres,
        {
            (each.mart, tenant): found
            for each in checked
            for tenant, found in each.measured.items()
            if tenant not in each.held
        },
    )
    return checked


def verdict_of(postgres: PostgresSettings, run_id: str) -> Verdict | None:
    """The verdict on the marts that this run has made. None: it has made none so far.

    Raises NotJudged when it could not be put down to single tenants.
    """
    with closing(connect(postgres, postgres.database_published)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT max(lake_snapshot) FROM quality.suite_runs WHERE stage = %s AND run_id = %s",
            (STAGE, run_id),
        )
        (snapshot,) = cursor.fetchone() or (None,)
        if snapshot is None:
            return None
        cursor.execute(
            "SELECT DISTINCT tenant_id FROM quality.expectation_results "
            "WHERE run_id = %s AND stage = %s AND severity = %s AND NOT success",
            (run_id, STAGE, BLOCK),
        )
        held = {row[0] for row in cursor.fetchall()}
    if None in held:
        raise NotJudged(
            "A check of the marts broke, or a mart is not as its contract says: see their red checks."
        )
    return Verdict(run_id, snapshot, frozenset(held))


def look_at(lake: duckdb.DuckDBPyConnection, mart: Mart, days: Days) -> MartChecked:
    """Holds a mart against its suite; `days` are what is usual there. Never raises: a check that breaks has
    failed."""
    started, spent = time.monotonic(), seconds_spent()
    results, told, measured = _judged(lake, mart, days)
    seconds = time.monotonic() - started
    return MartChecked(mart.name, tuple(results), told, measured, seconds, seconds_spent() - spent)


def _judged(
    lake: duckdb.DuckDBPyConnection, mart: Mart, days: Days
) -> tuple[Sequence[RuleResult], Told, dict[str, tuple[int, Figures]]]:
    import pandas as pd

    try:
        schema = check_schema(columns_of(mart.name), columns_in_lake(lake, "marts", mart.name), 0)
        if not schema.passed:
            return [schema, *_not_run(mart)], {}, {}
        counted = _counted(lake, mart, days)
        measured = {str(row["tenant_id"]): _of_tenant(mart, row) for row in counted.to_dict("records")}
        compared = {tenant: compared_with(*found, days.get(tenant, ())) for tenant, found in measured.items()}
        numbers = counted.assign(
            volume=pd.Series([each.value for each, _ in compared.values()], dtype=float),
            figures=pd.Series([each.value for _, each in compared.values()], dtype=float),
        )
        found = check(numbers.astype(dict.fromkeys(mart.suite.columns, float)), mart.suite, "tenant_id")
        count_rows = int(counted["count_rows"].sum())
        results = [
            replace(_with_counts(each, numbers, compared), count_rows=count_rows) for each in (schema, *found)
        ]
        unusual: dict[str, Mapping[str, tuple[str, ...]]] = {
            rule: {tenant: (each[place].words,) for tenant, each in compared.items()}
            for rule, place in _COMPARED.items()
        }
        return results, {**unusual, **_details(lake, mart, results)}, measured
    except Exception as error:
        # Whatever broke, no rule has been seen to hold.
        log.exception("the check of %s broke", mart.name)
        return [crashed(rule.name, error, severity=rule.severity) for rule in mart.rules], {}, {}


def _not_run(mart: Mart) -> list[RuleResult]:
    problem = "not run: the columns are wrong"
    return [
        RuleResult(rule.name, False, 0, problem=problem, severity=rule.severity) for rule in mart.rules[1:]
    ]


def _counted(lake: duckdb.DuckDBPyConnection, mart: Mart, days: Days) -> pd.DataFrame:
    """One row per tenant: its rows, how many of them break each rule, and its figures. A tenant that had rows
    in the weeks before and has none now has 0 rows."""
    import pandas as pd

    columns = [
        "coalesce(tenant_id, '') AS tenant_id",
        "count(*) AS count_rows",
        *(f"{_broken(each.holds)} AS {each.rule.name}" for each in mart.conditions),
        *(f"CAST({sql} AS DOUBLE) AS figure_{i}" for i, sql in enumerate(mart.figures.values())),
    ]
    found = _asked(lake, f"SELECT {', '.join(columns)} FROM {_joined(mart)} GROUP BY ALL ORDER BY 1")  # noqa: S608
    gone = sorted(days.keys() - set(found["tenant_id"]))
    if not gone:
        return found
    return pd.concat([found, pd.DataFrame({"tenant_id": gone, "count_rows": 0})], ignore_index=True)


def _of_tenant(mart: Mart, row: Mapping[Any, Any]) -> tuple[int, Figures]:
    numbers = {name: float(row[f"figure_{i}"]) for i, name in enumerate(mart.figures)}
    return int(row["count_rows"]), {
        name: each if math.isfinite(each) else None for name, each in numbers.items()
    }


_COMPARED = {VOLUME.name: 0, FIGURES.name: 1}
"""Rules about a tenant as a whole; their places in what `_compared` gives."""


def _with_counts(
    result: RuleResult, numbers: pd.DataFrame, compared: Mapping[str, tuple[Figure, Figure]]
) -> RuleResult:
    """Counted in rows of the mart, not in those of the frame; and whose it was not judged of."""
    column = "count_rows" if result.rule in _COMPARED else result.rule
    if column not in numbers or result.problem:
        return result
    rows = dict(zip(numbers["tenant_id"], numbers[column], strict=True))
    by_tenant = {tenant: int(rows[tenant]) for tenant in result.by_tenant}
    return replace(
        result,
        by_tenant=by_tenant,
        count_unexpected=sum(by_tenant.values()),
        sample=(),
        problem=_not_judged([each[_COMPARED[result.rule]] for each in compared.values()])
        if result.rule in _COMPARED
        else "",
    )


def _not_judged(figures: Sequence[Figure]) -> str:
    without = [each.words for each in figures if each.value is None]
    return f"not judged of {len(without)} of {len(figures)} tenants, as: {without[0]}" if without else ""


def _details(lake: duckdb.DuckDBPyConnection, mart: Mart, results: Sequence[RuleResult]) -> Told:
    """Of broken rules, which of their conditions are, in how many rows: a second scan, if any is."""
    broken = {each.rule for each in results if each.by_tenant}
    conditions = [
        (each.rule.name, sql) for each in mart.conditions for sql in each.holds if each.rule.name in broken
    ]
    if not conditions:
        return {}
    counts = ", ".join(_broken([sql]) for _, sql in conditions)
    rows = _asked(
        lake,
        f"SELECT coalesce(tenant_id, '') AS tenant_id, {counts} FROM {_joined(mart)} GROUP BY ALL",  # noqa: S608
    )
    told: dict[str, dict[str, tuple[str, ...]]] = {}
    for tenant, *found in rows.itertuples(index=False, name=None):
        for (rule, sql), count in zip(conditions, found, strict=True):
            if count:
                words = (*told.setdefault(rule, {}).get(tenant, ()), f"{sql}: not in {count} rows")
                told[rule][tenant] = words[:MAX_SAMPLE]
    return told


def _broken(conditions: Sequence[str]) -> str:
    return f"count(*) FILTER (WHERE NOT ({' AND '.join(f'({each})' for each in conditions)}))"


def _joined(mart: Mart) -> str:
    """The mart with its parents' columns beside its own."""
    joins = [
        f"""LEFT JOIN (
          SELECT DISTINCT tenant_id AS {each.alias}_tenant, {each.key} AS {each.alias}_key,
                 true AS {each.alias}_is_there
                 {"".join(f", {column} AS {each.alias}_{column}" for column in each.also)}
          FROM marts.{each.mart}
        ) ON tenant_id = {each.alias}_tenant AND {each.column} = {each.alias}_key"""  # noqa: S608
        for each in mart.parents
    ]
    if mart.has_instruments:
        joins.append("LEFT JOIN scales_of_quality USING (instrument, scale)")
    return " ".join((f"marts.{mart.name}", *joins))


def _asked(lake: duckdb.DuckDBPyConnection, statement: str) -> pd.DataFrame:
    import pandas as pd

    scales = pd.DataFrame(
        [
            (each.code, name, scale.total.least, scale.total.most)
            for each in instruments().values()
            for name, scale, _ in each.all_scales()
        ],
        columns=["instrument", "scale", "least_total", "most_total"],
    )
    lake.register("scales_of_quality", scales)
    try:
        return lake.execute(statement).df()
    finally:
        lake.unregister("scales_of_quality")


def _rows(checked: MartChecked) -> Iterator[Checked]:
    """What is recorded: each broken rule of each tenant that breaks it, and each rule once for all others."""
    suite = f"marts.{checked.mart}"
    broken = {tenant for each in checked.results for tenant in each.by_tenant}
    for tenant in sorted(broken):
        found = [_for_tenant(checked, each, tenant) for each in checked.results if tenant in each.by_tenant]
        yield Checked(STAGE, suite, found, tenant_id=tenant)
    yield Checked(STAGE, suite, [_for_others(checked, each) for each in checked.results])


def _for_tenant(checked: MartChecked, result: RuleResult, tenant: str) -> RuleResult:
    return RuleResult(
        result.rule,
        False,
        checked.measured[tenant][0],
        result.by_tenant[tenant],
        checked.told.get(result.rule, {}).get(tenant, ()),
        severity=result.severity,
    )


def _for_others(checked: MartChecked, result: RuleResult) -> RuleResult:
    """Of a rule that could not be run, or is about no rows, its result as it is."""
    if not result.passed and not result.by_tenant:
        return result
    others = [rows for tenant, (rows, _) in checked.measured.items() if tenant not in result.by_tenant]
    return RuleResult(result.rule, True, sum(others), severity=result.severity, problem=result.problem)


def _run(checked: MartChecked, snapshot: int) -> SuiteRun:
    return SuiteRun(
        STAGE,
        f"marts.{checked.mart}",
        len(checked.measured),
        sum(rows for rows, _ in checked.measured.values()),
        checked.seconds,
        checked.seconds_in_expectations,
        snapshot,
    )
