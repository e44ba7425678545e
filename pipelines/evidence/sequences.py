"""Confidence sequences: intervals that may be looked at every day.

A fixed-sample interval of 95 % covers at one look that was planned. Looked at after each new person it will
exclude the truth sooner or later. A confidence sequence is wider, and the chance that it excludes the truth
at any of its looks is 5 % at most, however many there are and whoever decides when to stop. So no function
here asks for the number of looks; who counts them is the caller's.

* `asymptotic`: means, differences, ratios of sums, and contrasts that are asymptotically linear in
  independent units: a normal mixture on estimate, standard error and n, from a declared burn-in on.
* `proportion`: of independent people, exact from the first one on.
* `pooled`: one effect for all studies, exact for normal effects with known variances.
* `beside`: which of these an estimate has.

All need units that are independent, enter once, and keep their value. `unless_voided` says what breaks that.
Everything else is 'fixed-sample only', with the reason: `WHY_NOT`, `ASYMPTOTICALLY_LINEAR`. Decision 0034.

Sources: Robbins 1970 (both mixtures); Howard, Ramdas, McAuliffe & Sekhon 2021 (the mixing variance);
Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024 (asymptotic sequences); ter Schure & Grünwald 2022
(ALL-IN meta-analysis).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np

from pipelines.evidence.estimates import CI_LEVEL, Estimate, Scale, not_estimated

BURN_IN = 100
"""Independent units from which on a normal approximation is relied on. At fewer, skewed values exclude the
truth too often; the paths that say so are the tests'."""

Void = Literal["backfill", "erasure", "revision", "post hoc"]

VOIDS: dict[Void, str] = {
    "backfill": "data were added to days that had been looked at",
    "erasure": "data that had been looked at were erased",
    "revision": "values that had been looked at were changed",
    "post hoc": "the protocol is younger than its data",
}
"""What voids the guarantee, and how it is said."""

ASYMPTOTICALLY_LINEAR = (
    "mean; t interval",
    "mean difference; Welch",
    "ratio of sums",
    "share of people; variance CR2",
    "least squares; variance",
    "ANCOVA",
    "overlap weights",
)
"""How methods begin whose estimates are means of independent units but for what vanishes, with a standard
error that is right in the limit whatever the model is."""

WHY_NOT = {
    "inverse variance, random effects": "between studies the variance is estimated, from few of them",
    "inverse variance, one effect for all": "pooling has a sequence of its own",
    "proportion": "a proportion has a sequence of its own",
    "Gaussian GEE": "waves are added to people who are already in it",
    "mixed model": "waves are added to people who are already in it",
    "Hedges g": "its variance takes both arms to be equally spread",
    "Egger's test": "it rests on studies, of which there are few",
    "log-linear": "times of one series are not independent units",
    "slope × r²": "times of one series are not independent units",
    "count": "a count of what is there is no sample",
    "Kaplan-Meier": "its curve changes for people who are already in it",
}
"""How methods begin that have no sequence here, and why."""

_ONE_EFFECT = "inverse variance, one effect for all"
_UNKNOWN = "no theory is known here for this estimate"
FIXED_ONLY, VOID = "fixed-sample only", "anytime guarantee void"
"""How reasons begin why there is none, and why there is none any more."""


@dataclass(frozen=True)
class Watch:
    """What is declared before the data: the level, and the independent units that are awaited first.

    The sequence is narrowest, for what it is, at `burn_in` units; it is not to be looked at before.
    """

    burn_in: int = BURN_IN
    level: float = CI_LEVEL


def beside(fixed: Estimate, watch: Watch | None = None, tightest_se: float | None = None) -> Estimate:
    """The sequence of an estimate, by its method and its units; without ends and with the reason: none.

    `tightest_se`: of a pool with one effect for all, as in `pooled`.
    """
    watch, units = watch or Watch(), fixed.units
    if fixed.estimate is not None and units is not None and units.successes is not None:
        found = proportion(units.successes, units.n, watch.level)
        return replace(found, method=f"{fixed.method}; {found.method.removeprefix('proportion; ')}")
    is_pool = fixed.method.startswith(_ONE_EFFECT)
    why = None if is_pool else why_fixed_only(fixed.method)
    if fixed.estimate is None or not fixed.se:
        return _fixed_only(fixed, fixed.method, fixed.reason or why or "it has no standard error")
    if is_pool:
        if tightest_se is None:
            return _fixed_only(fixed, fixed.method, "the protocol declares no standard error for it")
        return pooled(fixed, tightest_se, watch.level)
    if units is None:
        return _fixed_only(fixed, fixed.method, why or _UNKNOWN)
    return asymptotic(fixed, units.n, smallest_arm=units.smallest_arm, scale=units.scale, watch=watch)


def why_fixed_only(method: str) -> str | None:
    """Why an estimate of that method has no `asymptotic` sequence. None: it has."""
    if method.startswith(ASYMPTOTICALLY_LINEAR):
        return None
    return next((why for begins, why in WHY_NOT.items() if method.startswith(begins)), _UNKNOWN)


def asymptotic(
    fixed: Estimate,
    n: int,
    *,
    smallest_arm: int | None = None,
    scale: Scale = "identity",
    watch: Watch | None = None,
) -> Estimate:
    """The sequence at this look, beside a fixed-sample estimate of n independent units.

    estimate ± se · √((r + 1)/r · ln((r + 1)/α²)) with r = nρ² and ρ² = `mixing`/burn-in. Source: Waudby-Smith
    et al. 2024, with the standard error for sd/√n. `n`: people, or groups where these are the clusters.
    `smallest_arm`: units of the smaller arm of a difference, which needs half of the burn-in. `scale`: on
    which the interval is symmetric; estimate and result are on the plain one.
    """
    watch = watch or Watch()
    method = f"{fixed.method}; confidence sequence, normal mixture, from n = {watch.burn_in}"
    if fixed.estimate is None or not fixed.se:
        return _without(fixed, method)
    reason = why_fixed_only(fixed.method) or _why_not_yet(fixed, n, smallest_arm, watch)
    if reason:
        return _fixed_only(fixed, method, reason)
    reach = standard_errors(n / watch.burn_in, watch.level)
    return _between(fixed.estimate, fixed.se, reach, method, scale)


def proportion(successes: int, n: int, level: float = CI_LEVEL) -> Estimate:
    """Share of n independent people with the same chance: all p with P(successes | n, p) > α/(n + 1).

    The mixture is uniform over p, and the probability binomial, so it holds exactly and from the first person
    on. It rests on the count alone, where bets and empirical Bernstein bounds rest on the order of people.
    Source: Robbins 1970. People who act alike because they share a group are not independent.
    """
    method = "proportion; confidence sequence, uniform mixture of binomials, exact from n = 1"
    if n == 0:
        return not_estimated(method, "the denominator is 0")
    p = successes / n
    low = 0.0 if successes == 0 else _end(successes, n, level, below=True)
    high = 1.0 if successes == n else _end(successes, n, level, below=False)
    return Estimate(p, math.sqrt(p * (1 - p) / n), low, high, method)


def pooled(fixed: Estimate, tightest_se: float, level: float = CI_LEVEL) -> Estimate:
    """The sequence of one effect for all studies, of the inverse-variance pool and its standard error.

    Studies, and people within them, may be added for whatever reason, earlier results among them. Information
    Σ1/vᵢ takes the place of n. `tightest_se`: the standard error at which it is narrowest, in the effect's
    unit, declared before the data. It is the set of effects whose `e_value` is below 1/α.
    """
    method = f"{fixed.method}; confidence sequence, normal mixture, narrowest at se = {tightest_se:g}"
    if fixed.estimate is None or not fixed.se:
        return _without(fixed, method)
    if not fixed.method.startswith(_ONE_EFFECT):
        return _fixed_only(fixed, method, why_fixed_only(fixed.method) or "it does not assume one effect")
    if not 0 < tightest_se < math.inf:
        return _fixed_only(fixed, method, "no standard error above 0 is declared")
    reach = standard_errors((tightest_se / fixed.se) ** 2, level)
    return _between(fixed.estimate, fixed.se, reach, method, "identity")


def e_value(
    estimate: float, se: float, tightest_se: float, null: float = 0.0, level: float = CI_LEVEL
) -> float:
    """How much the data multiply a stake against `null`: √(1/(r + 1)) · exp(z²/2 · r/(r + 1)).

    If the null is true it is 1 on average at any look, so that it ever reaches 1/α has a chance of α at most.
    e-values of independent studies multiply. Source: ter Schure & Grünwald 2022.
    """
    ratio = mixing(level) * (tightest_se / se) ** 2
    z = (estimate - null) / se
    return math.exp(min(0.5 * (z**2 * ratio / (ratio + 1) - math.log1p(ratio)), _LARGEST))


def void(voided: Collection[Void]) -> str:
    """In words what voids the guarantee."""
    return f"{VOID}: {', '.join(words for each, words in VOIDS.items() if each in voided)}"


def unless_voided(sequence: Estimate, voided: Collection[Void]) -> Estimate:
    """The sequence, or none and in words what voids its guarantee. What has none keeps its own reason."""
    if not voided or sequence.ci_low is None:
        return sequence
    return replace(sequence, ci_low=None, ci_high=None, reason=void(voided))


def standard_errors(clock: float, level: float = CI_LEVEL) -> float:
    """How many standard errors the sequence reaches to each side, at that multiple of the burn-in, or of the
    information at which it is narrowest. A fixed-sample interval of 95 % reaches 1.96, this 3.03 at 1."""
    ratio = mixing(level) * clock
    return math.sqrt((ratio + 1) / ratio * (math.log1p(ratio) - 2 * math.log(1 - level)))


@cache
def mixing(level: float = CI_LEVEL) -> float:
    """nρ² at the n where the sequence is narrowest: −W₋₁(−α²/e) − 1. Source: Howard et al. 2021."""
    from scipy.special import lambertw

    return -float(lambertw(-((1 - level) ** 2) / math.e, -1).real) - 1


def _why_not_yet(fixed: Estimate, n: int, smallest_arm: int | None, watch: Watch) -> str | None:
    if n < watch.burn_in:
        return f"{n} of {watch.burn_in} independent units"
    half = watch.burn_in / 2
    if smallest_arm is not None and smallest_arm < half:
        return f"{smallest_arm} of {half:g} independent units in an arm"
    if fixed.freedom is not None and fixed.freedom < half - 2:
        return f"its standard error has {fixed.freedom:.0f} degrees of freedom"
    return None


def _without(fixed: Estimate, method: str) -> Estimate:
    reason = fixed.reason or "no interval: nothing varies"
    return Estimate(fixed.estimate, fixed.se, None, None, method, reason)


def _fixed_only(fixed: Estimate, method: str, why: str) -> Estimate:
    return Estimate(fixed.estimate, fixed.se, None, None, method, f"{FIXED_ONLY}: {why}")


def _between(estimate: float, se: float, reach: float, method: str, scale: Scale) -> Estimate:
    """Symmetric on the scale, where the standard error is se times the slope (delta method)."""
    from scipy.special import expit, logit

    if scale == "identity":
        return Estimate(estimate, se, estimate - reach * se, estimate + reach * se, method)
    if estimate <= 0 or (scale == "logit" and estimate >= 1):
        return Estimate(estimate, se, None, None, method, f"{FIXED_ONLY}: it is at the end of its range")
    if scale == "log":
        centre, half = math.log(estimate), reach * se / estimate
        # What is beyond the largest float is told as that.
        ends = math.exp(centre - half), math.exp(min(centre + half, _LARGEST))
        return Estimate(estimate, se, *ends, method)
    centre, half = float(logit(estimate)), reach * se / (estimate * (1 - estimate))
    return Estimate(estimate, se, float(expit(centre - half)), float(expit(centre + half)), method)


_LARGEST = 700.0
"""Logarithm of about the largest float."""


def _end(successes: int, n: int, level: float, *, below: bool) -> float:
    """Where the binomial probability is α/(n + 1), on one side of the share; searched on the logit scale."""
    from scipy.optimize import brentq
    from scipy.special import expit, gammaln, log_expit, logit

    failures = n - successes
    ways = float(gammaln(n + 1) - gammaln(successes + 1) - gammaln(failures + 1))
    wanted = math.log((1 - level) / (n + 1))

    def over(at: float) -> float:
        return float(ways + successes * log_expit(at) + failures * log_expit(-at) - wanted)

    most_likely = float(np.clip(logit(successes / n), -_LARGEST, _LARGEST))
    return float(expit(brentq(over, -_LARGEST if below else _LARGEST, most_likely, xtol=1e-12)))
