"""Meta-analysis: effects of studies pooled, how much they differ, and what may explain it.

One model throughout: yᵢ = xᵢβ + uᵢ + eᵢ with Var(u) = τ² and Var(eᵢ) = vᵢ known. Pooling is the model with
an intercept alone, so each estimator of τ² is here once. `Conventions` chooses among what is common, and each
`method` names the choice, because it changes printed digits. Functions are pure; what allows no estimate says
why. Where effects come from is `effects`'; anytime-valid pooling is `sequences`'.

Sources: Viechtbauer 2005 (estimators of τ²), DerSimonian & Laird 1986, Paule & Mandel 1982, Hartung & Knapp
2001, Viechtbauer 2007 (Q-profile), Higgins & Thompson 2002 (I², H²), Higgins, Thompson & Spiegelhalter 2009
(prediction), Egger et al. 1997, Pustejovsky & Rodgers 2019.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipelines.evidence.estimates import (
    CI_LEVEL,
    Estimate,
    not_estimated,
    t_quantile,
    with_interval,
    z_quantile,
)

Floats = npt.NDArray[np.float64]

Estimator = Literal["fixed", "DL", "REML", "PM"]
Interval = Literal["Wald", "Hartung-Knapp", "Hartung-Knapp, at least Wald"]
Squares = Literal["Q", "tau2"]
Prediction = Literal["t(k-2)", "t(k-1)", "normal"]

MIN_PREDICTED, MIN_EGGER = 3, 10
"""So many studies, for a prediction interval and for Egger's test."""

_MAX_STEPS, _CLOSE = 200, 1e-10


@dataclass(frozen=True)
class Conventions:
    """How to estimate τ², the interval, I² and the prediction interval."""

    estimator: Estimator = "REML"
    interval: Interval = "Hartung-Knapp"
    i2: Squares = "Q"
    prediction: Prediction = "t(k-2)"
    level: float = CI_LEVEL


@dataclass(frozen=True)
class Heterogeneity:
    """Of k studies around p coefficients. Without degrees of freedom all but `tau2` are None.

    `q` is Cochran's, `q_p` its p-value on k − p degrees of freedom; `i2` in percent; `tau2_low` and
    `tau2_high` by Q-profile. Unit of τ²: the effect's, squared.
    """

    tau2: float
    tau2_low: float | None
    tau2_high: float | None
    q: float | None
    q_p: float | None
    i2: float | None
    h2: float | None


@dataclass(frozen=True)
class Pooled:
    """`estimate` of `k` studies; `predicted`: where the effect of another study may be expected."""

    k: int
    estimate: Estimate
    heterogeneity: Heterogeneity | None
    predicted: tuple[float, float] | None = None
    prediction_reason: str | None = None


@dataclass(frozen=True)
class Regression:
    """The intercept, and a coefficient for each moderator; `r2`: the percentage of τ² that they explain."""

    k: int
    coefficients: tuple[Estimate, ...]
    heterogeneity: Heterogeneity | None
    r2: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Between:
    """Subgroups against each other: Q between them, on `freedom` degrees of freedom, with its p-value."""

    subgroups: dict[str, Pooled]
    q: float | None
    freedom: int
    p: float | None
    reason: str | None = None


def pool(effects: npt.ArrayLike, variances: npt.ArrayLike, how: Conventions | None = None) -> Pooled:
    """Pools effects (k,) with their variances (k,), all positive."""
    how = how or Conventions()
    y, v = _arrays(effects, variances)
    if len(y) == 0:
        return Pooled(0, not_estimated(_method(how), "no study has an effect"), None)
    return _pooled(_fit(y, v, np.ones((len(y), 1)), how.estimator), how)


def regress(
    effects: npt.ArrayLike,
    variances: npt.ArrayLike,
    moderators: npt.ArrayLike,
    how: Conventions | None = None,
) -> Regression:
    """Meta-regression of effects (k,) on moderators (k, m); the intercept is added.

    R² = (τ²₀ − τ²)/τ²₀, not below 0, with τ²₀ of the model without moderators (Raudenbush 2009).
    """
    how = how or Conventions()
    y, v = _arrays(effects, variances)
    rows = np.asarray(moderators, float).reshape(len(y), -1)
    x = np.column_stack([np.ones(len(y)), rows])
    if len(y) <= x.shape[1]:
        return Regression(len(y), (), None, None, "no more studies than coefficients")
    if np.linalg.matrix_rank(x) < x.shape[1]:
        return Regression(len(y), (), None, None, "a moderator does not vary, or follows from the others")
    model, plain = _fit(y, v, x, how.estimator), _fit(y, v, x[:, :1], how.estimator)
    r2 = max(0.0, 100 * (plain.tau2 - model.tau2) / plain.tau2) if plain.tau2 > 0 else None
    return Regression(len(y), tuple(_coefficients(model, how)), _heterogeneity(model, how), r2)


def compare(
    effects: npt.ArrayLike, variances: npt.ArrayLike, subgroups: Sequence[str], how: Conventions | None = None
) -> Between:
    """Pools each subgroup with a τ² of its own, and tests whether their means differ.

    Q = Σ wⱼ(μⱼ − μ̄)² with wⱼ = 1/seⱼ², against χ² (Borenstein et al. 2009, ch. 19). The standard errors are
    those without Hartung and Knapp's factor.
    """
    how = how or Conventions()
    y, v = _arrays(effects, variances)
    names = np.asarray(subgroups, dtype=object)
    fits = {
        name: _fit(y[names == name], v[names == name], np.ones((sum(names == name), 1)), how.estimator)
        for name in sorted(set(subgroups))
    }
    pooled = {name: _pooled(fit, how) for name, fit in fits.items()}
    freedom = len(pooled) - 1
    if freedom < 1:
        return Between(
            pooled, None, 0, None, "there is one subgroup only" if pooled else "no study has an effect"
        )
    means = np.array([fit.beta[0] for fit in fits.values()])
    weights = np.array([1 / fit.covariance[0, 0] for fit in fits.values()])
    q = float((weights * (means - np.average(means, weights=weights)) ** 2).sum())
    return Between(pooled, q, freedom, _chi2_above(q, freedom))


def leave_one_out(
    effects: npt.ArrayLike, variances: npt.ArrayLike, how: Conventions | None = None
) -> list[Pooled]:
    """The pool without each study in turn, in the order of the studies."""
    y, v = _arrays(effects, variances)
    return [pool(np.delete(y, i), np.delete(v, i), how) for i in range(len(y))]


def egger(
    effects: npt.ArrayLike, variances: npt.ArrayLike, precision_variances: npt.ArrayLike | None = None
) -> Estimate:
    """Egger's test: the slope of effects on their standard errors, weighted by 1/v; t with k − 2.

    It is the intercept of the regression of y/se on 1/se. `precision_variances`: for standardised mean
    differences 1/n₁ + 1/n₂, since their own variance depends on the effect and finds asymmetry where there is
    none (Pustejovsky & Rodgers 2019). Weights and standard errors are then made of these.
    """
    method = "Egger's test: slope on the standard error, weighted by 1/v; t(k - 2)"
    y, v = _arrays(effects, variances)
    if precision_variances is not None:
        v, method = np.asarray(precision_variances, float), f"{method}; variances without the effect"
    if len(y) < MIN_EGGER:
        return not_estimated(method, f"fewer than {MIN_EGGER} studies")
    if np.ptp(v) == 0:
        return not_estimated(method, "all studies are equally precise")
    x = np.column_stack([np.ones(len(y)), np.sqrt(v)])
    model = _weighted(y, v, x, 0.0)
    se = math.sqrt(model.q / model.freedom * float(model.covariance[1, 1]))
    if se == 0:
        return Estimate(float(model.beta[1]), None, None, None, method, "no interval: no residual variance")
    return with_interval(float(model.beta[1]), se, method, model.freedom)


# --- The model --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Model:
    """Weighted least squares at one τ²."""

    y: Floats
    v: Floats
    x: Floats
    tau2: float
    weights: Floats
    beta: Floats
    covariance: Floats

    @property
    def freedom(self) -> int:
        return len(self.y) - int(self.x.shape[1])

    def projected(self, y: Floats) -> Floats:
        """Py, with P = W − WX(X'WX)⁻¹X'W."""
        fitted = self.x @ (self.covariance @ (self.x.T @ (self.weights * y)))
        return self.weights * (y - fitted)

    @property
    def q(self) -> float:
        """Σ w(y − xβ)², at this τ²."""
        return float((self.weights * (self.y - self.x @ self.beta) ** 2).sum())


def _weighted(y: Floats, v: Floats, x: Floats, tau2: float) -> _Model:
    weights = 1 / (v + tau2)
    information = (x.T * weights) @ x
    # An intercept alone is what nearly all ask for, and a division.
    covariance: Floats = (
        1 / information if information.size == 1 else np.linalg.inv(information).astype(float)
    )
    return _Model(y, v, x, tau2, weights, covariance @ (x.T @ (weights * y)), covariance)


def _fit(y: Floats, v: Floats, x: Floats, estimator: Estimator) -> _Model:
    at_zero = _weighted(y, v, x, 0.0)
    if estimator == "fixed" or at_zero.freedom < 1:
        return at_zero
    tau2 = {"DL": _dersimonian_laird, "PM": _paule_mandel, "REML": _restricted_likelihood}[estimator](at_zero)
    return _weighted(y, v, x, tau2)


def _dersimonian_laird(at_zero: _Model) -> float:
    """(Q − (k − p)) / tr P, not below 0."""
    return max(0.0, (at_zero.q - at_zero.freedom) / _traces(at_zero)[0])


def _paule_mandel(at_zero: _Model) -> float:
    """Where Q at that τ² is what is expected of it: k − p. Q falls as τ² grows, so there is at most one."""
    return _where_q_is(at_zero, at_zero.freedom)


def _restricted_likelihood(at_zero: _Model) -> float:
    """Where the restricted likelihood is highest, by Fisher's scoring.

    It may have a maximum at 0 and others inside, so it is climbed from below and from above.
    """
    starts = (_dersimonian_laird(at_zero), float(np.var(at_zero.y)))
    found = [at_zero, *(_climb(_weighted(at_zero.y, at_zero.v, at_zero.x, tau2)) for tau2 in starts)]
    return max(found, key=_log_likelihood).tau2


def _climb(model: _Model) -> _Model:
    """Newton's steps where the likelihood is curved downwards, else Fisher's; kept from falling below 0, and
    halved until they lead upwards."""
    height, close = _log_likelihood(model), _CLOSE * float(model.v.min())
    for _ in range(_MAX_STEPS):
        step = max(_step(model), -model.tau2)
        while abs(step) > close + _CLOSE * model.tau2:
            next_one = _weighted(model.y, model.v, model.x, model.tau2 + step)
            next_height = _log_likelihood(next_one)
            if next_height >= height:
                model, height = next_one, next_height
                break
            step /= 2
        else:
            break
    return model


def _step(model: _Model) -> float:
    """(y'PPy − tr P) over 2 y'PPPy − tr PP, which is Newton's, or over tr PP, which is Fisher's."""
    trace, trace_of_square = _traces(model)
    first = model.projected(model.y)
    newtons = 2 * float(first @ model.projected(first)) - trace_of_square
    return (float(first @ first) - trace) / (newtons if newtons > 0 else trace_of_square)


def _log_likelihood(model: _Model) -> float:
    """Restricted, without its constant: −½(Σ ln(v + τ²) + ln|X'WX| + Q)."""
    covariance = model.covariance
    determinant = -math.log(covariance[0, 0]) if covariance.size == 1 else -np.linalg.slogdet(covariance)[1]
    return float(-0.5 * (-np.log(model.weights).sum() + determinant + model.q))


def _traces(model: _Model) -> tuple[float, float]:
    """tr P and tr PP of P = W − WX(X'WX)⁻¹X'W, without making P."""
    w, x, inverse = model.weights, model.x, model.covariance
    second, third = inverse @ ((x.T * w**2) @ x), inverse @ ((x.T * w**3) @ x)
    trace = float(w.sum() - np.trace(second))
    return trace, float((w**2).sum() - 2 * np.trace(third) + np.trace(second @ second))


def _where_q_is(at_zero: _Model, wanted: float) -> float:
    """The τ² at which Q is `wanted`; 0 where it is below that already."""
    from scipy.optimize import brentq

    def over(tau2: float) -> float:
        return _weighted(at_zero.y, at_zero.v, at_zero.x, tau2).q - wanted

    if over(0.0) <= 0:
        return 0.0
    high = max(float(at_zero.v.max()), float(np.var(at_zero.y)), np.finfo(float).tiny)
    while over(high) > 0:
        high *= 4
    return float(brentq(over, 0.0, high, xtol=1e-300, rtol=8 * np.finfo(float).eps))


# --- What is told of it -----------------------------------------------------------------------------------


def _pooled(model: _Model, how: Conventions) -> Pooled:
    (estimate,) = _coefficients(model, how)
    if len(model.y) == 1:
        estimate = replace(estimate, method=f"{estimate.method}; one study, its own normal interval")
    predicted, reason = _predict(model, how)
    return Pooled(len(model.y), estimate, _heterogeneity(model, how), predicted, reason)


def _coefficients(model: _Model, how: Conventions) -> list[Estimate]:
    variances, freedom = np.diag(model.covariance), None
    if how.interval != "Wald" and how.estimator != "fixed" and model.freedom > 0:
        # Hartung and Knapp scale by how far the studies are from the model, and use t.
        q = model.q / model.freedom
        factor = max(1.0, q) if how.interval == "Hartung-Knapp, at least Wald" else q
        variances, freedom = variances * factor, model.freedom
    method = _method(how)
    found = []
    for beta, variance in zip(model.beta, variances, strict=True):
        se, estimate = math.sqrt(float(variance)), float(beta)
        # But for rounding.
        if se <= _CLOSE * (abs(estimate) + math.sqrt(float(model.v.min()))):
            reason = "no interval: the studies agree exactly"
            found.append(Estimate(estimate, None, None, None, method, reason))
        else:
            found.append(with_interval(estimate, se, method, freedom, how.level))
    return found


def _heterogeneity(model: _Model, how: Conventions) -> Heterogeneity:
    at_zero = _weighted(model.y, model.v, model.x, 0.0)
    freedom = at_zero.freedom
    if freedom < 1:
        return Heterogeneity(0.0, None, None, None, None, None, None)
    q, tail = at_zero.q, (1 - how.level) / 2
    low, high = (_where_q_is(at_zero, _chi2(share, freedom)) for share in (1 - tail, tail))
    # The variance within a typical study (Higgins & Thompson 2002).
    typical = freedom / _traces(at_zero)[0]
    i2: Squares = "Q" if how.estimator == "fixed" else how.i2
    shares: dict[Squares, float] = {
        "Q": max(0.0, 1 - freedom / q) if q > 0 else 0.0,
        "tau2": model.tau2 / (model.tau2 + typical),
    }
    return Heterogeneity(model.tau2, low, high, q, _chi2_above(q, freedom), 100 * shares[i2], q / freedom)


def _predict(model: _Model, how: Conventions) -> tuple[tuple[float, float] | None, str | None]:
    """μ ± t·√(τ² + se²), with the standard error that Hartung and Knapp do not scale."""
    k = len(model.y)
    if how.estimator == "fixed":
        return None, "one effect is assumed for all studies"
    if k < MIN_PREDICTED:
        return None, f"fewer than {MIN_PREDICTED} studies"
    quantile = {
        "t(k-2)": lambda: t_quantile(how.level, k - 2),
        "t(k-1)": lambda: t_quantile(how.level, k - 1),
        "normal": lambda: z_quantile(how.level),
    }[how.prediction]()
    half = quantile * math.sqrt(model.tau2 + float(model.covariance[0, 0]))
    return (float(model.beta[0]) - half, float(model.beta[0]) + half), None


def _method(how: Conventions) -> str:
    if how.estimator == "fixed":
        return "inverse variance, one effect for all; Wald interval; I² from Q"
    parts = [f"inverse variance, random effects, tau² by {how.estimator}", f"{how.interval} interval"]
    parts += [f"I² from {how.i2}", f"prediction by {how.prediction}"]
    return "; ".join(parts)


def _arrays(effects: npt.ArrayLike, variances: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Raises ValueError when they are not of one length, not numbers, or a variance is not positive."""
    y, v = np.asarray(effects, float).ravel(), np.asarray(variances, float).ravel()
    if y.shape != v.shape:
        raise ValueError(f"{len(y)} effects and {len(v)} variances")
    if not (np.isfinite(y).all() and np.isfinite(v).all() and (v > 0).all()):
        raise ValueError("effects and variances must be numbers, and variances positive")
    return y, v


def _chi2(share: float, freedom: int) -> float:
    from scipy import special

    return float(special.chdtri(freedom, 1 - share))


def _chi2_above(q: float, freedom: int) -> float:
    from scipy import special

    return float(special.chdtrc(freedom, q))
