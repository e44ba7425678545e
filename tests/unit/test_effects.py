"""Effect sizes of studies against independent formulas, and studies that have none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import Table2x2

from pipelines.evidence.effects import (
    Counts,
    Effect,
    fishers_z,
    log_odds_ratio,
    log_risk_ratio,
    logit_proportion,
    mean_difference,
    standardised_mean_difference,
)
from pipelines.evidence.estimates import Summary, hedges_g

CASES = 200


def random_tables(seed: int) -> list[tuple[Counts, Counts]]:
    """Some of them with a cell of zero."""
    chance = np.random.default_rng(seed)
    tables = []
    for _ in range(CASES):
        n1, n2 = (int(n) for n in chance.integers(3, 60, 2))
        events1, events2 = int(chance.integers(0, n1 + 1)), int(chance.integers(0, n2 + 1))
        tables.append((Counts(events1, n1), Counts(events2, n2)))
    return tables


def says_nothing(arm: Counts, reference: Counts) -> bool:
    return arm.events == reference.events == 0 or (arm.events == arm.n and reference.events == reference.n)


def with_half(arm: Counts, reference: Counts) -> Table2x2:
    cells = np.array(
        [[arm.events, arm.n - arm.events], [reference.events, reference.n - reference.events]], float
    )
    return Table2x2(cells + 0.5 if (cells == 0).any() else cells, shift_zeros=False)


def reason_of(effect: Effect) -> str:
    assert effect.effect is None and effect.variance is None
    return str(effect.reason)


def test_ratios_equal_those_of_statsmodels() -> None:
    zero_cells = 0
    for arm, reference in random_tables(1):
        if says_nothing(arm, reference):
            assert "says nothing" in reason_of(log_risk_ratio(arm, reference))
            assert "says nothing" in reason_of(log_odds_ratio(arm, reference))
            continue
        theirs = with_half(arm, reference)
        zero_cells += theirs.table[0, 0] % 1 == 0.5
        risk, odds = log_risk_ratio(arm, reference), log_odds_ratio(arm, reference)
        assert (risk.effect, risk.variance) == pytest.approx(
            (theirs.log_riskratio, theirs.log_riskratio_se**2), rel=1e-8, abs=1e-12
        )
        assert (odds.effect, odds.variance) == pytest.approx(
            (theirs.log_oddsratio, theirs.log_oddsratio_se**2), rel=1e-8, abs=1e-12
        )
    assert zero_cells > 5


def test_means_equal_those_of_scipy() -> None:
    chance = np.random.default_rng(2)
    for _ in range(CASES):
        a, b = chance.normal(1, 2, chance.integers(2, 40)), chance.normal(0, 3, chance.integers(2, 40))
        one, other = (Summary(len(x), float(x.mean()), float(x.std(ddof=1))) for x in (a, b))
        found = mean_difference(one, other)
        theirs = stats.ttest_ind(a, b, equal_var=False)
        assert found.effect == pytest.approx(a.mean() - b.mean(), rel=1e-8)
        assert (found.effect or 0) / math.sqrt(found.variance or 0) == pytest.approx(
            theirs.statistic, rel=1e-8
        )
        g, again = standardised_mean_difference(one, other), hedges_g(one, other)
        assert g.effect == again.estimate
        assert math.sqrt(g.variance or 0) == pytest.approx(again.se)


def test_a_correlation_is_transformed_as_scipy_does() -> None:
    chance = np.random.default_rng(3)
    for _ in range(CASES):
        n = int(chance.integers(4, 200))
        a = chance.normal(size=n)
        both = stats.pearsonr(a, a + chance.normal(size=n))
        found = fishers_z(float(both.statistic), n)
        half = stats.norm.ppf(0.975) * math.sqrt(found.variance or 0)
        ends = [math.tanh((found.effect or 0) + sign * half) for sign in (-1, 1)]
        assert ends == pytest.approx(list(both.confidence_interval(0.95)), rel=1e-8)


def test_a_proportion_on_the_logit_scale() -> None:
    found = logit_proportion(Counts(3, 12))
    assert (found.effect, found.variance) == pytest.approx((math.log(1 / 3), 1 / 3 + 1 / 9))
    none, everybody = logit_proportion(Counts(0, 10)), logit_proportion(Counts(10, 10))
    assert none.effect == pytest.approx(math.log(0.5 / 10.5)) and none.variance == everybody.variance
    assert everybody.effect == -(none.effect or 0)


@pytest.mark.parametrize(
    ("effect", "why"),
    [
        (log_risk_ratio(Counts(0, 0), Counts(1, 5)), "nobody in one of the arms"),
        (log_odds_ratio(Counts(1, 5), Counts(0, 0)), "nobody in one of the arms"),
        (mean_difference(Summary(1, 3.0, None), Summary(4, 2.0, 1.0)), "no standard deviation"),
        (mean_difference(Summary(3, 3.0, 0.0), Summary(4, 2.0, 0.0)), "no variance"),
        (standardised_mean_difference(Summary(0, None, None), Summary(4, 2.0, 1.0)), "nobody"),
        (fishers_z(0.4, 3), "fewer than four"),
        (fishers_z(1.0, 30), "not between"),
        (logit_proportion(Counts(0, 0)), "denominator"),
    ],
)
def test_a_study_without_an_effect_says_why(effect: Effect, why: str) -> None:
    assert why in reason_of(effect)
