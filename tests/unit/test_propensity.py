"""Logistic regression and overlap weights: laws that hold for all input, recovery, coverage, and too little.

That they agree with independent code stands in test_agreement_models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evidence.linear import NOT_SEPARABLE
from pipelines.evidence.propensity import effective_size, fit_logistic, overlap_difference

Floats = npt.NDArray[np.float64]

SEEDS = st.integers(0, 10_000)


def members(seed: int, n: int = 120) -> tuple[Floats, Any, Floats]:
    """Outcome, membership and covariates: who is worse off joins rather, and gains 1.5 by it."""
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(n, 2))
    is_member = chance.random(n) < 1 / (1 + np.exp(-(0.8 * x[:, 0] - 0.5 * x[:, 1])))
    return 2 * x[:, 0] + x[:, 1] + 1.5 * is_member + chance.normal(size=n), is_member, x


class TestLaws:
    @settings(max_examples=40, deadline=None)
    @given(SEEDS)
    def test_weighted_means_of_covariates_agree_exactly(self, seed: int) -> None:
        y, member, x = members(seed)
        found = overlap_difference(y, member, x)
        assert [each.after for each in found.balance] == pytest.approx([0, 0], abs=1e-8)
        for each, covariate in zip(found.balance, x.T, strict=True):
            one, other = covariate[member], covariate[~member]
            spread = ((one.var(ddof=1) + other.var(ddof=1)) / 2) ** 0.5
            assert each.before == pytest.approx((one.mean() - other.mean()) / spread)

    @settings(max_examples=40, deadline=None)
    @given(SEEDS)
    def test_exchanging_the_arms_turns_the_sign(self, seed: int) -> None:
        y, member, x = members(seed)
        one, other = overlap_difference(y, member, x), overlap_difference(y, ~member, x)
        assert one.difference.estimate == pytest.approx(-(other.difference.estimate or 0), rel=1e-7)
        assert one.difference.se == pytest.approx(other.difference.se, rel=1e-7)
        assert one.effective_arm == pytest.approx(other.effective_reference)

    @settings(max_examples=40, deadline=None)
    @given(SEEDS, st.floats(0.1, 10), st.floats(-50, 50))
    def test_units_do_not_matter(self, seed: int, scale: float, shift: float) -> None:
        y, member, x = members(seed)
        one = overlap_difference(y, member, x).difference
        other = overlap_difference(scale * y + shift, member, x * [5, 0.01] + [100, -3]).difference
        assert one.estimate is not None and one.se is not None
        assert (other.estimate, other.se) == pytest.approx((scale * one.estimate, scale * one.se), rel=1e-6)

    @settings(max_examples=40, deadline=None)
    @given(SEEDS, st.randoms())
    def test_the_order_of_people_does_not_matter(self, seed: int, chance: Any) -> None:
        y, member, x = members(seed)
        order = list(range(len(y)))
        chance.shuffle(order)
        one = overlap_difference(y, member, x).difference
        other = overlap_difference(y[order], member[order], x[order]).difference
        assert (one.estimate, one.se) == pytest.approx((other.estimate, other.se), rel=1e-8)

    @settings(max_examples=40, deadline=None)
    @given(SEEDS)
    def test_weighting_never_counts_more_people_than_there_are(self, seed: int) -> None:
        y, member, x = members(seed)
        found = overlap_difference(y, member, x)
        assert found.effective_arm is not None and found.effective_reference is not None
        assert 1 <= found.effective_arm <= found.n_arm and 1 <= found.effective_reference <= found.n_reference

    def test_people_in_pairs_of_copies_tell_no_more_than_one_of_each(self) -> None:
        """Clustered by pair, the standard error of doubled rows is that of single ones, but for K/(K − 1)."""
        y, member, x = members(3)
        twice = np.repeat(np.arange(len(y)), 2)
        one = overlap_difference(y, member, x, list(range(len(y)))).difference
        other = overlap_difference(y[twice], member[twice], x[twice], list(twice)).difference
        assert (one.estimate, one.se, one.freedom) == pytest.approx((other.estimate, other.se, other.freedom))


def test_the_effect_comes_back_and_its_interval_covers_it() -> None:
    """400 seeds: 95 % ± 3.3 % is three standard errors. Unweighted means are off by more than the effect."""
    covered, found, naive = 0, [], []
    for seed in range(400):
        y, member, x = members(seed, 200)
        each = overlap_difference(y, member, x).difference
        assert each.estimate is not None and each.ci_low is not None and each.ci_high is not None
        covered += each.ci_low <= 1.5 <= each.ci_high
        found.append(each.estimate)
        naive.append(y[member].mean() - y[~member].mean())
    assert abs(np.mean(found) - 1.5) < 3 * np.std(found) / 20
    assert abs(np.mean(naive) - 1.5) > 0.5
    assert abs(covered / 400 - 0.95) < 0.033, covered


def test_intervals_over_groups_cover_the_truth_where_one_arm_has_few() -> None:
    """400 seeds, 5 groups of 8 beside 60 people in none: 95 % ± 3.3 % is three standard errors. Intervals
    that overlook that people in a group are alike cover less."""
    covered = {"by group": 0, "by person": 0}
    arm = np.arange(100) < 40
    groups = [*np.repeat(["a", "b", "c", "d", "e"], 8), *[None] * 60]
    for seed in range(400):
        chance = np.random.default_rng(seed)
        x = chance.normal(size=(100, 1)) + 0.5 * arm[:, None]
        shared = np.concatenate([np.repeat(chance.normal(0, 0.5, 5), 8), np.zeros(60)])
        y = x[:, 0] + shared + chance.normal(size=100)
        for name, labels in (("by group", groups), ("by person", None)):
            found = overlap_difference(y, arm, x, labels).difference
            assert found.ci_low is not None and found.ci_high is not None
            covered[name] += found.ci_low <= 0 <= found.ci_high
    assert abs(covered["by group"] / 400 - 0.95) < 0.033, covered
    assert covered["by person"] / 400 < 0.9, covered


class TestTooLittle:
    def test_nobody(self) -> None:
        found = overlap_difference([], [], [])
        assert (found.difference.reason, found.n_arm, found.balance) == ("nobody has a value", 0, ())

    def test_everybody_in_one_arm(self) -> None:
        y, _, x = members(1)
        for everybody in (np.ones(len(y), bool), np.zeros(len(y), bool)):
            found = overlap_difference(y, everybody, x)
            assert found.difference.reason == "everybody is in the same arm"
            assert found.effective_arm is None

    def test_covariates_that_tell_the_arms_apart(self) -> None:
        y, member, x = members(2)
        apart = np.column_stack([x[:, 0], x[:, 1] + 100 * member])
        found = overlap_difference(y, member, apart)
        assert found.difference.reason == "the covariates tell the arms apart completely"
        assert found.balance[0].before is not None and found.balance[0].after is None

    def test_a_category_of_one_arm_only(self) -> None:
        """Quasi-separation: its coefficient has no bound, though the others have."""
        y, member, x = members(3)
        only = (np.arange(len(y)) % 3 == 0) & member
        assert fit_logistic(member, np.column_stack([np.ones(len(y)), x, only])).reason is not None

    def test_a_far_outlier_is_no_separation(self) -> None:
        y, member, x = members(4)
        x[0, 0], member[0] = 1e4, False
        assert overlap_difference(y, member, x).difference.reason is None

    def test_a_covariate_that_does_not_vary(self) -> None:
        y, member, x = members(5)
        found = overlap_difference(y, member, np.column_stack([x[:, 0], np.full(len(y), 2.2)]))
        assert found.difference.reason == "a covariate does not vary, or follows from the others"
        assert found.balance[1].reason == "no variance in either arm"

    def test_a_missing_value(self) -> None:
        y, member, x = members(6)
        x[3, 0] = np.nan
        found = overlap_difference(y, member, x)
        assert found.difference.reason == found.balance[0].reason == "a value is missing, or no number"

    def test_one_person_in_an_arm(self) -> None:
        chance = np.random.default_rng(1)
        found = overlap_difference(
            chance.normal(size=30), np.arange(30) == 4, np.abs(np.arange(30) - 4.0) % 3
        )
        assert found.difference.estimate is None and found.difference.reason

    def test_one_group_per_arm_is_not_separable(self) -> None:
        y, member, x = members(7)
        found = overlap_difference(y, member, x, ["group" if each else None for each in member])
        assert (found.difference.estimate, found.difference.reason) == (None, NOT_SEPARABLE)

    def test_an_outcome_without_variance_has_no_interval(self) -> None:
        _, member, x = members(8)
        found = overlap_difference(np.full(len(x), 3.3), member, x).difference
        assert (found.ci_low, found.reason) == (None, "no interval: no residual variance")

    def test_no_weights_are_nobody(self) -> None:
        assert effective_size([]) is None and effective_size([0.0, 0.0]) is None
        assert effective_size([2.0, 2.0, 2.0]) == pytest.approx(3)
