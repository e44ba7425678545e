"""Agreement between coders: examples worked by hand, laws that hold for all input, coverage, and too little.

That it agrees with independent code stands in test_agreement_communities.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evidence.agreement import ALL_AGREE, ONE_CODE, cohens_kappa, krippendorffs_alpha

pytestmark = pytest.mark.filterwarnings("error")

CODES = st.sampled_from(["respect", "safety", "purpose", None])
PAIRS = st.lists(st.tuples(CODES, CODES), max_size=25)
TABLES = st.integers(1, 4).flatmap(
    lambda coders: st.lists(st.lists(CODES, min_size=coders, max_size=coders), min_size=1, max_size=15)
)

KRIPPENDORFFS = [
    [1, 1, None, 1],
    [2, 2, 3, 2],
    [3, 3, 3, 3],
    [3, 3, 3, 3],
    [2, 2, 2, 2],
    [1, 2, 3, 4],
    [4, 4, 4, 4],
    [1, 1, 2, 1],
    [2, 2, 2, 2],
    [None, 5, 5, 5],
    [None, None, 1, 1],
    [None, None, 3, None],
]
"""Twelve units, four coders: the example of his papers, with nominal α 0.743."""


class TestKappa:
    def test_an_example_worked_by_hand(self) -> None:
        """20 both yes, 15 both no, 5 and 10 apart: pₒ 0.7, pₑ 0.5, κ 0.4 (as in many textbooks)."""
        one = ["yes"] * 25 + ["no"] * 25
        other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
        found = cohens_kappa(one, other)
        assert found.estimate.estimate == pytest.approx(0.4)
        assert (found.units, found.codes) == (50, 2)

    def test_missing_codes_are_left_out_and_counted(self) -> None:
        found = cohens_kappa(["a", "b", None, "a"], ["a", "b", "b", float("nan")])
        assert (found.units, found.asked) == (2, 4)
        assert (found.estimate.estimate, found.estimate.reason) == (1.0, ALL_AGREE)

    @given(PAIRS)
    def test_it_does_not_matter_who_is_first(self, pairs: list[tuple[Any, Any]]) -> None:
        one, other = [a for a, _ in pairs], [b for _, b in pairs]
        found, turned = cohens_kappa(one, other).estimate, cohens_kappa(other, one).estimate
        assert found.reason == turned.reason
        if found.estimate is not None:
            assert turned.estimate == pytest.approx(found.estimate)
            assert -1 <= found.estimate <= 1

    @pytest.mark.parametrize(
        ("one", "other", "reason"),
        [
            ([], [], "no unit was coded by both"),
            (["a"], [None], "no unit was coded by both"),
            (["a", "a"], ["a", "a"], ONE_CODE),
        ],
    )
    def test_too_little_has_a_reason(self, one: list[Any], other: list[Any], reason: str) -> None:
        assert cohens_kappa(one, other).estimate.reason == reason

    def test_numbers_that_differ_are_a_mistake_of_the_caller(self) -> None:
        with pytest.raises(ValueError, match="2 codes, 1 codes"):
            cohens_kappa(["a", "b"], ["a"])


class TestAlpha:
    def test_krippendorffs_own_example(self) -> None:
        found = krippendorffs_alpha(np.array(KRIPPENDORFFS, object))
        assert f"{found.estimate.estimate:.3f}" == "0.743"
        assert (found.units, found.asked, found.codes) == (11, 12, 5)

    @given(TABLES, st.randoms())
    def test_the_order_of_units_coders_and_names_does_not_matter(self, table: Any, chance: Any) -> None:
        rows = [chance.sample(row, len(row)) for row in table]
        chance.shuffle(rows)
        names = {"respect": 3, "safety": 1, "purpose": 2, None: float("nan")}
        renamed = [[names[each] for each in row] for row in rows]
        one = krippendorffs_alpha(np.array(table, object)).estimate
        other = krippendorffs_alpha(renamed).estimate
        assert other.reason == one.reason
        if one.estimate is not None:
            assert other.estimate == pytest.approx(one.estimate)
            assert one.estimate <= 1
        if one.se is not None:
            assert other.se == pytest.approx(one.se)

    @pytest.mark.parametrize(
        ("table", "reason"),
        [
            ([], "no unit was coded by two"),
            ([["a", None], [None, "b"]], "no unit was coded by two"),
            ([["a", "a"], ["a", "a"]], ONE_CODE),
            ([["a", "a"], ["b", "b"]], ALL_AGREE),
            ([["a", "b"]], "no interval: one unit"),
        ],
    )
    def test_too_little_has_a_reason(self, table: Any, reason: str) -> None:
        assert krippendorffs_alpha(np.array(table, object)).estimate.reason == reason


def test_intervals_cover_the_truth_nearly_at_the_nominal_rate() -> None:
    """Coders give the unit's own code in 80 %, else any: κ and α are 0.64 for two, whatever the sample.

    400 samples of 100 units: 95 % ± 3.3 % is three standard errors of the simulation.
    """
    covered = {"kappa": 0, "alpha": 0}
    for seed in range(400):
        chance = np.random.default_rng(seed)
        truth = chance.integers(0, 4, 100)
        codes = np.where(chance.random((2, 100)) < 0.8, truth, chance.integers(0, 4, (2, 100)))
        for name, found in (
            ("kappa", cohens_kappa(codes[0].tolist(), codes[1].tolist())),
            ("alpha", krippendorffs_alpha(codes.T)),
        ):
            low, high = found.estimate.ci_low, found.estimate.ci_high
            assert low is not None and high is not None
            covered[name] += low <= 0.64 <= high
    assert all(abs(found / 400 - 0.95) < 0.033 for found in covered.values()), covered
