"""Linear mixed model of repeated measures: a random intercept for each person.

y = Xβ + u + e with Var(u) = τ² between and Var(e) = σ² within people. Waves may be missing for reasons that
are in the design or in the scores that are there (at random); what if the reason is in what is missing is not
asked here. The likelihood is profiled to the ratio θ = τ²/σ²: at each θ the inverse of
I + θ11' is closed, and of the data it needs sums per person only, added up once for each number of waves.

Intervals: the model's standard errors and t(K − p) for K people, as in `gee`: right for what differs between
people, wide for what varies within them. Variances do not go below 0; at that bound people do not differ more
than their waves do. Sources: Laird & Ware 1982; Harville 1977 (REML).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

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
    outside,
    solve,
    why_not,
)

Likelihood = Literal["REML", "ML"]

_RATIOS = np.concatenate([[0.0], np.geomspace(1e-6, 1e6, 80)])
"""Where the likelihood is looked at first: from no variance between people to nearly all of it. What lies
between the first two is taken as 0."""


@dataclass(frozen=True)
class Mixed:
    """Coefficients, and variances in the outcome's unit squared. None: not estimable.

    `icc`: τ²/(τ² + σ²), the correlation of two waves of a person; `log_likelihood`: the restricted one if
    REML; `is_at_bound`: τ² would be below 0 if it could.
    """

    linear: Linear
    between: float | None = None
    within: float | None = None
    icc: float | None = None
    log_likelihood: float | None = None
    is_at_bound: bool = False


def fit_mixed(
    outcome: npt.ArrayLike,
    design: npt.ArrayLike,
    people: Labels,
    by: Likelihood = "REML",
) -> Mixed:
    """Mixed model of an outcome (n,) on a design (n, p), with an intercept of its own; rows of `people`."""
    method = f"mixed model, random intercept of a person, {by}; t(K - p) interval"
    y, x = np.asarray(outcome, float).ravel(), np.asarray(design, float)
    clusters = clusters_of(people)
    reason = why_not(y, x, clusters) or _why_no_variances(y, x, clusters)
    if reason:
        return Mixed(not_fitted(len(y), clusters.count, method, reason))
    profile = _profile(solve(y, x), clusters, by)
    ratio = _highest(profile)
    within, icc = profile.scale(ratio), ratio / (1 + ratio)
    solved = solve(decorrelated(y, clusters, icc), decorrelated(x, clusters, icc))
    linear = Linear(
        len(y),
        clusters.count,
        solved.beta,
        outside(solved.triangle, (1 + ratio) * within * np.eye(x.shape[1])),
        f"{method}; no variance between people" if ratio == 0 else method,
        freedom=clusters.count - x.shape[1],
    )
    return Mixed(linear, ratio * within, within, icc, profile.height(ratio), ratio == 0)


def _why_no_variances(y: Floats, x: Floats, clusters: Clusters) -> str | None:
    if clusters.sizes.max() == 1:
        return "nobody has two waves"
    if clusters.count <= x.shape[1]:
        return "no more people than coefficients"
    within_y, within_x = (
        each - (clusters.sums(each).T / clusters.sizes).T[clusters.codes] for each in (y, x)
    )
    coefficients = np.linalg.lstsq(within_x, within_y, rcond=1e-10)[0]
    left = np.linalg.norm(within_y - within_x @ coefficients)
    return None if left > 1e-10 * np.linalg.norm(y) else "no variance within people"


# --- The likelihood ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Profile:
    """The likelihood as a function of θ, of orthonormal columns and the residuals of least squares.

    `whole` (p + 1, p + 1): their products; `by_size` (J, p + 1, p + 1): products of their sums per person,
    for people of each number of waves `sizes` (J,), who are `people` (J,).
    """

    n: int
    whole: Floats
    by_size: Floats
    sizes: Floats
    people: Floats
    log_determinant: float
    by: Likelihood

    @property
    def freedom(self) -> int:
        return self.n - (len(self.whole) - 1 if self.by == "REML" else 0)

    def inner(self, ratio: float) -> Floats:
        """[z, r]'(I + θ11')⁻¹[z, r], as (I + θ11')⁻¹ = I − θ/(1 + mθ)·11'."""
        shares = ratio / (1 + self.sizes * ratio)
        return np.asarray(self.whole - np.tensordot(shares, self.by_size, 1), float)

    def scale(self, ratio: float) -> float:
        """σ² at θ."""
        inner = self.inner(ratio)
        fitted = inner[:-1, -1] @ np.linalg.solve(inner[:-1, :-1], inner[:-1, -1])
        return float(inner[-1, -1] - fitted) / self.freedom

    def height(self, ratio: float) -> float:
        """Log likelihood: −½((n − p)(ln 2πσ² + 1) + Σ ln(1 + mθ) + ln|X'V⁻¹X|).

        ML has n in place of n − p, and no last term.
        """
        height = self.freedom * (math.log(2 * math.pi * self.scale(ratio)) + 1)
        height += float(self.people @ np.log1p(self.sizes * ratio))
        if self.by == "REML":
            height += float(np.linalg.slogdet(self.inner(ratio)[:-1, :-1])[1]) + self.log_determinant
        return -height / 2


def _profile(plain: Solved, clusters: Clusters, by: Likelihood) -> _Profile:
    sums = clusters.sums(np.column_stack([plain.z, plain.residuals]))
    whole = np.eye(sums.shape[1])
    whole[-1, -1] = plain.residuals @ plain.residuals
    sizes, which, people = np.unique(clusters.sizes, return_inverse=True, return_counts=True)
    by_size = np.stack([sums[which == j].T @ sums[which == j] for j in range(len(sizes))])
    log_determinant = 2 * float(np.linalg.slogdet(plain.triangle)[1])
    return _Profile(
        len(plain.z), whole, by_size, sizes.astype(float), people.astype(float), log_determinant, by
    )


def _highest(profile: _Profile) -> float:
    """The ratio of the highest likelihood: the best of a grid, then between its neighbours."""
    from scipy.optimize import minimize_scalar

    heights = [profile.height(each) for each in _RATIOS]
    best = int(np.argmax(heights))
    if best == 0:
        return 0.0
    low, high = float(_RATIOS[best - 1]), float(_RATIOS[min(best + 1, len(_RATIOS) - 1)])
    inside = minimize_scalar(
        lambda ratio: -profile.height(ratio),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-10 * high},
    )
    return float(inside.x) if -inside.fun > heights[best] else float(_RATIOS[best])
