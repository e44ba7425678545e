"""What a scenario declares: data with a known truth, what is asked of them, and what is expected of that."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipelines.evidence.estimates import Estimate

Floats = npt.NDArray[np.float64]
Chance = np.random.Generator

TAIL = float(stats.norm.sf(4))
"""How likely chance alone puts a figure above its band, and below: four standard errors, so that of some 300
figures that are as expected one in fifty runs loses one."""


@dataclass(frozen=True)
class Expected:
    """The share that is expected, from low to high, before simulation error; and where that is known from."""

    low: float
    high: float
    source: str

    def allowed(self, count: int) -> tuple[float, float]:
        """What simulation of `count` data sets may show: binomial quantiles around the expected."""
        return float(stats.binom.ppf(TAIL, count, self.low)) / count, at_most(self.high, count)


def at_most(share: float, count: int) -> float:
    """What simulation of `count` data sets may show of a share."""
    return float(stats.binom.isf(TAIL, count, share)) / count


def exactly(share: float, source: str) -> Expected:
    return Expected(share, share, source)


def about(share: float, give: float, source: str) -> Expected:
    """An approximation, and how far off it may be."""
    return Expected(max(0.0, share - give), min(1.0, share + give), source)


@dataclass(frozen=True)
class Figure:
    """One estimator, asked of every data set of its scenario.

    An Estimate's interval covers the truth or does not; True is a claim that is wrong in this scenario, and
    the share of those is a type I error. `truth`: where it is not the scenario's. `most_without`: the share
    of data sets that may go without an interval, before simulation error. `corrected`: what was expected
    before a run that showed it to be wrong, and what corrects it: mathematics, or what others published.
    """

    estimator: str
    ask: Callable[[Any], Estimate | bool]
    expected: Expected
    truth: float | Callable[[Any], float] | None = None
    most_without: float = 0.0
    corrected: str = ""


@dataclass(frozen=True)
class Scenario:
    """`draw` makes one data set; `truth` is what estimators are about, in their unit."""

    name: str
    words: str
    draw: Callable[[Chance], Any]
    truth: float
    figures: tuple[Figure, ...]

    @property
    def seed(self) -> int:
        return zlib.crc32(self.name.encode())

    def data(self, number: int) -> Any:
        """The data set of that number, alone or in a run."""
        return self.draw(np.random.default_rng((self.seed, number)))

    def truth_for(self, figure: Figure, data: Any) -> float:
        truth = self.truth if figure.truth is None else figure.truth
        return truth(data) if callable(truth) else truth
