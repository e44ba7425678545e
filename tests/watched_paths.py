"""Paths of data without a difference, looked at after every batch: who is told that there is one, and when.

Each `Watched` draws one path and gives the fixed-sample interval and the sequence of every look, as published
rows have them: by `beside`. The unit tests take a hundred paths, the coverage study thousands.
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
from pipelines.evidence.propensity import overlap_difference
from pipelines.evidence.regression import ancova, fit_linear
from pipelines.evidence.sequences import BURN_IN, beside

Floats = npt.NDArray[np.float64]
Chance = np.random.Generator

BATCH, LAST = 10, 1_000
LOOKS = range(BURN_IN, LAST + 1, BATCH)
"""Numbers of people at which somebody looks, from the burn-in on."""
SELDOM = LOOKS[::5]
RARELY = LOOKS[::10]
GROUPS, OF_GROUP = range(BURN_IN, 601, 25), 4
"""Numbers of groups at which somebody looks, and the people of each."""
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
        yield fixed, beside(fixed)


def _difference(values: Floats) -> Iterator[tuple[Estimate, Estimate]]:
    """Of two arms that people enter in turn."""
    for n in LOOKS:
        fixed = mean_difference(summarise(values[:n:2]), summarise(values[1:n:2]))
        yield fixed, beside(fixed)


def _share(events: npt.NDArray[np.int64]) -> Iterator[tuple[Estimate, Estimate]]:
    """From the first batch on: its sequence has no burn-in."""
    for n in range(BATCH, LAST + 1, BATCH):
        fixed = proportion(int(events[:n].sum()), n)
        yield fixed, beside(fixed)


def _attendance(sessions: tuple[list[int], list[int]]) -> Iterator[tuple[Estimate, Estimate]]:
    attended, open_to = sessions
    for n in LOOKS:
        fixed = clustered_ratio(attended[:n], open_to[:n])
        yield fixed, beside(fixed)


def _rate(people: tuple[list[int], list[float]]) -> Iterator[tuple[Estimate, Estimate]]:
    events, weeks = people
    for n in LOOKS:
        fixed = clustered_rate(events[:n], weeks[:n])
        yield fixed, beside(fixed)


def _adjusted(trial: tuple[Floats, Floats]) -> Iterator[tuple[Estimate, Estimate]]:
    outcome, baseline = trial
    for n in SELDOM:
        is_arm = np.arange(n) % 2 == 0
        fixed = ancova(outcome[:n], baseline[:n], is_arm).difference
        yield fixed, beside(fixed)


def _weighted(people: tuple[Floats, npt.NDArray[np.bool_], Floats]) -> Iterator[tuple[Estimate, Estimate]]:
    outcome, is_arm, covariate = people
    for n in RARELY:
        fixed = overlap_difference(outcome[:n], is_arm[:n], covariate[:n]).difference
        yield fixed, beside(fixed)


def _dose(people: tuple[Floats, Floats]) -> Iterator[tuple[Estimate, Estimate]]:
    outcome, posts = people
    for n in SELDOM:
        design = np.column_stack([np.ones(n), np.log1p(posts[:n])])
        fixed = fit_linear(outcome[:n], design).contrast([0, 1])
        yield fixed, beside(fixed)


def _grouped(scores: Floats) -> Iterator[tuple[Estimate, Estimate]]:
    """The mean over people whose groups are the units."""
    for count in GROUPS:
        n = count * OF_GROUP
        labels = np.arange(n) // OF_GROUP
        fixed = fit_linear(scores[:n], np.ones((n, 1)), labels).contrast([1.0])
        yield fixed, beside(fixed)


def _studies(studies: list[Floats]) -> Iterator[tuple[Estimate, Estimate]]:
    """Studies that begin one after the other, and are pooled while the last one is still under way."""
    for study, share in product(range(len(studies)), (0.5, 1.0)):
        last = studies[study]
        seen = [*studies[:study], last[: int(share * len(last))]]
        fixed = pool([float(each.mean()) for each in seen], [1 / len(each) for each in seen], _ONE).estimate
        yield fixed, beside(fixed, tightest_se=SE_OF_POOL)


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


def _draw_volunteers(chance: Chance) -> tuple[Floats, npt.NDArray[np.bool_], Floats]:
    """People who rather join the worse they are, as the outcome is; joining changes nothing."""
    covariate = chance.normal(0, 1, LAST)
    is_arm = chance.uniform(size=LAST) < 1 / (1 + np.exp(-0.7 * covariate))
    return 3 * covariate + chance.normal(0, 4, LAST), is_arm, covariate


def _draw_posters(chance: Chance) -> tuple[Floats, Floats]:
    """Posts as unlike as those of people are; scores that have nothing to do with them."""
    return chance.normal(0, 5, LAST), chance.poisson(chance.gamma(0.7, 10, LAST)).astype(float)


def _draw_groups(chance: Chance) -> Floats:
    """People of a group are alike: an intraclass correlation of 0.2."""
    groups = chance.normal(0, math.sqrt(0.2), GROUPS[-1])
    return np.repeat(groups, OF_GROUP) + chance.normal(0, math.sqrt(0.8), GROUPS[-1] * OF_GROUP)


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
    Watched(
        "watched-overlap",
        "people who join by willingness, overlap weights",
        _draw_volunteers,
        _weighted,
        normal_at=RARELY,
    ),
    Watched(
        "watched-dose", "scores against log(1 + posts), the slope", _draw_posters, _dose, normal_at=SELDOM
    ),
    Watched(
        "watched-groups",
        "groups of four who are alike, the mean over their people",
        _draw_groups,
        _grouped,
        normal_at=GROUPS,
    ),
    Watched("watched-pool", "fifteen studies, pooled after each half of each", _draw_studies, _studies),
)
