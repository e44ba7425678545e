"""Linear regression of people, who may be grouped, with intervals that hold for few groups.

Coefficients are by least squares. Their covariance is CR2 over clusters, with Satterthwaite's degrees of
freedom of each contrast; of people who are all clusters of their own that is HC2. People of no group are
clusters of one beside the groups (partially nested designs). Repeated measures are `gee`'s and `mixed`'s.

CR2 multiplies the residuals of cluster s by (I − Hₛₛ)^(−1/2), H = X(X'X)⁻¹X', which makes the variance
unbiased where rows are independent and alike. Sources: Bell & McCaffrey 2002; Pustejovsky & Tipton 2018;
Imbens & Kolesár 2016 for clusters of one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipelines.evidence.estimates import (
    CI_LEVEL,
    Estimate,
    Units,
    not_estimated,
    proportion,
    with_logit_interval,
)
from pipelines.evidence.linear import (
    Floats,
    Labels,
    Linear,
    clusters_of,
    everyone_alone,
    not_fitted,
    sandwich,
    solve,
    why_not,
)


@dataclass(frozen=True)
class Adjusted:
    """The adjusted difference of `n_arm` people from `n_reference`, in so many clusters."""

    difference: Estimate
    n_arm: int
    n_reference: int
    clusters: int


def fit_linear(outcome: npt.ArrayLike, design: npt.ArrayLike, clusters: Labels | None = None) -> Linear:
    """Regression of an outcome (n,) on a design (n, p), which has the intercept if there shall be one.

    `clusters`: a label for each row, None for who is in no group; without them everybody is a cluster.
    """
    method = f"least squares; {_variance(clusters)}, Satterthwaite degrees of freedom; t interval"
    y, x = np.asarray(outcome, float).ravel(), np.asarray(design, float)
    grouped = everyone_alone(len(y)) if clusters is None else clusters_of(clusters)
    reason = why_not(y, x, grouped)
    if reason:
        return not_fitted(len(y), grouped.count, method, reason)
    solved = solve(y, x)
    variance = sandwich(solved, grouped, -0.5)
    return Linear(
        len(y),
        grouped.count,
        solved.beta,
        variance.covariance,
        method,
        freedom="Satterthwaite",
        sandwich=variance,
    )


def ancova(
    outcome: npt.ArrayLike,
    baseline: npt.ArrayLike,
    is_arm: npt.ArrayLike,
    *,
    covariates: npt.ArrayLike | None = None,
    clusters: Labels | None = None,
    level: float = CI_LEVEL,
) -> Adjusted:
    """The arm's mean minus the reference's, at the same baseline and covariates: (n,), (n,), (n,), (n, m).

    Who lacks a value (NaN) is left out, and not counted. One slope for both arms. Unit: the outcome's.
    """
    y, arm = np.asarray(outcome, float).ravel(), np.asarray(is_arm, bool).ravel()
    others = np.empty((len(y), 0)) if covariates is None else np.asarray(covariates, float)
    design = np.column_stack([np.ones(len(y)), arm, baseline, others]).astype(float)
    there = np.isfinite(y) & np.isfinite(design).all(axis=1)
    labels = (
        None if clusters is None else [each for each, is_in in zip(clusters, there, strict=True) if is_in]
    )
    fit = fit_linear(y[there], design[there], labels)
    n_arm = int(arm[there].sum())
    n_reference = int(there.sum()) - n_arm
    adjusted_for = "baseline" if design.shape[1] == 3 else "baseline and covariates"
    method = f"ANCOVA, adjusted for {adjusted_for}; {fit.method}"
    reason = "nobody in one of the arms has a value" if 0 in (n_arm, n_reference) else fit.reason
    if reason:
        return Adjusted(not_estimated(method, reason), n_arm, n_reference, fit.clusters)
    difference = fit.contrast(np.eye(design.shape[1])[1], level)
    grouped = everyone_alone(int(there.sum())) if labels is None else clusters_of(labels)
    units = Units(fit.clusters, min(grouped.of_arms(arm[there])))
    return Adjusted(replace(difference, method=method, units=units), n_arm, n_reference, fit.clusters)


def _variance(clusters: Labels | None) -> str:
    return "variance HC2" if clusters is None else "variance CR2 over groups"


def clustered_mean(values: Floats, groups: Labels, method: str) -> Estimate:
    """Mean of people (n,), whose groups are clusters; `method` says of what."""
    if len(values) == 0:
        return not_estimated(method, "nobody has both scores")
    if clusters_of(groups).count == 1:
        return Estimate(float(values.mean()), None, None, None, method, "no interval: one group")
    fit = fit_linear(values, np.ones((len(values), 1)), groups)
    return fit.contrast([1.0]) if fit.reason is None else not_estimated(method, fit.reason)


def clustered_share(inside: Floats, groups: Labels) -> Estimate:
    """Share of people (n,), whose groups are clusters: CR2 variance, logit interval, Satterthwaite's t."""
    method = "share of people; variance CR2 over groups; logit interval, Satterthwaite degrees of freedom"
    n = len(inside)
    if n == 0:
        return not_estimated(method, "the denominator is 0")
    share = float(inside.mean())
    if clusters_of(groups).count == 1 or share in (0.0, 1.0):
        # Nothing tells how groups differ: as if people were independent.
        found = proportion(int(inside.sum()), n)
        return Estimate(
            found.estimate, found.se, found.ci_low, found.ci_high, f"{found.method}; not clustered"
        )
    fit = fit_linear(inside, np.ones((n, 1)), groups).contrast([1.0])
    if fit.se is None or fit.freedom is None:
        return Estimate(share, None, None, None, method, fit.reason)
    return with_logit_interval(share, fit.se, method, fit.freedom)
