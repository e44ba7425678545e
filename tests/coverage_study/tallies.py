"""What a figure came to over the data sets of its scenario, and the folder in which that is kept."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from pipelines.evidence.estimates import Estimate
from tests.coverage_study.declarations import Figure, Scenario, at_most

EVIDENCE = Path(__file__).parents[2] / "pipelines" / "evidence"
STATISTICS = (
    *("estimates", "effects", "pooling", "equivalence"),
    *("linear", "regression", "gee", "mixed", "propensity", "sequences"),
)
"""Modules of what is asked; those of tables change no answer."""


@dataclass(frozen=True)
class Tally:
    """Of `asked` data sets `answered` have an interval, and `hits` of these hold the truth.

    Of claims: `hits` are those made. `bias`: the mean of estimate less truth, with its Monte Carlo error.
    `reasons`: why there was no interval, and how often.
    """

    asked: int
    answered: int
    hits: int
    width: float | None
    bias: float | None
    bias_error: float | None
    reasons: dict[str, int]

    @property
    def share(self) -> float:
        return self.hits / self.answered if self.answered else math.nan

    @property
    def without(self) -> float:
        return 1 - self.answered / self.asked

    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's, of the share that simulation estimates."""
        misses = self.answered - self.hits
        low = stats.beta.ppf(0.025, self.hits, misses + 1) if self.hits else 0.0
        high = stats.beta.ppf(0.975, self.hits + 1, misses) if misses else 1.0
        return float(low), float(high)


def what_fails(figure: Figure, tally: Tally) -> str | None:
    """None: it is as expected."""
    most = at_most(figure.most_without, tally.asked)
    if tally.without > most:
        return f"{tally.without:.2%} are without an interval, at most {most:.2%} may be"
    low, high = figure.expected.allowed(tally.answered)
    if low <= tally.share <= high:
        return None
    return f"{tally.share:.4f} is outside of {low:.4f} to {high:.4f}"


def simulate(scenario: Scenario, datasets: int) -> dict[str, Tally]:
    """A tally for each estimator; the same for the same number of data sets, wherever it runs."""
    ledgers = {figure.estimator: _Ledger() for figure in scenario.figures}
    for number in range(datasets):
        try:
            data = scenario.data(number)
            for figure in scenario.figures:
                ledgers[figure.estimator].add(figure.ask(data), scenario.truth_for(figure, data))
        except Exception as error:
            error.add_note(f"in data set {number} of {scenario.name}")
            raise
    return {name: ledger.tally(datasets) for name, ledger in ledgers.items()}


class _Ledger:
    """One figure while it is simulated."""

    def __init__(self) -> None:
        self.hits: list[bool] = []
        self.widths: list[float] = []
        self.errors: list[float] = []
        self.reasons: Counter[str] = Counter()

    def add(self, answer: Estimate | bool, truth: float) -> None:
        if isinstance(answer, bool):
            self.hits.append(answer)
        elif answer.ci_low is None or answer.ci_high is None or answer.estimate is None:
            self.reasons[answer.reason or "no reason"] += 1
        elif not math.isfinite(answer.ci_low + answer.ci_high + answer.estimate):
            self.reasons["no number"] += 1
        else:
            self.hits.append(bool(answer.ci_low <= truth <= answer.ci_high))
            self.widths.append(answer.ci_high - answer.ci_low)
            self.errors.append(answer.estimate - truth)

    def tally(self, asked: int) -> Tally:
        errors = np.array(self.errors)
        many = len(errors) > 1
        return Tally(
            asked,
            len(self.hits),
            sum(self.hits),
            float(np.mean(self.widths)) if self.widths else None,
            float(errors.mean()) if many else None,
            float(errors.std(ddof=1) / math.sqrt(len(errors))) if many else None,
            dict(self.reasons),
        )


# --- Kept -------------------------------------------------------------------------------------------------


def fingerprint(scenario: Scenario, datasets: int) -> str:
    """Of what a tally follows from: how many data sets, the statistics, and the scenario, known
    by the answers to its first data sets. What is expected is not in it.
    """
    digest = hashlib.sha256(str(datasets).encode())
    for module in STATISTICS:
        digest.update((EVIDENCE / f"{module}.py").read_bytes())
    for number in range(3):
        data = scenario.data(number)
        for figure in scenario.figures:
            told = figure.estimator, scenario.truth_for(figure, data), figure.ask(data)
            digest.update(repr(told).encode())
    return digest.hexdigest()


def keep(folder: Path, mark: str, name: str, tallies: dict[str, Tally]) -> None:
    """All or nothing, also when we are killed meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"fingerprint": mark, "tallies": {each: asdict(tally) for each, tally in tallies.items()}}
    temporary = folder / f"{name}.new"
    temporary.write_text(json.dumps(kept, indent=1))
    temporary.replace(folder / f"{name}.json")


def kept(folder: Path, mark: str, name: str) -> dict[str, Tally] | None:
    """None: the scenario is not finished, or was with other code or another number of data sets."""
    path = folder / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if found.get("fingerprint") != mark:
        return None
    return {each: Tally(**tally) for each, tally in found["tallies"].items()}
