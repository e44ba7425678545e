"""Meta-analysis against published digits, laws that hold for all input, and too little.

That it agrees with independent code stands in test_agreement_pooling.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evidence.effects import Counts, log_risk_ratio
from pipelines.evidence.pooling import (
    Conventions,
    Estimator,
    Interval,
    Pooled,
    compare,
    egger,
    leave_one_out,
    pool,
    regress,
)

BCG = Path(__file__).parents[2] / "infra" / "demo" / "data" / "bcg.csv"
INTERVALS: tuple[Interval, ...] = ("Hartung-Knapp", "Hartung-Knapp, at least Wald", "Wald")
ESTIMATORS: tuple[Estimator, ...] = ("fixed", "DL", "REML", "PM")

STUDIES = st.lists(st.tuples(st.floats(-3, 3), st.floats(0.01, 2)), min_size=2, max_size=12).map(
    lambda rows: (np.array([y for y, _ in rows]), np.array([v for _, v in rows]))
)


def bcg() -> tuple[list[float], list[float], list[dict[str, str]]]:
    rows = list(csv.DictReader(BCG.open()))
    found = [
        log_risk_ratio(
            Counts(int(row["tpos"]), int(row["tpos"]) + int(row["tneg"])),
            Counts(int(row["cpos"]), int(row["cpos"]) + int(row["cneg"])),
        )
        for row in rows
    ]
    return [each.effect or 0 for each in found], [each.variance or 0 for each in found], rows


def interval(found: Pooled) -> tuple[float, float]:
    assert found.estimate.ci_low is not None and found.estimate.ci_high is not None
    return found.estimate.ci_low, found.estimate.ci_high


class TestPublishedDigits:
    """13 BCG trials, log risk ratio: as metafor's manual and many others print them."""

    def test_one_effect_for_all(self) -> None:
        y, v, _ = bcg()
        found = pool(y, v, Conventions("fixed"))
        assert found.heterogeneity is not None and found.heterogeneity.q is not None
        assert f"{found.estimate.estimate:.4f}" == "-0.4303"
        assert [f"{end:.4f}" for end in interval(found)] == ["-0.5097", "-0.3509"]
        assert f"{found.heterogeneity.q:.4f}" == "152.2330"

    def test_dersimonian_and_laird(self) -> None:
        y, v, _ = bcg()
        found = pool(y, v, Conventions("DL", "Wald"))
        assert found.heterogeneity is not None
        assert f"{found.estimate.estimate:.4f}" == "-0.7141"
        assert [f"{end:.4f}" for end in interval(found)] == ["-1.0644", "-0.3638"]
        assert (f"{found.heterogeneity.tau2:.4f}", f"{found.heterogeneity.i2:.2f}") == ("0.3088", "92.12")

    def test_restricted_likelihood(self) -> None:
        y, v, _ = bcg()
        found = pool(y, v, Conventions("REML", "Wald", i2="tau2"))
        assert found.heterogeneity is not None
        assert (f"{found.estimate.estimate:.4f}", f"{found.estimate.se:.4f}") == ("-0.7145", "0.1798")
        assert (f"{found.heterogeneity.tau2:.4f}", f"{found.heterogeneity.i2:.2f}") == ("0.3132", "92.22")

    def test_latitude_explains_three_quarters(self) -> None:
        y, v, rows = bcg()
        found = regress(y, v, [float(row["ablat"]) for row in rows], Conventions("REML", "Wald"))
        assert found.heterogeneity is not None
        assert f"{found.coefficients[1].estimate:.4f}" == "-0.0291"
        assert (f"{found.heterogeneity.tau2:.4f}", f"{found.r2:.2f}") == ("0.0763", "75.63")


class TestLaws:
    @given(STUDIES, st.sampled_from(ESTIMATORS), st.randoms())
    def test_the_order_of_studies_does_not_matter(
        self, studies: Any, estimator: Estimator, chance: Any
    ) -> None:
        y, v = studies
        order = list(range(len(y)))
        chance.shuffle(order)
        one, other = pool(y, v, Conventions(estimator)), pool(y[order], v[order], Conventions(estimator))
        assert one.estimate.estimate == pytest.approx(other.estimate.estimate, rel=1e-6, abs=1e-6)

    @given(STUDIES, st.sampled_from(ESTIMATORS), st.floats(0.1, 10), st.floats(-5, 5))
    def test_another_unit_is_another_unit_only(
        self, studies: Any, estimator: Estimator, scale: float, shift: float
    ) -> None:
        y, v = studies
        one = pool(y, v, Conventions(estimator))
        other = pool(scale * y + shift, scale**2 * v, Conventions(estimator))
        assert one.heterogeneity is not None and other.heterogeneity is not None
        expected = scale * (one.estimate.estimate or 0) + shift
        assert other.estimate.estimate == pytest.approx(expected, rel=1e-5, abs=1e-5)
        tau2 = scale**2 * one.heterogeneity.tau2
        assert other.heterogeneity.tau2 == pytest.approx(tau2, rel=1e-4, abs=1e-4 * scale**2)

    @given(STUDIES, st.sampled_from(ESTIMATORS))
    def test_the_mean_is_among_the_effects_and_in_its_interval(
        self, studies: Any, estimator: Estimator
    ) -> None:
        y, v = studies
        found = pool(y, v, Conventions(estimator))
        assert found.estimate.estimate is not None
        assert y.min() - 1e-9 <= found.estimate.estimate <= y.max() + 1e-9
        if found.estimate.ci_low is not None and found.estimate.ci_high is not None:
            assert found.estimate.ci_low <= found.estimate.estimate <= found.estimate.ci_high
        if found.predicted:
            low, high = found.predicted
            assert low <= found.estimate.estimate <= high

    @given(STUDIES)
    def test_at_least_wald_is_at_least_as_wide(self, studies: Any) -> None:
        y, v = studies
        found: dict[Interval, float] = {
            how: pool(y, v, Conventions("REML", how)).estimate.se or 0.0 for how in INTERVALS
        }
        knapp, at_least, wald = (found[how] for how in INTERVALS)
        assert at_least == pytest.approx(max(knapp, wald))


class TestTooLittle:
    def test_no_study_says_so(self) -> None:
        found = pool([], [])
        assert (found.k, found.estimate.estimate) == (0, None)
        assert found.estimate.reason == "no study has an effect"

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_one_study_comes_back(self, estimator: Estimator) -> None:
        found = pool([0.3], [0.04], Conventions(estimator))
        assert (found.estimate.estimate, found.estimate.se) == pytest.approx((0.3, 0.2))
        assert interval(found) == pytest.approx((0.3 - 1.959964 * 0.2, 0.3 + 1.959964 * 0.2), rel=1e-6)
        assert found.predicted is None and found.prediction_reason

    def test_two_studies_predict_nothing(self) -> None:
        assert pool([0.1, 0.4], [0.1, 0.2]).prediction_reason == "fewer than 3 studies"

    def test_studies_that_agree_exactly_have_no_interval_of_hartung_and_knapp(self) -> None:
        found = pool([0.2, 0.2, 0.2], [0.1, 0.2, 0.3])
        assert found.estimate.reason == "no interval: the studies agree exactly"
        assert found.heterogeneity is not None and (found.heterogeneity.tau2, found.heterogeneity.i2) == (
            0,
            0,
        )
        assert pool([0.2, 0.2, 0.2], [0.1, 0.2, 0.3], Conventions("REML", "Wald")).estimate.ci_low is not None

    def test_moderators_that_say_nothing(self) -> None:
        assert regress([1, 2], [1, 1], [3, 4]).reason == "no more studies than coefficients"
        assert regress([1, 2, 3], [1, 1, 1], [4, 4, 4]).reason is not None

    def test_one_subgroup_is_no_comparison(self) -> None:
        assert compare([1, 2], [1, 1], ["a", "a"]).reason == "there is one subgroup only"
        assert compare([], [], []).reason == "no study has an effect"

    def test_equally_precise_studies_have_no_asymmetry(self) -> None:
        assert egger(np.arange(12.0), np.ones(12)).reason == "all studies are equally precise"

    def test_one_is_left_out_at_a_time(self) -> None:
        found = leave_one_out([1.0, 2.0, 3.0], [0.1, 0.1, 0.1])
        assert [each.estimate.estimate for each in found] == pytest.approx([2.5, 2.0, 1.5])

    @pytest.mark.parametrize(
        ("effects", "variances"), [([1.0], [0.1, 0.2]), ([1.0], [0.0]), ([math.nan], [0.1]), ([1.0], [-1.0])]
    )
    def test_what_is_no_study_is_an_error(self, effects: list[float], variances: list[float]) -> None:
        with pytest.raises(ValueError, match="variances"):
            pool(effects, variances)
