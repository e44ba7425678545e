"""Scenarios of meta-analysis: k studies with known variances, or with what real ones report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import stats

from pipelines.evidence.effects import Counts, logit_proportion, standardised_mean_difference
from pipelines.evidence.estimates import Estimate, not_estimated, summarise
from pipelines.evidence.pooling import (
    Conventions,
    Estimator,
    Interval,
    Prediction,
    compare,
    egger,
    pool,
    regress,
)
from tests.coverage_study import exact
from tests.coverage_study.declarations import Chance, Expected, Figure, Floats, Scenario, about, exactly

MU = 0.3
RANDOM: tuple[Estimator, ...] = ("DL", "REML", "PM")
HARTUNG, AT_LEAST = "Hartung-Knapp", "Hartung-Knapp, at least Wald"
INTERVALS: tuple[Interval, ...] = ("Wald", "Hartung-Knapp", "Hartung-Knapp, at least Wald")
PREDICTIONS: tuple[Prediction, ...] = ("t(k-2)", "t(k-1)", "normal")


class Studies(NamedTuple):
    """Effects and variances (k,), and the true effect of a study that is not among them."""

    y: Floats
    v: Floats
    new: float


def scenarios() -> Iterator[Scenario]:
    yield from _equally_precise()
    yield from _unequally_precise()
    yield from _more_than_means()
    yield from _reported()
    yield from _rare_events()


def _studies(v: Floats, tau2: float) -> Callable[[Chance], Studies]:
    tau = math.sqrt(tau2)
    return lambda chance: Studies(
        chance.normal(MU, np.sqrt(v + tau2)), v, float(chance.normal(MU, tau)) if tau else MU
    )


def _pooled(estimator: Estimator, interval: Interval) -> Callable[[Studies], Estimate]:
    return lambda data: pool(data.y, data.v, Conventions(estimator, interval)).estimate


def _tau2(data: Studies) -> Estimate:
    found = pool(data.y, data.v).heterogeneity
    if found is None:
        return not_estimated("Q-profile", "no heterogeneity")
    return Estimate(found.tau2, None, found.tau2_low, found.tau2_high, "Q-profile")


def _predicted(prediction: Prediction) -> Callable[[Studies], Estimate]:
    def ask(data: Studies) -> Estimate:
        found = pool(data.y, data.v, Conventions(prediction=prediction))
        low, high = found.predicted or (None, None)
        return Estimate(found.estimate.estimate, None, low, high, "prediction", found.prediction_reason)

    return ask


def _q_profile(tau2: float) -> Figure:
    """At τ² = 0 it can only miss to one side: the interval ends at 0."""
    share = 0.95 if tau2 else 0.975
    source = "Viechtbauer 2007: Q is χ² at the true τ²; at 0 only Q's upper tail misses"
    return Figure("τ², Q-profile", _tau2, exactly(share, source), truth=tau2)


def _one_effect(v: Floats, tau2: float) -> Figure:
    why = "exact" if tau2 == 0 else "exact: one effect is assumed where there are many"
    return Figure("fixed, Wald", _pooled("fixed", "Wald"), exactly(exact.one_effect(v, tau2), why))


# --- Equal variances: all is known exactly ----------------------------------------------------------------


def _equally_precise() -> Iterator[Scenario]:
    v = 0.05  # of g, with some 40 people in each arm
    for k in (5, 10, 30):
        for tau2 in (0.0, 0.01, 0.1):
            yield Scenario(
                f"pool-equal-{k}-{tau2}",
                f"{k} studies, all variances {v}, τ² = {tau2}",
                _studies(np.full(k, v), tau2),
                MU,
                (*_exact_figures(k, v, tau2), *_exact_predictions(k, v, tau2)),
            )


def _exact_figures(k: int, v: float, tau2: float) -> Iterator[Figure]:
    yield _one_effect(np.full(k, v), tau2)
    expected = {
        "Wald": exactly(exact.wald(k, v, tau2), "quadrature over s²; not nominal at few studies"),
        "Hartung-Knapp": exactly(0.95, "exact: Student's t of the effects"),
        "Hartung-Knapp, at least Wald": exactly(
            exact.at_least_wald(k, v, tau2), "quadrature over s²; conservative"
        ),
    }
    for estimator in RANDOM:
        for interval in INTERVALS:
            yield Figure(f"{estimator}, {interval}", _pooled(estimator, interval), expected[interval])
    yield _q_profile(tau2)


def _exact_predictions(k: int, v: float, tau2: float) -> Iterator[Figure]:
    quantiles = {"t(k-2)": exact.t(k - 2), "t(k-1)": exact.t(k - 1), "normal": exact.Z}
    for prediction in PREDICTIONS:
        share = exact.prediction(k, v, tau2, quantiles[prediction])
        source = "quadrature over s²; off at few studies (Partlett & Riley 2017)"
        yield Figure(
            f"prediction, {prediction}",
            _predicted(prediction),
            exactly(share, source),
            truth=lambda data: float(data.new),
        )


# --- A quarter of the studies ten times as large: what simulations of others found -------------------------

_AT_MOST_DOUBLED = "IntHout 2014: error at most doubled"
_UNEQUAL: dict[tuple[str, int, float], tuple[float, float, str]] = {
    ("Wald", 5, 0.0): (0.945, 0.985, "conservative without heterogeneity: τ² is never below 0"),
    ("Wald", 10, 0.0): (0.945, 0.985, "conservative without heterogeneity: τ² is never below 0"),
    ("Wald", 30, 0.0): (0.945, 0.98, "conservative without heterogeneity: τ² is never below 0"),
    ("Wald", 5, 0.02): (0.86, 0.955, "IntHout 2014; Langan 2019: below nominal at few studies"),
    ("Wald", 10, 0.02): (0.88, 0.955, "IntHout 2014; Langan 2019: below nominal at few studies"),
    ("Wald", 30, 0.02): (0.915, 0.96, "Langan 2019: close to nominal at many studies"),
    ("Wald", 5, 0.2): (0.80, 0.90, "IntHout 2014; P(|t(4)| < 1.96) = 0.878 if equally precise"),
    ("Wald", 10, 0.2): (0.87, 0.935, "IntHout 2014; P(|t(9)| < 1.96) = 0.918 if equally precise"),
    ("Wald", 30, 0.2): (0.915, 0.955, "Langan 2019; P(|t(29)| < 1.96) = 0.940 if equally precise"),
    (HARTUNG, 5, 0.0): (0.90, 0.965, f"{_AT_MOST_DOUBLED}; Röver 2015: below nominal, unequal sizes"),
    (HARTUNG, 10, 0.0): (0.90, 0.965, f"{_AT_MOST_DOUBLED}; Röver 2015: below nominal, unequal sizes"),
    (HARTUNG, 30, 0.0): (0.93, 0.965, "Langan 2019: close to nominal"),
    (HARTUNG, 5, 0.02): (0.90, 0.965, f"{_AT_MOST_DOUBLED}; Röver 2015: below nominal, unequal sizes"),
    (HARTUNG, 10, 0.02): (0.90, 0.965, f"{_AT_MOST_DOUBLED}; Röver 2015: below nominal, unequal sizes"),
    (HARTUNG, 30, 0.02): (0.92, 0.96, "Langan 2019: close to nominal"),
    (HARTUNG, 5, 0.2): (0.90, 0.96, _AT_MOST_DOUBLED),
    (HARTUNG, 10, 0.2): (0.92, 0.96, "Langan 2019: close to nominal"),
    (HARTUNG, 30, 0.2): (0.935, 0.96, "Langan 2019: close to nominal"),
    (AT_LEAST, 5, 0.0): (0.97, 1.0, "Röver 2015: conservative"),
    (AT_LEAST, 10, 0.0): (0.955, 0.99, "Röver 2015: conservative"),
    (AT_LEAST, 30, 0.0): (0.945, 0.985, "Röver 2015: conservative"),
    (AT_LEAST, 5, 0.02): (0.945, 1.0, "Röver 2015: conservative"),
    (AT_LEAST, 10, 0.02): (0.92, 0.985, "Röver 2015: closer to nominal than plain"),
    (AT_LEAST, 30, 0.02): (0.925, 0.97, "Röver 2015: closer to nominal than plain"),
    (AT_LEAST, 5, 0.2): (0.90, 0.98, "Röver 2015: closer to nominal than plain"),
    (AT_LEAST, 10, 0.2): (0.92, 0.97, "Röver 2015: closer to nominal than plain"),
    (AT_LEAST, 30, 0.2): (0.935, 0.965, "Röver 2015: closer to nominal than plain"),
    ("prediction", 5, 0.0): (0.97, 1.0, "of the mean itself, by a wider quantile"),
    ("prediction", 10, 0.0): (0.96, 1.0, "of the mean itself, by a wider quantile"),
    ("prediction", 30, 0.0): (0.95, 1.0, "of the mean itself, by a wider quantile"),
    ("prediction", 5, 0.02): (0.75, 0.96, "Partlett & Riley 2017: too low if τ² small, sizes unequal"),
    ("prediction", 10, 0.02): (0.75, 0.95, "Partlett & Riley 2017: too low if τ² small, sizes unequal"),
    ("prediction", 30, 0.02): (0.82, 0.955, "Partlett & Riley 2017: too low if τ² small, sizes unequal"),
    ("prediction", 5, 0.2): (0.87, 0.97, "Nagashima 2019: off at few studies"),
    ("prediction", 10, 0.2): (0.90, 0.965, "Partlett & Riley 2017: close to nominal if τ² is large"),
    ("prediction", 30, 0.2): (0.925, 0.96, "Partlett & Riley 2017: close to nominal if τ² is large"),
}


def _unequally_precise() -> Iterator[Scenario]:
    for k in (5, 10, 30):
        v = np.where(np.arange(k) % 4 == 0, 0.01, 0.1)
        for tau2 in (0.0, 0.02, 0.2):
            figures = [_one_effect(v, tau2), _q_profile(tau2)]
            for estimator in RANDOM:
                for interval in INTERVALS:
                    expected = Expected(*_UNEQUAL[interval, k, tau2])
                    figures.append(Figure(f"{estimator}, {interval}", _pooled(estimator, interval), expected))
            expected = Expected(*_UNEQUAL["prediction", k, tau2])
            figures.append(
                Figure(
                    "prediction, t(k-2)",
                    _predicted("t(k-2)"),
                    expected,
                    truth=lambda data: float(data.new),
                )
            )
            yield Scenario(
                f"pool-unequal-{k}-{tau2}",
                f"{k} studies, every fourth with variance 0.01 and the others 0.1, τ² = {tau2}",
                _studies(v, tau2),
                MU,
                tuple(figures),
            )


# --- More than a mean -------------------------------------------------------------------------------------


def _more_than_means() -> Iterator[Scenario]:
    yield from (_meta_regression(tau2) for tau2 in (0.0, 0.1))
    yield _eggers_test()
    yield _subgroups()


def _meta_regression(tau2: float) -> Scenario:
    k, v = 10, 0.05
    moderator = np.linspace(-1, 1, k) ** 3
    return Scenario(
        f"meta-regression-{tau2}",
        f"{k} studies, all variances {v}, one moderator, residual τ² = {tau2}",
        lambda chance: chance.normal(MU + 0.2 * moderator, math.sqrt(v + tau2)),
        0.2,
        (
            Figure(
                "slope, REML, Hartung-Knapp",
                lambda y: regress(y, np.full(k, v), moderator).coefficients[1],
                exactly(0.95, "exact: least squares with Student's t"),
            ),
        ),
    )


def _eggers_test() -> Scenario:
    v = np.linspace(0.01, 0.2, 15)
    return Scenario(
        "egger",
        f"{len(v)} studies with variances 0.01 to 0.2, one effect, nothing missing",
        lambda chance: chance.normal(MU, np.sqrt(v)),
        0,
        (
            Figure(
                "Egger's slope, t(k − 2)",
                lambda y: egger(y, v),
                exactly(0.95, "exact: weighted least squares with known variances"),
            ),
        ),
    )


def _subgroups() -> Scenario:
    v, names = np.full(20, 0.05), ["a"] * 8 + ["b"] * 12
    return Scenario(
        "subgroups",
        "8 and 12 studies, all variances 0.05, with one effect",
        lambda chance: chance.normal(MU, np.sqrt(v)),
        0,
        (
            Figure(
                "subgroups declared to differ at 5 %, fixed",
                lambda y: (compare(y, v, names, Conventions("fixed")).p or 0) < 0.05,
                exactly(0.05, "exact: Q between is χ² with 1"),
            ),
        ),
    )


def _reported() -> Iterator[Scenario]:
    """Effects and variances from what arms report: g and its variance depend on each other."""
    for k in (5, 10):
        yield Scenario(
            f"pool-g-{k}",
            f"{k} trials of 10 to 40 people in each arm, Hedges g, mean 0.4, τ² = 0.05",
            _trials(k, 0.4, 0.05),
            0.4,
            (
                Figure(
                    "REML, Hartung-Knapp",
                    _pooled("REML", "Hartung-Knapp"),
                    Expected(
                        0.92,
                        0.965,
                        "Bakbergenuly 2020: close to nominal at small effects; g shrinks a little",
                    ),
                ),
            ),
        )


def _trials(k: int, mean: float, tau2: float) -> Callable[[Chance], Studies]:
    sizes = np.linspace(10, 40, k).astype(int)

    def draw(chance: Chance) -> Studies:
        found = [
            standardised_mean_difference(
                summarise(chance.normal(chance.normal(mean, math.sqrt(tau2)), 1, n)),
                summarise(chance.normal(0, 1, n)),
            )
            for n in sizes
        ]
        y, v = ([getattr(each, name) for each in found] for name in ("effect", "variance"))
        return Studies(np.array(y, float), np.array(v, float), math.nan)

    return draw


def _rare_events() -> Iterator[Scenario]:
    for k, n, p in ((5, 50, 0.02), (10, 50, 0.02), (5, 50, 0.1)):
        shares = exact.pooled_logits(k, n, p)
        source = (
            "enumeration of all sets of counts; 0.5 and weights that depend on counts bias it (Stijnen 2010)"
        )
        figures = [
            Figure("logit, fixed, Wald", _pooled("fixed", "Wald"), about(shares["fixed"], 0.002, source)),
            Figure("logit, DL, Wald", _pooled("DL", "Wald"), about(shares["Wald"], 0.002, source)),
            Figure(
                "logit, DL, Hartung-Knapp",
                _pooled("DL", "Hartung-Knapp"),
                about(shares["Hartung-Knapp"], 0.002, source),
                most_without=_all_alike(k, n, p),
            ),
        ]
        yield Scenario(
            f"pool-logit-{k}-{p}",
            f"{k} studies of {n} people, probability {p}",
            _proportions(k, n, p),
            math.log(p / (1 - p)),
            tuple(figures),
        )


def _proportions(k: int, n: int, p: float) -> Callable[[Chance], Studies]:
    def draw(chance: Chance) -> Studies:
        found = [logit_proportion(Counts(int(x), n)) for x in chance.binomial(n, p, k)]
        y, v = ([getattr(each, name) for each in found] for name in ("effect", "variance"))
        return Studies(np.array(y, float), np.array(v, float), math.nan)

    return draw


def _all_alike(k: int, n: int, p: float) -> float:
    """Studies that agree exactly have no Hartung–Knapp interval."""
    return float((stats.binom.pmf(np.arange(n + 1), n, p) ** k).sum())
