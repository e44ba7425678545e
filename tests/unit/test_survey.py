"""Survey estimates and Firth's sensitivity: laws that hold for all input, recovery, coverage, and too little.

That they agree with independent code stands in test_agreement_communities.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evidence.estimates import Estimate, t_quantile
from pipelines.evidence.firth import METHOD, fit_firth
from pipelines.evidence.survey import (
    EMPTY_CELL,
    Design,
    design_of,
    exponentiated,
    logistic_odds,
    prevalence,
)

pytestmark = pytest.mark.filterwarnings("error")

Floats = npt.NDArray[np.float64]
SEEDS = st.integers(0, 10_000)


def surveyed(seed: int, n: int = 200) -> tuple[Any, Floats, Design]:
    """Cases, two covariates and the design: four strata of five PSUs, unequal weights."""
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(n, 2))
    stratum, psu = np.arange(n) % 4, np.arange(n) // 4 % 5
    logits = -1 + x @ [0.8, -0.4] + chance.normal(0, 0.5, (4, 5))[stratum, psu]
    return chance.random(n) < 1 / (1 + np.exp(-logits)), x, design_of(chance.uniform(0.5, 3, n), stratum, psu)


def numbers(found: Estimate) -> tuple[float | None, ...]:
    return found.estimate, found.se, found.ci_low, found.ci_high


class TestPrevalence:
    def test_people_at_random_have_the_plain_standard_error(self) -> None:
        """p̂(1 − p̂)/(n − 1), and Korn and Graubard's interval on the logit scale."""
        found = prevalence([1] * 3 + [0] * 7, design_of(np.ones(10))).share
        se = math.sqrt(0.3 * 0.7 / 9)
        assert (found.estimate, found.se) == pytest.approx((0.3, se)) and found.freedom == 9
        logit = math.log(3 / 7) + t_quantile(0.95, 9) * se / 0.21
        assert found.ci_high == pytest.approx(1 / (1 + math.exp(-logit)))

    @settings(max_examples=40)
    @given(SEEDS, st.floats(1e-3, 1e6))
    def test_the_size_of_weights_does_not_matter(self, seed: int, scale: float) -> None:
        y, x, design = surveyed(seed)
        other = Design(design.weights * scale, design.psus, design.strata)
        assert numbers(prevalence(y, other).share) == pytest.approx(numbers(prevalence(y, design).share))
        one, two = logistic_odds(y, x, design), logistic_odds(y, x, other)
        for ours, theirs in zip(one.log_ratios, two.log_ratios, strict=True):
            assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-6, abs=1e-8)

    @settings(max_examples=40)
    @given(SEEDS)
    def test_who_is_no_case_is_the_complement(self, seed: int) -> None:
        y, _, design = surveyed(seed)
        found, others = prevalence(y, design).share, prevalence(~y, design).share
        assert found.estimate is not None and found.ci_low is not None and found.ci_high is not None
        expected = 1 - found.estimate, found.se, 1 - found.ci_high, 1 - found.ci_low
        assert numbers(others) == pytest.approx(expected)

    @settings(max_examples=40)
    @given(SEEDS)
    def test_a_part_keeps_all_psus(self, seed: int) -> None:
        """A part is a ratio of the whole: those outside are there, with nothing to add."""
        y, x, design = surveyed(seed)
        within = x[:, 0] > 0.5
        found = prevalence(y, design, within)
        assert (found.n, found.psus, found.strata) == (within.sum(), 20, 4)
        assert found.share.freedom == 16
        missing = prevalence(np.where(within, y, np.nan), design)
        assert missing == found
        alone = design_of(design.weights[within], (np.arange(200) % 4)[within], design.psus.codes[within])
        assert prevalence(y[within], alone).share.estimate == pytest.approx(found.share.estimate)

    def test_psus_are_numbered_anew_in_each_stratum(self) -> None:
        design = design_of(np.ones(8), ["a"] * 4 + ["b"] * 4, [1, 1, 2, 2, 1, 1, 2, 2])
        assert (design.psus.count, design.count_strata, design.freedom) == (4, 2, 2)

    def test_a_psu_alone_is_compared_with_all(self) -> None:
        """Errors are 0 in all, so the PSU alone adds its own sum, squared; and the method says so."""
        y, w = np.array([1, 0, 1, 1, 0, 0]), np.array([1.0, 2, 1, 2, 1, 3])
        design = design_of(w, [0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 2, 2])
        p = w @ y / w.sum()
        errors = w * (y - p) / w.sum()
        first, second, alone = errors[:2].sum(), errors[2:4].sum(), errors[4:].sum()
        found = prevalence(y, design).share
        assert found.se == pytest.approx(math.sqrt((first - second) ** 2 + alone**2))
        assert found.freedom == 1 and found.method.endswith(
            "; 1 PSUs alone in a stratum, centred at the mean"
        )


class TestOdds:
    def test_a_binary_covariate_gives_the_odds_ratio_of_the_weighted_table(self) -> None:
        y, x, design = surveyed(1)
        exposed = x[:, :1] > 0
        cells = [
            design.weights[(y == a) & (exposed[:, 0] == b)].sum()
            for a in (True, False)
            for b in (True, False)
        ]
        found = logistic_odds(y, exposed, design).ratios[1]
        assert found.estimate == pytest.approx(cells[0] * cells[3] / (cells[1] * cells[2]))

    @settings(max_examples=40)
    @given(SEEDS, st.floats(0.1, 10), st.floats(-50, 50))
    def test_units_of_covariates_are_units_only(self, seed: int, scale: float, shift: float) -> None:
        y, x, design = surveyed(seed)
        one = logistic_odds(y, x, design).log_ratios[1]
        other = logistic_odds(y, x * [scale, 1] + [shift, 0], design).log_ratios[1]
        assert one.estimate is not None and one.se is not None
        assert (other.estimate, other.se) == pytest.approx((one.estimate / scale, one.se / scale), rel=1e-6)

    def test_a_part_keeps_all_psus(self) -> None:
        y, x, design = surveyed(2)
        found = logistic_odds(y, x[:, :1], design, x[:, 1] > 0)
        assert found.n == (x[:, 1] > 0).sum() and found.log_ratios[1].freedom == 16

    def test_a_ratio_is_the_logarithms_and_has_no_standard_error(self) -> None:
        found = exponentiated(Estimate(0.0, 0.5, -1.0, 1.0, "m"))
        assert numbers(found) == (1.0, None, math.exp(-1), math.exp(1))
        assert exponentiated(Estimate(5.0, 900.0, -1700.0, 1800.0, "m")).estimate is None

    def test_an_empty_cell_has_a_reason_and_a_labelled_sensitivity(self) -> None:
        """Nobody of 18 exposed is a case: the likelihood has no maximum. Firth's has, and says what it is."""
        y = np.array([0] * 18 + [1] * 20 + [0] * 62, bool)
        exposed = np.arange(100) < 18
        found = logistic_odds(y, exposed[:, None], design_of(np.ones(100)))
        assert found.reason == EMPTY_CELL
        assert {(each.estimate, each.reason) for each in found.ratios} == {(None, EMPTY_CELL)}
        firth = fit_firth(y, np.column_stack([np.ones(100), exposed])).coefficients[1]
        # Of a table Firth's adds a half to each cell.
        assert firth.estimate == pytest.approx(math.log(0.5 * 62.5 / (18.5 * 20.5)), abs=1e-6)
        assert firth.method == METHOD and "sensitivity" in METHOD and "not design-based" in METHOD
        assert firth.ci_low is not None and firth.ci_high is not None and firth.estimate is not None
        assert firth.ci_low < firth.estimate < firth.ci_high < 0


class TestFirth:
    @settings(max_examples=25, deadline=None)
    @given(SEEDS, st.floats(0.1, 10))
    def test_units_are_units_only_and_cases_turned_turn_the_sign(self, seed: int, scale: float) -> None:
        y, x, _ = surveyed(seed, 60)
        design = np.column_stack([np.ones(60), x])
        one, other = fit_firth(y, design), fit_firth(~y, design * [1, scale, 1])
        for j, unit in ((1, scale), (2, 1.0)):
            a, b = one.coefficients[j], other.coefficients[j]
            assert a.estimate is not None and a.ci_low is not None and a.ci_high is not None
            expected = (-a.estimate / unit, -a.ci_high / unit, -a.ci_low / unit)
            assert (b.estimate, b.ci_low, b.ci_high) == pytest.approx(expected, rel=1e-4, abs=1e-5)

    def test_weights_of_one_size_are_none(self) -> None:
        y, x, _ = surveyed(3, 60)
        design = np.column_stack([np.ones(60), x])
        assert fit_firth(y, design, np.full(60, 7.0)) == fit_firth(y, design)

    def test_even_when_all_are_cases_it_is_finite(self) -> None:
        found = fit_firth([True] * 9, np.ones((9, 1))).coefficients[0]
        assert found.estimate == pytest.approx(math.log(9.5 / 0.5), abs=1e-6)

    @pytest.mark.parametrize(
        ("cases", "design", "weights", "reason"),
        [
            ([], np.empty((0, 1)), None, "nobody has a value"),
            ([1, 0], np.ones((2, 2)), None, "no more rows than coefficients"),
            ([1, 0, 1], np.ones((3, 2)), None, "a covariate does not vary, or follows from the others"),
            ([1, 0, 1], np.ones((3, 1)), [1, 0, 1], "a weight is missing, or not above 0"),
        ],
    )
    def test_too_little_has_a_reason(self, cases: Any, design: Any, weights: Any, reason: str) -> None:
        found = fit_firth(cases, design, weights)
        assert {each.reason for each in found.coefficients} == {reason} == {found.reason}


class TestTooLittle:
    @pytest.mark.parametrize(
        ("cases", "design", "reason"),
        [
            ([], design_of([]), "nobody is in the sample"),
            ([1, 0], design_of([1, -1]), "a weight is missing, or below 0"),
            ([1, 0], design_of([1, math.nan]), "a weight is missing, or below 0"),
            ([1, 0], design_of([0, 0]), "nobody with a weight has a value"),
            ([math.nan, math.nan], design_of([1, 1]), "nobody with a weight has a value"),
            ([1, 1, 1], design_of([1, 2, 3]), "no interval: PSUs do not differ"),
            ([0, 0, 0], design_of([1, 2, 3]), "no interval: PSUs do not differ"),
            ([1, 0, 1], design_of([1, 2, 3], [1, 2, 3]), "no interval: no more PSUs than strata"),
            ([1, 0, 1], design_of([1, 2, 3], None, [1, 1, 1]), "no interval: PSUs do not differ"),
        ],
    )
    def test_a_share_has_a_reason(self, cases: Any, design: Design, reason: str) -> None:
        assert prevalence(cases, design).share.reason == reason

    @pytest.mark.parametrize(
        ("cases", "covariates", "reason"),
        [
            ([], [], "nobody is in the sample"),
            ([1, 1, 1], [1, 2, 3], "cases, or others, are missing"),
            ([0, math.nan, 1], [1, 2, math.nan], "cases, or others, are missing"),
            ([0, 1, 1], [1, 1, 1], "a covariate does not vary, or follows from the others"),
            ([0, 1], [1, 2], "no more rows than coefficients"),
            ([0, 0, 1, 1], [1, 2, 3, 4], EMPTY_CELL),
        ],
    )
    def test_odds_have_a_reason(self, cases: Any, covariates: Any, reason: str) -> None:
        found = logistic_odds(cases, covariates, design_of(np.ones(len(cases))))
        assert found.reason == reason and {each.reason for each in found.ratios} == {reason}

    def test_numbers_that_differ_are_a_mistake_of_the_caller(self) -> None:
        with pytest.raises(ValueError, match="2 weights, 1 strata"):
            design_of([1, 1], [1])
        with pytest.raises(ValueError, match="1 cases"):
            prevalence([1], design_of([1, 1]))

    def test_any_table_has_finite_numbers_or_a_reason(self) -> None:
        seen: set[str | None] = set()
        for seed in range(150):
            chance = np.random.default_rng(seed)
            n = int(chance.integers(0, 14))
            y = chance.random(n) < chance.choice([0.1, 0.5, 0.9])
            x = chance.integers(0, 3, (n, int(chance.integers(0, 3)))).astype(float)
            weights = chance.integers(0, 3, n) * chance.choice([1, 1e-6, 1e6])
            design = design_of(weights, chance.integers(0, 3, n), chance.integers(0, 4, n))
            odds = logistic_odds(y, x, design, chance.random(n) < 0.8)
            firth = fit_firth(y, np.column_stack([np.ones(n), x]))
            found = (
                prevalence(y, design, chance.random(n) < 0.8).share,
                *odds.log_ratios,
                *odds.ratios,
                *firth.coefficients,
            )
            for each in found:
                assert all(number is None or math.isfinite(number) for number in numbers(each)), (seed, each)
                assert (each.ci_low is None) == (each.reason is not None), (seed, each)
                seen.add(each.reason)
        assert len(seen) > 8, seen


def test_planted_odds_and_shares_come_back() -> None:
    """400 surveys of 30 PSUs in three strata, whose people are alike; who is a case is rarer in the sample
    than in the population. 95 % ± 3.3 % is three standard errors of the simulation.
    """
    covered, ratios = {"share": 0, "odds": 0}, []
    population = np.random.default_rng(1)
    x, effects = population.normal(size=(3, 400, 20)), population.normal(0, 0.4, (3, 400, 1))
    y = population.random(x.shape) < 1 / (1 + np.exp(1.5 - math.log(3) * x - effects))
    share, odds = float(y.mean()), _odds_of(x.ravel(), y.ravel())
    for seed in range(400):
        chance = np.random.default_rng(seed)
        drawn = np.stack([chance.choice(400, 10, replace=False) for _ in range(3)])
        cases, covariate = (np.take_along_axis(each, drawn[..., None], 1).ravel() for each in (y, x))
        stratum, psu = np.repeat(np.arange(3), 200), np.repeat(np.arange(30), 20)
        kept = chance.random(600) < np.where(cases, 0.5, 0.9)
        design = design_of(np.where(cases, 1 / 0.5, 1 / 0.9)[kept], stratum[kept], psu[kept])
        found = {
            "share": prevalence(cases[kept], design).share,
            "odds": logistic_odds(cases[kept], covariate[kept], design).log_ratios[1],
        }
        ratios.append(found["odds"].estimate or 0)
        for name, truth in (("share", share), ("odds", odds)):
            low, high = found[name].ci_low, found[name].ci_high
            assert low is not None and high is not None
            covered[name] += low <= truth <= high
    assert all(abs(found / 400 - 0.95) < 0.033 for found in covered.values()), covered
    assert np.mean(ratios) == pytest.approx(odds, abs=0.03)


def _odds_of(x: Floats, y: Any) -> float:
    """The population's own coefficient."""
    found = logistic_odds(y, x, design_of(np.ones(len(x)))).log_ratios[1].estimate
    assert found is not None
    return found
