"""Marginal models of repeated measures: Gaussian GEE with people as clusters, waves as rows.

Waves may be missing for reasons that are in the design. If earlier scores are a reason as well, only a right
working correlation would do, and `mixed` is the model. Coefficients are weighted least squares with the
inverse of an exchangeable working correlation, which has a closed form, so rows are decorrelated and nothing
loops over people. Scale and correlation are moments of the residuals: φ = Σr²/(n − p) and ρ = Σ_{j<k} rⱼrₖ /
(φ(pairs − p)), as in statsmodels. The variance is robust: right whatever the correlation is. Groups of people
are `regression`'s.

Few people make the robust variance too small. Kauermann and Carroll take residuals by (I − H)^(−1/2), Mancl
and DeRouen by (I − H)^(−1); both go with t(K − p) for K people. Below 40 people the former is the default.

Sources: Liang & Zeger 1986; Kauermann & Carroll 2001; Mancl & DeRouen 2001; Li & Redden 2015 (t(K − p)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipelines.evidence.linear import (
    Clusters,
    Floats,
    Labels,
    Linear,
    Solved,
    clusters_of,
    decorrelated,
    not_fitted,
    sandwich,
    solve,
    why_not,
)

Correlation = Literal["exchangeable", "independence"]
Correction = Literal["none", "Kauermann-Carroll", "Mancl-DeRouen"]

FEW = 40
"""Fewer people than this are few: a correction is the default, and the method warns."""

_POWERS: dict[Correction, float] = {"none": 0.0, "Kauermann-Carroll": -0.5, "Mancl-DeRouen": -1.0}
_MAX_STEPS, _FREE_STEPS = 200, 10
_CLOSE, _NEAR = 1e-10, 1e-6


@dataclass(frozen=True)
class Marginal:
    """Coefficients, working correlation and scale (the outcome's unit, squared). None: not estimable."""

    linear: Linear
    correlation: float | None = None
    scale: float | None = None


def fit_gee(
    outcome: npt.ArrayLike,
    design: npt.ArrayLike,
    people: Labels,
    correlation: Correlation = "exchangeable",
    correction: Correction | None = None,
    *,
    groups: Sequence[Any] | None = None,
) -> Marginal:
    """GEE of an outcome (n,) on a design (n, p) with an intercept of its own; `people`: whose the rows are.

    `correction`: None chooses by the number of people. `groups`: the group of each row, None for who is in
    none; without any the variance is of people.
    """
    y, x = np.asarray(outcome, float).ravel(), np.asarray(design, float)
    clusters = clusters_of(people)
    met = None if groups is None or not any(groups) else _of_groups(people, groups)
    chosen = correction or ("Kauermann-Carroll" if met or clusters.count < FEW else "none")
    method = _method(correlation, chosen, clusters.count, met)
    reason = why_not(y, x, clusters) or _why_no_correlation(clusters, x.shape[1], correlation)
    if reason:
        return Marginal(not_fitted(len(y), clusters.count, method, reason))
    found = _iterate(y, x, clusters) if correlation == "exchangeable" else 0.0
    if isinstance(found, str):
        return Marginal(not_fitted(len(y), clusters.count, method, found))
    solved = _solve(y, x, clusters, found)
    variance = sandwich(solved, met or clusters, _POWERS[chosen])
    freedom = clusters.count - x.shape[1]
    linear = Linear(
        len(y),
        (met or clusters).count,
        solved.beta,
        variance.covariance,
        method,
        freedom="Satterthwaite" if met else None if chosen == "none" else freedom,
        no_interval=None if freedom > 0 else "no interval: no more people than coefficients",
        sandwich=variance,
    )
    return Marginal(linear, found, _scale(y - x @ solved.beta, x.shape[1]))


def _of_groups(people: Labels, groups: Sequence[Any]) -> Clusters:
    """A cluster for each group, and for each person of none."""
    return clusters_of(
        [
            f"person {who}" if group is None else f"group {group}"
            for who, group in zip(people, groups, strict=True)
        ]
    )


def _solve(y: Floats, x: Floats, clusters: Clusters, correlation: float) -> Solved:
    return solve(decorrelated(y, clusters, correlation), decorrelated(x, clusters, correlation))


def _iterate(y: Floats, x: Floats, clusters: Clusters) -> float | str:
    """The correlation that is the moment of its own residuals; or why there is none.

    Steps that would leave the possible ones go half of the way there; after some, all go half of their way,
    as otherwise a few people may swing between two values.
    """
    lowest, highest = -1 / (int(clusters.sizes.max()) - 1), 1.0
    correlation, step = 0.0, 0
    while step < _MAX_STEPS and lowest + _NEAR < correlation < highest - _NEAR:
        residuals = y - x @ _solve(y, x, clusters, correlation).beta
        if np.linalg.norm(residuals) <= 1e-12 * np.linalg.norm(y):
            return 0.0
        moment = _moment(residuals, clusters, x.shape[1])
        if abs(moment - correlation) < _CLOSE:
            return correlation
        aim = min(max(moment, lowest), highest)
        correlation = aim if aim == moment and step < _FREE_STEPS else (aim + correlation) / 2
        step += 1
    return "the working correlation does not settle among those that can be"


def _moment(residuals: Floats, clusters: Clusters, p: int) -> float:
    products = (float((clusters.sums(residuals) ** 2).sum()) - float(residuals @ residuals)) / 2
    return products / (_scale(residuals, p) * (_pairs(clusters) - p))


def _scale(residuals: Floats, p: int) -> float:
    return float(residuals @ residuals) / (len(residuals) - p)


def _pairs(clusters: Clusters) -> int:
    return int((clusters.sizes * (clusters.sizes - 1) // 2).sum())


def _why_no_correlation(clusters: Clusters, p: int, correlation: Correlation) -> str | None:
    if correlation == "independence":
        return None
    if _pairs(clusters) == 0:
        return "nobody has two waves"
    return None if _pairs(clusters) > p else "no more pairs of waves than coefficients"


def _method(correlation: Correlation, correction: Correction, people: int, met: Clusters | None) -> str:
    variance = {
        "none": "robust variance; normal interval",
        "Kauermann-Carroll": "robust variance after Kauermann and Carroll; t(K - p)",
        "Mancl-DeRouen": "robust variance after Mancl and DeRouen; t(K - p)",
    }[correction]
    if met:
        variance = "robust variance of groups, CR2; Satterthwaite degrees of freedom"
    warning = f"; small sample: {people} people" if people < FEW else ""
    return f"Gaussian GEE, {correlation} within people; {variance}{warning}"
