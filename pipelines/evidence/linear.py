"""Least squares on rows that belong together: what the regression, the GEE and the mixed model share.

A cluster's rows are correlated and clusters are not. All three models are least squares on rows that are
`decorrelated` first, so the sandwich, its corrections for few clusters and the contrast of coefficients are
here once. How the correlation is estimated is the models' own.

Everything is computed in coordinates z = xR⁻¹ (X = QR) in which X'X = I. A cluster's leverage is then the
p × p matrix Gₛ = Zₛ'Zₛ, known by its eigenvalues λ and eigenvectors; whatever the literature writes with
n × n matrices is a sum over these. A cluster of one has the single eigenvalue |z|², so 100,000 people cost no
more than 100,000 rows.

Sources: Bell & McCaffrey 2002, Pustejovsky & Tipton 2018 (CR2 and its degrees of freedom), Kauermann &
Carroll 2001, Mancl & DeRouen 2001.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipelines.evidence.estimates import CI_LEVEL, Estimate, Units, not_estimated, with_interval

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Labels = Sequence[Any] | npt.NDArray[Any]

NOT_SEPARABLE, ONE_PERSON = "not separable from group", "it rests on one person alone"

_CLOSE = 1e-10
_ALL = 1 - 1e-8
"""A leverage from here on is 1: rounding tells it no longer from what is fitted exactly."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """`codes` (n,): the cluster of each row, from 0; `sizes` (K,): the rows of each."""

    codes: Integers
    sizes: Integers

    @property
    def count(self) -> int:
        return len(self.sizes)

    def of_arms(self, is_arm: npt.NDArray[np.bool_]) -> tuple[int, int]:
        """How many have rows (n,) of the arm, and how many others."""
        return len(np.unique(self.codes[is_arm])), len(np.unique(self.codes[~is_arm]))

    def sums(self, values: Floats) -> Floats:
        """Sums of values (n,) or (n, p) over the rows of each cluster: (K,) or (K, p)."""
        return np.add.reduceat(values[self._order], self._starts, axis=0)

    def stacks(self, values: Floats) -> list[tuple[Integers, Floats]]:
        """Clusters of one size at a time: which they are (k,), and their rows of values (k, size, p)."""
        found = []
        for size in np.unique(self.sizes):
            which = np.flatnonzero(self.sizes == size)
            rows = self._order[self._starts[which][:, None] + np.arange(size)]
            found.append((which, values[rows]))
        return found

    @cached_property
    def _order(self) -> Integers:
        return np.argsort(self.codes, kind="stable")

    @cached_property
    def _starts(self) -> Integers:
        return np.cumsum(self.sizes) - self.sizes


def clusters_of(labels: Labels) -> Clusters:
    """Clusters by their labels (n,). Who has None, or NaN, as label belongs to nobody: a cluster of one."""
    alone = np.array([_is_nobody(each) for each in labels], bool)
    named = np.asarray([each for each, is_alone in zip(labels, alone, strict=True) if not is_alone])
    codes = np.empty(len(alone), np.int64)
    _, codes[~alone] = np.unique(named, return_inverse=True)
    first = int(codes[~alone].max()) + 1 if len(named) else 0
    codes[alone] = first + np.arange(alone.sum())
    return Clusters(codes, np.bincount(codes).astype(np.int64))


def _is_nobody(label: Any) -> bool:
    return label is None or (isinstance(label, float) and math.isnan(label))


def everyone_alone(n: int) -> Clusters:
    return Clusters(np.arange(n), np.ones(n, np.int64))


def decorrelated(values: Floats, clusters: Clusters, correlation: float) -> Floats:
    """V^(−1/2) times values (n,) or (n, p), where any two rows of a cluster have the same correlation ρ.

    Of a cluster of m: (x − (1 − √((1 − ρ)/(1 + (m − 1)ρ))) x̄)/√(1 − ρ). Needs −1/(m − 1) < ρ < 1.
    """
    if correlation == 0:
        return values
    sizes = clusters.sizes
    factor = 1 - np.sqrt((1 - correlation) / (1 + (sizes - 1) * correlation))
    means = clusters.sums(values) * (factor / sizes).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray((values - means[clusters.codes]) / math.sqrt(1 - correlation), float)


def why_not(outcome: Floats, design: Floats, clusters: Clusters) -> str | None:
    """Why the design (n, p) allows no coefficients. Raises ValueError when rows are not of one number."""
    if not len(outcome) == len(design) == len(clusters.codes):
        numbers = f"{len(outcome)} outcomes, {len(design)} rows of the design, {len(clusters.codes)} labels"
        raise ValueError(numbers)
    if len(outcome) == 0:
        return "nobody has a value"
    if not (np.isfinite(outcome).all() and np.isfinite(design).all()):
        return "a value is missing, or no number"
    if len(outcome) <= design.shape[1]:
        return "no more rows than coefficients"
    norms = np.linalg.norm(design, axis=0)
    if (norms == 0).any() or not _is_full(np.linalg.qr(design / norms).R):
        return "a covariate does not vary, or follows from the others"
    return None


def _is_full(triangle: Floats) -> bool:
    singular = np.linalg.svd(triangle, compute_uv=False)
    return bool(singular[-1] > _CLOSE * singular[0])


# --- Least squares ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Solved:
    """Least squares of full rank: z (n, p) with orthonormal columns, R (p, p), coefficients and residuals."""

    z: Floats
    triangle: Floats
    beta: Floats
    residuals: Floats


def solve(outcome: Floats, design: Floats) -> Solved:
    z, triangle = np.linalg.qr(design)
    inner = z.T @ outcome
    return Solved(z, triangle, np.linalg.solve(triangle, inner), outcome - z @ inner)


def outside(triangle: Floats, covariance: npt.NDArray[np.floating[Any]]) -> Floats:
    """R⁻¹MR⁻ᵀ: the covariance M of Z'y as that of the coefficients."""
    half = np.linalg.solve(triangle, covariance)
    return np.asarray(np.linalg.solve(triangle, half.T), float)


@dataclass(frozen=True, eq=False)
class Sandwich:
    """Σ uₛuₛ' with uₛ = (I − Gₛ)^power Zₛ'eₛ, in coordinates of z.

    power 0 is the plain sandwich, −½ CR2 and Kauermann and Carroll's, −1 Mancl and DeRouen's. The arrays list
    eigenvectors with leverage λ > 0: whose they are, λ, (1 − λ)^power, and the vector. Where λ is 1 the
    residuals are 0 by construction and tell of no variance: they are left as they are, and `rests_on` finds
    who asks for them. `sizes`: the rows of each cluster.
    """

    triangle: Floats
    meat: Floats
    sizes: Integers
    owners: Integers
    leverages: Floats
    powers: Floats
    vectors: Floats

    @property
    def covariance(self) -> Floats:
        """Of the coefficients."""
        return outside(self.triangle, self.meat)

    def inside(self, weights: Floats) -> Floats:
        """R⁻ᵀc: weights of the coefficients as weights of Z'y."""
        return np.asarray(np.linalg.solve(self.triangle.T, weights), float)

    def freedom(self, k: Floats) -> float:
        """Satterthwaite's degrees of freedom of the variance of k'Z'y, were all rows independent and alike.

        The variance is Σ(pₛ'y)² with pₛ = (I − H)ₛAₛZₛk, Aₛ = (I − Hₛₛ)^power; its freedom is
        (Σₛ pₛ'pₛ)² / Σₛₜ (pₛ'pₜ)². As pₛ'pₜ = [s = t]dₛ − bₛ'bₜ with bₛ = Zₛ'AₛZₛk and dₛ = |AₛZₛk|², both
        are sums over clusters.
        """
        along = self.vectors @ k
        d = np.bincount(self.owners, self.powers**2 * self.leverages * along**2)
        b = _sums_by(self.owners, self.vectors * (self.powers * self.leverages * along)[:, None])
        squares = (b**2).sum(axis=1)
        trace = float(d.sum() - squares.sum())
        of_square = float((d**2).sum() - 2 * (d * squares).sum() + ((b.T @ b) ** 2).sum())
        return trace**2 / of_square

    def size(self, weights: Floats, beta: Floats) -> float:
        """|k| |Rβ|: how large the contrast of these weights could be, for this outcome."""
        return float(np.linalg.norm(self.inside(weights)) * np.linalg.norm(self.triangle @ beta))

    def rests_on(self, k: Floats) -> int | None:
        """A cluster that alone decides a part of k: without it k could not be estimated."""
        along = np.abs(self.vectors @ k)
        found = self.owners[(self.leverages > _ALL) & (along > 1e-6 * float(np.linalg.norm(k)))]
        return int(found[0]) if len(found) else None


def sandwich(solved: Solved, clusters: Clusters, power: float) -> Sandwich:
    owners, leverages, vectors = _leverages(solved.z, clusters)
    powers = np.where(leverages > _ALL, 1.0, np.maximum(1 - leverages, 1 - _ALL) ** power)
    scores = clusters.sums(solved.z * solved.residuals[:, None])
    # (I − G)^power u = u + Σ ((1 − λ)^power − 1)(v'u)v: outside of its eigenvectors G is 0.
    along = (vectors * scores[owners]).sum(axis=1) * (powers - 1)
    scores = scores + _sums_by(owners, vectors * along[:, None], clusters.count)
    return Sandwich(solved.triangle, scores.T @ scores, clusters.sizes, owners, leverages, powers, vectors)


def _leverages(z: Floats, clusters: Clusters) -> tuple[Integers, Floats, Floats]:
    """Eigenvalues of each cluster's Zₛ'Zₛ that are not 0: whose, which, and the vectors."""
    found, p = [], z.shape[1]
    for which, rows in clusters.stacks(z):
        if rows.shape[1] == 1:
            leverages = (rows[:, 0] ** 2).sum(axis=1)
            vectors = rows[:, 0] / np.sqrt(np.where(leverages > 0, leverages, 1.0))[:, None]
            found.append((which, leverages, vectors))
        else:
            values, directions = np.linalg.eigh(np.swapaxes(rows, 1, 2) @ rows)
            vectors = np.swapaxes(directions, 1, 2).reshape(-1, p)
            found.append((np.repeat(which, p), values.ravel(), vectors))
    owners, leverages, vectors = (np.concatenate(each) for each in zip(*found, strict=True))
    real = leverages > np.finfo(float).eps
    return owners[real], leverages[real], vectors[real]


def _sums_by(owners: Integers, rows: Floats, count: int = 0) -> Floats:
    """Rows (d, p) summed by owner: (count, p)."""
    return np.column_stack([np.bincount(owners, column, count) for column in rows.T])


# --- What is told of it -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Linear:
    """Coefficients (p,) of n rows in so many clusters, and their covariance (p, p). With a reason: empty.

    `freedom`: of every t interval, "Satterthwaite": of each contrast its own, None: normal intervals.
    `no_interval`: why there are coefficients and no intervals.
    """

    n: int
    clusters: int
    beta: Floats
    covariance: Floats
    method: str
    reason: str | None = None
    freedom: float | Literal["Satterthwaite"] | None = None
    no_interval: str | None = None
    sandwich: Sandwich | None = None

    @property
    def coefficients(self) -> tuple[Estimate, ...]:
        return tuple(self.contrast(each) for each in np.eye(len(self.beta)))

    def contrast(self, weights: npt.ArrayLike, level: float = CI_LEVEL) -> Estimate:
        """Σ cⱼβⱼ for weights c (p,), not all of them 0."""
        if self.reason:
            return not_estimated(self.method, self.reason)
        c = np.asarray(weights, float)
        value, se = float(c @ self.beta), math.sqrt(max(0.0, float(c @ self.covariance @ c)))
        owner = self.sandwich.rests_on(self.sandwich.inside(c)) if self.sandwich else None
        if owner is not None:
            return not_estimated(self.method, self._alone(owner))
        no_interval = self.no_interval or self._no_variance(c, se)
        if no_interval:
            return Estimate(value, None, None, None, self.method, no_interval)
        return with_interval(value, se, self.method, self._freedom(c), level, units=Units(self.clusters))

    def _alone(self, owner: int) -> str:
        is_group = self.freedom == "Satterthwaite" and self.sandwich and self.sandwich.sizes[owner] > 1
        return NOT_SEPARABLE if is_group else ONE_PERSON

    def _no_variance(self, c: Floats, se: float) -> str | None:
        """Of an outcome that is fitted exactly, rounding may leave a variance."""
        size = np.abs(c * self.beta).sum() if self.sandwich is None else self.sandwich.size(c, self.beta)
        return "no interval: no residual variance" if se <= 1e-12 * size else None

    def _freedom(self, c: Floats) -> float | None:
        if self.freedom == "Satterthwaite":
            return self.sandwich.freedom(self.sandwich.inside(c)) if self.sandwich else None
        return self.freedom


def not_fitted(n: int, clusters: int, method: str, reason: str) -> Linear:
    nothing = np.empty(0)
    return Linear(n, clusters, nothing, nothing.reshape(0, 0), method, reason)
