"""RESULTS.md: every figure beside what was expected of it. Before the run it has the expectations alone."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.tables import aligned
from tests.coverage_study.declarations import Figure, Scenario
from tests.coverage_study.sources import SOURCES
from tests.coverage_study.tallies import Tally, what_fails

RESULTS = Path(__file__).with_name("RESULTS.md")
HEADINGS = (
    "estimator",
    "expected",
    "allowed",
    "found",
    "95 % of simulation",
    "width",
    "bias ± error",
    "without",
    "verdict",
    "expected because",
)
TEXT = {"estimator", "verdict", "expected because"}
ABOUT = """# Results of `make coverage-study`

The share of data sets whose interval holds the truth (of claims, here all wrong: the share that is made).
*expected*: written down before the run, from a derivation or from what others have published, without
simulation error; *allowed*: with it, four standard errors to each side (binomial); *without*: data sets
without an interval, where any; *width* and *bias*: means, in the estimate's unit, bias with its Monte Carlo
error. Outside of what is allowed is a failure. Decision 0030.
"""

Found = Mapping[str, Mapping[str, Tally]]
"""By scenario and estimator; what has not run is not there."""


def text(scenarios: Sequence[Scenario], found: Found, datasets: int) -> str:
    failures = [line for scenario in scenarios for line in failed(scenario, found.get(scenario.name, {}))]
    parts = [ABOUT, _state(scenarios, found, datasets, len(failures))]
    if failures:
        parts.append("\n".join(f"* FAILS: {each}" for each in failures) + "\n")
    parts += [_section(scenario, found.get(scenario.name, {}), datasets) for scenario in scenarios]
    cited = "\n".join(f"* {name}: {where}" for name, where in SOURCES.items())
    return "\n".join([*parts, f"## Sources\n\n{cited}\n"])


def failed(scenario: Scenario, tallies: Mapping[str, Tally]) -> list[str]:
    found = [
        (figure.estimator, what_fails(figure, tallies[figure.estimator]))
        for figure in scenario.figures
        if figure.estimator in tallies
    ]
    return [f"{scenario.name}, {estimator}: {why}" for estimator, why in found if why]


def _state(scenarios: Sequence[Scenario], found: Found, datasets: int, failures: int) -> str:
    figures = sum(len(scenario.figures) for scenario in scenarios)
    what = f"{figures} figures of {len(scenarios)} scenarios"
    if not found:
        return f"{what}. Not run yet; *allowed* is for {datasets:,} data sets.\n"
    commit = _git("describe", "--always", "--dirty= with changes", "--exclude=*")
    tree = _git("rev-parse", "--short", "HEAD:pipelines/evidence")
    return (
        f"{what}, {datasets:,} data sets each; {datetime.datetime.now(datetime.UTC):%Y-%m-%d},"
        f" commit {commit}, statistics {tree} (`git rev-parse --short HEAD:pipelines/evidence`)."
        f" {figures - failures} are as expected, {failures} are not.\n"
    )


def _git(*words: str) -> str:
    command = ["git", *words]
    return subprocess.run(
        command, cwd=RESULTS.parent, capture_output=True, text=True, check=True
    ).stdout.strip()


def _section(scenario: Scenario, tallies: Mapping[str, Tally], datasets: int) -> str:
    rows = [_row(figure, tallies.get(figure.estimator), datasets) for figure in scenario.figures]
    table = "\n".join(aligned(HEADINGS, rows, TEXT))
    head = (
        f"{scenario.words[0].upper()}{scenario.words[1:]}. Truth {scenario.truth:.4g}, seed {scenario.seed}."
    )
    reasons = "".join(
        f"\n{estimator} without an interval: "
        + "; ".join(f"{reason} ({count})" for reason, count in tally.reasons.items())
        + ".\n"
        for estimator, tally in tallies.items()
        if tally.reasons
    )
    corrected = "".join(
        f"\n{figure.estimator}, corrected after a run: {figure.corrected}\n"
        for figure in scenario.figures
        if figure.corrected
    )
    return f"## {scenario.name}\n\n{head}\n\n{table}\n{reasons}{corrected}"


def _row(figure: Figure, tally: Tally | None, datasets: int) -> list[str]:
    expected = figure.expected
    band = _span(expected.low, expected.high) if expected.low < expected.high else f"{expected.low:.4f}"
    allowed = _span(*expected.allowed(tally.answered if tally else datasets))
    if tally is None:
        return [figure.estimator, band, allowed, "", "", "", "", "", "not run", expected.source]
    bias = "" if tally.bias is None else f"{tally.bias:+.4f} ± {tally.bias_error:.4f}"
    return [
        figure.estimator,
        band,
        allowed,
        f"{tally.share:.4f}",
        _span(*tally.interval()),
        "" if tally.width is None else f"{tally.width:.3f}",
        bias,
        f"{tally.without:.2%}, expected {figure.most_without:.2%}" if tally.without else "",
        "FAILS" if what_fails(figure, tally) else "holds",
        expected.source,
    ]


def _span(low: float, high: float) -> str:
    return f"{low:.4f}–{high:.4f}"
