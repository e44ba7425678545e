"""Who is in an arm, and arms compared where they overlap: logistic regression and overlap weights.

With e the probability of being in the arm, its members weigh 1 − e and the others e: who could as well have
been in the other arm counts most, and nobody much more than others. The estimate is about these people (ATO)
and adjusts for what the model knows only. After a logistic model with an intercept the weighted means of its
covariates agree exactly. Outcome models are `regression`'s.

Sources: Li, Morgan & Zaslavsky 2018 (overlap weights); Mao, Li & Greene 2019 (variance that allows for the
estimation of e); Stefanski & Boos 2002 (stacked estimating equations); Kish 1965; Austin 2009 (balance).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipelines.evidence.estimates import CI_LEVEL, Estimate, Units, not_estimated, with_interval
from pipelines.evidence.linear import (
    NOT_SEPARABLE,
    Clusters,
    Floats,
    Labels,
    clusters_of,
    everyone_alone,
    outside,
    why_not,
)

Booleans = npt.NDArray[np.bool_]

SEPARATED = "the covariates tell the arms apart completely"

_MAX_STEPS, _CLOSE = 60, 1e-10


@dataclass(frozen=True, eq=False)
class Logistic:
    """Coefficients (p,) with covariance, and probabilities (n,). With a reason: all empty."""

    beta: Floats
    covariance: Floats
    probabilities: Floats
    reason: str | None = None


@dataclass(frozen=True)
class Balance:
    """Standardised mean difference of a covariate, before and after weighting. None: for `reason`.

    The denominator of both is √((s₁² + s₀²)/2) without weights, so that weighting changes only the means.
    """

    before: float | None
    after: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Overlap:
    """The weighted difference of the arm, the balance of each covariate, and how many people that is.

    `effective_*`: Kish's sample sizes (Σw)²/Σw². None: there are no weights.
    """

    difference: Estimate
    balance: tuple[Balance, ...]
    n_arm: int
    n_reference: int
    effective_arm: float | None = None
    effective_reference: float | None = None


def fit_logistic(
    is_case: npt.ArrayLike, design: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> Logistic:
    """Maximum likelihood by Newton's steps, for cases (n,) and a design (n, p) with an intercept of its own.

    `weights` (n,), all positive, count each as so many; the covariance is then the model's, not a survey's.
    Separated cases have no maximum: steps do not end, and that is the reason given.
    """
    y, x = np.asarray(is_case, bool).ravel(), np.asarray(design, float)
    reason = why_not(y.astype(float), x, everyone_alone(len(y))) or (
        "everybody is in the same arm" if y.all() or not y.any() else None
    )
    if reason:
        return _no_logistic(reason)
    # In orthonormal columns steps are of the size that they have for people.
    z, triangle = np.linalg.qr(x)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, float).ravel()
    found = _climb(y.astype(float), z, w)
    if found is None:
        return _no_logistic(SEPARATED)
    probabilities = _expit(z @ found)
    inverse = np.linalg.inv(_information(z, probabilities, w))
    return Logistic(np.linalg.solve(triangle, found), outside(triangle, inverse), probabilities)


def overlap_difference(
    outcome: npt.ArrayLike,
    is_arm: npt.ArrayLike,
    covariates: npt.ArrayLike,
    clusters: Labels | None = None,
    level: float = CI_LEVEL,
) -> Overlap:
    """Weighted mean of the arm's outcomes (n,) minus the others', by covariates (n, m); unit: the outcome's.

    The equations of e and of both means are stacked, so the variance knows that e is estimated. `clusters`: a
    label for each person, None for who is in no group. Then the variance is of sums over clusters, each arm's
    part times K/(K − 1) of its own, with Welch's degrees of freedom for t.
    """
    y, arm = np.asarray(outcome, float).ravel(), np.asarray(is_arm, bool).ravel()
    others = np.asarray(covariates, float).reshape(len(y), -1) if len(y) else np.empty((0, 0))
    x = np.column_stack([np.ones(len(y)), others])
    grouped = everyone_alone(len(y)) if clusters is None else clusters_of(clusters)
    reason = why_not(y, x, grouped)
    logistic = _no_logistic(reason) if reason else fit_logistic(arm, x)
    e = logistic.probabilities
    weights = None if logistic.reason else np.where(arm, 1 - e, e)
    found = Overlap(
        not_estimated(_method(clusters), logistic.reason or _alone(arm, grouped) or ""),
        tuple(_balance(each, arm, weights) for each in others.T),
        int(arm.sum()),
        int((~arm).sum()),
        None if weights is None else effective_size(weights[arm]),
        None if weights is None else effective_size(weights[~arm]),
    )
    if found.difference.reason:
        return found
    difference, errors = _difference(y, arm, x, e)
    se, freedom = _error(errors, arm, None if clusters is None else grouped)
    if se <= 1e-12 * float(np.abs(y).max()):  # but for rounding
        reason = "no interval: no residual variance"
        return replace(found, difference=Estimate(difference, None, None, None, _method(clusters), reason))
    units = Units(grouped.count, min(grouped.of_arms(arm)))
    weighted = with_interval(difference, se, _method(clusters), freedom, level, units=units)
    return replace(found, difference=weighted)


def effective_size(weights: npt.ArrayLike) -> float | None:
    """(Σw)²/Σw²: people of equal weight that tell as much. None: no weights."""
    w = np.asarray(weights, float)
    return float(w.sum() ** 2 / (w**2).sum()) if (w > 0).any() else None


# --- Variance ---------------------------------------------------------------------------------------------


def _difference(y: Floats, arm: Booleans, x: Floats, e: Floats) -> tuple[float, Floats]:
    """The difference, and what each person contributes to its error (n,).

    A mean's error is Σw(y − μ)/Σw, and what the error of the logistic coefficients, (Σe(1 − e)xx')⁻¹x(z − e),
    adds through the weights: ∂w/∂β is −e(1 − e)x in the arm and e(1 − e)x outside.
    """
    slopes = (e * (1 - e))[:, None] * x
    of_beta = np.linalg.solve(slopes.T @ x, (x * (arm - e)[:, None]).T).T
    means, errors = [], []
    for weights, sign in ((arm * (1 - e), -1.0), (~arm * e, 1.0)):
        means.append(float(weights @ y / weights.sum()))
        residuals = np.where(weights > 0, y - means[-1], 0.0)
        errors.append((weights * residuals + of_beta @ (sign * residuals @ slopes)) / weights.sum())
    return means[0] - means[1], errors[0] - errors[1]


def _error(errors: Floats, arm: Booleans, clusters: Clusters | None) -> tuple[float, float | None]:
    """Standard error; over groups with degrees of freedom: each arm's part by its own K, as Welch has it."""
    if clusters is None:
        return math.sqrt(float(errors @ errors)), None
    one, other = (clusters.sums(np.where(is_in, errors, 0.0)) for is_in in (arm, ~arm))
    m, n = (count - 1 for count in clusters.of_arms(arm))
    a, b = float(one @ one) * (m + 1) / m, float(other @ other) * (n + 1) / n
    below = a**2 / m + b**2 / n
    # Groups with people of both arms have a part in both.
    return math.sqrt(max(0.0, a + b + 2 * float(one @ other))), (a + b) ** 2 / below if below else None


def _alone(arm: Booleans, clusters: Clusters) -> str | None:
    if min(clusters.of_arms(arm)) > 1:
        return None
    return "one of the arms has one person" if 1 in (arm.sum(), (~arm).sum()) else NOT_SEPARABLE


def _balance(covariate: Floats, arm: Booleans, weights: Floats | None) -> Balance:
    one, other = covariate[arm], covariate[~arm]
    if len(one) < 2 or len(other) < 2:
        return Balance(None, None, "one of the arms has fewer than two people")
    spread = math.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2)
    if not math.isfinite(spread):
        return Balance(None, None, "a value is missing, or no number")
    if spread <= 1e-12 * float(np.abs(covariate).max()):  # but for rounding
        return Balance(None, None, "no variance in either arm")
    before = float(one.mean() - other.mean()) / spread
    if weights is None:
        return Balance(before, None, "there are no weights")
    after = np.average(one, weights=weights[arm]) - np.average(other, weights=weights[~arm])
    return Balance(before, float(after) / spread)


def _method(clusters: Labels | None) -> str:
    interval = "normal interval" if clusters is None else "over groups, t interval with Welch's freedom"
    return f"overlap weights (ATO), logistic; sandwich variance that knows of their estimation; {interval}"


# --- Newton's steps ---------------------------------------------------------------------------------------


def _climb(y: Floats, z: Floats, w: Floats) -> Floats | None:
    """Coefficients of the highest likelihood; None: it has no top within the steps that any data need."""
    beta, side = np.zeros(z.shape[1]), 2 * y - 1
    for _ in range(_MAX_STEPS):
        if (side * (z @ beta) > 0).all():  # all are told apart: more of the same is ever better
            return None
        probabilities = _expit(z @ beta)
        information = _information(z, probabilities, w)
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, z.T @ (w * (y - probabilities)))
        height = _log_likelihood(y, z @ beta, w)
        while _log_likelihood(y, z @ (beta + step), w) < height - _CLOSE * abs(height):
            step = step / 2
        beta = beta + step
        if np.abs(z @ step).max() < _CLOSE:
            return beta
    return None


def _information(z: Floats, probabilities: Floats, w: Floats) -> Floats:
    return (z.T * (w * probabilities * (1 - probabilities))) @ z


def _log_likelihood(y: Floats, logits: Floats, w: Floats) -> float:
    return float(w @ (y * logits - np.logaddexp(0, logits)))


def _expit(logits: Floats) -> Floats:
    from scipy.special import expit

    return np.asarray(expit(logits), float)


def _no_logistic(reason: str) -> Logistic:
    nothing = np.empty(0)
    return Logistic(nothing, nothing.reshape(0, 0), nothing, reason)
