"""Counts over time: whether a rate changed at an interruption, beyond trend and season.

Log-linear regression of counts with authors, or another exposure, as denominators: Poisson, or negative
binomial with variance μ + αμ². A count resembles the one before it, so the covariance is Newey and West's,
which holds for the Poisson model as well when counts vary more than Poisson's. Estimates are logarithms of
rate ratios. One series without a comparison shows a change and not its cause. The measure of Low et al. is
`low2020`'s; what an event is, a protocol says.

Sources: Lopez Bernal, Cummins & Gasparrini 2017 (segmented regression, harmonics); Newey & West 1987, 1994
(covariance, lags); Lawless 1987 (negative binomial); Benjamini & Hochberg 1995.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipelines.evidence.estimates import Estimate, not_estimated
from pipelines.evidence.linear import Floats, Linear, everyone_alone, not_fitted, outside, why_not

Family = Literal["Poisson", "negative binomial"]
Booleans = npt.NDArray[np.bool_]

MIN_TIMES = 3
"""Before the interruption, and from it on: with two, a level and a slope fit anything."""
SHORT = 200
"""Fewer times than this are a short series: Newey and West's variance is too small (Turner et al. 2021)."""

_ALPHAS = np.concatenate([[0.0], np.geomspace(1e-6, 1e2, 25)])
"""Where the likelihood of α is looked at first; what lies between the first two is taken as 0."""
_MAX_STEPS, _CLOSE = 60, 1e-10
_NOTHING = 1e-12
"""Squared residuals that are rounding."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Coefficients of a log-linear regression. `alpha`: of the negative binomial, 0 of Poisson.

    `dispersion`: Pearson's χ² over n − p, 1 if counts vary as the model says. `autocorrelation`: of Pearson's
    residuals with those one time before. None: not estimable.
    """

    linear: Linear
    alpha: float | None = None
    dispersion: float | None = None
    autocorrelation: float | None = None


@dataclass(frozen=True)
class Interrupted:
    """Log rate ratios of a series. `level`: at the interruption, against the trend before it. `slope`: per
    unit of time before it; `slope_change`: what came on top. `before`, `after`: times with an exposure.
    `fitted`: the rate at each time.
    """

    level: Estimate
    slope: Estimate
    slope_change: Estimate
    before: int
    after: int
    alpha: float | None = None
    dispersion: float | None = None
    autocorrelation: float | None = None
    fitted: tuple[float, ...] = ()


@dataclass(frozen=True)
class Seasonal:
    """`change`: log ratio of this year's rate ratio (during against before) to that of the earlier years."""

    change: Estimate
    n: int
    earlier_years: int
    dispersion: float | None = None


def lags_of(n: int) -> int:
    """How many lags Newey and West's variance has: ⌊4(n/100)^(2/9)⌋. Source: Newey & West 1994."""
    return int(4 * math.pow(n / 100, 2 / 9))


def interrupted_series(
    times: npt.ArrayLike,
    counts: npt.ArrayLike,
    exposure: npt.ArrayLike,
    at: float,
    *,
    family: Family = "Poisson",
    harmonics: int = 0,
    season: float = 365.25,
    lags: int | None = None,
) -> Interrupted:
    """Segmented regression of counts (n,) at equally spaced times (n,), of which `at` is the first after.

    ln(rate) = β₀ + β₁t + β₂·after + β₃·(t − at)·after + sines and cosines of 2πkt/season, k to `harmonics`;
    `season` in the unit of times. A time without exposure tells nothing and keeps its place. `lags`: None is
    `lags_of`. β₂ is the level's change, β₃ the slope's.
    """
    t, y, e = (np.asarray(each, float).ravel() for each in (times, counts, exposure))
    after = t >= at
    since = t - at
    waves = [wave(2 * math.pi * k * t / season) for k in range(1, harmonics + 1) for wave in (np.sin, np.cos)]
    design = np.column_stack([np.ones(len(t)), since, after, since * after, *waves])
    used = lags_of(len(t)) if lags is None else lags
    numbers = int((e[~after] > 0).sum()), int((e[after] > 0).sum())
    reason = _why_no_interruption(t, y, e, after, season if harmonics else 0.0)
    if reason:
        nothing = not_estimated(_method(family, used, len(t)), reason)
        return Interrupted(nothing, nothing, nothing, *numbers)
    fit = fit_counts(y, design, e, family, lags=used)
    slope, level, change = (fit.linear.contrast(np.eye(design.shape[1])[j]) for j in (1, 2, 3))
    told = fit.alpha, fit.dispersion, fit.autocorrelation
    fitted = np.exp(design @ fit.linear.beta) if fit.linear.reason is None else ()
    return Interrupted(level, slope, change, *numbers, *told, fitted=tuple(float(each) for each in fitted))


def seasonal_change(
    counts: npt.ArrayLike,
    exposure: npt.ArrayLike,
    years: npt.ArrayLike,
    is_during: npt.ArrayLike,
    year: int,
    *,
    lags: int | None = None,
) -> Seasonal:
    """Difference of two periods of `year` against the same periods of earlier years, on the log scale.

    Of counts (n,), in order of time within each year: ln(rate) has a level for each year, a change during the
    second period, and β·(during and this year), which is the estimate: a ratio of rate ratios. Earlier years
    are taken to be alike but for chance, which the method says. Years do not touch: no lag leads from one to
    another. `lags`: None is `lags_of` the longest year.
    """
    y, e = np.asarray(counts, float).ravel(), np.asarray(exposure, float).ravel()
    of, during = np.asarray(years).ravel(), np.asarray(is_during, bool).ravel()
    there = of <= year
    y, e, of, during = y[there], e[there], of[there], during[there]
    labels, sizes = np.unique(of, return_counts=True)
    used = (lags_of(int(sizes.max())) if len(sizes) else 0) if lags is None else lags
    method = f"{_method('Poisson', used, len(y))}; earlier years taken as alike"
    earlier = int((labels < year).sum())
    reason = _why_no_season(y, e, of, during, year)
    if reason:
        return Seasonal(not_estimated(method, reason), int((e > 0).sum()), earlier)
    design = np.column_stack([*(of == each for each in labels), during, during & (of == year)]).astype(float)
    fit = fit_counts(y, design, e, lags=used, stretches=of)
    change = fit.linear.contrast(np.eye(design.shape[1])[-1])
    return Seasonal(replace(change, method=method), fit.linear.n, earlier, fit.dispersion)


def fit_counts(
    counts: npt.ArrayLike,
    design: npt.ArrayLike,
    exposure: npt.ArrayLike,
    family: Family = "Poisson",
    *,
    lags: int | None = None,
    stretches: npt.ArrayLike | None = None,
) -> Counts:
    """Regression of counts (n,) on a design (n, p) with an intercept of its own; ln(exposure) is the offset.

    Rows are in order of time, equally spaced; those without exposure keep their place and have no score.
    Covariance: H⁻¹SH⁻¹ · n/(n − p), with H the observed information and S = Γ₀ + Σₗ(1 − l/(L + 1))(Γₗ + Γₗ')
    of scores; t(n − p). `stretches` (n,): rows with different labels are not neighbours. α by likelihood.
    """
    y, x, e = (
        np.asarray(counts, float).ravel(),
        np.asarray(design, float),
        np.asarray(exposure, float).ravel(),
    )
    used = lags_of(len(y)) if lags is None else lags
    method = _method(family, used, len(y))
    if not len(y) == len(x) == len(e):
        raise ValueError(f"{len(y)} counts, {len(x)} rows of the design, {len(e)} exposures")
    there = e > 0
    n, p = int(there.sum()), x.shape[1]
    reason = _why_no_counts(y, e) or why_not(y[there], x[there], everyone_alone(n))
    if reason:
        return Counts(not_fitted(n, n, method, reason))
    z, triangle = np.linalg.qr(x[there])
    data = _Data(y[there], z, np.log(e[there]))
    found = _climb(data, 0.0, data.start()) if family == "Poisson" else _highest(data)
    if found is None:
        return Counts(not_fitted(n, n, method, "no finite coefficients: some rate is fitted as 0"))
    if family == "negative binomial" and found.alpha == 0:
        method = f"{method}; no overdispersion"
    labels = np.zeros(len(y)) if stretches is None else np.asarray(stretches).ravel()
    scores, pearson = np.zeros((len(y), p)), np.zeros((len(y), 1))
    scores[there], pearson[there] = z * found.residuals[:, None], found.pearson[:, None]
    bread, spread = np.linalg.inv(found.information), float((pearson**2).sum())
    inner = bread @ _long_run(scores, used, labels) @ bread
    linear = Linear(
        n,
        n,
        np.linalg.solve(triangle, found.theta),
        outside(triangle, inner * n / (n - p)),
        method,
        freedom=n - p,
        no_interval="no interval: every count is as fitted" if spread <= _NOTHING else None,
    )
    neighbours = float(_products(pearson, 1, labels).sum())
    return Counts(linear, found.alpha, spread / (n - p), neighbours / spread if spread > _NOTHING else None)


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted so that of those at or below 5 % some 5 % are expected to be false: p·m/rank, made
    monotone from above. None: no test, which does not count among the m. Source: Benjamini & Hochberg 1995.
    """
    there = [i for i, each in enumerate(p_values) if each is not None]
    p = np.array([p_values[i] for i in there], float)
    order = np.argsort(p)[::-1]
    ranked = p[order] * (len(p) / np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.minimum.accumulate(ranked), 1.0)
    found: list[float | None] = [None] * len(p_values)
    for i, each in zip(there, adjusted, strict=True):
        found[i] = float(each)
    return found


# --- Why not ----------------------------------------------------------------------------------------------


def _why_no_counts(y: Floats, e: Floats) -> str | None:
    if not (np.isfinite(y).all() and np.isfinite(e).all()):
        return "a count or an exposure is missing, or no number"
    if (y < 0).any() or (e < 0).any():
        return "a count or an exposure is below 0"
    if (y[e == 0] > 0).any():
        return "something is counted where there is no exposure"
    return None if y.any() else "nothing was counted"


def _why_no_interruption(t: Floats, y: Floats, e: Floats, after: Booleans, season: float) -> str | None:
    """`season`: 0 where none is asked for."""
    reason = _why_no_counts(y, e)
    if reason:
        return reason
    for where, name in ((~after, "before"), (after, "after")):
        if (e[where] > 0).sum() < MIN_TIMES:
            return f"fewer than {MIN_TIMES} times {name} the interruption"
        if not y[where].any():
            return f"nothing was counted {name} the interruption"
    steps = np.diff(t)
    if not (steps > 0).all() or np.ptp(steps) > 1e-9 * steps.max():
        return "times are not equally spaced"
    if season and t[-1] - t[0] + steps[0] < season:
        return "less than one season: it cannot be told from a trend"
    return None


def _why_no_season(y: Floats, e: Floats, of: npt.NDArray[Any], during: Booleans, year: int) -> str | None:
    if not (of == year).any() or not (of < year).any():
        return "there is no earlier year" if (of == year).any() else "there are no counts of that year"
    reason = _why_no_counts(y, e)
    if reason:
        return reason
    of_years = [of == each for each in np.unique(of)]
    if any({*during[which & (e > 0)].tolist()} != {True, False} for which in of_years):
        return "a year lacks one of the periods"
    periods = [which & when for which in (of == year, of < year) for when in (during, ~during)]
    is_empty = not all(y[which].any() for which in (*of_years, *periods))
    return "in one of the years or periods nothing was counted" if is_empty else None


def _method(family: Family, lags: int, n: int) -> str:
    warning = f"; short series: {n} times, the interval tends to be too narrow" if n < SHORT else ""
    return (
        f"log-linear {family} regression, exposure as offset; Newey-West variance, {lags} lags, "
        f"n/(n - p); t(n - p) interval{warning}"
    )


# --- The likelihood ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Data:
    """Counts (n,), orthonormal columns (n, p) and ln(exposure) (n,)."""

    y: Floats
    z: Floats
    offset: Floats

    def start(self) -> Floats:
        return np.asarray(self.z.T @ (np.log(self.y + 0.5) - self.offset), float)

    def means(self, theta: Floats) -> Floats:
        return np.exp(np.minimum(self.offset + self.z @ theta, 700.0))

    def height(self, theta: Floats, alpha: float) -> float:
        """Log likelihood, without what neither coefficients nor α are in."""
        from scipy.special import gammaln

        eta = self.offset + self.z @ theta
        mean = np.exp(np.minimum(eta, 700.0))
        if alpha == 0:
            return float((self.y * eta - mean).sum())
        size = 1 / alpha
        constant = gammaln(self.y + size) - gammaln(size) + self.y * math.log(alpha)
        return float((constant + self.y * eta - (self.y + size) * np.log1p(alpha * mean)).sum())


@dataclass(frozen=True, eq=False)
class _Fitted:
    """At the top for one α: residuals (n,) are scores but for the design, `pearson` (n,) over their SD."""

    theta: Floats
    alpha: float
    height: float
    residuals: Floats
    information: Floats
    pearson: Floats


def _climb(data: _Data, alpha: float, theta: Floats) -> _Fitted | None:
    """Newton's steps up a concave likelihood, halved until they lead up. None: it has no top."""
    height = data.height(theta, alpha)
    for _ in range(_MAX_STEPS):
        mean = data.means(theta)
        residuals = (data.y - mean) / (1 + alpha * mean)
        weights = mean * (1 + alpha * data.y) / (1 + alpha * mean) ** 2
        information = (data.z.T * weights) @ data.z
        if not np.isfinite(information).all() or np.linalg.cond(information) > 1e13:
            return None
        step = np.asarray(np.linalg.solve(information, data.z.T @ residuals), float)
        if np.abs(data.z @ step).max() < _CLOSE:
            pearson = (data.y - mean) / np.sqrt(mean * (1 + alpha * mean))
            return _Fitted(theta, alpha, height, residuals, information, pearson)
        theta, height = _upwards(data, alpha, theta, height, step)
    return None


def _upwards(data: _Data, alpha: float, theta: Floats, height: float, step: Floats) -> tuple[Floats, float]:
    """A step that does not lead down, but for rounding."""
    for _ in range(_MAX_STEPS):
        reached = data.height(theta + step, alpha)
        if reached >= height - 1e-12 * abs(height):
            return theta + step, reached
        step = step / 2
    return theta, height


def _highest(data: _Data) -> _Fitted | None:
    """The α of the highest likelihood: the best of a grid, then between its neighbours."""
    from scipy.optimize import minimize_scalar

    poisson = _climb(data, 0.0, data.start())
    if poisson is None:
        return None
    theta, found = poisson.theta, [poisson]
    for alpha in _ALPHAS[1:]:
        fitted = _climb(data, float(alpha), theta)
        if fitted is None:
            break
        theta = fitted.theta
        found.append(fitted)
    best = max(range(len(found)), key=lambda i: found[i].height)
    if best == 0:
        return poisson
    start = found[best].theta

    def depth(log_alpha: float) -> float:
        fitted = _climb(data, math.exp(log_alpha), start)
        return math.inf if fitted is None else -fitted.height

    low, high = _ALPHAS[max(best - 1, 1)], _ALPHAS[min(best + 1, len(found) - 1)]
    inside = minimize_scalar(
        depth, bounds=(math.log(low), math.log(high)), method="bounded", options={"xatol": 1e-9}
    )
    return _climb(data, math.exp(float(inside.x)), start) or found[best]


def _long_run(scores: Floats, lags: int, labels: npt.NDArray[Any]) -> Floats:
    """Bartlett's weighted sum of the products of scores (n, p) with those so many times before."""
    total = scores.T @ scores
    for lag in range(1, min(lags, len(scores) - 1) + 1):
        product = _products(scores, lag, labels)
        total = total + (1 - lag / (lags + 1)) * (product + product.T)
    return total


def _products(values: Floats, lag: int, labels: npt.NDArray[Any]) -> Floats:
    """Σ xₜxₜ₋ₗ' of values (n, p), where both times have one label."""
    joined = labels[lag:] == labels[:-lag]
    return np.asarray(values[lag:][joined].T @ values[:-lag][joined], float)
