"""Coverage that mathematics knows: by quadrature, by enumeration, by a formula. Nothing here is estimated
from simulated data, and nothing calls the code under test.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

Z = float(stats.norm.ppf(0.975))


def t(freedom: float, level: float = 0.95) -> float:
    return float(stats.t.ppf(0.5 + level / 2, freedom))


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(300)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2


def squares(freedom: int) -> Floats:
    """Values of s²/σ² at the nodes of the quadrature over its distribution."""
    return np.asarray(stats.chi2.ppf(_NODES, freedom) / freedom, float)


def within(half: Floats, error: float) -> float:
    """P(|d| < half) of a normal d with that standard error, averaged over halves (at one or two s²)."""
    shares = 2 * stats.norm.cdf(half / error) - 1
    return float(_WEIGHTS @ shares @ _WEIGHTS if shares.ndim == 2 else _WEIGHTS @ shares)


# --- Means ------------------------------------------------------------------------------------------------


def two_squares(n: tuple[int, int], sd: tuple[float, float] = (1.0, 1.0)) -> tuple[Floats, Floats]:
    """s² of two groups, as (nodes, 1) and (1, nodes)."""
    return sd[0] ** 2 * squares(n[0] - 1)[:, None], sd[1] ** 2 * squares(n[1] - 1)[None, :]


def error_of_difference(n: tuple[int, int], sd: tuple[float, float] = (1.0, 1.0)) -> float:
    return math.sqrt(sd[0] ** 2 / n[0] + sd[1] ** 2 / n[1])


def welch_half(n: tuple[int, int], sd: tuple[float, float], level: float = 0.95) -> Floats:
    """Half of Welch's interval at the nodes."""
    a, b = (each / size for each, size in zip(two_squares(n, sd), n, strict=True))
    freedom = (a + b) ** 2 / (a**2 / (n[0] - 1) + b**2 / (n[1] - 1))
    return np.asarray(stats.t.ppf(0.5 + level / 2, freedom) * np.sqrt(a + b), float)


def welch(n: tuple[int, int], sd: tuple[float, float], level: float = 0.95) -> float:
    return within(welch_half(n, sd, level), error_of_difference(n, sd))


def both_sides_reject(n: tuple[int, int], sd: tuple[float, float], margin: float) -> float:
    """P(the 90 % Welch interval lies inside of ±margin) when the difference is the margin."""
    half, error = welch_half(n, sd, 0.90), error_of_difference(n, sd)
    shares = stats.norm.cdf(-half / error) - stats.norm.cdf((half - 2 * margin) / error)
    return float(_WEIGHTS @ np.maximum(0.0, shares) @ _WEIGHTS)


def two_means(n: tuple[int, int], quantile: float, sizes: tuple[float, float] | None = None) -> float:
    """A difference of means of alike variances with se² = s₁²/size₁ + s₂²/size₂ and a fixed quantile."""
    (a, b), (first, second) = two_squares(n), sizes or n
    return within(quantile * np.sqrt(a / first + b / second), error_of_difference(n))


def hedges(n: tuple[int, int], delta: float) -> float:
    """g ± z√(1/n₁ + 1/n₂ + g²/2N) is a function of the t statistic, which is noncentral t."""
    m, total = sum(n) - 2, sum(n)
    scale = math.sqrt(1 / n[0] + 1 / n[1])
    factor = math.exp(special.gammaln(m / 2) - 0.5 * math.log(m / 2) - special.gammaln((m - 1) / 2)) * scale

    def beyond(g: float, sign: float) -> float:
        return g + sign * Z * math.sqrt(scale**2 + g**2 / (2 * total)) - delta

    low, high = (optimize.brentq(beyond, -20, 20, args=(sign,)) / factor for sign in (1, -1))
    cdf = stats.nct(m, delta / scale).cdf
    return float(cdf(high) - cdf(low))


def t_of_skewed(n: int, skewness: float, kurtosis: float) -> float:
    """Student's interval for a mean, to the order of 1/n. Source: Hall 1992, section 2.6."""
    x = Z
    shift = kurtosis / 12 * (x**2 - 3) - skewness**2 / 18 * (x**4 + 2 * x**2 - 3)
    return 0.95 + 2 / n * x * shift * float(stats.norm.pdf(x))


# --- Counts -----------------------------------------------------------------------------------------------


def wilson(n: int, p: float) -> float:
    """The interval inverts the score test: it has p when |x/n − p| is within z standard errors at p."""
    x = np.arange(n + 1)
    covers = np.abs(x / n - p) <= Z * math.sqrt(p * (1 - p) / n)
    return float(stats.binom.pmf(x[covers], n, p).sum())


def nobody_is_absent(people: int, share: float, icc: float, sessions: range) -> float:
    """P(all people attend all of their sessions), as many as any of the range, beta-binomial."""
    total = 1 / icc - 1
    e, a = np.array(sessions), share * total
    of_one = np.exp(special.betaln(a + e, total - a) - special.betaln(a, total - a)).mean()
    return float(of_one**people)


def two_arms(n: tuple[int, int], p: tuple[float, float], is_odds: bool) -> tuple[float, float]:
    """log odds ratio or log risk ratio ± z·se over all pairs of counts: coverage, and the share without."""
    a, c = np.meshgrid(np.arange(n[0] + 1.0), np.arange(n[1] + 1.0), indexing="ij")
    chances = stats.binom.pmf(a, n[0], p[0]) * stats.binom.pmf(c, n[1], p[1])
    is_there = ~((a == 0) & (c == 0)) & ~((a == n[0]) & (c == n[1]))
    has_zero = (a == 0) | (c == 0) | (a == n[0]) | (c == n[1])
    add = np.where(has_zero, 0.5, 0.0)
    a, b, c, d = a + add, n[0] - a + add, c + add, n[1] - c + add
    if is_odds:
        effect, variance = np.log(a * d / (b * c)), 1 / a + 1 / b + 1 / c + 1 / d
        truth = special.logit(p[0]) - special.logit(p[1])
    else:
        effect = np.log(a / (a + b)) - np.log(c / (c + d))
        variance = 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)
        truth = math.log(p[0] / p[1])
    covers = is_there & (np.abs(effect - truth) <= Z * np.sqrt(variance))
    there = float(chances[is_there].sum())
    return float(chances[covers].sum()) / there, float(chances[~is_there].sum())


def pooled_logits(k: int, n: int, p: float) -> dict[str, float]:
    """Logits of k proportions of n, all with p: one effect, DerSimonian–Laird with Wald and Hartung–Knapp.

    Over all multisets of k counts, but for counts with a chance of less than a millionth. Counts that are all
    alike have no Hartung–Knapp interval, and do not count for it.
    """
    counts = np.arange(n + 1)
    counts = counts[stats.binom.pmf(counts, n, p) > 1e-6]
    sets = np.array(list(itertools.combinations_with_replacement(range(len(counts)), k)))
    times = np.stack([(sets == j).sum(axis=1) for j in range(len(counts))], axis=1)
    log_chances = special.gammaln(k + 1) - special.gammaln(times + 1).sum(axis=1)
    chances = np.exp(log_chances + times @ stats.binom.logpmf(counts, n, p))
    x = counts[sets].astype(float)
    add = np.where((x == 0) | (x == n), 0.5, 0.0)
    y, v = np.log((x + add) / (n - x + add)), 1 / (x + add) + 1 / (n - x + add)
    truth = float(special.logit(p))

    def share(y_bar: Floats, half: Floats) -> float:
        is_there = half > 0
        covers = is_there & (np.abs(y_bar - truth) <= half)
        return float(chances[covers].sum() / chances[is_there].sum())

    w = 1 / v
    fixed = (w * y).sum(axis=1) / w.sum(axis=1)
    q = (w * (y - fixed[:, None]) ** 2).sum(axis=1)
    tau2 = np.maximum(0, (q - k + 1) / (w.sum(axis=1) - (w**2).sum(axis=1) / w.sum(axis=1)))
    u = 1 / (v + tau2[:, None])
    mean = (u * y).sum(axis=1) / u.sum(axis=1)
    differ = (sets.min(axis=1) < sets.max(axis=1)).astype(float)
    scale = differ * (u * (y - mean[:, None]) ** 2).sum(axis=1) / (k - 1)
    se = np.sqrt(1 / u.sum(axis=1))
    return {
        "fixed": share(fixed, Z / np.sqrt(w.sum(axis=1))),
        "Wald": share(mean, Z * se),
        "Hartung-Knapp": share(mean, t(k - 1) * se * np.sqrt(scale)),
    }


# --- Studies of equal precision ---------------------------------------------------------------------------
# All estimators of τ² are then max(0, s² − v), with s² the variance of the effects: v + τ̂² = max(v, s²).


def _of_effects(k: int, v: float, tau2: float) -> Floats:
    return (v + tau2) * squares(k - 1)


def wald(k: int, v: float, tau2: float) -> float:
    half = Z * np.sqrt(np.maximum(v, _of_effects(k, v, tau2)) / k)
    return within(half, math.sqrt((v + tau2) / k))


def at_least_wald(k: int, v: float, tau2: float) -> float:
    """Hartung and Knapp's factor is at most 1 here, so with max(1, ·) what is left is Wald's by t(k − 1)."""
    half = t(k - 1) * np.sqrt(np.maximum(v, _of_effects(k, v, tau2)) / k)
    return within(half, math.sqrt((v + tau2) / k))


def prediction(k: int, v: float, tau2: float, quantile: float) -> float:
    """Of the effect of a new study, which is normal around μ with τ²."""
    s2 = _of_effects(k, v, tau2)
    half = quantile * np.sqrt(np.maximum(0, s2 - v) + np.maximum(v, s2) / k)
    return within(half, math.sqrt(tau2 + (v + tau2) / k))


def one_effect(v: Floats, tau2: float) -> float:
    """A fixed-effect interval when effects differ, at any precision: its variance is Σw²(v + τ²)/(Σw)²."""
    w = 1 / v
    true = float((w**2 * (v + tau2)).sum()) / float(w.sum()) ** 2
    return float(2 * stats.norm.cdf(Z / math.sqrt(float(w.sum()) * true)) - 1)


# --- People -----------------------------------------------------------------------------------------------


def satterthwaite(n: tuple[int, int]) -> float:
    """Degrees of freedom of s₁²/n₁ + s₂²/n₂ where both variances are alike."""
    return (1 / n[0] + 1 / n[1]) ** 2 / (1 / (n[0] ** 2 * (n[0] - 1)) + 1 / (n[1] ** 2 * (n[1] - 1)))


def without_groups(sizes: tuple[Floats, Floats], icc: float) -> float:
    """Two arms of groups, compared as if people were independent: normal, with the expectation of s²."""
    told = true = 0.0
    for each in sizes:
        n, typical = float(each.sum()), float((each**2).sum() / each.sum())
        told += (1 - icc * (typical - 1) / (n - 1)) / n
        true += (1 + icc * (typical - 1)) / n
    return float(2 * stats.norm.cdf(Z * math.sqrt(told / true)) - 1)


def partly_grouped(groups: int, size: int, alone: int, icc: float) -> float:
    """An arm of equal groups against people alone: s² of group means by groups, s² of people by people.

    CR2's freedom takes rows as independent: both variances per person are then alike.
    """
    sd = (math.sqrt((1 + (size - 1) * icc) / size), 1.0)
    a, b = (each / n for each, n in zip(two_squares((groups, alone), sd), (groups, alone), strict=True))
    first, second = 1 / (groups * size), 1 / alone
    freedom = (first + second) ** 2 / (first**2 / (groups - 1) + second**2 / (alone - 1))
    return within(t(freedom) * np.sqrt(a + b), error_of_difference((groups, alone), sd))


def mixed_balanced(people: int, waves: int, icc: float) -> tuple[float, float]:
    """Coverage by REML and t(K − 4) of the arm's difference and of its slope's, for complete data of two arms
    with intercept and slope each: whatever the arms' sizes, only mean squares count.

    Between people m·τ² + σ² on K − 2, within them σ² on K(m − 1) − 2; where the former would be smaller, both
    are their pool.
    """
    between_freedom, within_freedom = people - 2, people * (waves - 1) - 2
    truth_within, truth_between = 1 - icc, 1 - icc + waves * icc
    a = truth_between * squares(between_freedom)[:, None]
    b = truth_within * squares(within_freedom)[None, :]
    pool = (between_freedom * a + within_freedom * b) / (between_freedom + within_freedom)
    is_pooled = a < b
    between, inside = np.where(is_pooled, pool, a), np.where(is_pooled, pool, b)
    quantile = t(people - 4)
    return (
        within(quantile * np.sqrt(between), math.sqrt(truth_between)),
        within(quantile * np.sqrt(inside), math.sqrt(truth_within)),
    )


def means_of_who_stayed(n: int, sd: float, correlation: float, steepness: float) -> float:
    """Two arms of n, one of them whole. In the other a person stays with Φ(−b·z) by the first score z, and
    means of a later wave are compared: shifted by ρ·sd·E[z | stays], normal at the numbers expected.
    """
    shift = -steepness * float(stats.norm.pdf(0)) / math.sqrt(1 + steepness**2) / 0.5
    of_stayers = sd**2 * (1 - correlation**2 * shift**2)  # E[z² | stays] is 1, by symmetry
    moved = correlation * sd * shift / math.sqrt(of_stayers / (n / 2) + sd**2 / n)
    return float(stats.norm.cdf(Z - moved) - stats.norm.cdf(-Z - moved))
