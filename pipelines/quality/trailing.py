"""What is usual for a tenant: a day's volume and its distributions against those of the four weeks before.

The day ends with the newest row of a slice that waits for its verdict; the weeks before are whatever landed
of the tenant and was not kept out. Everything here warns: a partner may well have had an unusual day. One
scan of the raw table for all slices that wait.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.quality.expectations import RuleResult, check
from pipelines.quality.rules import Suite, is_between, warns
from services.runtime.instruments import instruments

if TYPE_CHECKING:
    import pandas as pd

DAYS = 28
MIN_DAYS = 7
"""So many of the days before must have rows, or nothing is said to be usual."""

MIN_ROWS = 200
"""Fewer rows of the day have no distribution; as many of a day in the weeks before, no volume to speak of."""

MIN_ROWS_BEFORE = 1000

MAX_FACTOR = 3.0
"""How many times the largest daily volume of the weeks before, or of the smallest one how small a part."""

MAX_INDEX = 0.25
"""Of the population stability index: a common limit, above which a population counts as another one. With
MIN_ROWS, a dozen categories and no change at all, it is about 0.07."""

BINS = 10
"""Of an instrument's range of totals, in equal parts."""

UNUSUAL = "A partner may have had an unusual day, or a program of theirs has changed: ask."

VOLUME = warns(is_between("factor", 1 / MAX_FACTOR, MAX_FACTOR, "volume_is_usual"), UNUSUAL)
KINDS = warns(is_between("kinds", None, MAX_INDEX, "kinds_are_distributed_as_usual"), UNUSUAL)
SCORES = warns(is_between("scores", None, MAX_INDEX, "scores_are_distributed_as_usual"), UNUSUAL)

_SCORE = """coalesce(questionnaire_answered__total,
    list_sum(list_transform(questionnaire_answered__items, lambda each: each.value)))"""


@dataclass(frozen=True)
class Looked:
    """What is looked at in a raw table: columns of the query below, SQL each."""

    suite: Suite
    time: str = "received_at"
    kind: str = "kind"
    instrument: str = "NULL"
    bin: str = "NULL"


def _looked(raw_table: str, **sql: str) -> Looked:
    rules = (VOLUME, KINDS, SCORES) if "bin" in sql else (VOLUME, KINDS)
    columns = tuple(rule.arguments["column"] for rule in rules)
    return Looked(Suite(f"{raw_table}, against the weeks before", columns, rules), **sql)


TRAILING: Mapping[str, Looked] = {
    "participation_events": _looked("participation_events"),
    "outcome_events": _looked(
        "outcome_events",
        instrument="questionnaire_answered__instrument",
        bin=f"least(floor(({_SCORE} - least_total) / (most_total - least_total) * {BINS}), {BINS - 1})",
    ),
    "group_events": _looked("group_events"),
    "study_events": _looked("study_events"),
    "failed_events": _looked("failed_events", time="failed_at", kind="reason"),
}
"""By raw table."""


@dataclass(frozen=True)
class Figure:
    """What was measured, in a number that a rule has a limit for, and in words; or why it was not judged."""

    value: float | None
    words: str


def against_weeks_before(
    lake: duckdb.DuckDBPyConnection, raw_table: str, landings: Mapping[str, tuple[int, int]]
) -> dict[str, list[RuleResult]]:
    """By tenant, how its pending rows fare. `landings`: first and last landing of each tenant's slice.

    A rule that cannot be judged for want of history has passed, and says so.
    """
    import pandas as pd

    looked = TRAILING[raw_table]
    counts = dict(list(_counts(lake, raw_table, looked, landings).groupby("tenant_id")))
    figures = {tenant: _figures(counts.get(tenant), looked.suite) for tenant in landings}
    frame = pd.DataFrame(
        [
            {"tenant_id": tenant} | {name: figure.value for name, figure in of_tenant.items()}
            for tenant, of_tenant in figures.items()
        ]
    )
    numbers = frame.astype(dict.fromkeys(looked.suite.columns, float))
    checked = check(numbers, looked.suite, "tenant_id")
    columns = [str(rule.arguments["column"]) for rule in looked.suite.rules]
    return {
        tenant: [
            _of_tenant(result, tenant, of_tenant[column], _rows_of_day(counts.get(tenant)))
            for result, column in zip(checked, columns, strict=True)
        ]
        for tenant, of_tenant in figures.items()
    }


def _of_tenant(result: RuleResult, tenant: str, figure: Figure, count_rows: int) -> RuleResult:
    passed = result.passed or (not result.problem and tenant not in result.by_tenant)
    is_judged = figure.value is not None
    return RuleResult(
        result.rule,
        passed,
        count_rows,
        0 if passed else count_rows,
        sample=(figure.words,) if is_judged else (),
        problem=result.problem if is_judged or result.problem else f"not judged: {figure.words}",
        severity=result.severity,
    )


def _counts(
    lake: duckdb.DuckDBPyConnection, raw_table: str, looked: Looked, landings: Mapping[str, tuple[int, int]]
) -> pd.DataFrame:
    """Rows by tenant, days before its newest pending row, kind, instrument and bin of its score."""
    import pandas as pd

    pending = pd.DataFrame(
        [(tenant, *of_tenant) for tenant, of_tenant in landings.items()],
        columns=["tenant_id", "first", "last"],
    )
    scales = pd.DataFrame(
        [(each.code, each.total.least, each.total.most) for each in instruments().values()],
        columns=["instrument", "least_total", "most_total"],
    )
    lake.register("pending_of_quality", pending)
    lake.register("scales_of_quality", scales)
    try:
        return lake.execute(_counting(raw_table, looked)).df()
    finally:
        lake.unregister("pending_of_quality")
        lake.unregister("scales_of_quality")


def _counting(raw_table: str, looked: Looked) -> str:
    return f"""
    WITH ends AS (
      SELECT pending.tenant_id, max({looked.time}) AS until_at
      FROM raw.{raw_table} AS landed
      JOIN pending_of_quality AS pending ON coalesce(landed.tenant_id, '') = pending.tenant_id
        AND landed.landed_seq BETWEEN pending.first AND pending.last
      GROUP BY pending.tenant_id
    ), kept_out AS (
      SELECT tenant_id, first_landed_seq, last_landed_seq FROM admission.slices
      WHERE raw_table = '{raw_table}'
      GROUP BY tenant_id, first_landed_seq, last_landed_seq
      HAVING max_by(verdict, slice_id) <> 'passed'
    ), looked_at AS (
      SELECT ends.tenant_id, landed_seq, {looked.kind} AS kind, {looked.instrument} AS instrument,
             CAST({looked.bin} AS INTEGER) AS bin,
             CAST(floor((epoch(until_at) - epoch({looked.time})) / 86400) AS INTEGER) AS days_before
      FROM raw.{raw_table} AS landed
      JOIN ends ON coalesce(landed.tenant_id, '') = ends.tenant_id
      LEFT JOIN scales_of_quality AS scales ON {looked.instrument} = scales.instrument
      -- Nothing lands before it was received: files of earlier days need not be opened.
      WHERE landed_at >= (SELECT min(until_at) - INTERVAL {DAYS + 2} DAY FROM ends)
        AND {looked.time} <= until_at AND {looked.time} > until_at - INTERVAL {DAYS + 1} DAY
    )
    SELECT tenant_id, days_before, kind, instrument, bin, count(*) AS count_rows
    FROM looked_at
    WHERE NOT EXISTS (
      SELECT 1 FROM kept_out WHERE kept_out.tenant_id = looked_at.tenant_id
        AND looked_at.landed_seq BETWEEN first_landed_seq AND last_landed_seq
    )
    GROUP BY ALL
    """  # noqa: S608  # names and SQL are from above


def _rows_of_day(counts: pd.DataFrame | None) -> int:
    return 0 if counts is None else int(counts.loc[counts["days_before"] == 0, "count_rows"].sum())


def _figures(counts: pd.DataFrame | None, suite: Suite) -> dict[str, Figure]:
    """By column of the suite."""
    if counts is None:
        return {column: Figure(None, "no rows") for column in suite.columns}
    by_day = counts.groupby("days_before")["count_rows"].sum()
    days = sum(by_day.index > 0)
    if days < MIN_DAYS:
        return {
            column: Figure(None, f"{days} of {MIN_DAYS} days before have rows") for column in suite.columns
        }
    made = {"factor": _volume, "kinds": _kinds, "scores": _scores}
    return {column: made[column](counts) for column in suite.columns}


def _volume(counts: pd.DataFrame) -> Figure:
    by_day = counts.groupby("days_before")["count_rows"].sum()
    day = int(by_day.get(0, 0))
    # From the first day with rows on, a day without any is a day of 0.
    before = [int(by_day.get(each, 0)) for each in range(1, int(by_day.index.max()) + 1)]
    least, most = min(before), max(before)
    if max(day, most) < MIN_ROWS:
        return Figure(None, f"fewer than {MIN_ROWS} rows a day")
    factor = day / most if day > most else day / least if day < least else 1.0
    return Figure(factor, f"{day} rows in 24 hours, {least} to {most} a day before")


def _kinds(counts: pd.DataFrame) -> Figure:
    return _index(counts, "kind")


def _scores(counts: pd.DataFrame) -> Figure:
    """Of the instrument that has changed most."""
    scored = counts[counts["bin"].notna()]
    found = {str(code): _index(of_code, "bin") for code, of_code in scored.groupby("instrument")}
    judged = {code: figure for code, figure in found.items() if figure.value is not None}
    if not judged:
        return next(iter(found.values()), Figure(None, "no scores"))
    code = max(judged, key=lambda each: judged[each].value or 0)
    return Figure(judged[code].value, f"{code}: {judged[code].words}")


def _index(counts: pd.DataFrame, category: str) -> Figure:
    """The population stability index of the day against the weeks before, over the values of a column."""
    is_day = counts["days_before"] == 0
    day = counts[is_day].groupby(category)["count_rows"].sum()
    before = counts[~is_day].groupby(category)["count_rows"].sum()
    if day.sum() < MIN_ROWS or before.sum() < MIN_ROWS_BEFORE:
        needed = f"{MIN_ROWS} of the day and {MIN_ROWS_BEFORE} before"
        return Figure(None, f"{day.sum()} rows of the day and {before.sum()} before, of {needed}")
    categories = day.index.union(before.index)
    value = stability_index(
        [day.get(each, 0) for each in categories], [before.get(each, 0) for each in categories]
    )
    return Figure(value, f"index {value:.2f}")


def stability_index(counts: Sequence[float], before: Sequence[float]) -> float:
    """Population stability index: the sum of (p − q) ln(p ÷ q) over categories. Half a row is added to each,
    so that one that is new or gone is finite. 0: the same shares. Symmetric."""
    shares, shares_before = _shares(counts), _shares(before)
    return sum((p - q) * math.log(p / q) for p, q in zip(shares, shares_before, strict=True))


def _shares(counts: Iterable[float]) -> list[float]:
    smoothed: list[Any] = [each + 0.5 for each in counts]
    return [each / sum(smoothed) for each in smoothed]
