"""The mixed model: the Beat-the-Blues trial by statsmodels, laws that hold for all input, and too little.

That it agrees with independent code in general stands in test_agreement_models.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evidence.mixed import Likelihood, fit_mixed
from pipelines.evidence.regression import fit_linear
from tests.fakes.beat_the_blues import waves
from tests.unit.test_gee import SEEDS, repeated


@pytest.mark.parametrize("by", ["REML", "ML"])
def test_beat_the_blues_equals_statsmodels(by: Likelihood) -> None:
    """Its optimiser stops a little early: its likelihood is not above ours. Its standard errors are those of
    the joint Hessian of coefficients and variances, 0.3 % from those of the coefficients alone."""
    scores, people, design = waves()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs: Any = sm.MixedLM(scores, design, groups=people).fit(reml=by == "REML")
    ours = fit_mixed(scores, design, people, by)
    assert ours.between is not None and ours.within is not None and ours.log_likelihood is not None
    assert ours.log_likelihood == pytest.approx(theirs.llf, abs=1e-6) and ours.log_likelihood >= theirs.llf
    assert ours.linear.beta == pytest.approx(theirs.fe_params, rel=1e-3)
    assert [each.se for each in ours.linear.coefficients] == pytest.approx(theirs.bse_fe, rel=5e-3)
    assert (ours.between, ours.within) == pytest.approx((theirs.cov_re[0, 0], theirs.scale), rel=1e-4)
    assert ours.icc == pytest.approx(ours.between / (ours.between + ours.within))


class TestLaws:
    @settings(max_examples=30, deadline=None)
    @given(SEEDS, st.randoms())
    def test_the_order_of_rows_does_not_matter(self, seed: int, chance: Any) -> None:
        y, x, person = repeated(seed)
        order = list(range(len(y)))
        chance.shuffle(order)
        one, other = fit_mixed(y, x, person), fit_mixed(y[order], x[order], person[order])
        assert one.linear.beta == pytest.approx(other.linear.beta, rel=1e-6, abs=1e-7)
        assert one.icc == pytest.approx(other.icc, abs=1e-6)

    @settings(max_examples=30, deadline=None)
    @given(SEEDS)
    def test_names_of_people_do_not_matter(self, seed: int) -> None:
        y, x, person = repeated(seed)
        one, other = fit_mixed(y, x, person), fit_mixed(y, x, [f"p{997 * each % 1009}" for each in person])
        assert one.linear.beta == pytest.approx(other.linear.beta, rel=1e-6, abs=1e-7)

    @settings(max_examples=30, deadline=None)
    @given(SEEDS, st.floats(0.1, 10), st.floats(-50, 50))
    def test_another_unit_is_another_unit_only(self, seed: int, scale: float, shift: float) -> None:
        y, x, person = repeated(seed)
        one, other = fit_mixed(y, x, person), fit_mixed(scale * y + shift, x, person)
        assert other.icc == pytest.approx(one.icc, abs=1e-5)
        assert other.linear.beta[1:] == pytest.approx(scale * one.linear.beta[1:], rel=1e-4, abs=1e-5)
        assert other.linear.covariance == pytest.approx(scale**2 * one.linear.covariance, rel=1e-4, abs=1e-9)

    def test_people_who_do_not_differ_are_at_the_bound_and_regressed(self) -> None:
        """Scores that go up and down within each person, equally in all."""
        _, x, person = repeated(1)
        chance = np.random.default_rng(1)
        y = chance.normal(size=len(x))
        y -= (np.bincount(person, y) / np.bincount(person))[person]
        found = fit_mixed(y, x, person)
        assert found.is_at_bound and (found.between, found.icc) == (0, 0)
        assert "no variance between people" in found.linear.method
        assert found.linear.beta == pytest.approx(fit_linear(y, x).beta)

    def test_balanced_waves_give_the_analysis_of_variance(self) -> None:
        """σ² is the mean square within, τ² what the mean square between has more, by the number of waves."""
        chance = np.random.default_rng(2)
        y = chance.normal(0, 2, 12)[:, None] + chance.normal(size=(12, 5))
        within = ((y - y.mean(axis=1, keepdims=True)) ** 2).sum() / (12 * 4)
        between = 5 * y.mean(axis=1).var(ddof=1)
        found = fit_mixed(y.ravel(), np.ones((60, 1)), np.repeat(np.arange(12), 5))
        assert (found.within, found.between) == pytest.approx((within, (between - within) / 5), rel=1e-6)
        mean = found.linear.coefficients[0]
        assert (mean.estimate, mean.se) == pytest.approx((y.mean(), (between / 60) ** 0.5), rel=1e-6)
        assert mean.freedom == 11


def test_scores_that_are_missing_for_what_was_seen_do_not_bias() -> None:
    """200 seeds of 60 people whose last wave is missing when the first was high: the mixed model finds the
    change of 1, and a mean of what is there does not."""
    found, naive = [], []
    for seed in range(200):
        chance = np.random.default_rng(seed)
        both = chance.normal(size=60)[:, None] + chance.normal(0, 0.5, (60, 2)) + [0, 1]
        stays = both[:, 0] < 0.5
        y = np.concatenate([both[:, 0], both[stays, 1]])
        people = np.concatenate([np.arange(60), np.arange(60)[stays]])
        wave = np.concatenate([np.zeros(60), np.ones(stays.sum())])
        fit = fit_mixed(y, np.column_stack([np.ones(len(y)), wave]), people)
        found.append(float(fit.linear.beta[1]))
        naive.append(float(both[stays, 1].mean() - both[:, 0].mean()))
    assert abs(np.mean(found) - 1) < 3 * np.std(found) / 200**0.5
    assert abs(np.mean(naive) - 1) > 0.3


class TestTooLittle:
    def test_nobody_has_a_value(self) -> None:
        assert fit_mixed([], np.empty((0, 2)), []).linear.contrast([1, 0]).reason == "nobody has a value"

    def test_one_wave_tells_no_variances_apart(self) -> None:
        y, x, _ = repeated(3)
        found = fit_mixed(y, x, list(range(len(y))))
        assert found.linear.reason == "nobody has two waves" and found.icc is None

    def test_no_more_people_than_coefficients(self) -> None:
        y, x, person = repeated(4)
        few = person < 4
        assert fit_mixed(y[few], x[few], person[few]).linear.reason == "no more people than coefficients"

    @pytest.mark.parametrize("within", [0.0, 1e-13])
    def test_people_who_do_not_vary(self, within: float) -> None:
        _, x, person = repeated(5)
        chance = np.random.default_rng(1)
        y = chance.normal(size=25)[person] + within * chance.normal(size=len(x))
        assert fit_mixed(y, x, person).linear.reason == "no variance within people"
        assert fit_mixed(np.full(len(x), 4.4), x, person).linear.reason == "no variance within people"

    def test_a_covariate_that_follows_from_others(self) -> None:
        y, x, person = repeated(6)
        x[:, 3] = x[:, 0] - x[:, 1]
        found = fit_mixed(y, x, person).linear
        assert found.reason == "a covariate does not vary, or follows from the others"
