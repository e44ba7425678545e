"""Closed-form estimates against independent formulas, laws that hold for all input, and coverage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipelines.evidence.estimates import (
    Estimate,
    Summary,
    clustered_rate,
    clustered_ratio,
    count,
    difference,
    hedges_correction,
    hedges_g,
    mean,
    mean_difference,
    proportion,
    summarise,
)

SCORES = st.lists(st.integers(-500, 500), min_size=0, max_size=30)
SUMMARIES = SCORES.map(summarise)


def is_nothing(estimate: Estimate) -> bool:
    return estimate.estimate is None and estimate.ci_low is None and bool(estimate.reason)


class TestMean:
    def test_equals_scipys_t_interval(self) -> None:
        values = [3.0, 5.0, 8.0, 13.0, 21.0]
        found = mean(summarise(values))
        low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
        assert (found.estimate, found.ci_low, found.ci_high) == pytest.approx((10.0, low, high), rel=1e-12)

    def test_one_person_has_a_mean_and_no_interval(self) -> None:
        found = mean(Summary(1, 7.0, None))
        assert (found.estimate, found.ci_low) == (7.0, None)
        assert found.reason == "no interval: one person"

    def test_nobody_has_none(self) -> None:
        assert is_nothing(mean(Summary(0, None, None)))


class TestMeanDifference:
    def test_equals_scipys_welch_interval(self) -> None:
        a, b = [1.0, 4.0, 9.0, 16.0], [2.0, 3.0, 5.0, 7.0, 11.0, 13.0]
        found = mean_difference(summarise(a), summarise(b))
        theirs: Any = stats.ttest_ind(a, b, equal_var=False)
        interval = theirs.confidence_interval(0.95)
        assert found.estimate == pytest.approx(np.mean(a) - np.mean(b), rel=1e-12)
        assert (found.ci_low, found.ci_high) == pytest.approx((interval.low, interval.high), rel=1e-10)

    def test_no_variance_gives_a_difference_without_an_interval(self) -> None:
        found = mean_difference(Summary(5, 3.0, 0.0), Summary(5, 1.0, 0.0))
        assert (found.estimate, found.se) == (2.0, None)


class TestDifference:
    @given(SUMMARIES, SUMMARIES)
    def test_of_two_means_it_is_welchs(self, a: Summary, b: Summary) -> None:
        found, expected = difference(mean(a), mean(b)), mean_difference(a, b)
        if expected.se is None:
            assert found.reason
        else:
            assert (found.estimate, found.se, found.ci_low, found.freedom) == pytest.approx(
                (expected.estimate, expected.se, expected.ci_low, expected.freedom)
            )

    def test_without_degrees_of_freedom_it_is_normal(self) -> None:
        found = difference(Estimate(0.7, 0.03, 0.64, 0.76, "m"), Estimate(0.4, 0.04, 0.32, 0.48, "m"))
        assert (found.estimate, found.se) == pytest.approx((0.3, 0.05)) and found.freedom is None
        assert found.ci_low == pytest.approx(0.3 - 1.959963984540054 * 0.05)

    def test_what_one_lacks_the_difference_lacks(self) -> None:
        whole, point = (
            Estimate(0.7, 0.03, 0.64, 0.76, "m"),
            Estimate(1.0, None, None, None, "m", "no interval"),
        )
        assert is_nothing(difference(whole, Estimate(None, None, None, None, "m", "nobody")))
        assert (difference(whole, point).se, difference(point, whole).reason) == (None, "no interval")


class TestHedgesG:
    def test_equals_the_formula_written_out(self) -> None:
        a, b = Summary(12, 14.0, 3.0), Summary(9, 11.0, 4.0)
        m = 19
        correction = math.gamma(m / 2) / (math.sqrt(m / 2) * math.gamma((m - 1) / 2))
        pooled = math.sqrt((11 * 9 + 8 * 16) / 19)
        g = correction * 3 / pooled
        se = math.sqrt(1 / 12 + 1 / 9 + g * g / 42)
        found = hedges_g(a, b)
        assert (found.estimate, found.se) == pytest.approx((g, se), rel=1e-12)
        assert found.ci_high == pytest.approx(g + 1.959963984540054 * se, rel=1e-12)

    @pytest.mark.parametrize("freedom", [2, 5, 20, 100, 10_000])
    def test_the_correction_is_near_hedges_approximation(self, freedom: int) -> None:
        assert hedges_correction(freedom) == pytest.approx(1 - 3 / (4 * freedom - 1), abs=0.01)

    def test_large_samples_need_no_correction(self) -> None:
        assert hedges_correction(10**7) == pytest.approx(1, abs=1e-6)

    @pytest.mark.parametrize(
        "arm", [Summary(0, None, None), Summary(1, 3.0, None), Summary(8, 2.0, 0.0)], ids=["0", "1", "same"]
    )
    def test_degenerate_arms_give_a_reason(self, arm: Summary) -> None:
        assert is_nothing(hedges_g(arm, Summary(8, 1.0, 0.0)))

    @given(SUMMARIES, SUMMARIES)
    def test_swapping_the_arms_turns_the_sign(self, a: Summary, b: Summary) -> None:
        one, other = hedges_g(a, b), hedges_g(b, a)
        if one.estimate is None or other.estimate is None:
            assert one.reason and other.reason
        else:
            assert one.estimate == pytest.approx(-other.estimate, rel=1e-9, abs=1e-12)
            assert one.se == pytest.approx(other.se, rel=1e-9)

    @given(
        st.lists(st.integers(0, 60), min_size=3, max_size=20),
        st.lists(st.integers(0, 60), min_size=3, max_size=20),
        st.integers(1, 9),
        st.integers(-50, 50),
    )
    def test_the_unit_of_the_score_does_not_matter(
        self, a: list[int], b: list[int], scale: int, shift: int
    ) -> None:
        one = hedges_g(summarise(a), summarise(b))
        other = hedges_g(summarise([scale * x + shift for x in a]), summarise([scale * x + shift for x in b]))
        if one.estimate is not None and one.reason is None:
            assert other.estimate == pytest.approx(one.estimate, rel=1e-6, abs=1e-9)


class TestProportion:
    @pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 10), (5, 12), (10, 10), (89, 252)])
    def test_equals_statsmodels_wilson(self, successes: int, n: int) -> None:
        proportion_confint = pytest.importorskip("statsmodels.stats.proportion").proportion_confint
        low, high = proportion_confint(successes, n, method="wilson")
        found = proportion(successes, n)
        assert (found.ci_low, found.ci_high) == pytest.approx((low, high), abs=1e-12)

    def test_nothing_out_of_nothing_is_nothing(self) -> None:
        assert is_nothing(proportion(0, 0))

    @given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    def test_the_interval_stays_inside_0_and_1_around_the_estimate(self, pair: tuple[int, int]) -> None:
        found = proportion(*pair)
        assert found.estimate is not None and found.ci_low is not None and found.ci_high is not None
        assert 0 <= found.ci_low <= found.estimate <= found.ci_high <= 1


class TestClusteredRatio:
    def test_equal_denominators_give_the_error_of_a_mean_of_rates(self) -> None:
        attended = [8, 3, 5, 9, 4, 6]
        found = clustered_ratio(attended, [10] * 6)
        rates = np.array(attended) / 10
        assert found.estimate == pytest.approx(rates.mean(), rel=1e-12)
        assert found.se == pytest.approx(rates.std(ddof=1) / math.sqrt(6), rel=1e-12)

    def test_people_without_a_chance_do_not_count(self) -> None:
        assert clustered_ratio([2, 3, 0], [4, 5, 0]) == clustered_ratio([2, 3], [4, 5])

    @pytest.mark.parametrize(
        ("numerators", "denominators", "estimate"),
        [([], [], None), ([0], [0], None), ([3], [4], 0.75), ([4, 4], [4, 4], 1.0), ([0, 0], [3, 4], 0.0)],
    )
    def test_degenerate_input_has_a_reason(
        self, numerators: list[int], denominators: list[int], estimate: float | None
    ) -> None:
        found = clustered_ratio(numerators, denominators)
        assert (found.estimate, found.ci_low) == (estimate, None)
        assert found.reason

    @given(
        st.lists(st.integers(0, 50).flatmap(lambda e: st.tuples(st.integers(0, e), st.just(e))), max_size=40)
    )
    def test_any_attendance_has_an_interval_inside_0_and_1_or_a_reason(
        self, people: list[tuple[int, int]]
    ) -> None:
        found = clustered_ratio([a for a, _ in people], [e for _, e in people])
        if found.reason is None:
            assert found.estimate is not None and found.ci_low is not None and found.ci_high is not None
            assert 0 <= found.ci_low <= found.estimate <= found.ci_high <= 1


class TestClusteredRate:
    def test_may_be_above_1(self) -> None:
        found = clustered_rate([8, 3, 5, 9], [2, 2, 2, 2])
        rates = np.array([4, 1.5, 2.5, 4.5])
        assert found.estimate == pytest.approx(rates.mean())
        assert found.se == pytest.approx(rates.std(ddof=1) / 2)
        half = stats.t.ppf(0.975, 3) * rates.std(ddof=1) / 2 / rates.mean()
        ends = rates.mean() * math.exp(-half), rates.mean() * math.exp(half)
        assert (found.ci_low, found.ci_high) == pytest.approx(ends)

    def test_below_1_has_the_error_of_a_share(self) -> None:
        rate, share = clustered_rate([2, 3, 0], [4, 5, 3]), clustered_ratio([2, 3, 0], [4, 5, 3])
        assert (rate.estimate, rate.se) == (share.estimate, share.se)

    @pytest.mark.parametrize(
        ("events", "exposures", "estimate"),
        [([], [], None), ([0], [0], None), ([3], [4], 0.75), ([8, 8], [4, 4], 2.0), ([0, 0], [3, 4], 0.0)],
    )
    def test_degenerate_input_has_a_reason(
        self, events: list[int], exposures: list[int], estimate: float | None
    ) -> None:
        found = clustered_rate(events, exposures)
        assert (found.estimate, found.ci_low) == (estimate, None)
        assert found.reason

    @given(
        st.lists(
            st.tuples(st.integers(0, 500), st.integers(0, 4_000).map(lambda days: days / 7)), max_size=40
        )
    )
    def test_any_events_have_an_interval_above_0_or_a_reason(self, people: list[tuple[int, float]]) -> None:
        found = clustered_rate([a for a, _ in people], [e for _, e in people])
        if found.reason is None:
            assert found.estimate is not None and found.ci_low is not None and found.ci_high is not None
            assert 0 <= found.ci_low <= found.estimate <= found.ci_high < math.inf


@given(SUMMARIES, SUMMARIES)
def test_every_estimate_has_numbers_or_a_reason(a: Summary, b: Summary) -> None:
    for found in (mean(a), mean_difference(a, b), hedges_g(a, b)):
        assert (found.estimate is None or found.ci_low is None) == (found.reason is not None)
        if found.ci_low is not None and found.ci_high is not None and found.estimate is not None:
            assert found.ci_low <= found.estimate <= found.ci_high


def test_a_count_has_no_interval() -> None:
    assert (count(14).estimate, count(14).ci_low) == (14.0, None)


@pytest.mark.parametrize("effect", [0.0, 0.5])
def test_intervals_cover_the_truth_at_the_nominal_rate(effect: float) -> None:
    """1000 seeds: 95 % ± 2.1 % is three standard errors of the simulation."""
    covered = {"welch": 0, "g": 0, "ratio": 0}
    for seed in range(1000):
        random = np.random.default_rng(seed)
        a, b = summarise(random.normal(effect, 1, 40)), summarise(random.normal(0, 1, 60))
        covered["welch"] += _covers(mean_difference(a, b), effect)
        covered["g"] += _covers(hedges_g(a, b), effect)
        inclination = random.beta(2, 3, 60)
        open_to = random.integers(5, 15, 60)
        covered["ratio"] += _covers(
            clustered_ratio([*random.binomial(open_to, inclination)], [*open_to]), 0.4
        )
    assert all(abs(found / 1000 - 0.95) < 0.021 for found in covered.values()), covered


def _covers(estimate: Estimate, truth: float) -> bool:
    assert estimate.ci_low is not None and estimate.ci_high is not None
    return estimate.ci_low <= truth <= estimate.ci_high
