"""Closed forms and pooling against independent code: at least 200 random data sets each, from seeds.

Independent are statsmodels, PyMARE, scipy, and likelihoods with whole covariance matrices. Effects of single
studies have theirs in test_effects; published digits, laws and degenerate input stand in the tests of each
module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import statsmodels.api as sm
from scipy import optimize, special, stats
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from pipelines.evidence.estimates import (
    clustered_ratio,
    hedges_g,
    mean,
    mean_difference,
    proportion,
    summarise,
)
from pipelines.evidence.pooling import Conventions, Estimator, compare, egger, pool, regress

Floats = npt.NDArray[np.float64]

CASES = 300
"""So many that 200 remain of each: few studies allow no Egger, a negative τ² no comparison."""


def random_samples(seed: int) -> Iterator[tuple[Floats, Floats]]:
    """Scores of two arms that differ in number, mean and spread."""
    chance = np.random.default_rng(seed)
    for _ in range(CASES):
        n1, n2 = chance.integers(2, 50, 2)
        yield chance.normal(0.4, 1, n1), chance.normal(0, chance.uniform(0.5, 3), n2)


def random_studies(seed: int) -> Iterator[tuple[Floats, Floats]]:
    chance = np.random.default_rng(seed)
    for _ in range(CASES):
        k = int(chance.integers(2, 40))
        v = chance.uniform(0.01, 0.5, k)
        tau = chance.choice([0, 0.1, 0.5, 1])
        yield chance.normal(0.3, np.sqrt(v + tau**2)), v


# --- Closed forms -----------------------------------------------------------------------------------------


def test_a_mean_equals_statsmodels() -> None:
    for values, _ in random_samples(11):
        ours, theirs = mean(summarise(values)), DescrStatsW(values)
        assert (ours.estimate, ours.se) == pytest.approx((theirs.mean, theirs.std_mean), rel=1e-8)
        assert (ours.ci_low, ours.ci_high) == pytest.approx(theirs.tconfint_mean(0.05), rel=1e-8, abs=1e-10)
        assert ours.freedom == len(values) - 1


def test_a_difference_of_means_equals_scipys_welch() -> None:
    for a, b in random_samples(12):
        ours = mean_difference(summarise(a), summarise(b))
        theirs: Any = stats.ttest_ind(a, b, equal_var=False)
        interval = theirs.confidence_interval(0.95)
        assert (ours.estimate or 0) / (ours.se or 0) == pytest.approx(theirs.statistic, rel=1e-8)
        assert ours.freedom == pytest.approx(theirs.df, rel=1e-8)
        assert (ours.ci_low, ours.ci_high) == pytest.approx(
            (interval.low, interval.high), rel=1e-8, abs=1e-10
        )


def test_hedges_g_is_the_t_statistic_over_the_mean_of_a_noncentral_t() -> None:
    """J(m) is 1/E[t] of a noncentral t with m degrees of freedom and noncentrality 1."""
    for a, b in random_samples(13):
        if len(a) + len(b) < 5:  # scipy's mean of a noncentral t needs m above 2
            continue
        ours = hedges_g(summarise(a), summarise(b))
        root = math.sqrt(1 / len(a) + 1 / len(b))
        d = stats.ttest_ind(a, b).statistic * root
        g = d / float(stats.nct.mean(len(a) + len(b) - 2, 1))
        se = math.sqrt(root**2 + g**2 / 2 / (len(a) + len(b)))
        assert (ours.estimate, ours.se) == pytest.approx((g, se), rel=1e-8)
        assert (ours.ci_low, ours.ci_high) == pytest.approx(stats.norm.interval(0.95, g, se), rel=1e-8)


def test_wilsons_interval_equals_statsmodels() -> None:
    chance = np.random.default_rng(14)
    for _ in range(CASES):
        n = int(chance.integers(1, 300))
        successes = int(chance.integers(0, n + 1))
        ours = proportion(successes, n)
        theirs = proportion_confint(successes, n, method="wilson")
        assert (ours.ci_low, ours.ci_high) == pytest.approx(theirs, rel=1e-8, abs=1e-10)


def test_a_clustered_ratio_is_a_weighted_regression_with_robust_errors() -> None:
    """Of rates on a constant, weighted by what they are out of; HC1 has the factor n/(n − 1)."""
    chance = np.random.default_rng(15)
    for _ in range(CASES):
        n = int(chance.integers(3, 40))
        e = chance.integers(1, 20, n)
        a = chance.binomial(e, chance.beta(2, 3, n))
        if a.sum() == 0 or np.ptp(a / e) == 0:
            continue
        ours = clustered_ratio([*a], [*e])
        theirs: Any = sm.WLS(a / e, np.ones(n), weights=e).fit(cov_type="HC1")
        assert (ours.estimate, ours.se) == pytest.approx((theirs.params[0], theirs.bse[0]), rel=1e-8)
        r = theirs.params[0]
        half = stats.t.ppf(0.975, n - 1) * theirs.bse[0] / (r * (1 - r))
        ends = special.expit([special.logit(r) - half, special.logit(r) + half])
        assert (ours.ci_low, ours.ci_high) == pytest.approx(tuple(ends), rel=1e-8)


# --- Pooling ----------------------------------------------------------------------------------------------


def test_one_effect_for_all_equals_statsmodels() -> None:
    for y, v in random_studies(8):
        theirs: Any = combine_effects(y, v, method_re="chi2")
        ours = pool(y, v, Conventions("fixed"))
        assert ours.heterogeneity is not None
        assert (ours.estimate.estimate, ours.estimate.se) == pytest.approx(
            (theirs.mean_effect_fe, theirs.sd_eff_w_fe), rel=1e-8
        )
        half = stats.norm.ppf(0.975) * theirs.sd_eff_w_fe
        ends = theirs.mean_effect_fe - half, theirs.mean_effect_fe + half
        assert (ours.estimate.ci_low, ours.estimate.ci_high) == pytest.approx(ends, rel=1e-8, abs=1e-10)
        assert ours.heterogeneity.i2 == pytest.approx(100 * max(0, theirs.i2), rel=1e-8, abs=1e-8)
        assert ours.heterogeneity.h2 == pytest.approx(theirs.h2, rel=1e-8)
        p = stats.chi2.sf(theirs.q, len(y) - 1)
        assert ours.heterogeneity.q_p == pytest.approx(p, rel=1e-8)


@pytest.mark.parametrize("estimator", ["DL", "PM", "REML"])
def test_intervals_at_that_tau2_are_those_of_weighted_least_squares(estimator: Estimator) -> None:
    """Wald's with the scale fixed at 1, Hartung and Knapp's with the scale estimated; t on k − 1."""
    for y, v in random_studies(9):
        wald = pool(y, v, Conventions(estimator, "Wald"))
        knapp = pool(y, v, Conventions(estimator, "Hartung-Knapp"))
        assert wald.heterogeneity is not None
        weights = 1 / (v + wald.heterogeneity.tau2)
        theirs: Any = sm.WLS(y, np.ones(len(y)), weights=weights).fit()
        fixed = sm.WLS(y, np.ones(len(y)), weights=weights).fit(cov_type="fixed scale")
        for ours, expected, quantile in (
            (wald.estimate, fixed, stats.norm.ppf(0.975)),
            (knapp.estimate, theirs, stats.t.ppf(0.975, len(y) - 1)),
        ):
            value, se = expected.params[0], expected.bse[0]
            assert (ours.estimate, ours.se) == pytest.approx((value, se), rel=1e-8)
            ends = value - quantile * se, value + quantile * se
            assert (ours.ci_low, ours.ci_high) == pytest.approx(ends, rel=1e-8, abs=1e-10)
        if wald.predicted is not None:
            half = stats.t.ppf(0.975, len(y) - 2) * math.hypot(
                math.sqrt(wald.heterogeneity.tau2), fixed.bse[0]
            )
            ends = fixed.params[0] - half, fixed.params[0] + half
            assert wald.predicted == pytest.approx(ends, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("estimator", ["DL", "REML"])
def test_random_effects_equal_pymare(estimator: Estimator) -> None:
    """With a moderator in every second set. Its standard errors have Hartung and Knapp's factor already."""
    from pymare import Dataset, estimators

    chance = np.random.default_rng(10)
    for case, (y, v) in enumerate(random_studies(10)):
        if len(y) < 4:
            continue
        moderators = chance.normal(size=(len(y), case % 2))
        theirs: Any = (
            estimators.DerSimonianLaird()
            if estimator == "DL"
            else estimators.VarianceBasedLikelihoodEstimator(method="reml")
        )
        x = np.column_stack([np.ones(len(y)), moderators])
        found = theirs.fit_dataset(Dataset(y=y, v=v, X=x, add_intercept=False)).summary()
        ours = regress(y, v, moderators, Conventions(estimator))
        assert ours.heterogeneity is not None
        assert ours.heterogeneity.tau2 == pytest.approx(float(np.ravel(found.tau2)[0]), rel=1e-5, abs=1e-5)
        assert [each.estimate for each in ours.coefficients] == pytest.approx(
            list(found.fe_params[:, 0]), rel=1e-5, abs=1e-6
        )
        assert [each.se for each in ours.coefficients] == pytest.approx(list(found.fe_se[:, 0]), rel=1e-4)


def test_q_dl_and_hartung_knapp_equal_those_of_statsmodels() -> None:
    for y, v in random_studies(1):
        theirs: Any = combine_effects(y, v, method_re="chi2", use_t=True)
        ours = pool(y, v, Conventions("DL", "Hartung-Knapp"))
        assert ours.heterogeneity is not None
        assert ours.heterogeneity.q == pytest.approx(theirs.q, rel=1e-8)
        assert ours.heterogeneity.tau2 == pytest.approx(max(0, theirs.tau2), rel=1e-8, abs=1e-12)
        if theirs.tau2 < 0:  # it goes on with that
            continue
        assert ours.estimate.estimate == pytest.approx(theirs.mean_effect_re, rel=1e-8)
        assert ours.estimate.se == pytest.approx(theirs.sd_eff_w_re_hksj, rel=1e-8)


def test_paule_and_mandel_equal_statsmodels_where_it_converges() -> None:
    compared = 0
    for y, v in random_studies(7):
        found = pool(y, v, Conventions("PM")).heterogeneity
        theirs: Any = combine_effects(y, v, method_re="iterated", atol=1e-13)
        assert found is not None
        fit = sm.WLS(y, np.ones(len(y)), weights=1 / (v + found.tau2)).fit()
        q, expected = float((fit.wresid**2).sum()), len(y) - 1
        # Its iteration may give up, and then says 0.
        if found.tau2 > 0:
            assert q == pytest.approx(expected, rel=1e-8)
        else:
            assert q <= expected
        if theirs.tau2 > 0 or found.tau2 == 0:
            compared += 1
            assert found.tau2 == pytest.approx(max(0, theirs.tau2), rel=1e-5, abs=1e-8)
    assert compared > CASES / 2


def test_reml_has_the_highest_restricted_likelihood() -> None:
    for y, v in random_studies(2):
        found = pool(y, v, Conventions("REML"))
        assert found.heterogeneity is not None
        highest = _by_brute_force(y, v, np.ones((len(y), 1)))
        assert found.heterogeneity.tau2 == pytest.approx(highest, rel=1e-5, abs=1e-5)


def test_meta_regression_has_the_highest_restricted_likelihood() -> None:
    chance = np.random.default_rng(3)
    for y, v in random_studies(3):
        if len(y) < 4:
            continue
        moderator = chance.normal(size=len(y))
        found = regress(y + 0.4 * moderator, v, moderator)
        x = np.column_stack([np.ones(len(y)), moderator])
        tau2 = _by_brute_force(y + 0.4 * moderator, v, x)
        assert found.heterogeneity is not None
        assert found.heterogeneity.tau2 == pytest.approx(tau2, rel=1e-5, abs=1e-5)
        theirs = sm.WLS(y + 0.4 * moderator, x, weights=1 / (v + found.heterogeneity.tau2)).fit()
        # WLS estimates the scale, which is what Hartung and Knapp's factor is.
        assert [each.estimate for each in found.coefficients] == pytest.approx(list(theirs.params), rel=1e-8)
        assert [each.se for each in found.coefficients] == pytest.approx(list(theirs.bse), rel=1e-8)


def test_the_interval_of_tau2_is_where_q_has_its_quantiles() -> None:
    for y, v in random_studies(4):
        found = pool(y, v).heterogeneity
        assert found is not None and found.tau2_low is not None and found.tau2_high is not None
        for tau2, share in ((found.tau2_low, 0.975), (found.tau2_high, 0.025)):
            quantile = stats.chi2.ppf(share, len(y) - 1)
            q = sm.WLS(y, np.ones(len(y)), weights=1 / (v + tau2)).fit()
            theirs = float((q.wresid**2).sum())
            assert theirs == pytest.approx(quantile, rel=1e-8) if tau2 > 0 else theirs <= quantile


def test_egger_is_the_intercept_of_precision() -> None:
    for y, v in random_studies(5):
        if len(y) < 10:
            assert egger(y, v).reason == "fewer than 10 studies"
            continue
        theirs = sm.OLS(y / np.sqrt(v), sm.add_constant(1 / np.sqrt(v))).fit()
        ours = egger(y, v)
        assert (ours.estimate, ours.se) == pytest.approx((theirs.params[0], theirs.bse[0]), rel=1e-8)


def test_what_lies_between_subgroups_is_what_lies_not_within() -> None:
    chance = np.random.default_rng(6)
    for y, v in random_studies(6):
        names = list(chance.choice(["a", "b", "c"], len(y)))
        found = compare(y, v, names, Conventions("fixed"))
        if found.q is None:
            continue
        of_all = pool(y, v, Conventions("fixed")).heterogeneity
        within = [each.heterogeneity.q or 0.0 for each in found.subgroups.values() if each.heterogeneity]
        assert of_all is not None and of_all.q is not None
        assert found.q == pytest.approx(of_all.q - sum(within), rel=1e-8, abs=1e-8)


def _by_brute_force(y: Floats, v: Floats, x: Floats) -> float:
    """The τ² of the highest restricted likelihood, with the whole covariance matrix."""

    def minus(tau2: float) -> float:
        sigma = np.diag(v + tau2)
        inverse = np.linalg.inv(sigma)
        information = x.T @ inverse @ x
        p = inverse - inverse @ x @ np.linalg.solve(information, x.T @ inverse)
        return float(0.5 * (np.linalg.slogdet(sigma)[1] + np.linalg.slogdet(information)[1] + y @ p @ y))

    grid = np.concatenate([[0], np.geomspace(1e-5, 10 * (np.var(y) + 1), 60)])
    start = int(np.argmin([minus(each) for each in grid]))
    bounds = (grid[max(0, start - 1)], grid[min(len(grid) - 1, start + 1)])
    inside = optimize.minimize_scalar(minus, bounds=bounds, method="bounded", options={"xatol": 1e-10})
    return float(inside.x) if inside.fun < minus(0) else 0.0
