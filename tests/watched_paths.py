"""Paths of data without a difference, looked at after every batch: who is told that there is one, and when.

Each `Watched` draws one path and gives the fixed-sample interval and the sequence of every look. The unit
tests take a hundred paths, the coverage study thousands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.evidence.estimates import (
    Estimate,
    clustered_rate,
    clustered_ratio,
    mean,
    mean_difference,
    proportion,
    summarise,
)
from pipelines.evidence.pooling import Conventions, pool
from pipelines.evidence.regression import ancova
from pipelines.evidence.sequences import BURN_IN, asymptotic, pooled
from pipelines.evidence.sequences import proportion as watched_proportion

Floats = npt.NDArray[np.float64]
Chance = np.random.Generator

BATCH, LAST = 10, 1_000
LOOKS = range(BURN_IN, LAST + 1, BATCH)
"""Numbers of people at which somebody looks, from the burn-in on."""
SELDOM = LOOKS[::5]
SE_OF_POOL = 0.1
"""Declared: where the sequence of the pool is narrowest, in standard deviations."""


@dataclass(frozen=True)
class Watched:
    """`looks`: of one path, the fixed-sample estimate and the sequence at each look. `truth`: of every path.

    `normal_at`: n at each look, of means of normal units, whose chances `ever_outside` knows.
    """

    name: str
    words: str
    draw: Callable[[Chance], Any]
    looks: Callable[[Any], Iterator[tuple[Estimate, Estimate]]]
    truth: float = 0.0
    normal_at: range | None = None

    def ever_excluded(self, path: Any) -> tuple[bool, bool]:
        """Whether any fixed-sample interval excludes the truth, and any of the sequence's."""
        fixed, sequence = zip(*self.looks(path), strict=True)
        return excludes(fixed, self.truth), excludes(sequence, self.truth)


def excludes(intervals: Iterable[Estimate], truth: float) -> bool:
    """True: one of them does. An interval that is missing excludes nothing."""
    return any(
        each.ci_low is not None and each.ci_high is not None and not each.ci_low <= truth <= each.ci_high
        for each in intervals
    )


def ever_outside(looks: Iterable[float], reaches: Iterable[float]) -> float:
    """The chance that a sum of normal units is ever further from its mean than so many standard errors.

    `looks`: n at each; `reaches`: how many. The density of sums that are still inside is carried from look to
    look by quadrature (Armitage, McPherson & Rowe 1969), and none of the code under test is in it.
    """
    nodes, weights = np.polynomial.legendre.leggauss(300)
    at, masses, before = np.zeros(1), np.ones(1), 0.0
    for n, reach in zip(looks, reaches, strict=True):
        end, sd = reach * math.sqrt(n), math.sqrt(n - before)
        places = nodes * end
        steps = np.exp(-(((places[:, None] - at[None, :]) / sd) ** 2) / 2) / (sd * math.sqrt(2 * math.pi))
        at, masses, before = places, (steps @ masses) * weights * end, float(n)
    return 1 - float(masses.sum())


# --- Paths ------------------------------------------------------------------------------------------------


def _mean(values: Floats) -> Iterator[tuple[Estimate, Estimate]]:
    for n in LOOKS:
        fixed = mean(summarise(values[:n]))
        yield fixed, asymptotic(fixed, n)


def _difference(values: Floats) -> Iterator[tuple[Estimate, Estimate]]:
    """Of two arms that people enter in turn."""
    for n in LOOKS:
        arm, reference = values[:n:2], values[1:n:2]
        fixed = mean_difference(summarise(arm), summarise(reference))
        yield fixed, asymptotic(fixed, n, smallest_arm=min(len(arm), len(reference)))


def _share(events: npt.NDArray[np.int64]) -> Iterator[tuple[Estimate, Estimate]]:
    """From the first batch on: its sequence has no burn-in."""
    for n in range(BATCH, LAST + 1, BATCH):
        successes = int(events[:n].sum())
        yield proportion(successes, n), watched_proportion(successes, n)


def _attendance(sessions: tuple[list[int], list[int]]) -> Iterator[tuple[Estimate, Estimate]]:
    attended, open_to = sessions
    for n in LOOKS:
        fixed = clustered_ratio(attended[:n], open_to[:n])
        yield fixed, asymptotic(fixed, n, scale="logit")


def _rate(people: tuple[list[int], list[float]]) -> Iterator[tuple[Estimate, Estimate]]:
    events, weeks = people
    for n in LOOKS:
        fixed = clustered_rate(events[:n], weeks[:n])
        yield fixed, asymptotic(fixed, n, scale="log")


def _adjusted(trial: tuple[Floats, Floats]) -> Iterator[tuple[Estimate, Estimate]]:
    outcome, baseline = trial
    for n in SELDOM:
        is_arm = np.arange(n) % 2 == 0
        fixed = ancova(outcome[:n], baseline[:n], is_arm).difference
        yield fixed, asymptotic(fixed, n, smallest_arm=n // 2)


def _studies(studies: list[Floats]) -> Iterator[tuple[Estimate, Estimate]]:
    """Studies that begin one after the other, and are pooled while the last one is still under way."""
    for study, share in product(range(len(studies)), (0.5, 1.0)):
        last = studies[study]
        seen = [*studies[:study], last[: int(share * len(last))]]
        fixed = pool([float(each.mean()) for each in seen], [1 / len(each) for each in seen], _ONE).estimate
        yield fixed, pooled(fixed, SE_OF_POOL)


_ONE = Conventions("fixed")


def _draw_sessions(chance: Chance) -> tuple[list[int], list[int]]:
    open_to = chance.integers(4, 13, LAST)
    attended = chance.binomial(open_to, chance.beta(3, 2, LAST))
    return attended.tolist(), open_to.tolist()


def _draw_events(chance: Chance) -> tuple[list[int], list[float]]:
    """Posts in bursts: a negative binomial of each person's weeks, two a week."""
    weeks = chance.uniform(1, 20, LAST)
    return chance.poisson(2 * weeks * chance.gamma(1.5, 1 / 1.5, LAST)).tolist(), weeks.tolist()


def _draw_trial(chance: Chance) -> tuple[Floats, Floats]:
    baseline = chance.normal(14, 5, LAST)
    return 0.6 * baseline + chance.normal(0, 4, LAST), baseline


def _draw_studies(chance: Chance) -> list[Floats]:
    """Fifteen studies of 20 to 120 people, normal with variance 1."""
    return [chance.normal(0, 1, size) for size in chance.integers(20, 121, 15)]


WATCHED = (
    Watched(
        "watched-mean",
        "normal scores, their mean",
        lambda chance: chance.normal(0, 5, LAST),
        _mean,
        normal_at=LOOKS,
    ),
    Watched(
        "watched-mean-skewed",
        "exponential counts, their mean",
        lambda chance: chance.exponential(4, LAST),
        _mean,
        truth=4.0,
    ),
    Watched(
        "watched-difference",
        "two arms of normal scores, entered in turn",
        lambda chance: chance.normal(0, 5, LAST),
        _difference,
        normal_at=LOOKS,
    ),
    Watched(
        "watched-ancova",
        "two arms, baseline correlated 0.6, adjusted difference",
        _draw_trial,
        _adjusted,
        normal_at=SELDOM,
    ),
    Watched(
        "watched-share",
        "people of whom one in ten does something, looked at from the tenth on",
        lambda chance: chance.binomial(1, 0.1, LAST),
        _share,
        truth=0.1,
    ),
    Watched(
        "watched-attendance",
        "sessions attended of those open, people unlike",
        _draw_sessions,
        _attendance,
        truth=0.6,
    ),
    Watched("watched-rate", "posts per week, in bursts", _draw_events, _rate, truth=2.0),
    Watched("watched-pool", "fifteen studies, pooled after each half of each", _draw_studies, _studies),
)
