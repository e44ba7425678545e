"""Regression of people: laws that hold for all input, coverage with few groups, and too little.

That it agrees with independent code stands in test_agreement_models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evidence.linear import NOT_SEPARABLE, ONE_PERSON, clusters_of
from pipelines.evidence.regression import ancova, fit_linear

Floats = npt.NDArray[np.float64]

SEEDS = st.integers(0, 10_000)


def people(seed: int, n: int = 30) -> tuple[Floats, Floats, Any, list[str | None]]:
    """Outcome, baseline, arm, and groups of the arm's people: the others are in none."""
    chance = np.random.default_rng(seed)
    is_arm = np.arange(n) < n // 2
    baseline = chance.normal(20, 5, n)
    groups = [f"group {chance.integers(4)}" if each else None for each in is_arm]
    return baseline + 2 * is_arm + chance.normal(0, 3, n), baseline, is_arm, groups


class TestLaws:
    @settings(deadline=None)
    @given(SEEDS, st.randoms())
    def test_the_order_of_people_does_not_matter(self, seed: int, chance: Any) -> None:
        y, x, arm, groups = people(seed)
        order = list(range(len(y)))
        chance.shuffle(order)
        one = ancova(y, x, arm, clusters=groups).difference
        other = ancova(y[order], x[order], arm[order], clusters=[groups[i] for i in order]).difference
        assert (one.estimate, one.se, one.freedom) == pytest.approx(
            (other.estimate, other.se, other.freedom), rel=1e-9
        )

    @settings(deadline=None)
    @given(SEEDS)
    def test_names_of_groups_do_not_matter(self, seed: int) -> None:
        y, x, arm, groups = people(seed)
        renamed = [None if each is None else each[::-1] for each in groups]
        one, other = (ancova(y, x, arm, clusters=names).difference for names in (groups, renamed))
        assert (one.estimate, one.se, one.freedom) == pytest.approx(
            (other.estimate, other.se, other.freedom), rel=1e-9
        )

    @settings(deadline=None)
    @given(SEEDS, st.floats(0.1, 10), st.floats(-50, 50))
    def test_another_unit_is_another_unit_only(self, seed: int, scale: float, shift: float) -> None:
        y, x, arm, groups = people(seed)
        one = ancova(y, x, arm, clusters=groups).difference
        other = ancova(scale * y + shift, 3 * x - 7, arm, clusters=groups).difference
        assert one.estimate is not None and one.se is not None
        assert other.estimate == pytest.approx(scale * one.estimate, rel=1e-7, abs=1e-7)
        assert (other.se, other.freedom) == pytest.approx((scale * one.se, one.freedom), rel=1e-7)

    @settings(deadline=None)
    @given(SEEDS)
    def test_exchanging_the_arms_turns_the_sign(self, seed: int) -> None:
        y, x, arm, groups = people(seed)
        one, other = ancova(y, x, arm, clusters=groups), ancova(y, x, ~arm, clusters=groups)
        assert one.difference.estimate == pytest.approx(-(other.difference.estimate or 0), rel=1e-9)
        assert one.difference.se == pytest.approx(other.difference.se, rel=1e-9)
        assert (one.n_arm, one.n_reference) == (other.n_reference, other.n_arm)

    @settings(deadline=None)
    @given(SEEDS)
    def test_groups_of_one_are_no_groups(self, seed: int) -> None:
        y, x, arm, _ = people(seed)
        one, other = ancova(y, x, arm).difference, ancova(y, x, arm, clusters=list(range(len(y)))).difference
        assert (one.se, one.freedom) == pytest.approx((other.se, other.freedom), rel=1e-12)

    @settings(deadline=None)
    @given(SEEDS)
    def test_degrees_of_freedom_are_at_least_one_and_below_the_clusters(self, seed: int) -> None:
        y, x, arm, groups = people(seed)
        found = ancova(y, x, arm, clusters=groups)
        assert found.difference.freedom is not None
        assert 1 <= found.difference.freedom <= found.clusters

    def test_a_contrast_is_a_sum_of_coefficients(self) -> None:
        y, x, arm, groups = people(1)
        fit = fit_linear(y, np.column_stack([np.ones(len(y)), arm, x]), groups)
        assert fit.contrast([0, 1, 0]) == fit.coefficients[1]
        together = fit.contrast([1, 1, 20])
        expected = sum(w * (each.estimate or 0) for w, each in zip([1, 1, 20], fit.coefficients, strict=True))
        assert together.estimate == pytest.approx(expected)


def test_people_without_a_group_are_clusters_of_their_own() -> None:
    clusters = clusters_of(["a", None, "b", "a", float("nan"), None])
    assert clusters.count == 5
    assert clusters.codes[0] == clusters.codes[3]
    assert sorted(clusters.sizes) == [1, 1, 1, 1, 2]


def test_intervals_cover_the_truth_where_one_arm_has_few_groups() -> None:
    """400 seeds, 5 groups of 8 in one arm, 40 people in none: 95 % ± 3.3 % is three standard errors. That
    people in a group are alike must not be overlooked: without groups the same intervals cover less."""
    covered = {"by group": 0, "by person": 0}
    groups = [*np.repeat(["a", "b", "c", "d", "e"], 8), *[None] * 40]
    arm = np.arange(80) < 40
    for seed in range(400):
        chance = np.random.default_rng(seed)
        baseline = chance.normal(size=80)
        shared = np.concatenate([np.repeat(chance.normal(0, 0.5, 5), 8), np.zeros(40)])
        y = baseline + shared + chance.normal(size=80)
        for name, labels in (("by group", groups), ("by person", None)):
            found = ancova(y, baseline, arm, clusters=labels).difference
            assert found.ci_low is not None and found.ci_high is not None
            covered[name] += found.ci_low <= 0 <= found.ci_high
    assert abs(covered["by group"] / 400 - 0.95) < 0.033, covered
    assert covered["by person"] / 400 < 0.9, covered


class TestTooLittle:
    def test_one_group_per_arm_is_not_separable(self) -> None:
        y, x, arm, _ = people(3)
        both = ancova(y, x, arm, clusters=["here" if each else "there" for each in arm])
        partly = ancova(y, x, arm, clusters=["here" if each else None for each in arm])
        for found in (both, partly):
            assert (found.difference.estimate, found.difference.reason) == (None, NOT_SEPARABLE)
        assert (partly.n_arm, partly.n_reference, partly.clusters) == (15, 15, 16)

    def test_two_groups_per_arm_are(self) -> None:
        y, x, arm, _ = people(3)
        names = [f"{each} {i % 2}" for i, each in enumerate(arm)]
        assert ancova(y, x, arm, clusters=names).difference.ci_low is not None

    def test_one_cluster_is_not_separable(self) -> None:
        y, x, arm, _ = people(4)
        assert ancova(y, x, arm, clusters=["one"] * len(y)).difference.reason == NOT_SEPARABLE

    def test_one_person_in_an_arm_is_no_arm(self) -> None:
        y, x, _, _ = people(5)
        found = ancova(y, x, np.arange(len(y)) == 0)
        assert (found.difference.estimate, found.difference.reason) == (None, ONE_PERSON)

    @pytest.mark.parametrize("n", [0, 1, 2, 3])
    def test_few_people_have_a_reason(self, n: int) -> None:
        y, x, arm, _ = people(6)
        found = ancova(y[:n], x[:n], arm[:n]).difference
        assert found.estimate is None and found.reason

    def test_nobody_in_an_arm(self) -> None:
        y, x, arm, _ = people(7)
        found = ancova(y, x, np.zeros_like(arm))
        assert found.difference.reason == "nobody in one of the arms has a value"
        assert (found.n_arm, found.n_reference) == (0, 30)

    def test_covariates_that_say_nothing(self) -> None:
        y, x, arm, _ = people(8)
        for covariate in (np.ones(len(y)), 2 * x + 1, arm.astype(float), np.zeros(len(y))):
            found = ancova(y, x, arm, covariates=covariate).difference
            assert found.reason == "a covariate does not vary, or follows from the others"

    @pytest.mark.parametrize("value", [0.0, 7.3, 1e9])
    def test_an_outcome_without_variance_has_no_interval(self, value: float) -> None:
        y, x, arm, _ = people(9)
        found = ancova(np.full(len(y), value), x, arm).difference
        assert found.reason == "no interval: no residual variance"
        assert found.estimate == pytest.approx(0, abs=1e-12 * max(1, value)) and found.ci_low is None

    def test_who_lacks_a_value_is_left_out(self) -> None:
        y, x, arm, groups = people(10)
        gaps = y.copy(), x.copy()
        gaps[0][0] = gaps[1][-1] = np.nan
        found = ancova(*gaps, arm, clusters=groups)
        expected = ancova(y[1:-1], x[1:-1], arm[1:-1], clusters=groups[1:-1])
        assert found == expected and (found.n_arm, found.n_reference) == (14, 14)

    def test_a_missing_value_in_a_design_is_a_reason(self) -> None:
        assert fit_linear([1.0, np.nan, 2.0], np.ones((3, 1))).contrast([1]).reason == (
            "a value is missing, or no number"
        )

    def test_rows_that_are_not_the_outcomes_are_an_error(self) -> None:
        for design, labels in ((np.ones((3, 1)), None), (np.ones((2, 1)), ["a"])):
            with pytest.raises(ValueError, match="2 outcomes"):
                fit_linear([1.0, 2.0], design, labels)
