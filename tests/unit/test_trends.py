"""Counts over time and the measure of Low et al.: planted truths, laws, and what allows no estimate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evidence.estimates import Estimate
from pipelines.evidence.low2020 import (
    EMOTIONAL,
    UNDIVIDED,
    Trend,
    adjusted,
    bins_of,
    change,
    slope_p,
    trend,
)
from pipelines.evidence.trends import (
    Family,
    Interrupted,
    benjamini_hochberg,
    fit_counts,
    interrupted_series,
    lags_of,
    seasonal_change,
)

Floats = npt.NDArray[np.float64]

N, AT = 120, 60
LEVEL, SLOPE, CHANGE = 0.4, 0.003, -0.006


def a_series(seed: int, size: float = 10.0, season: float = 0.0) -> tuple[Floats, Floats, Floats]:
    """Times, counts and authors, with a level, a slope and their changes; overdispersed, season of 30."""
    chance = np.random.default_rng(seed)
    times = np.arange(N, dtype=float)
    after, authors = times >= AT, chance.integers(100, 300, N).astype(float)
    rate = -1 + SLOPE * (times - AT) + LEVEL * after + CHANGE * (times - AT) * after
    means = authors * np.exp(rate + season * np.sin(2 * np.pi * times / 30))
    return times, chance.poisson(chance.gamma(size, means / size)).astype(float), authors


def nothing(found: Interrupted) -> str | None:
    """The reason that all three share."""
    assert {each.estimate for each in (found.level, found.slope, found.slope_change)} == {None}
    assert found.level.reason == found.slope.reason == found.slope_change.reason
    return found.level.reason


class TestInterruptedSeries:
    @pytest.mark.parametrize("family", ["Poisson", "negative binomial"])
    def test_planted_changes_come_back(self, family: Family) -> None:
        """Means over 200 series within four of their own standard errors."""
        found = [interrupted_series(*a_series(seed), AT, family=family) for seed in range(200)]
        for name, truth in (("level", LEVEL), ("slope", SLOPE), ("slope_change", CHANGE)):
            values = np.array([getattr(each, name).estimate for each in found])
            assert values.mean() == pytest.approx(truth, abs=4 * values.std() / math.sqrt(len(values)))
        if family == "negative binomial":
            assert np.mean([each.alpha for each in found]) == pytest.approx(0.1, abs=0.01)

    def test_a_season_that_is_left_out_is_taken_for_change(self) -> None:
        """Half a wave falls on each side, so level and slope take it up unless harmonics do."""
        plain = interrupted_series(*a_series(1, 1e6, season=0.5), AT)
        found = interrupted_series(*a_series(1, 1e6, season=0.5), AT, harmonics=1, season=30)
        assert found.level.estimate == pytest.approx(LEVEL, abs=0.05)
        assert abs((plain.level.estimate or 0) - LEVEL) > 0.1
        assert (found.dispersion or 0) < 1.5 < (plain.dispersion or 0)

    def test_dispersion_and_alpha_tell_what_counts_vary_beyond_poisson(self) -> None:
        calm = interrupted_series(*a_series(2, 1e9), AT, family="negative binomial")
        wild = interrupted_series(*a_series(2, 2.0), AT, family="negative binomial")
        assert (calm.alpha or 0) < 0.005 and (wild.alpha or 0) > 0.3
        poisson = interrupted_series(*a_series(2, 2.0), AT)
        assert poisson.alpha == 0 and (poisson.dispersion or 0) > 5

    def test_counts_that_vary_less_than_poissons_are_poisson(self) -> None:
        times, authors = np.arange(40.0), np.full(40, 100.0)
        counts = 30 + np.arange(40) % 2
        found = interrupted_series(times, counts, authors, 20, family="negative binomial")
        assert found.alpha == 0 and found.level.method.endswith(
            "the interval tends to be too narrow; no overdispersion"
        )

    @given(st.integers(0, 200), st.sampled_from([0.01, 7.0, 1e4]))
    def test_the_unit_of_exposure_does_not_matter(self, seed: int, unit: float) -> None:
        times, counts, authors = a_series(seed)
        here, there = (interrupted_series(times, counts, each, AT) for each in (authors, authors * unit))
        same(here.level, there.level)
        same(here.slope_change, there.slope_change)

    @given(st.integers(0, 200), st.sampled_from([1 / 7, 24.0]))
    def test_slopes_are_per_unit_of_time_and_levels_are_not(self, seed: int, unit: float) -> None:
        times, counts, authors = a_series(seed)
        here = interrupted_series(times, counts, authors, AT)
        there = interrupted_series(times * unit + 5, counts, authors, AT * unit + 5)
        same(here.level, there.level)
        same(here.slope, there.slope, unit)
        same(here.slope_change, there.slope_change, unit)

    def test_times_without_authors_tell_nothing_and_are_not_counted(self) -> None:
        times, counts, authors = a_series(3)
        gone = np.arange(N) % 10 == 4
        found = interrupted_series(times, np.where(gone, 0, counts), np.where(gone, 0, authors), AT)
        assert (found.before, found.after) == (54, 54)
        assert found.level.estimate is not None and found.level.freedom == 108 - 4

    def test_the_method_tells_the_lags_and_a_short_series(self) -> None:
        times, counts, authors = a_series(4)
        assert "4 lags" in interrupted_series(times, counts, authors, AT).level.method
        assert "0 lags" in interrupted_series(times, counts, authors, AT, lags=0).level.method
        short = interrupted_series(times[45:75], counts[45:75], authors[45:75], AT)
        assert short.level.method.endswith("short series: 30 times, the interval tends to be too narrow")

    def test_lags_follow_newey_and_wests_rule(self) -> None:
        assert [lags_of(n) for n in (0, 1, 20, 100, 365, 1_000)] == [0, 1, 2, 4, 5, 6]

    def test_a_year_of_days_without_autocorrelation_is_covered(self) -> None:
        """Of 500 series; fewer days are covered less, as the method says (decision 0034)."""
        times, authors = np.arange(365), np.full(365, 200.0)
        hits = 0
        for seed in range(500):
            chance = np.random.default_rng((365, seed))
            rate = -1 + 0.3 * (times >= 180) + chance.normal(0, 0.2, 365)
            found = interrupted_series(times, chance.poisson(authors * np.exp(rate)), authors, 180).level
            hits += (found.ci_low or 0) <= 0.3 <= (found.ci_high or 0)
        assert 0.915 <= hits / 500 <= 0.97

    def test_neighbours_that_resemble_each_other_widen_the_interval(self) -> None:
        chance = np.random.default_rng(5)
        drift = np.zeros(N)
        for i in range(1, N):
            drift[i] = 0.8 * drift[i - 1] + chance.normal(0, 0.2)
        authors = np.full(N, 500.0)
        counts = chance.poisson(authors * np.exp(-1 + drift)).astype(float)
        alone, together = (
            interrupted_series(np.arange(N), counts, authors, AT, lags=lags).level.se for lags in (0, 8)
        )
        assert together is not None and alone is not None and together > 1.2 * alone
        found = interrupted_series(np.arange(N), counts, authors, AT)
        assert found.autocorrelation is not None and found.autocorrelation > 0.4


def same(here: Estimate, there: Estimate, unit: float = 1.0) -> None:
    assert here.estimate is not None and there.estimate is not None
    assert there.estimate * unit == pytest.approx(here.estimate, rel=1e-6, abs=1e-9)
    assert (there.se or 0) * unit == pytest.approx(here.se, rel=1e-6)


class TestNoInterruption:
    times, counts, authors = a_series(6)

    @pytest.mark.parametrize(
        ("at", "reason"),
        [
            (-1, "fewer than 3 times before the interruption"),
            (0, "fewer than 3 times before the interruption"),
            (2, "fewer than 3 times before the interruption"),
            (N - 2, "fewer than 3 times after the interruption"),
            (N, "fewer than 3 times after the interruption"),
            (N + 99, "fewer than 3 times after the interruption"),
        ],
    )
    def test_inside_of_the_series(self, at: float, reason: str) -> None:
        assert nothing(interrupted_series(self.times, self.counts, self.authors, at)) == reason

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"counts": np.zeros(N)}, "nothing was counted"),
            ({"counts": np.where(times < AT, 0, counts)}, "nothing was counted before the interruption"),
            ({"counts": np.where(times >= AT, 0, counts)}, "nothing was counted after the interruption"),
            (
                {"counts": np.where(times == 5, np.nan, counts)},
                "a count or an exposure is missing, or no number",
            ),
            ({"exposure": np.full(N, np.nan)}, "a count or an exposure is missing, or no number"),
            ({"counts": np.where(times == 5, -1, counts)}, "a count or an exposure is below 0"),
            (
                {"exposure": np.where(times == 5, 0, authors)},
                "something is counted where there is no exposure",
            ),
            ({"exposure": np.zeros(N), "counts": np.zeros(N)}, "nothing was counted"),
            ({"times": np.where(times > 70, times + 1, times)}, "times are not equally spaced"),
            ({"times": times[::-1].copy(), "at": AT}, "times are not equally spaced"),
            ({"harmonics": 1}, "less than one season: it cannot be told from a trend"),
        ],
    )
    def test_in_what_is_no_series(self, change: dict[str, Any], reason: str) -> None:
        asked: dict[str, Any] = {
            "times": self.times,
            "counts": self.counts,
            "exposure": self.authors,
            "at": AT,
        } | change
        assert nothing(interrupted_series(**asked)) == reason

    def test_in_nothing_at_all(self) -> None:
        found = interrupted_series([], [], [], 0)
        assert nothing(found) == "nothing was counted" and (found.before, found.after) == (0, 0)

    def test_when_a_rate_runs_off_to_nothing(self) -> None:
        """After the interruption one count, at once, and never again: its slope has no bottom."""
        counts = np.where(self.times > AT, 0, self.counts)
        for family in ("Poisson", "negative binomial"):
            found = interrupted_series(self.times, counts, self.authors, AT, family=family)
            assert nothing(found) == "no finite coefficients: some rate is fitted as 0"

    def test_when_more_waves_are_asked_than_times_can_tell(self) -> None:
        found = interrupted_series(
            np.arange(10), self.counts[:10], self.authors[:10], 5, harmonics=3, season=9
        )
        assert nothing(found) == "no more rows than coefficients"

    def test_lengths_that_differ_are_an_error_of_the_caller(self) -> None:
        with pytest.raises(ValueError, match="2 counts"):
            fit_counts([1, 2], [[1.0]], [1, 2])


class TestSeasonalChange:
    def years(self, seed: int, ratio: float, of: int = 4) -> tuple[Floats, Floats, Any, Any]:
        """Spring is 1.3 times winter in all years, and in 2020 so many times more."""
        chance = np.random.default_rng(seed)
        years, day = np.repeat(np.arange(2021 - of, 2021), 60), np.tile(np.arange(60), of)
        during, authors = day >= 30, chance.integers(100, 200, len(years)).astype(float)
        level = np.array([-1.2, -0.8, -1.0, -1.1])[years - 2017]
        rate = level + math.log(1.3) * during + math.log(ratio) * (during & (years == 2020))
        return chance.poisson(authors * np.exp(rate)).astype(float), authors, years, during

    def test_the_planted_ratio_of_ratios_comes_back(self) -> None:
        values = np.array(
            [seasonal_change(*self.years(seed, 1.5), 2020).change.estimate for seed in range(200)], float
        )
        assert values.mean() == pytest.approx(math.log(1.5), abs=4 * values.std() / math.sqrt(200))

    def test_later_years_are_none_of_the_earlier_ones(self) -> None:
        counts, authors, years, during = self.years(1, 1.0)
        here = seasonal_change(counts, authors, years, during, 2019)
        before = years < 2020
        there = seasonal_change(counts[before], authors[before], years[before], during[before], 2019)
        assert here == there and here.earlier_years == 2

    def test_it_says_that_earlier_years_are_taken_as_alike(self) -> None:
        found = seasonal_change(*self.years(2, 1.0), 2020)
        assert found.change.method.endswith("earlier years taken as alike")
        assert (found.n, found.earlier_years) == (240, 3)

    @pytest.mark.parametrize(
        ("year", "change", "reason"),
        [
            (2017, {}, "there is no earlier year"),
            (2016, {}, "there are no counts of that year"),
            (2025, {}, "there are no counts of that year"),
            (2020, {"during": False}, "a year lacks one of the periods"),
            (2020, {"silent": 2018}, "in one of the years or periods nothing was counted"),
            (2020, {"silent": 0}, "nothing was counted"),
        ],
    )
    def test_without_what_it_compares_there_is_a_reason(
        self, year: int, change: dict[str, Any], reason: str
    ) -> None:
        counts, authors, years, during = self.years(3, 1.0)
        during = during if change.get("during", True) else during & (years < 2020)
        silent = change.get("silent")
        counts = np.where((years == silent) | (silent == 0), 0, counts)
        found = seasonal_change(counts, authors, years, during, year)
        assert found.change.estimate is None and found.change.reason == reason

    def test_silence_of_a_period_in_all_earlier_years_has_a_reason(self) -> None:
        counts, authors, years, during = self.years(4, 1.0)
        counts = np.where(during & (years < 2020), 0, counts)
        found = seasonal_change(counts, authors, years, during, 2020).change
        assert found.reason == "in one of the years or periods nothing was counted"


class TestBenjaminiHochberg:
    def test_by_hand(self) -> None:
        assert benjamini_hochberg([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])

    def test_what_is_no_test_does_not_count(self) -> None:
        assert benjamini_hochberg([0.01, None, 0.04]) == [pytest.approx(0.02), None, pytest.approx(0.04)]
        assert benjamini_hochberg([]) == [] and benjamini_hochberg([None]) == [None]

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.randoms())
    def test_keeps_the_order_and_never_lowers(self, p: list[float], chance: Any) -> None:
        found = benjamini_hochberg(p)
        assert all(each is not None and old <= each <= 1 for old, each in zip(p, found, strict=True))
        order = list(range(len(p)))
        chance.shuffle(order)
        assert benjamini_hochberg([p[i] for i in order]) == [found[i] for i in order]


class TestLow2020:
    def test_days_are_paired_as_they_were_observed(self) -> None:
        """Days 3, 4, 9 and 20, 21: (3, 4), (9, 20), and 21 alone."""
        assert bins_of([3, 21, 4, 9, 20, 20, 3], [20, 3, 9, 4, 21, 3]).tolist() == [0, 2, 0, 1, 1, 1, 0]

    def test_by_hand(self) -> None:
        """Bin means 1, 2, 6: slope 2.5 of an SD of √14/√3, r² = 25/28."""
        found = trend([0, 0, 1, 2, 2], [0.0, 2.0, 2.0, 5.0, 7.0])
        slope = 2.5 / math.sqrt(14 / 3)
        assert found.bins == 3
        assert (found.slope, found.r2) == pytest.approx((slope, 25 / 28))
        assert found.value == pytest.approx(slope * 25 / 28)
        # With one degree of freedom t is Cauchy's: p = 1 − 2/π·atan(t), and t² = r²/(1 − r²).
        assert found.p == pytest.approx(1 - 2 / math.pi * math.atan(math.sqrt(25 / 3)))

    def test_a_straight_line_has_the_largest_value_there_is(self) -> None:
        for bins in (3, 56):
            found = trend(np.arange(bins), 3 + 0.1 * np.arange(bins))
            assert found.value == pytest.approx(math.sqrt(12 / (bins**2 - 1)))
            assert found.p == pytest.approx(0, abs=1e-7)

    @given(
        st.lists(st.tuples(st.integers(0, 12), st.floats(-50, 50)), min_size=1, max_size=60),
        st.floats(0.1, 100),
        st.floats(-100, 100),
    )
    def test_the_unit_of_a_feature_does_not_matter(
        self, posts: list[tuple[int, float]], unit: float, shift: float
    ) -> None:
        bins, values = [each[0] for each in posts], np.array([each[1] for each in posts]).round(2)
        here, there, turned = (trend(bins, each) for each in (values, values * unit + shift, -values))
        if here.value is None or there.value is None:
            assert here.bins == there.bins
            return
        assert there.value == pytest.approx(here.value, rel=1e-5, abs=1e-7)
        assert turned.value == pytest.approx(-here.value, rel=1e-9, abs=1e-12)
        assert abs(here.value) <= math.sqrt(12 / (here.bins**2 - 1)) * (1 + 1e-9)

    @pytest.mark.parametrize(
        ("bins", "values", "reason"),
        [
            ([], [], "fewer than 3 bins of 2 days"),
            ([0, 0], [1.0, 2.0], "fewer than 3 bins of 2 days"),
            ([0, 1], [1.0, 2.0], "fewer than 3 bins of 2 days"),
            ([0, 1, 2], [1.0, 2.0, math.nan], "fewer than 3 bins of 2 days"),
            ([0, 1, 2], [0.0, 0.0, 0.0], "the feature does not vary"),
            ([0, 1, 2], [0.1, 0.1, 0.1], "the feature does not vary"),
            ([0, 0, 1, 2], [1.0, 3.0, 2.0, 2.0], "the feature does not vary"),
        ],
    )
    def test_what_has_no_line_has_a_reason(self, bins: list[int], values: list[float], reason: str) -> None:
        found = trend(bins, values)
        assert found.reason == reason
        assert (found.slope, found.r2, found.value, found.p) == (None, None, None, None)

    def test_sums_are_of_significant_features_alone(self) -> None:
        trends = {
            "sent_pos": Trend(50, -0.03, 0.5, -0.015, 0.001, 0.01),
            "anger": Trend(50, 0.02, 0.5, 0.010, 0.002, 0.02),
            "sadness": Trend(50, 0.04, 0.5, 0.020, 0.2, 0.3),
            "n_words": Trend(50, -0.06, 0.5, -0.030, 0.001, 0.05),
            "guns": Trend(50, None, None, None, None, reason="the feature does not vary"),
        }
        found = change(trends)
        assert (found.features, found.significant) == (4, 3)
        assert found.overall == pytest.approx(0.055) and found.negative == pytest.approx(0.025)

    def test_a_community_without_trends_has_a_reason(self) -> None:
        none = Trend(2, None, None, None, None, reason="fewer than 3 bins of 2 days")
        assert change({"anger": none}).reason == change({}).reason == "no feature has a trend"

    def test_without_emotional_features_half_of_it_has_a_reason(self) -> None:
        found = change({"n_words": Trend(50, 0.02, 0.5, 0.01, 0.001, 0.01)})
        assert (found.overall, found.negative) == (0.01, None)
        assert found.reason == "no emotional feature has a trend"

    def test_features_without_a_change_are_seldom_significant(self) -> None:
        """Of 50 communities with 40 features of noise: in all some one in twenty has any."""
        chance = np.random.default_rng(9)
        bins = np.repeat(np.arange(40), 5)
        any_found = 0
        for _ in range(50):
            trends = adjusted(trend(bins, chance.normal(size=200)) for _ in range(40))
            any_found += any(each.is_significant for each in trends)
        assert any_found <= 8

    def test_p_is_between_0_and_1(self) -> None:
        assert slope_p(0.0, 5) == pytest.approx(1.0) and slope_p(1.0, 5) == 0.0

    def test_sixteen_emotional_features_three_of_them_turned(self) -> None:
        assert len(EMOTIONAL) == 16 and [*EMOTIONAL.values()].count(-1) == 3
        assert len(UNDIVIDED) == 16 and "n_words" in UNDIVIDED
