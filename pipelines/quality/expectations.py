"""The adapter to Great Expectations 1.x: runs a suite on a frame and says what broke, without identifiers.

This is the only module that imports Great Expectations, and only when a suite is run: the import takes
5 to 20 seconds. What is done about a broken rule is decided by `admission` and by publication.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from pipelines.quality.rules import BLOCK, Rule, Severity, Suite
from pipelines.quality.samples import shown

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
    """Values that broke the rule, where the rule allows them to be shown, as `samples` shows them."""
    problem: str = ""
    """Why it could not be run; of a rule that was not judged and has passed, why not."""
    severity: Severity = BLOCK
    by_tenant: Mapping[str, int] = field(default_factory=dict)
    """Of rows of several tenants: how many of whose break the rule. Empty: not asked, or a rule of no row."""

    @property
    def blocks(self) -> bool:
        """Whether what was checked has to be kept back."""
        return not self.passed and self.severity == BLOCK


class _Clock:
    """Seconds that Great Expectations has taken in this process, its import left out."""

    seconds = 0.0


def seconds_spent() -> float:
    """Seconds in Great Expectations so far; the difference of two is what lies between them."""
    return _Clock.seconds


def check(frame: pd.DataFrame, suite: Suite, tenant: str = "") -> list[RuleResult]:
    """One result per rule of the suite, in the suite's order. `frame` has one row per row of the table.

    `tenant` names the column that says whose a row is, where the frame has rows of several.
    """
    definition = load()
    started = time.monotonic()
    outcomes = _validate(definition, frame, suite, tenant)
    _Clock.seconds += time.monotonic() - started
    return [_result(rule, outcomes[rule.name], len(frame), tenant) for rule in suite.rules]


@cache
def load() -> Any:
    """Imports Great Expectations, once per process. An ephemeral context: no files, no progress bars in logs,
    nothing is sent anywhere."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    context.enable_analytics(False)
    source = context.data_sources.add_pandas("frames")
    return source.add_dataframe_asset("frame").add_batch_definition_whole_dataframe("whole")


def _validate(definition: Any, frame: pd.DataFrame, suite: Suite, tenant: str) -> dict[str, Any]:
    import great_expectations as gx

    expectations = [
        getattr(gx.expectations, rule.expectation)(**rule.arguments, meta={"rule": rule.name})
        for rule in suite.rules
    ]
    batch = definition.get_batch({"dataframe": frame})
    wanted: dict[str, Any] = {"result_format": "BASIC", "partial_unexpected_count": MAX_SAMPLE}
    if tenant:
        wanted |= {"result_format": "COMPLETE", "unexpected_index_column_names": [tenant]}
    validation = batch.validate(
        gx.ExpectationSuite(name=suite.name, expectations=expectations),
        result_format=wanted,
    )
    return {each.expectation_config.meta["rule"]: each for each in validation.results}


def _result(rule: Rule, outcome: Any, count_rows: int, tenant: str) -> RuleResult:
    if not outcome.result:
        problem = "the rule could not be run"
        return RuleResult(rule.name, False, count_rows, problem=problem, severity=rule.severity)
    unexpected = outcome.result.get("unexpected_count", 0)
    values = outcome.result.get("partial_unexpected_list", []) if rule.shows_values else []
    places = outcome.result.get("unexpected_index_list") or [] if tenant else []
    missing = outcome.result.get("details", {}).get("mismatched", {}).get("missing", [])
    return RuleResult(
        rule=rule.name,
        passed=bool(outcome.success),
        count_rows=count_rows,
        count_unexpected=int(unexpected or 0),
        sample=tuple(dict.fromkeys(shown(value) for value in values[:MAX_SAMPLE])),
        problem=f"missing columns: {', '.join(missing)}" if missing else "",
        severity=rule.severity,
        by_tenant=Counter(str(each[tenant]) for each in places),
    )
