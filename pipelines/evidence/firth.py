"""Logistic regression where a cell is empty: the likelihood penalised as Firth has it.

Where covariates tell cases apart the likelihood has no maximum; multiplied by the root of the information's
determinant (Jeffreys' prior) it always has. It is a sensitivity and is named so: of people as if drawn at
random, without strata and clusters. Intervals are by the profile of the penalised likelihood, as those by
standard errors are far too short just where it is needed. Estimates of a survey's design are `survey`'s.

Sources: Firth 1993; Heinze & Schemper 2002 (separation, profile intervals).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.evidence.estimates import CI_LEVEL, Estimate, not_estimated, z_quantile
from pipelines.evidence.linear import Floats, Integers, everyone_alone, why_not

Booleans = npt.NDArray[np.bool_]

METHOD = "sensitivity: logistic regression, penalised (Firth); profile interval; not design-based"

_MAX_STEPS, _CLOSE, _FURTHEST, _ASIDE = 100, 1e-9, 60.0, 1e-5


@dataclass(frozen=True)
class Penalised:
    """Log odds ratios of each column (p,), with profile intervals, of `n` people with so many `cases`."""

    coefficients: tuple[Estimate, ...]
    n: int
    cases: int
    reason: str | None = None


def fit_firth(
    is_case: npt.ArrayLike,
    design: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    level: float = CI_LEVEL,
    terms: Collection[int] | None = None,
) -> Penalised:
    """Of cases (n,) and a design (n, p) with an intercept of its own.

    Maximises Σw(y ln p + (1 − y) ln(1 − p)) + ½ ln|X'WX| with W = wp(1 − p). `weights` (n,), positive, are
    normalised to n. An interval has the values of a coefficient at which twice the penalised likelihood,
    highest over the others, is less than χ²₁'s quantile below its top. Profiles take nearly all of the time:
    with `terms` only those columns have one.
    """
    y, x = np.asarray(is_case, bool).ravel().astype(float), np.asarray(design, float)
    reason = why_not(y, x, everyone_alone(len(y)))
    w = np.ones(len(y)) if weights is None else np.asarray(weights, float).ravel()
    if reason is None and not (np.isfinite(w).all() and (w > 0).all()):
        reason = "a weight is missing, or not above 0"
    if reason:
        p = x.shape[1] if x.ndim == 2 else 0
        return Penalised((not_estimated(METHOD, reason),) * p, len(y), int(y.sum()), reason)
    # A column's unit changes its coefficient only; of one size, steps are of the size they have for people.
    scales = np.linalg.norm(x, axis=0) / math.sqrt(len(y))
    # People who are alike are one row that counts as many.
    rows, row = np.unique(np.column_stack([y, x / scales]), axis=0, return_inverse=True)
    model = _Model(rows[:, 0], rows[:, 1:], np.bincount(row, w * len(y) / w.sum()).astype(float))
    top = model.climb(np.zeros(x.shape[1]), np.ones(x.shape[1], bool))
    if top is None:
        reason = "the penalised likelihood was not climbed to its top"
        return Penalised((not_estimated(METHOD, reason),) * x.shape[1], len(y), int(y.sum()), reason)
    found = tuple(
        model.coefficient(top, j, float(scales[j]), level)
        if terms is None or j in terms
        else Estimate(float(top[j] / scales[j]), None, None, None, METHOD, "no interval: none was asked for")
        for j in range(x.shape[1])
    )
    return Penalised(found, len(y), int(y.sum()))


@dataclass(frozen=True, eq=False)
class _Model:
    y: Floats
    x: Floats
    w: Floats

    def height(self, beta: Floats) -> float:
        """The penalised log likelihood; minus infinity where the information is singular to rounding."""
        logits = self.x @ beta
        likelihood = float(self.w @ (self.y * logits - np.logaddexp(0, logits)))
        sign, determinant = np.linalg.slogdet(self._information(_expit(logits)))
        return likelihood + 0.5 * float(determinant) if sign > 0 else -math.inf

    def climb(self, start: Floats, is_free: Booleans) -> Floats | None:
        """Where it is highest over the free coefficients; None: not within the steps that any data need.

        Steps are Newton's where it is curved downwards, else Fisher's; halved until they lead upwards.
        """
        beta, height, free = start.copy(), self.height(start), np.flatnonzero(is_free)
        for _ in range(_MAX_STEPS):
            information = self._information(_expit(self.x @ beta))
            if not math.isfinite(height) or np.linalg.cond(information) > 1e14:
                return None
            score = self._score(beta)
            step = np.zeros_like(beta)
            curvature = self._curvature(beta, score, free)
            if len(free) and np.linalg.eigvalsh(curvature)[0] <= 0:
                curvature = information[np.ix_(free, free)]
            step[free] = np.linalg.solve(curvature, score[free])
            # Five in a step are as far as logits go in one without losing their way.
            step *= min(1.0, 5.0 / max(float(np.abs(self.x @ step).max()), 1e-300))
            while (risen := self.height(beta + step)) < height - 1e-12 * abs(height):
                step = step / 2
            beta, height = beta + step, risen
            if float(np.abs(step).max()) < _CLOSE:
                return beta
        return None

    def _score(self, beta: Floats) -> Floats:
        """X'(w(y − p) + h(½ − p)) with the leverages h of W^½X."""
        probabilities = _expit(self.x @ beta)
        information = self._information(probabilities)
        weights = self.w * probabilities * (1 - probabilities)
        leverages = weights * (self.x * np.linalg.solve(information, self.x.T).T).sum(axis=1)
        score = self.x.T @ (self.w * (self.y - probabilities) + leverages * (0.5 - probabilities))
        return np.asarray(score, float)

    def _curvature(self, beta: Floats, score: Floats, free: Integers) -> Floats:
        """Of the penalised likelihood, downwards, over the free coefficients, by differences of the score."""
        found = np.empty((len(free), len(free)))
        for i, each in enumerate(free):
            aside = beta.copy()
            aside[each] += _ASIDE
            found[i] = (score - self._score(aside))[free] / _ASIDE
        return (found + found.T) / 2

    def coefficient(self, top: Floats, j: int, scale: float, level: float) -> Estimate:
        """In the unit of the column, which was divided by its scale."""
        z = z_quantile(level)
        wanted = self.height(top) - z**2 / 2
        se = math.sqrt(float(np.linalg.inv(self._information(_expit(self.x @ top)))[j, j]))
        ends = []
        for direction in (-1.0, 1.0):
            distance = _where_zero(self._profile(top, j, direction, wanted), z * se)
            if distance is None:
                reason = "no interval: the profile of the likelihood does not fall so far"
                return Estimate(float(top[j] / scale), None, None, None, METHOD, reason)
            ends.append((float(top[j]) + direction * distance) / scale)
        return Estimate(float(top[j] / scale), se / scale, ends[0], ends[1], METHOD)

    def _profile(self, top: Floats, j: int, direction: float, wanted: float) -> Callable[[float], float]:
        """How far the profile at a distance from the top is above what is wanted."""
        is_free, nearby = np.arange(len(top)) != j, top.copy()

        def above(distance: float) -> float:
            nearby[j] = top[j] + direction * distance
            found = self.climb(nearby, is_free)
            if found is None:
                return math.nan
            nearby[:] = found
            return self.height(found) - wanted

        return above

    def _information(self, probabilities: Floats) -> Floats:
        return np.asarray((self.x.T * (self.w * probabilities * (1 - probabilities))) @ self.x, float)


def _where_zero(above: Callable[[float], float], guess: float) -> float | None:
    """Where what is above 0 at 0 falls to it. None: nowhere near, or it is no number on the way."""
    from scipy.optimize import brentq

    near, far = 0.0, guess
    while (height := above(far)) > 0 and far < _FURTHEST:
        near, far = far, 2 * far
    if not height <= 0:
        return None
    try:
        return float(brentq(above, near, far, xtol=1e-9))
    except ValueError:  # NaN
        return None


def _expit(logits: Floats) -> Floats:
    from scipy.special import expit

    return np.asarray(expit(logits), float)
