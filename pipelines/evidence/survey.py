"""Shares and odds ratios of a population, of a sample that was drawn in strata and clusters with weights.

Variances are linearised: what each row contributes to the error of an estimate is summed by primary sampling
unit (PSU), and sums are compared within strata, as if PSUs were drawn with replacement; t has as many degrees
of freedom as there are more PSUs than strata. Part of a population keeps all PSUs, with 0 for those that have
none of it, since its size in the sample is by chance as well. A PSU that is alone in its stratum is compared
with the mean of all, as nothing else is known of its spread, and gives no degree of freedom. A sample without
weights or strata is a design as well: one stratum, equal weights, everybody a PSU. Finite populations,
calibration and replicate weights are not here; nor is what a survey's estimate is compared with.

Sources: Binder 1983 (linearisation); Korn & Graubard 1998, 1999 (logit interval, degrees of freedom); Lumley
2010 (a PSU alone: "adjust"); Firth's logistic regression for empty cells is `firth`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipelines.evidence.estimates import CI_LEVEL, Estimate, not_estimated, t_quantile, with_interval
from pipelines.evidence.linear import Clusters, Floats, Integers, Labels, clusters_of, everyone_alone
from pipelines.evidence.propensity import SEPARATED, Logistic, fit_logistic

Booleans = npt.NDArray[np.bool_]

EMPTY_CELL = "an empty cell: the covariates tell cases apart"

_PREVALENCE = "weighted share; variance linearised over PSUs within strata; logit interval, t(PSUs − strata)"
_ODDS = "weighted logistic regression; variance linearised over PSUs within strata; t(PSUs − strata)"


@dataclass(frozen=True, eq=False)
class Design:
    """How a sample was drawn: `weights` (n,), the PSU of each row, the stratum of each PSU (K,), from 0."""

    weights: Floats
    psus: Clusters
    strata: Integers

    @property
    def count_strata(self) -> int:
        return len(np.unique(self.strata))

    @property
    def freedom(self) -> int:
        return self.psus.count - self.count_strata

    @property
    def alone(self) -> int:
        """PSUs that are alone in their stratum."""
        return int((np.bincount(self.strata) == 1).sum())

    def covariance(self, errors: Floats) -> Floats:
        """Of sums of errors (n, p), which are 0 in all: Σₕ nₕ/(nₕ − 1) Σᵢ (zₕᵢ − z̄ₕ)(zₕᵢ − z̄ₕ)' (p, p).

        zₕᵢ is the sum of PSU i in stratum h. Of a PSU alone z̄ₕ is the mean of all and the factor is 1.
        """
        sums = self.psus.sums(errors)
        count = np.bincount(self.strata)
        means = np.column_stack([np.bincount(self.strata, each) / np.maximum(count, 1) for each in sums.T])
        is_alone = count == 1
        means[is_alone] = sums.mean(axis=0)
        factors = np.where(is_alone, 1.0, count / np.maximum(count - 1, 1))[self.strata]
        spread = sums - means[self.strata]
        return np.asarray((spread.T * factors) @ spread, float)


@dataclass(frozen=True)
class Prevalence:
    """The share of the population, and the `cases` among `n` people of the sample, unweighted."""

    share: Estimate
    n: int
    cases: int
    psus: int
    strata: int


@dataclass(frozen=True)
class Odds:
    """For each column of a covariate matrix the log odds ratio, and the odds ratio, which has no se.

    The intercept comes first; its "ratio" is the odds where all covariates are 0.
    """

    log_ratios: tuple[Estimate, ...]
    ratios: tuple[Estimate, ...]
    n: int
    cases: int
    reason: str | None = None


def design_of(weights: npt.ArrayLike, strata: Labels | None = None, psus: Labels | None = None) -> Design:
    """Weights (n,), the stratum and the PSU of each row; PSUs are numbered anew in each stratum.

    Without strata there is one, without PSUs everybody is one. A label None is a stratum, or PSU, of its own.
    Raises ValueError when they are not of one number.
    """
    w = np.asarray(weights, float).ravel()
    stratum = np.zeros(len(w), np.int64) if strata is None else clusters_of(strata).codes
    unit = np.arange(len(w)) if psus is None else clusters_of(psus).codes
    if not len(w) == len(stratum) == len(unit):
        raise ValueError(f"{len(w)} weights, {len(stratum)} strata, {len(unit)} PSUs")
    if len(w) == 0:
        return Design(w, everyone_alone(0), stratum)
    pairs, first, codes = np.unique(
        stratum * (int(unit.max()) + 1) + unit, return_index=True, return_inverse=True
    )
    sizes = np.bincount(codes, minlength=len(pairs)).astype(np.int64)
    return Design(w, Clusters(codes.astype(np.int64), sizes), stratum[first])


def prevalence(
    is_case: npt.ArrayLike, design: Design, within: npt.ArrayLike | None = None, level: float = CI_LEVEL
) -> Prevalence:
    """Weighted share of cases (n,), which may be missing (NaN), of all or of those `within` (n,).

    p = Σwy/Σw; what row i contributes to its error is w(y − p)/Σw; on the logit scale se/(p(1 − p)). Who is
    missing is not within.
    """
    y, is_within = _cases(is_case, design, within)
    w = np.where(is_within, design.weights, 0.0)
    found = Prevalence(
        not_estimated(_PREVALENCE, ""),
        int(is_within.sum()),
        int(y[is_within].sum()),
        design.psus.count,
        design.count_strata,
    )
    method = _told(_PREVALENCE, design)
    reason = _why_not(design) or (None if w.any() else "nobody with a weight has a value")
    if reason:
        return replace(found, share=not_estimated(method, reason))
    p = min(1.0, float(w @ y / w.sum()))
    se = math.sqrt(float(design.covariance((w * (y - p) / w.sum())[:, None])[0, 0]))
    return replace(found, share=_logit_interval(p, se, method, design.freedom, level))


def logistic_odds(
    is_case: npt.ArrayLike,
    covariates: npt.ArrayLike,
    design: Design,
    within: npt.ArrayLike | None = None,
    level: float = CI_LEVEL,
) -> Odds:
    """Odds ratios of cases (n,) by covariates (n, m), of all or of those `within`; an intercept is added.

    Weights are normalised to the number of people. Coefficients are those of the weighted likelihood, A⁻¹BA⁻¹
    their covariance, with A = Σwp(1 − p)xx' and B of the rows' w(y − p)x. Who has a missing value (NaN), or
    no weight, is left out. Where cases are told apart, as by an empty cell, there is no maximum: no odds.
    """
    y, is_within = _cases(is_case, design, within)
    x = np.asarray(covariates, float).reshape(len(y), -1) if len(y) else np.empty((0, 0))
    x = np.column_stack([np.ones(len(y)), x])
    is_within = is_within & np.isfinite(x).all(axis=1) & (design.weights > 0)
    n, cases = int(is_within.sum()), int(y[is_within].sum())
    method = _told(_ODDS, design)
    reason = _why_not(design) or ("cases, or others, are missing" if cases in {0, n} else None)
    if reason:
        return _no_odds(method, reason, x.shape[1], n, cases)
    w = design.weights[is_within] * n / design.weights[is_within].sum()
    fit = fit_logistic(y[is_within] > 0, x[is_within], w)
    if fit.reason:
        reason = EMPTY_CELL if fit.reason == SEPARATED else fit.reason
        return _no_odds(method, reason, x.shape[1], n, cases)
    errors = np.zeros_like(x)
    errors[is_within] = (w * (y[is_within] - fit.probabilities))[:, None] * x[is_within] @ fit.covariance
    found = _coefficients(fit, design.covariance(errors), design.freedom, method, level)
    return Odds(found, tuple(exponentiated(each) for each in found), n, cases)


# --- What is told of it -----------------------------------------------------------------------------------


def _cases(is_case: npt.ArrayLike, design: Design, within: npt.ArrayLike | None) -> tuple[Floats, Booleans]:
    """0 and 1 (n,), and who has a value and is within. Raises ValueError when not of the design's number."""
    y = np.asarray(is_case, float).ravel()
    asked = np.ones(len(y), bool) if within is None else np.asarray(within, bool).ravel()
    if not len(y) == len(asked) == len(design.weights):
        raise ValueError(f"{len(y)} cases, {len(asked)} within, {len(design.weights)} weights")
    return np.where(np.isfinite(y), y, 0.0), asked & np.isfinite(y)


def _why_not(design: Design) -> str | None:
    if len(design.weights) == 0:
        return "nobody is in the sample"
    is_weight = np.isfinite(design.weights) & (design.weights >= 0)
    return None if is_weight.all() else "a weight is missing, or below 0"


def _told(method: str, design: Design) -> str:
    return (
        f"{method}; {design.alone} PSUs alone in a stratum, centred at the mean" if design.alone else method
    )


def _logit_interval(p: float, se: float, method: str, freedom: int, level: float) -> Estimate:
    no_interval = "no more PSUs than strata" if freedom < 1 else None
    # But for rounding.
    if se <= 1e-14 or not 0 < p < 1:
        no_interval = "PSUs do not differ"
    if no_interval:
        return Estimate(p, None, None, None, method, f"no interval: {no_interval}")
    logit, half = math.log(p / (1 - p)), t_quantile(level, freedom) * se / (p * (1 - p))
    low, high = (0.5 + 0.5 * math.tanh(end / 2) for end in (logit - half, logit + half))
    return Estimate(p, se, low, high, method, freedom=freedom)


def _coefficients(
    fit: Logistic, covariance: Floats, freedom: int, method: str, level: float
) -> tuple[Estimate, ...]:
    found = []
    for beta, variance, models in zip(fit.beta, np.diag(covariance), np.diag(fit.covariance), strict=True):
        no_interval = "no more PSUs than strata" if freedom < 1 else None
        if variance <= 1e-20 * models:  # but for rounding
            no_interval = "PSUs do not differ"
        if no_interval:
            found.append(Estimate(float(beta), None, None, None, method, f"no interval: {no_interval}"))
        else:
            found.append(with_interval(float(beta), math.sqrt(float(variance)), method, freedom, level))
    return tuple(found)


def exponentiated(estimate: Estimate) -> Estimate:
    """A ratio, of its logarithm, with its interval and without se. Too large for a number: a reason."""
    ends = (estimate.estimate, estimate.ci_low, estimate.ci_high)
    if any(each is not None and each > 700 for each in ends):
        return not_estimated(estimate.method, "the ratio, or an end of its interval, is no number")
    ratio, low, high = (None if each is None else math.exp(each) for each in ends)
    return replace(estimate, estimate=ratio, se=None, ci_low=low, ci_high=high)


def _no_odds(method: str, reason: str, p: int, n: int, cases: int) -> Odds:
    nothing = (not_estimated(method, reason),) * p
    return Odds(nothing, nothing, n, cases, reason)
