"""Closed-form estimates with intervals, from summary statistics.

Every function is pure and total: input that allows no estimate gives an `Estimate` without numbers and
with a reason, never an exception or an invented number. Which estimates a table has is decided by the
table's own module; anytime-valid intervals and models that iterate are not here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

CI_LEVEL = 0.95

Scale = Literal["identity", "log", "logit"]
"""On which an interval is symmetric."""


@dataclass(frozen=True)
class Summary:
    """n people with mean and standard deviation (n − 1) of a score, in the score's unit.

    `mean` is None when n is 0, `sd` when n is below 2.
    """

    n: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class Units:
    """`n` independent units that a standard error is of: people, or groups where these are the clusters.

    `smallest_arm`: those of the smaller arm of a difference. `successes`: of a share of people.
    """

    n: int
    smallest_arm: int | None = None
    successes: int | None = None
    scale: Scale = "identity"


@dataclass(frozen=True)
class Estimate:
    """An estimate with standard error and interval. None: not estimable, and `reason` says why.

    `freedom`: the degrees of freedom of an interval by Student's t; None where it is not by t. `units`: what
    `sequences` asks for; None where there is no sequence of it.
    """

    estimate: float | None
    se: float | None
    ci_low: float | None
    ci_high: float | None
    method: str
    reason: str | None = None
    freedom: float | None = None
    units: Units | None = None


def not_estimated(method: str, reason: str) -> Estimate:
    return Estimate(None, None, None, None, method, reason)


def plain(value: float | None, method: str, reason: str | None) -> Estimate:
    """A number that has no interval by its nature; None: not estimable, for `reason`."""
    if value is None:
        return not_estimated(method, reason or "")
    return Estimate(value, None, None, None, method)


def with_interval(
    estimate: float,
    se: float,
    method: str,
    freedom: float | None = None,
    level: float = CI_LEVEL,
    *,
    units: Units | None = None,
) -> Estimate:
    """estimate ± quantile · se, by Student's t with `freedom`, or by the normal distribution without."""
    half = (z_quantile(level) if freedom is None else t_quantile(level, freedom)) * se
    return Estimate(estimate, se, estimate - half, estimate + half, method, freedom=freedom, units=units)


def with_logit_interval(
    share: float,
    se: float,
    method: str,
    freedom: float,
    level: float = CI_LEVEL,
    *,
    units: Units | None = None,
) -> Estimate:
    """A share between 0 and 1, with logit ± t(freedom) · se / (p(1 − p)): its ends are between them too."""
    logit, half = math.log(share / (1 - share)), t_quantile(level, freedom) * se / (share * (1 - share))
    low, high = _expit(logit - half), _expit(logit + half)
    return Estimate(share, se, low, high, method, freedom=freedom, units=units)


def count(value: int) -> Estimate:
    """A count of what is there, not a sample of it: it has no interval."""
    return Estimate(float(value), None, None, None, "count")


def mean(summary: Summary, level: float = CI_LEVEL) -> Estimate:
    """Mean with Student's t interval: mean ± t(n − 1) · sd / √n.

    Source: Student 1908. Unit: the score's. With one person there is a mean and no interval.
    """
    method = "mean; t interval"
    if summary.n == 0 or summary.mean is None:
        return not_estimated(method, "nobody has a value")
    if summary.n == 1 or summary.sd is None:
        return Estimate(summary.mean, None, None, None, method, "no interval: one person")
    se, units = summary.sd / math.sqrt(summary.n), Units(summary.n)
    return with_interval(summary.mean, se, method, summary.n - 1, level, units=units)


def mean_difference(arm: Summary, reference: Summary, level: float = CI_LEVEL) -> Estimate:
    """Mean of `arm` minus mean of `reference`, with Welch's interval for unequal variances.

    se² = sd₁²/n₁ + sd₂²/n₂; degrees of freedom by Welch–Satterthwaite. Source: Welch 1947. Unit: the
    score's.
    """
    method = "mean difference; Welch t interval, Satterthwaite degrees of freedom"
    reason = _why_no_contrast(arm, reference)
    if reason:
        return not_estimated(method, reason)
    a, b = _square(arm.sd) / arm.n, _square(reference.sd) / reference.n
    difference = _number(arm.mean) - _number(reference.mean)
    if a + b == 0:
        return Estimate(difference, None, None, None, method, "no interval: no variance in either arm")
    freedom = (a + b) ** 2 / (a**2 / (arm.n - 1) + b**2 / (reference.n - 1))
    units = Units(arm.n + reference.n, min(arm.n, reference.n))
    return with_interval(difference, math.sqrt(a + b), method, freedom, level, units=units)


def difference(one: Estimate, other: Estimate, level: float = CI_LEVEL) -> Estimate:
    """Estimate of `one` minus that of `other`, of different people, by their standard errors; unit: theirs.

    se² = se₁² + se₂². Where one has degrees of freedom, t with (se₁² + se₂²)²/(se₁⁴/f₁ + se₂⁴/f₂), a normal
    one being of endless f (Welch–Satterthwaite); else normal.
    """
    method = f"difference of two estimates, each: {one.method}"
    if one.estimate is None or other.estimate is None:
        return not_estimated(method, one.reason or other.reason or "one of them has no estimate")
    value = one.estimate - other.estimate
    if one.se is None or other.se is None:
        reason = one.reason or other.reason or "no interval: one of them has no standard error"
        return Estimate(value, None, None, None, method, reason)
    a, b = one.se**2, other.se**2
    if a + b == 0:
        return Estimate(value, None, None, None, method, "no interval: no variance in either")
    below = sum(each**2 / f for each, f in ((a, one.freedom), (b, other.freedom)) if f is not None)
    return with_interval(value, math.sqrt(a + b), method, (a + b) ** 2 / below if below else None, level)


def hedges_g(arm: Summary, reference: Summary, level: float = CI_LEVEL) -> Estimate:
    """Standardised mean difference with Hedges' exact correction; positive when `arm` scores higher.

    g = J(m) · (mean₁ − mean₂) / s_pooled with m = n₁ + n₂ − 2; Var(g) = 1/n₁ + 1/n₂ + g² / (2N);
    interval g ± z · √Var. Source: Hedges 1981; the variance is Metapsy's and metafor's default. Unit:
    standard deviations.
    """
    method = "Hedges g, exact J; Var(g) = 1/n1 + 1/n2 + g²/(2N); normal interval"
    reason = _why_no_contrast(arm, reference)
    if reason:
        return not_estimated(method, reason)
    freedom = arm.n + reference.n - 2
    squares = (arm.n - 1) * _square(arm.sd) + (reference.n - 1) * _square(reference.sd)
    pooled = math.sqrt(squares / freedom)
    if pooled == 0:
        return not_estimated(method, "no variance in either arm")
    g = hedges_correction(freedom) * (_number(arm.mean) - _number(reference.mean)) / pooled
    se = math.sqrt(1 / arm.n + 1 / reference.n + g**2 / (2 * (arm.n + reference.n)))
    return with_interval(g, se, method, level=level)


def hedges_correction(freedom: int) -> float:
    """J(m) = Γ(m/2) / (√(m/2) · Γ((m − 1)/2)), exactly. Source: Hedges 1981. Needs m of at least 2."""
    from scipy.special import gammaln

    half = freedom / 2
    return math.exp(float(gammaln(half)) - 0.5 * math.log(half) - float(gammaln(half - 0.5)))


def proportion(successes: int, n: int, level: float = CI_LEVEL) -> Estimate:
    """Share of n independent units, with Wilson's score interval. Source: Wilson 1927. Unit: 0 to 1.

    `se` is √(p(1 − p)/n), which is 0 at 0 and 1; the interval is not.
    """
    method = "proportion; Wilson score interval"
    if n == 0:
        return not_estimated(method, "the denominator is 0")
    p, z = successes / n, z_quantile(level)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    # At 0 and 1 the bound is exactly 0 or 1; rounding may miss it by a bit.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Estimate(p, math.sqrt(p * (1 - p) / n), low, high, method, units=Units(n, successes=successes))


def clustered_ratio(
    numerators: Sequence[int], denominators: Sequence[int], level: float = CI_LEVEL
) -> Estimate:
    """Ratio of sums Σa/Σe over people, who are the clusters, with a logit interval.

    Arguments: per person a (as sessions attended) and e (as sessions open), 0 ≤ a ≤ e. People without e
    carry no information and are left out.
    Linearised variance: n/(n − 1) · Σ(aᵢ − r·eᵢ)² / (Σe)²; on the logit scale se / (r(1 − r)), with
    t(n − 1). Source: Cochran 1977, ch. 6; logit interval as in Korn & Graubard 1998. Unit: 0 to 1.
    """
    method = "ratio of sums; variance linearised over people; logit interval, t(n − 1)"
    found, n = _ratio_of_sums(numerators, denominators, method)
    r, se = found.estimate, found.se
    if r is None or se is None:
        return found
    return with_logit_interval(r, se, method, n - 1, level, units=Units(n, scale="logit"))


def clustered_rate(events: Sequence[float], exposures: Sequence[float], level: float = CI_LEVEL) -> Estimate:
    """Rate Σa/Σe of events over exposure, as weeks of membership, with people as clusters and a log interval.

    Arguments: per person a ≥ 0 and e ≥ 0; people without exposure are left out. A person's events may come in
    bursts, so the variance is that of `clustered_ratio`, over people, and not Poisson's. On the log scale it
    is se / r, with t(n − 1). Source: Cochran 1977, ch. 6. Unit: events per unit of exposure.
    """
    method = "ratio of sums, a rate; variance linearised over people; log interval, t(n − 1)"
    found, n = _ratio_of_sums(events, exposures, method)
    r, se = found.estimate, found.se
    if r is None or se is None:
        return found
    factor = math.exp(min(t_quantile(level, n - 1) * se / r, 700.0))
    return Estimate(r, se, r / factor, r * factor, method, freedom=n - 1, units=Units(n, scale="log"))


def _ratio_of_sums(
    numerators: Sequence[float], denominators: Sequence[float], method: str
) -> tuple[Estimate, int]:
    """Σa/Σe with its linearised standard error, without interval; and of how many people."""
    a, e = np.asarray(numerators, float), np.asarray(denominators, float)
    a, e = a[e > 0], e[e > 0]
    n = len(e)
    if n == 0:
        return not_estimated(method, "the denominator is 0"), 0
    r = float(a.sum() / e.sum())
    if n == 1:
        return Estimate(r, None, None, None, method, "no interval: one person"), 1
    se = float(np.sqrt(n / (n - 1) * np.square(a - r * e).sum()) / e.sum())
    if se == 0:
        return Estimate(r, None, None, None, method, "no interval: people do not differ"), n
    return Estimate(r, se, None, None, method), n


def summarise(values: npt.ArrayLike) -> Summary:
    """n, mean and standard deviation (n − 1) of values, one per person."""
    array = np.asarray(values, float)
    n = len(array)
    return Summary(n, float(array.mean()) if n else None, float(array.std(ddof=1)) if n > 1 else None)


def _why_no_contrast(arm: Summary, reference: Summary) -> str | None:
    if arm.n == 0 or reference.n == 0:
        return "nobody in one of the arms has a value"
    if arm.n == 1 or reference.n == 1:
        return "one of the arms has one person"
    return None


def _number(value: float | None) -> float:
    assert value is not None  # noqa: S101  # the caller has looked at n
    return value


def _square(value: float | None) -> float:
    return _number(value) ** 2


def t_quantile(level: float, freedom: float) -> float:
    """How many standard errors an interval of that level reaches to each side, by Student's t."""
    from scipy import special

    return float(special.stdtrit(freedom, 0.5 + level / 2))


def z_quantile(level: float) -> float:
    """The same by the normal distribution."""
    from scipy import special

    return float(special.ndtri(0.5 + level / 2))


def _expit(x: float) -> float:
    """1 / (1 + e^−x), without overflow at either end."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
