"""Meta-analysis against published digits, independent code, laws that hold for all input, and too little."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.meta_analysis import combine_effects

from pipelines.evidence.effects import Counts, log_risk_ratio
from pipelines.evidence.pooling import (
    Conventions,
    Estimator,
    Interval,
    Pooled,
    compare,
    egger,
    leave_one_out,
    pool,
    regress,
)

Floats = npt.NDArray[np.float64]

BCG = Path(__file__).parents[2] / "infra" / "demo" / "data" / "bcg.csv"
CASES = 200
INTERVALS: tuple[Interval, ...] = ("Hartung-Knapp", "Hartung-Knapp, at least Wald", "Wald")
ESTIMATORS: tuple[Estimator, ...] = ("fixed", "DL", "REML", "PM")

STUDIES = st.lists(st.tuples(st.floats(-3, 3), st.floats(0.01, 2)), min_size=2, max_size=12).map(
    lambda rows: (np.array([y for y, _ in rows]), np.array([v for _, v in rows]))
)


def bcg() -> tuple[list[float], list[float], list[dict[str, str]]]:
    rows = list(csv.DictReader(BCG.open()))
    found = [
        log_risk_ratio(
            Counts(int(row["tpos"]), int(row["tpos"]) + int(row["tneg"])),
            Counts(int(row["cpos"]), int(row["cpos"]) + int(row["cneg"])),
        )
        for row in rows
    ]
    return [each.effect or 0 for each in found], [each.variance or 0 for each in found], rows


def random_studies(seed: int) -> Iterator[tuple[Floats, Floats]]:
    chance = np.random.default_rng(seed)
    for _ in range(CASES):
        k = int(chance.integers(2, 40))
        v = chance.uniform(0.01, 0.5, k)
        tau = chance.choice([0, 0.1, 0.5, 1])
        yield chance.normal(0.3, np.sqrt(v + tau**2)), v


def interval(found: Pooled) -> tuple[float, float]:
    assert found.estimate.ci_low is not None and found.estimate.ci_high is not None
    return found.estimate.ci_low, found.estimate.ci_high


class TestPublishedDigits:
    """13 BCG trials, log risk ratio: as metafor's manual and many others print them."""

    def test_one_effect_for_all(self) -> None:
        y, v, _ = bcg()
        found = pool(y, v, Conventions("fixed"))
        assert found.heterogeneity is not None and found.heterogeneity.q is not None
        assert f"{found.estimate.estimate:.4f}" == "-0.4303"
        assert [f"{end:.4f}" for end in interval(found)] == ["-0.5097", "-0.3509"]
        assert f"{found.heterogeneity.q:.4f}" == "152.2330"

    def test_dersimonian_and_laird(self) -> None:
        y, v, _ = bcg()
        found = pool(y, v, Conventions("DL", "Wald"))
        assert found.heterogeneity is not None
        assert f"{found.estimate.estimate:.4f}" == "-0.7141"
        assert [f"{end:.4f}" for end in interval(found)] == ["-1.0644", "-0.3638"]
        assert (f"{found.heterogeneity.tau2:.4f}", f"{found.heterogeneity.i2:.2f}") == ("0.3088", "92.12")

    def test_restricted_likelihood(self) -> None:
        y, v, _ = bcg()
        found = pool(y, v, Conventions("REML", "Wald", i2="tau2"))
        assert found.heterogeneity is not None
        assert (f"{found.estimate.estimate:.4f}", f"{found.estimate.se:.4f}") == ("-0.7145", "0.1798")
        assert (f"{found.heterogeneity.tau2:.4f}", f"{found.heterogeneity.i2:.2f}") == ("0.3132", "92.22")

    def test_latitude_explains_three_quarters(self) -> None:
        y, v, rows = bcg()
        found = regress(y, v, [float(row["ablat"]) for row in rows], Conventions("REML", "Wald"))
        assert found.heterogeneity is not None
        assert f"{found.coefficients[1].estimate:.4f}" == "-0.0291"
        assert (f"{found.heterogeneity.tau2:.4f}", f"{found.r2:.2f}") == ("0.0763", "75.63")


class TestIndependentCode:
    def test_q_dl_and_hartung_knapp_equal_those_of_statsmodels(self) -> None:
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

    def test_paule_and_mandel_equal_statsmodels_where_it_converges(self) -> None:
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

    def test_reml_has_the_highest_restricted_likelihood(self) -> None:
        for y, v in random_studies(2):
            found = pool(y, v, Conventions("REML"))
            assert found.heterogeneity is not None
            highest = _by_brute_force(y, v, np.ones((len(y), 1)))
            assert found.heterogeneity.tau2 == pytest.approx(highest, rel=1e-5, abs=1e-5)

    def test_meta_regression_has_the_highest_restricted_likelihood(self) -> None:
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
            assert [each.estimate for each in found.coefficients] == pytest.approx(
                list(theirs.params), rel=1e-8
            )
            assert [each.se for each in found.coefficients] == pytest.approx(list(theirs.bse), rel=1e-8)

    def test_the_interval_of_tau2_is_where_q_has_its_quantiles(self) -> None:
        for y, v in random_studies(4):
            found = pool(y, v).heterogeneity
            assert found is not None and found.tau2_low is not None and found.tau2_high is not None
            for tau2, share in ((found.tau2_low, 0.975), (found.tau2_high, 0.025)):
                quantile = stats.chi2.ppf(share, len(y) - 1)
                q = sm.WLS(y, np.ones(len(y)), weights=1 / (v + tau2)).fit()
                theirs = float((q.wresid**2).sum())
                assert theirs == pytest.approx(quantile, rel=1e-8) if tau2 > 0 else theirs <= quantile

    def test_egger_is_the_intercept_of_precision(self) -> None:
        for y, v in random_studies(5):
            if len(y) < 10:
                assert egger(y, v).reason == "fewer than 10 studies"
                continue
            theirs = sm.OLS(y / np.sqrt(v), sm.add_constant(1 / np.sqrt(v))).fit()
            ours = egger(y, v)
            assert (ours.estimate, ours.se) == pytest.approx((theirs.params[0], theirs.bse[0]), rel=1e-8)

    def test_what_lies_between_subgroups_is_what_lies_not_within(self) -> None:
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


class TestLaws:
    @given(STUDIES, st.sampled_from(ESTIMATORS), st.randoms())
    def test_the_order_of_studies_does_not_matter(
        self, studies: Any, estimator: Estimator, chance: Any
    ) -> None:
        y, v = studies
        order = list(range(len(y)))
        chance.shuffle(order)
        one, other = pool(y, v, Conventions(estimator)), pool(y[order], v[order], Conventions(estimator))
        assert one.estimate.estimate == pytest.approx(other.estimate.estimate, rel=1e-6, abs=1e-6)

    @given(STUDIES, st.sampled_from(ESTIMATORS), st.floats(0.1, 10), st.floats(-5, 5))
    def test_another_unit_is_another_unit_only(
        self, studies: Any, estimator: Estimator, scale: float, shift: float
    ) -> None:
        y, v = studies
        one = pool(y, v, Conventions(estimator))
        other = pool(scale * y + shift, scale**2 * v, Conventions(estimator))
        assert one.heterogeneity is not None and other.heterogeneity is not None
        expected = scale * (one.estimate.estimate or 0) + shift
        assert other.estimate.estimate == pytest.approx(expected, rel=1e-5, abs=1e-5)
        tau2 = scale**2 * one.heterogeneity.tau2
        assert other.heterogeneity.tau2 == pytest.approx(tau2, rel=1e-4, abs=1e-4 * scale**2)

    @given(STUDIES, st.sampled_from(ESTIMATORS))
    def test_the_mean_is_among_the_effects_and_in_its_interval(
        self, studies: Any, estimator: Estimator
    ) -> None:
        y, v = studies
        found = pool(y, v, Conventions(estimator))
        assert found.estimate.estimate is not None
        assert y.min() - 1e-9 <= found.estimate.estimate <= y.max() + 1e-9
        if found.estimate.ci_low is not None and found.estimate.ci_high is not None:
            assert found.estimate.ci_low <= found.estimate.estimate <= found.estimate.ci_high
        if found.predicted:
            low, high = found.predicted
            assert low <= found.estimate.estimate <= high

    @given(STUDIES)
    def test_at_least_wald_is_at_least_as_wide(self, studies: Any) -> None:
        y, v = studies
        found: dict[Interval, float] = {
            how: pool(y, v, Conventions("REML", how)).estimate.se or 0.0 for how in INTERVALS
        }
        knapp, at_least, wald = (found[how] for how in INTERVALS)
        assert at_least == pytest.approx(max(knapp, wald))


class TestTooLittle:
    def test_no_study_says_so(self) -> None:
        found = pool([], [])
        assert (found.k, found.estimate.estimate) == (0, None)
        assert found.estimate.reason == "no study has an effect"

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_one_study_comes_back(self, estimator: Estimator) -> None:
        found = pool([0.3], [0.04], Conventions(estimator))
        assert (found.estimate.estimate, found.estimate.se) == pytest.approx((0.3, 0.2))
        assert interval(found) == pytest.approx((0.3 - 1.959964 * 0.2, 0.3 + 1.959964 * 0.2), rel=1e-6)
        assert found.predicted is None and found.prediction_reason

    def test_two_studies_predict_nothing(self) -> None:
        assert pool([0.1, 0.4], [0.1, 0.2]).prediction_reason == "fewer than 3 studies"

    def test_studies_that_agree_exactly_have_no_interval_of_hartung_and_knapp(self) -> None:
        found = pool([0.2, 0.2, 0.2], [0.1, 0.2, 0.3])
        assert found.estimate.reason == "no interval: the studies agree exactly"
        assert found.heterogeneity is not None and (found.heterogeneity.tau2, found.heterogeneity.i2) == (
            0,
            0,
        )
        assert pool([0.2, 0.2, 0.2], [0.1, 0.2, 0.3], Conventions("REML", "Wald")).estimate.ci_low is not None

    def test_moderators_that_say_nothing(self) -> None:
        assert regress([1, 2], [1, 1], [3, 4]).reason == "no more studies than coefficients"
        assert regress([1, 2, 3], [1, 1, 1], [4, 4, 4]).reason is not None

    def test_one_subgroup_is_no_comparison(self) -> None:
        assert compare([1, 2], [1, 1], ["a", "a"]).reason == "there is one subgroup only"
        assert compare([], [], []).reason == "no study has an effect"

    def test_equally_precise_studies_have_no_asymmetry(self) -> None:
        assert egger(np.arange(12.0), np.ones(12)).reason == "all studies are equally precise"

    def test_one_is_left_out_at_a_time(self) -> None:
        found = leave_one_out([1.0, 2.0, 3.0], [0.1, 0.1, 0.1])
        assert [each.estimate.estimate for each in found] == pytest.approx([2.5, 2.0, 1.5])

    @pytest.mark.parametrize(
        ("effects", "variances"), [([1.0], [0.1, 0.2]), ([1.0], [0.0]), ([math.nan], [0.1]), ([1.0], [-1.0])]
    )
    def test_what_is_no_study_is_an_error(self, effects: list[float], variances: list[float]) -> None:
        with pytest.raises(ValueError, match="variances"):
            pool(effects, variances)


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
