"""Scenarios of estimates in closed form: means, differences, proportions, ratios, single studies, margins."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from pipelines.evidence import effects, estimates
from pipelines.evidence.effects import Counts, Effect
from pipelines.evidence.equivalence import equivalence, non_inferiority
from pipelines.evidence.estimates import Estimate, summarise
from pipelines.evidence.pooling import Conventions, pool
from tests.coverage_study import exact
from tests.coverage_study.declarations import (
    Chance,
    Expected,
    Figure,
    Floats,
    Scenario,
    about,
    exactly,
)

Arms = tuple[Floats, Floats]
Sessions = tuple[list[int], list[int]]
MARGIN = 0.8


def scenarios() -> Iterator[Scenario]:
    yield from (_mean_of_normal(n) for n in (5, 30))
    # By n the next order of the expansion, which is left out, may matter.
    yield from (_mean_of_skewed(n, give) for n, give in ((30, 0.02), (200, 0.005)))
    for n, sd in (((5, 5), (1, 1)), ((8, 19), (1, 1)), ((8, 19), (2, 1)), ((40, 40), (1, 1))):
        yield _difference(n, sd)
    yield from (_standardised(n, delta) for n in (10, 40) for delta in (0.0, 0.5, 1.5))
    yield from (_proportion(n, p) for n in (10, 30, 100) for p in (0.01, 0.05, 0.2, 0.5))
    yield from (_ratio(people, share) for people in _RATIOS for share in (0.6, 0.9))
    for each in ((40, (0.4, 0.25)), (50, (0.1, 0.04))):
        yield _log_odds_ratio(*each)
        yield _log_risk_ratio(*each)
    yield _correlation()
    for n, spread in (((12, 12), (1.0, 1.0)), ((40, 60), (1.5, 1.0))):
        yield from (_non_inferiority(n, spread, is_low_better) for is_low_better in (True, False))
        yield _equivalence(n, spread)


# --- Means ------------------------------------------------------------------------------------------------


def _mean_of_normal(n: int) -> Scenario:
    return Scenario(
        f"mean-normal-{n}",
        f"{n} people, normal scores",
        lambda chance: chance.normal(12, 5, n),
        12,
        (Figure("mean, t", _mean, exactly(0.95, "Student 1908: exact")),),
    )


def _mean_of_skewed(n: int, give: float) -> Scenario:
    share = exact.t_of_skewed(n, skewness=2, kurtosis=6)
    source = "Hall 1992: below nominal by skewness, to the order of 1/n"
    return Scenario(
        f"mean-skewed-{n}",
        f"{n} people, exponential (as counts of posts are skewed)",
        lambda chance: chance.exponential(4, n),
        4,
        (Figure("mean, t", _mean, about(share, give, source)),),
    )


def _mean(values: Floats) -> Estimate:
    return estimates.mean(summarise(values))


def _difference(n: tuple[int, int], sd: tuple[float, float]) -> Scenario:
    expected = exactly(exact.welch(n, sd), "quadrature over both variances")
    return Scenario(
        f"difference-{n[0]}-{n[1]}-{sd[0]}",
        _words(n, sd),
        _two_arms(n, sd, 0.5),
        0.5,
        (Figure("mean difference, Welch", _welch, expected),),
    )


def _standardised(n: int, delta: float) -> Scenario:
    expected = exactly(exact.hedges((n, n), delta), "the noncentral t distribution")
    return Scenario(
        f"g-{n}-{delta}",
        f"{n} people against {n}, {delta} standard deviations apart",
        _two_arms((n, n), (1, 1), delta),
        delta,
        (Figure("Hedges g", _g, expected),),
    )


def _g(arms: Arms) -> Estimate:
    return estimates.hedges_g(summarise(arms[0]), summarise(arms[1]))


def _words(n: tuple[int, int], sd: tuple[float, float]) -> str:
    return f"{n[0]} people against {n[1]}, standard deviations {sd[0]} and {sd[1]}"


def _two_arms(n: tuple[int, int], sd: tuple[float, float], shift: float) -> Callable[[Chance], Arms]:
    return lambda chance: (chance.normal(shift, sd[0], n[0]), chance.normal(0, sd[1], n[1]))


def _welch(arms: Arms) -> Estimate:
    return estimates.mean_difference(summarise(arms[0]), summarise(arms[1]))


# --- Shares -----------------------------------------------------------------------------------------------


def _proportion(n: int, p: float) -> Scenario:
    source = "enumeration of all counts; it oscillates (Brown, Cai & DasGupta 2001)"
    return Scenario(
        f"proportion-{n}-{p}",
        f"{n} people, probability {p}",
        lambda chance: int(chance.binomial(n, p)),
        p,
        (
            Figure(
                "proportion, Wilson",
                lambda count: estimates.proportion(count, n),
                exactly(exact.wilson(n, p), source),
            ),
        ),
    )


_RATIOS = {
    10: (0.88, 0.965, "below nominal for few clusters: the linearised variance is too small"),
    30: (0.92, 0.96, "close to nominal"),
    100: (0.935, 0.96, "nominal"),
}


_SESSIONS = range(4, 13)
_ABSENT = (
    "at most 0.5 % without an interval was a guess. Where all people attend everything there is none, and"
    " that has a chance of 2.0 %, by the beta-binomial distribution."
)


def _ratio(people: int, share: float) -> Scenario:
    low, high, why = _RATIOS[people]
    least = low - (0.03 if share == 0.9 else 0)  # attendance is skewed there
    return Scenario(
        f"ratio-{people}-{share}",
        f"{people} people, 4 to 12 open sessions each, of which they attend {share}, but differ (ICC 0.3)",
        _attendance(people, share, 0.3),
        share,
        (
            Figure(
                "ratio of sums over people, logit t",
                lambda sessions: estimates.clustered_ratio(*sessions),
                Expected(least, high, f"Korn & Graubard 1998: {why}"),
                most_without=exact.nobody_is_absent(people, share, 0.3, _SESSIONS),
                corrected=_ABSENT if (people, share) == (10, 0.9) else "",
            ),
        ),
    )


def _attendance(people: int, share: float, icc: float) -> Callable[[Chance], Sessions]:
    total = 1 / icc - 1

    def draw(chance: Chance) -> Sessions:
        sessions = chance.integers(_SESSIONS.start, _SESSIONS.stop, people)
        own = chance.beta(share * total, (1 - share) * total, people)
        return list(chance.binomial(sessions, own)), list(sessions)

    return draw


# --- Effects of single studies ----------------------------------------------------------------------------


def _log_odds_ratio(n: int, p: tuple[float, float]) -> Scenario:
    return _of_tables(
        "log odds ratio",
        n,
        p,
        truth=math.log(p[0] / (1 - p[0]) * (1 - p[1]) / p[1]),
        effect=effects.log_odds_ratio,
        expected=exact.two_arms((n, n), p, is_odds=True),
    )


def _log_risk_ratio(n: int, p: tuple[float, float]) -> Scenario:
    return _of_tables(
        "log risk ratio",
        n,
        p,
        truth=math.log(p[0] / p[1]),
        effect=effects.log_risk_ratio,
        expected=exact.two_arms((n, n), p, is_odds=False),
    )


def _of_tables(
    what: str,
    n: int,
    p: tuple[float, float],
    *,
    truth: float,
    effect: Callable[[Counts, Counts], Effect],
    expected: tuple[float, float],
) -> Scenario:
    share, without = expected
    return Scenario(
        f"{what.replace(' ', '-')}-{n}",
        f"one study, {n} people against {n}, probabilities {p[0]} and {p[1]}",
        lambda chance: [Counts(int(chance.binomial(n, each)), n) for each in p],
        truth,
        (
            Figure(
                f"{what}, normal",
                lambda arms: _alone(effect(*arms)),
                exactly(share, "enumeration of all pairs of counts"),
                most_without=without,
            ),
        ),
    )


def _correlation() -> Scenario:
    return Scenario(
        "correlation-20",
        "one study, 20 people, correlation 0.5",
        lambda chance: chance.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 20),
        math.atanh(0.5),
        (
            Figure(
                "Fisher's z, normal",
                lambda rows: _alone(effects.fishers_z(float(np.corrcoef(rows.T)[0, 1]), len(rows))),
                about(0.95, 0.005, "Fisher 1921: nearly normal, with a bias of r/2(n − 1)"),
            ),
        ),
    )


def _alone(found: Effect) -> Estimate:
    """The normal interval of a study by itself, as a pool of one has it."""
    if found.effect is None or found.variance is None:
        return estimates.not_estimated(found.method, found.reason or "")
    return pool([found.effect], [found.variance], Conventions("fixed")).estimate


# --- Margins: arms that differ by the margin, so that whatever is declared is wrong ------------------------


def _non_inferiority(n: tuple[int, int], sd: tuple[float, float], is_low_better: bool) -> Scenario:
    better, worse = ("lower", MARGIN) if is_low_better else ("higher", -MARGIN)
    expected = exactly(
        (1 - exact.welch(n, sd)) / 2, "quadrature: half of what Welch's interval misses; nominal 0.025"
    )
    return Scenario(
        f"non-inferiority-{n[0]}-{better}",
        f"{_words(n, sd)}; {better} is better, and the arm is worse by the margin",
        _two_arms(n, sd, worse),
        worse,
        (
            Figure(
                "non-inferiority declared, 95 % Welch",
                lambda arms: non_inferiority(_welch(arms), MARGIN, is_low_better).verdict == "non-inferior",
                expected,
            ),
        ),
    )


def _equivalence(n: tuple[int, int], sd: tuple[float, float]) -> Scenario:
    share = exact.both_sides_reject(n, sd, MARGIN)
    return Scenario(
        f"equivalence-{n[0]}",
        f"{_words(n, sd)}; the arm is higher by the margin",
        _two_arms(n, sd, MARGIN),
        MARGIN,
        (
            Figure(
                "equivalence declared (TOST), 90 % Welch",
                lambda arms: equivalence(_welch(arms), MARGIN).verdict == "equivalent",
                exactly(share, "quadrature; at most 0.05, less for few people (Schuirmann 1987)"),
            ),
        ),
    )
