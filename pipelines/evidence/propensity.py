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
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.evidence.estimates import CI_LEVEL, Estimate, not_estimated, with_interval
from pipelines.evidence.linear import (
    NOT_SEPARABLE,
    Floats,
    Labels,
    clusters_of,
    everyone_alone,
    outside,
    why_not,
)

Booleans = npt.NDArray[np.bool_]

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


def fit_logistic(is_case: npt.ArrayLike, design: npt.ArrayLike) -> Logistic:
    """Maximum likelihood by Newton's steps, for cases (n,) and a design (n, p) with an intercept of its own.

    Separated cases have no maximum: steps do not end, and that is the reason given.
    """
    y, x = np.asarray(is_case, bool).ravel(), np.asarray(design, float)
    reason = why_not(y.astype(float), x) or (
        "everybody is in the same arm" if y.all() or not y.any() else None
    )
    if reason:
        return _no_logistic(reason)
    # In orthonormal columns steps are of the size that they have for people.
    z, triangle = np.linalg.qr(x)
    found = _climb(y.astype(float), z)
    if found is None:
        return _no_logistic("the covariates tell the arms apart completely")
    probabilities = _expit(z @ found)
    inverse = np.linalg.inv(_information(z, probabilities))
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
    label for each person, None for who is in no group. Then the variance is of sums over clusters, times
    K/(K − 1), with t(K − 1); K: the clusters of the arm that has fewer.
    """
    y, arm = np.asarray(outcome, float).ravel(), np.asarray(is_arm, bool).ravel()
    others = np.asarray(covariates, float).reshape(len(y), -1) if len(y) else np.empty((0, 0))
    x = np.column_stack([np.ones(len(y)), others])
    method = (
        f"overlap weights (ATO), logistic; sandwich variance with their estimation; {_interval(clusters)}"
    )
    reason = why_not(y, x)
    logistic = _no_logistic(reason) if reason else fit_logistic(arm, x)
    e = logistic.probabilities
    weights = None if logistic.reason else np.where(arm, 1 - e, e)
    balance = tuple(_balance(each, arm, weights) for each in others.T)
    n_arm, n_reference = int(arm.sum()), int((~arm).sum())
    if weights is None:
        nothing = not_estimated(method, logistic.reason or "")
        return Overlap(nothing, balance, n_arm, n_reference)
    difference, errors = _difference(y, arm, x, e)
    se, freedom = _error(errors, arm, clusters)
    if freedom == 0:
        alone = clusters is None or min(n_arm, n_reference) == 1
        found = not_estimated(method, "one of the arms has one person" if alone else NOT_SEPARABLE)
    elif se <= 1e-12 * float(np.abs(y).max()):  # but for rounding
        found = Estimate(difference, None, None, None, method, "no interval: no residual variance")
    else:
        found = with_interval(difference, se, method, None if clusters is None else freedom, level)
    effective = effective_size(weights[arm]), effective_size(weights[~arm])
    return Overlap(found, balance, n_arm, n_reference, *effective)


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


def _error(errors: Floats, arm: Booleans, labels: Labels | None) -> tuple[float, int]:
    """The standard error, and K − 1 of the arm with fewer clusters."""
    clusters = everyone_alone(len(arm)) if labels is None else clusters_of(labels)
    freedom = min(len(np.unique(clusters.codes[each])) for each in (arm, ~arm)) - 1
    se = math.sqrt(float((clusters.sums(errors) ** 2).sum()))
    return se if labels is None or freedom == 0 else se * math.sqrt((freedom + 1) / freedom), freedom


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


def _interval(clusters: Labels | None) -> str:
    return "normal interval" if clusters is None else "over groups, t(K - 1) of the arm with fewer"


# --- Newton's steps ---------------------------------------------------------------------------------------


def _climb(y: Floats, z: Floats) -> Floats | None:
    """Coefficients of the highest likelihood; None: it has no top within the steps that any data need."""
    beta, side = np.zeros(z.shape[1]), 2 * y - 1
    for _ in range(_MAX_STEPS):
        if (side * (z @ beta) > 0).all():  # all are told apart: more of the same is ever better
            return None
        probabilities = _expit(z @ beta)
        information = _information(z, probabilities)
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, z.T @ (y - probabilities))
        height = _log_likelihood(y, z @ beta)
        while _log_likelihood(y, z @ (beta + step)) < height - _CLOSE * abs(height):
            step = step / 2
        beta = beta + step
        if np.abs(z @ step).max() < _CLOSE:
            return beta
    return None


def _information(z: Floats, probabilities: Floats) -> Floats:
    return (z.T * (probabilities * (1 - probabilities))) @ z


def _log_likelihood(y: Floats, logits: Floats) -> float:
    return float(y @ logits - np.logaddexp(0, logits).sum())


def _expit(logits: Floats) -> Floats:
    from scipy.special import expit

    return np.asarray(expit(logits), float)


def _no_logistic(reason: str) -> Logistic:
    nothing = np.empty(0)
    return Logistic(nothing, nothing.reshape(0, 0), nothing, reason)
