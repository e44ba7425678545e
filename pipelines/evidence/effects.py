"""Effect sizes of single studies: from what a study reports of its arms to an effect and its variance.

Every function is pure and total: a study that allows no effect gets a reason, never an invented number. How
effects are pooled is `pooling`'s; estimates of own groups are `estimates`'.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipelines.evidence.estimates import Summary, hedges_g

CONTINUITY = 0.5
"""Added to each cell of a table, and only where one of them is zero (Haldane 1956, Anscombe 1956)."""


@dataclass(frozen=True)
class Effect:
    """An effect on the scale on which it is pooled, and its variance. None: not computable, for `reason`."""

    effect: float | None
    variance: float | None
    method: str
    reason: str | None = None


@dataclass(frozen=True)
class Counts:
    """So many of `n` people had the event."""

    events: float
    n: float


def standardised_mean_difference(arm: Summary, reference: Summary) -> Effect:
    """Hedges' g as in `estimates.hedges_g`. Unit: standard deviations."""
    found = hedges_g(arm, reference)
    variance = None if found.se is None else found.se**2
    return Effect(found.estimate, variance, "Hedges g, exact J; Var(g) = 1/n1 + 1/n2 + g²/(2N)", found.reason)


def mean_difference(arm: Summary, reference: Summary) -> Effect:
    """Mean of `arm` minus mean of `reference`; variance sd₁²/n₁ + sd₂²/n₂. Unit: the score's."""
    method = "mean difference; Var = sd1²/n1 + sd2²/n2"
    if arm.mean is None or reference.mean is None or arm.sd is None or reference.sd is None:
        return Effect(None, None, method, "an arm has no mean, or no standard deviation")
    variance = arm.sd**2 / arm.n + reference.sd**2 / reference.n
    if variance == 0:
        return Effect(None, None, method, "no variance in either arm")
    return Effect(arm.mean - reference.mean, variance, method)


def log_risk_ratio(arm: Counts, reference: Counts) -> Effect:
    """ln(p₁/p₂); variance 1/a − 1/n₁ + 1/c − 1/n₂ by the delta method (Katz et al. 1978)."""
    method = "log risk ratio; 0.5 to each cell of a table with a zero cell"
    reason = _why_no_ratio(arm, reference)
    if reason:
        return Effect(None, None, method, reason)
    one, other = _without_zeros(arm, reference)
    effect = math.log(one.events / one.n) - math.log(other.events / other.n)
    variance = 1 / one.events - 1 / one.n + 1 / other.events - 1 / other.n
    return Effect(effect, variance, method)


def log_odds_ratio(arm: Counts, reference: Counts) -> Effect:
    """ln(odds₁/odds₂); variance 1/a + 1/b + 1/c + 1/d (Woolf 1955)."""
    method = "log odds ratio; 0.5 to each cell of a table with a zero cell"
    reason = _why_no_ratio(arm, reference)
    if reason:
        return Effect(None, None, method, reason)
    one, other = _without_zeros(arm, reference)
    a, b, c, d = one.events, one.n - one.events, other.events, other.n - other.events
    return Effect(math.log(a * d) - math.log(b * c), 1 / a + 1 / b + 1 / c + 1 / d, method)


def fishers_z(correlation: float, n: int) -> Effect:
    """artanh(r); variance 1/(n − 3) (Fisher 1921)."""
    method = "Fisher's z of a correlation; Var = 1/(n - 3)"
    if n <= 3:
        return Effect(None, None, method, "fewer than four people")
    if not -1 < correlation < 1:
        return Effect(None, None, method, "the correlation is not between -1 and 1")
    return Effect(math.atanh(correlation), 1 / (n - 3), method)


def logit_proportion(counts: Counts) -> Effect:
    """ln(x/(n − x)); variance 1/x + 1/(n − x). 0.5 is added to both where one is zero."""
    method = "logit of a proportion; 0.5 to both cells where one is zero"
    if counts.n <= 0:
        return Effect(None, None, method, "the denominator is 0")
    with_it, without = counts.events, counts.n - counts.events
    if with_it == 0 or without == 0:
        with_it, without = with_it + CONTINUITY, without + CONTINUITY
    return Effect(math.log(with_it / without), 1 / with_it + 1 / without, method)


def _why_no_ratio(arm: Counts, reference: Counts) -> str | None:
    if arm.n <= 0 or reference.n <= 0:
        return "nobody in one of the arms"
    if arm.events == reference.events == 0:
        return "nobody had the event in either arm: it says nothing of a ratio"
    if arm.events == arm.n and reference.events == reference.n:
        return "everybody had the event in both arms: it says nothing of a ratio"
    return None


def _without_zeros(arm: Counts, reference: Counts) -> tuple[Counts, Counts]:
    cells = (arm.events, arm.n - arm.events, reference.events, reference.n - reference.events)
    if all(cells):
        return arm, reference
    one, other = (Counts(each.events + CONTINUITY, each.n + 2 * CONTINUITY) for each in (arm, reference))
    return one, other
