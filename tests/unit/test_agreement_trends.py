"""Trends against independent code, some 200 random series each, from seeds: statsmodels, scipy, dbt's SQL."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests

from pipelines.evidence.estimates import Estimate
from pipelines.evidence.low2020 import Trend, adjusted, bins_of, told, trend
from pipelines.evidence.trends import (
    Interrupted,
    benjamini_hochberg,
    fit_counts,
    interrupted_series,
    lags_of,
    seasonal_change,
)
from tests.fakes.measured_posts import FIRST, each_by_another, marts_of, text_change

Floats = npt.NDArray[np.float64]
Series = tuple[Floats, Floats, Floats, Floats, int]
"""Design (n, p), counts (n,), exposure (n,), times (n,), and how many harmonics."""

CASES = 220


def random_series(seed: int) -> Iterator[Series]:
    """Series of 20 to 200 times with an interruption inside, counts more or less overdispersed, one in three
    with a season of 25."""
    chance = np.random.default_rng(seed)
    for case in range(CASES):
        n, harmonics = int(chance.integers(60 if case % 3 == 0 else 20, 200)), int(case % 3 == 0)
        times = np.arange(n, dtype=float)
        at = float(chance.integers(8, n - 8))
        after = times >= at
        waves = [wave(2 * np.pi * times / 25) for wave in (np.sin, np.cos)] if harmonics else []
        design = np.column_stack([np.ones(n), times - at, after, (times - at) * after, *waves])
        exposure = chance.integers(50, 400, n).astype(float)
        beta = [*chance.normal([-1.5, 0, 0, 0], [0.5, 0.01, 0.4, 0.01]), *chance.normal(0, 0.2, len(waves))]
        means = exposure * np.exp(np.clip(design @ beta, -6, 1))
        size = chance.choice([1, 5, 1_000])
        counts = chance.poisson(chance.gamma(size, means / size)).astype(float)
        if counts[after].any() and counts[~after].any():
            yield design, counts, exposure, times, harmonics


def asked(case: Series, **how: Any) -> Interrupted:
    design, counts, exposure, times, harmonics = case
    at = float(times[design[:, 2] == 1][0])
    return interrupted_series(times, counts, exposure, at, harmonics=harmonics, season=25, **how)


def as_statsmodels(found: Interrupted, theirs: Any, freedom: int) -> None:
    for ours, j in ((found.slope, 1), (found.level, 2), (found.slope_change, 3)):
        value, se = theirs.params[j], theirs.bse[j]
        assert ours.estimate == pytest.approx(value, rel=1e-5, abs=1e-8)
        assert ours.se == pytest.approx(se, rel=1e-5)
        ends = stats.t.interval(0.95, freedom, value, se)
        assert (ours.ci_low, ours.ci_high) == pytest.approx(ends, rel=1e-5, abs=1e-8)


def hac(n: int) -> dict[str, Any]:
    return {"cov_type": "HAC", "cov_kwds": {"maxlags": lags_of(n), "use_correction": True}}


def test_poisson_with_newey_and_wests_variance_equals_statsmodels() -> None:
    compared = 0
    for case in random_series(41):
        design, counts, exposure, _, _ = case
        model = sm.GLM(counts, design, family=sm.families.Poisson(), exposure=exposure)
        theirs: Any = model.fit(tol=1e-13, maxiter=200, **hac(len(counts)))
        found = asked(case)
        as_statsmodels(found, theirs, len(counts) - design.shape[1])
        assert found.dispersion == pytest.approx(theirs.pearson_chi2 / theirs.df_resid, rel=1e-5)
        pearson = theirs.resid_pearson
        neighbours = float(pearson[1:] @ pearson[:-1] / (pearson @ pearson))
        assert found.autocorrelation == pytest.approx(neighbours, rel=1e-5, abs=1e-7)
        compared += 1
    assert compared >= 200


def test_negative_binomial_at_its_alpha_equals_statsmodels() -> None:
    compared = 0
    for case in random_series(42):
        design, counts, exposure, _, _ = case
        found = asked(case, family="negative binomial")
        if not found.alpha:
            assert found.level.estimate == asked(case).level.estimate
            assert found.level.method.endswith("no overdispersion")
            continue
        family = sm.families.NegativeBinomial(alpha=found.alpha)
        theirs: Any = sm.GLM(counts, design, family=family, exposure=exposure).fit(
            tol=1e-13, maxiter=200, **hac(len(counts))
        )
        as_statsmodels(found, theirs, len(counts) - design.shape[1])
        compared += 1
    assert compared >= 150


def test_alpha_has_the_highest_likelihood_that_statsmodels_finds() -> None:
    """Its search starts elsewhere and does not always arrive; where it does, it is at the same place."""
    compared = 0
    for case in random_series(43):
        design, counts, exposure, _, _ = case
        found = asked(case, family="negative binomial")
        assert found.alpha is not None
        if found.alpha < 1e-3:
            continue
        model = sm.NegativeBinomial(counts, design, exposure=exposure)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            theirs: Any = model.fit(method="newton", maxiter=60, disp=0, tol=1e-12)
        if not (theirs.mle_retvals["converged"] and np.isfinite(theirs.params).all()):
            continue
        compared += 1
        assert found.alpha == pytest.approx(theirs.params[-1], rel=1e-5)
        assert found.level.estimate == pytest.approx(theirs.params[2], rel=1e-5, abs=1e-6)
    assert compared >= 100


def test_a_season_against_earlier_years_equals_statsmodels_panel() -> None:
    """Whose variance sums over lags within each panel, which are our years."""
    chance = np.random.default_rng(44)
    for _ in range(200):
        years = np.repeat(np.arange(2020 - int(chance.integers(1, 4)), 2021), int(chance.integers(12, 50)))
        length = int((years == 2020).sum())
        day = np.tile(np.arange(length), len(np.unique(years)))
        during = day >= int(chance.integers(4, length - 4))
        exposure = chance.integers(50, 300, len(years)).astype(float)
        means = exposure * np.exp(-1 + 0.2 * during + 0.3 * (during & (years == 2020)))
        counts = chance.poisson(chance.gamma(5, means / 5)).astype(float)
        design = np.column_stack(
            [*(years == each for each in np.unique(years)), during, during & (years == 2020)]
        ).astype(float)
        model = sm.GLM(counts, design, family=sm.families.Poisson(), exposure=exposure)
        plain = model.fit(tol=1e-13, maxiter=200)
        theirs: Any = model.fit(
            tol=1e-13,
            maxiter=200,
            cov_type="hac-panel",
            cov_kwds={"groups": years, "maxlags": lags_of(length), "use_correction": "hac"},
        )
        found = seasonal_change(counts, exposure, years, during, 2020)
        assert found.change.estimate == pytest.approx(plain.params[-1], rel=1e-5, abs=1e-8)
        assert found.change.se == pytest.approx(theirs.bse[-1], rel=1e-5)
        assert found.earlier_years == len(np.unique(years)) - 1


def test_times_without_exposure_are_as_scores_of_nought() -> None:
    """Dense: every row's own score in the variance, with rows that tell nothing left at nought."""
    chance = np.random.default_rng(45)
    for _ in range(200):
        n = int(chance.integers(30, 80))
        exposure = np.where(chance.random(n) < 0.2, 0, chance.integers(50, 200, n)).astype(float)
        design = np.column_stack([np.ones(n), np.arange(n)])
        counts = chance.poisson(exposure * 0.3).astype(float)
        found = fit_counts(counts, design, exposure)
        there = exposure > 0
        theirs: Any = sm.GLM(
            counts[there], design[there], family=sm.families.Poisson(), exposure=exposure[there]
        ).fit(tol=1e-13)
        scores = design * (counts - exposure * np.exp(design @ theirs.params))[:, None]
        lag = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
        weights = np.clip(1 - lag / (lags_of(n) + 1), 0, None)
        bread = np.linalg.inv((design.T * exposure * np.exp(design @ theirs.params)) @ design)
        dense = bread @ (scores.T @ weights @ scores) @ bread * there.sum() / (there.sum() - 2)
        assert found.linear.covariance == pytest.approx(dense, rel=1e-5, abs=1e-12)


def test_benjamini_and_hochberg_equals_scipy_and_statsmodels() -> None:
    chance = np.random.default_rng(46)
    for _ in range(CASES):
        p = chance.beta(0.3, 1, int(chance.integers(1, 300))).round(int(chance.integers(2, 12)))
        found = benjamini_hochberg(p.tolist())
        assert found == pytest.approx(stats.false_discovery_control(p).tolist(), rel=1e-8, abs=1e-14)
        reject, corrected, *_ = multipletests(p, 0.05, method="fdr_bh")
        assert found == pytest.approx(corrected.tolist(), rel=1e-8, abs=1e-14)
        assert [each is not None and each <= 0.05 for each in found] == reject.tolist()


# --- Low et al. 2020 --------------------------------------------------------------------------------------


FEATURES = tuple(f"f{number:02}" for number in range(30))
PROTOCOL = text_change(undivided=FEATURES)


def random_posts() -> pd.DataFrame:
    """Posts of 12 communities with 30 features; of some days nobody writes, of some posts a feature lacks."""
    chance = np.random.default_rng(47)
    found = []
    for community in range(12):
        days = chance.choice(np.arange(111), int(chance.integers(5, 111)), replace=False)
        on = np.sort(chance.choice(days, int(chance.integers(len(days), 400))))
        posts = pd.DataFrame({"group_id": f"c{community:02}", "posted_on": FIRST + on})
        for number, feature in enumerate(FEATURES):
            drift, noise = chance.normal(0, 0.02) * on, chance.normal(size=len(on))
            value = chance.normal(number, 1 + number) + drift + noise
            value = np.full(len(on), 3.0) if number == 7 else value
            posts[feature] = np.where(chance.random(len(on)) < (0.3 if number == 8 else 0), np.nan, value)
        found.append(posts)
    return each_by_another(pd.concat(found, ignore_index=True))


@pytest.fixture(scope="module")
def posts() -> pd.DataFrame:
    return random_posts()


def in_python(posts: pd.DataFrame) -> dict[tuple[str, str], Trend]:
    found = {}
    for community, of_it in posts.groupby("group_id"):
        bins = bins_of(of_it["posted_on"].to_numpy(), of_it["posted_on"].unique())
        for feature in FEATURES:
            found[str(community), feature] = trend(bins, of_it[feature].to_numpy())
    return found


def test_lows_measure_equals_scipys_regression_of_z_scores(posts: pd.DataFrame) -> None:
    """As the authors' notebook: unique days two by two, means over posts, z-scores, regression."""
    found = in_python(posts)
    compared = 0
    for community, of_it in posts.groupby("group_id"):
        days = np.unique(of_it["posted_on"])
        pairs = [days[i : i + 2] for i in range(0, len(days), 2)]
        for feature in FEATURES:
            means = [of_it[feature][of_it["posted_on"].isin(pair)].mean() for pair in pairs]
            there = np.flatnonzero(np.isfinite(means))
            ours = found[str(community), feature]
            assert ours.bins == len(there)
            if feature == "f07":
                assert ours.reason == "the feature does not vary"
                continue
            theirs: Any = stats.linregress(there, stats.zscore(np.array(means)[there]))
            r2 = theirs.rvalue**2
            assert (ours.slope, ours.r2) == pytest.approx((theirs.slope, r2), rel=1e-8, abs=1e-12)
            assert ours.value == pytest.approx(theirs.slope * r2, rel=1e-8, abs=1e-12)
            assert ours.p == pytest.approx(theirs.pvalue, rel=1e-8, abs=1e-14)
            compared += 1
    assert compared >= 200


@pytest.fixture(scope="module")
def mart(posts: pd.DataFrame) -> pd.DataFrame:
    """By dbt's own SQL, from events on."""
    return marts_of(posts, PROTOCOL).feature_trends


def test_the_mart_says_the_same_of_every_feature_of_every_community(
    posts: pd.DataFrame, mart: pd.DataFrame
) -> None:
    rows: list[Any] = [*mart.itertuples()]
    found = in_python(posts)
    asked = [row for row in rows if row.feature != "n_posts"]
    assert {(row.group_id, row.feature) for row in asked} == set(found)
    assert len(rows) == 12 * 31 and len(asked) == 360
    for row in asked:
        ours = found[row.group_id, row.feature]
        slope, r2, value = (
            None if math.isnan(each) else each
            for each in (row.slope, row.r_squared, row.slope_times_r_squared)
        )
        theirs = told(row.count_bins, slope, r2, row.count_authors_with_value)
        assert (theirs.bins, theirs.reason) == (ours.bins, ours.reason)
        if ours.value is None:
            assert (slope, r2, value, theirs.p) == (None, None, None, None)
            continue
        assert (slope, r2, value) == pytest.approx((ours.slope, ours.r2, ours.value), rel=1e-8, abs=1e-12)
        assert theirs.value == pytest.approx(ours.value, rel=1e-8, abs=1e-12)
        assert theirs.p == pytest.approx(ours.p, rel=1e-6, abs=1e-12)


def test_how_many_posts_a_bin_has_is_a_feature_as_well(posts: pd.DataFrame, mart: pd.DataFrame) -> None:
    rows: list[Any] = [*mart[mart["feature"] == "n_posts"].itertuples()]
    for row in rows:
        days = posts["posted_on"][posts["group_id"] == row.group_id].to_numpy()
        numbers = np.bincount(bins_of(days, np.unique(days)))
        theirs: Any = stats.linregress(np.arange(len(numbers)), stats.zscore(numbers))
        assert row.slope_times_r_squared == pytest.approx(
            theirs.slope * theirs.rvalue**2, rel=1e-8, abs=1e-12
        )


def test_adjusted_trends_have_scipys_false_discovery_control(posts: pd.DataFrame) -> None:
    trends = adjusted(in_python(posts).values())
    p = [each.p for each in trends if each.p is not None]
    expected = stats.false_discovery_control(p).tolist()
    assert [each.adjusted for each in trends if each.p is not None] == pytest.approx(expected, rel=1e-8)
    assert all(each.adjusted is None for each in trends if each.p is None)


def test_estimates_are_numbers_or_have_a_reason() -> None:
    """Of very short and very thin series."""
    chance = np.random.default_rng(48)
    for _ in range(200):
        n = int(chance.integers(1, 16))
        counts, exposure = chance.poisson(0.3, n), chance.integers(0, 3, n)
        found = interrupted_series(
            np.arange(n), np.where(exposure > 0, counts, 0), exposure, int(chance.integers(0, n + 1))
        )
        for each in (found.level, found.slope, found.slope_change):
            assert _is_sound(each), each


def _is_sound(estimate: Estimate) -> bool:
    numbers = [estimate.estimate, estimate.se, estimate.ci_low, estimate.ci_high]
    there = [each for each in numbers if each is not None]
    return bool(np.isfinite(there).all()) and (len(there) == 4 or bool(estimate.reason))
