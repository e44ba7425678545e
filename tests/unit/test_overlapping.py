"""Difference of shares of people of whom some are in both: against people themselves, and its two ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep

from pipelines.evidence.overlapping import Overlap, share_difference

SEEDS = 500


def overlap_of(before: list[int | None], after: list[int | None]) -> Overlap:
    """Of people, each with 0, 1 or nothing before and after."""
    pairs = [(x, y) for x, y in zip(before, after, strict=True) if x is not None and y is not None]
    x, y = [each for each in before if each is not None], [each for each in after if each is not None]
    return Overlap(
        len(x), len(y), sum(x), sum(y), len(pairs), sum(x for x, _ in pairs), sum(y for _, y in pairs),
        sum(x * y for x, y in pairs),
    )  # fmt: skip


def test_without_anybody_in_both_it_is_newcombes() -> None:
    found = share_difference(Overlap(80, 120, 20, 55, 0, 0, 0, 0))
    low, high = confint_proportions_2indep(55, 120, 20, 80, compare="diff", method="newcomb")
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high))


def test_with_everybody_in_both_its_standard_error_is_that_of_pairs() -> None:
    """(b + c)/n² − (b − c)²/n³, of people who changed."""
    found = share_difference(Overlap(100, 100, 40, 55, 100, 40, 55, 30))
    b, c, n = 25, 10, 100
    assert found.se == pytest.approx(math.sqrt((b + c) / n**2 - (b - c) ** 2 / n**3))
    apart = share_difference(Overlap(100, 100, 40, 55, 0, 0, 0, 0))
    assert (found.ci_high or 0) - (found.ci_low or 0) < (apart.ci_high or 0) - (apart.ci_low or 0)


PERSON = st.sampled_from([None, 0, 1])


@given(st.lists(st.tuples(PERSON, PERSON), max_size=40))
def test_it_holds_its_estimate_and_stays_within_minus_one_and_one(
    people: list[tuple[int | None, int | None]],
) -> None:
    found = share_difference(overlap_of([x for x, _ in people], [y for _, y in people]))
    if found.estimate is None:
        assert found.reason
        return
    assert found.ci_low is not None and found.ci_high is not None
    assert -1 <= found.ci_low <= found.estimate <= found.ci_high <= 1


def test_nobody_changes_nothing() -> None:
    found = share_difference(Overlap(50, 50, 0, 0, 50, 0, 0, 0))
    assert found.estimate == 0 and (found.ci_low or 0) < 0 < (found.ci_high or 0)


def test_it_covers_whatever_part_of_the_people_is_in_both() -> None:
    chance = np.random.default_rng(5)
    covered = 0
    for _ in range(SEEDS):
        lean = chance.normal(size=150)
        before: list[int | None] = [int(each) for each in chance.random(150) < 1 / (1 + np.exp(1.5 - lean))]
        after: list[int | None] = [int(each) for each in chance.random(150) < 1 / (1 + np.exp(1.5 - lean))]
        some = overlap_of([*before[:110], *[None] * 40], [*[None] * 30, *after[30:]])
        found = share_difference(some)
        covered += (found.ci_low or 0) <= 0 <= (found.ci_high or 0)
    assert 0.93 <= covered / SEEDS <= 0.98
