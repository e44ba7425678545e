"""The adapter to Great Expectations 1.x: runs a suite on a frame and says what broke, without identifiers.

This is the only module that imports Great Expectations, and only when a suite is run: the import takes
5 to 20 seconds. What is done about a broken rule is decided by `admission` and by publication.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pipelines.quality.rules import Rule, Suite

if TYPE_CHECKING:
    import pandas as pd

MAX_SAMPLE = 5


@dataclass(frozen=True)
class RuleResult:
    """How one rule fared on one frame. A rule that could not be run has not passed."""

    rule: str
    passed: bool
    count_rows: int
    count_unexpected: int = 0
    sample: tuple[str, ...] = ()
    """Values that broke the rule, where the rule allows them to be shown."""
    problem: str = ""


def check(frame: pd.DataFrame, suite: Suite) -> list[RuleResult]:
    """One result per rule of the suite, in the suite's order. `frame` has one row per row of the table."""
    outcomes = _validate(frame, suite)
    return [_result(rule, outcomes[rule.name], len(frame)) for rule in suite.rules]


@cache
def _context() -> Any:
    """One ephemeral context per process: no files, no progress bars in logs, nothing is sent anywhere."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    context.enable_analytics(False)
    source = context.data_sources.add_pandas("frames")
    return source.add_dataframe_asset("frame").add_batch_definition_whole_dataframe("whole")


def _validate(frame: pd.DataFrame, suite: Suite) -> dict[str, Any]:
    import great_expectations as gx

    expectations = [
        getattr(gx.expectations, rule.expectation)(**rule.arguments, meta={"rule": rule.name})
        for rule in suite.rules
    ]
    batch = _context().get_batch({"dataframe": frame})
    validation = batch.validate(
        gx.ExpectationSuite(name=suite.name, expectations=expectations),
        result_format={"result_format": "BASIC", "partial_unexpected_count": MAX_SAMPLE},
    )
    return {each.expectation_config.meta["rule"]: each for each in validation.results}


def _result(rule: Rule, outcome: Any, count_rows: int) -> RuleResult:
    if not outcome.result:
        return RuleResult(rule.name, False, count_rows, problem="the rule could not be run")
    unexpected = outcome.result.get("unexpected_count", 0)
    shown = outcome.result.get("partial_unexpected_list", []) if rule.shows_values else []
    missing = outcome.result.get("details", {}).get("mismatched", {}).get("missing", [])
    return RuleResult(
        rule=rule.name,
        passed=bool(outcome.success),
        count_rows=count_rows,
        count_unexpected=int(unexpected or 0),
        sample=tuple(str(value)[:64] for value in shown[:MAX_SAMPLE]),
        problem=f"missing columns: {', '.join(missing)}" if missing else "",
    )
