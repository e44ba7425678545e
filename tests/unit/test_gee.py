"""GEE: the Beat-the-Blues trial by statsmodels, laws that hold for all input, and too little.

That it agrees with independent code in general stands in test_agreement_models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evidence.gee import FEW, Correction, fit_gee
from pipelines.evidence.linear import ONE_PERSON
from pipelines.evidence.regression import fit_linear
from tests.fakes.beat_the_blues import waves

Floats = npt.NDArray[np.float64]

SEEDS = st.integers(0, 10_000)
CORRECTIONS: tuple[Correction, ...] = ("none", "Kauermann-Carroll", "Mancl-DeRouen")


def repeated(seed: int, count: int = 25, slope: float = 0.3) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Outcome, design (intercept, arm, wave, covariate) and person of up to four waves of each."""
    chance = np.random.default_rng(seed)
    person = np.repeat(np.arange(count), 4)
    wave = np.tile(np.arange(4.0), count)
    there = (wave == 0) | (chance.random(len(person)) < 0.8)
    person, wave = person[there], wave[there]
    design = np.column_stack([np.ones(len(person)), person % 2, wave, chance.normal(size=len(person))])
    y = slope * wave + chance.normal(size=count)[person] + chance.normal(size=len(person))
    return y, design, person


@pytest.mark.parametrize("correlation", ["exchangeable", "independence"])
def test_beat_the_blues_equals_statsmodels(correlation: Any) -> None:
    scores, people, design = waves()
    structure = {"exchangeable": sm.cov_struct.Exchangeable, "independence": sm.cov_struct.Independence}
    model = sm.GEE(scores, design, groups=people, cov_struct=structure[correlation]())
    for correction, cov_type in (("none", "robust"), ("Mancl-DeRouen", "bias_reduced")):
        theirs: Any = model.fit(maxiter=500, ctol=1e-12, cov_type=cov_type)
        ours = fit_gee(scores, design, people, correlation, correction)  # type: ignore[arg-type]
        assert (ours.linear.n, ours.linear.clusters) == (280, 97)
        assert ours.linear.beta == pytest.approx(theirs.params, rel=1e-7)
        assert [each.se for each in ours.linear.coefficients] == pytest.approx(theirs.bse, rel=1e-7)
        assert ours.scale == pytest.approx(theirs.scale, rel=1e-7)


class TestLaws:
    @settings(max_examples=30, deadline=None)
    @given(SEEDS, st.randoms())
    def test_the_order_of_rows_does_not_matter(self, seed: int, chance: Any) -> None:
        y, x, person = repeated(seed)
        order = list(range(len(y)))
        chance.shuffle(order)
        one, other = fit_gee(y, x, person), fit_gee(y[order], x[order], person[order])
        assert one.linear.beta == pytest.approx(other.linear.beta, rel=1e-7, abs=1e-9)
        assert one.linear.covariance == pytest.approx(other.linear.covariance, rel=1e-7, abs=1e-12)

    @settings(max_examples=30, deadline=None)
    @given(SEEDS)
    def test_names_of_people_do_not_matter(self, seed: int) -> None:
        y, x, person = repeated(seed)
        one, other = fit_gee(y, x, person), fit_gee(y, x, [f"p{997 * each % 1009}" for each in person])
        assert one.linear.covariance == pytest.approx(other.linear.covariance, rel=1e-9, abs=1e-14)

    @settings(max_examples=30, deadline=None)
    @given(SEEDS, st.floats(0.1, 10), st.floats(-50, 50))
    def test_another_unit_is_another_unit_only(self, seed: int, scale: float, shift: float) -> None:
        y, x, person = repeated(seed)
        one, other = fit_gee(y, x, person), fit_gee(scale * y + shift, x, person)
        assert other.correlation == pytest.approx(one.correlation, rel=1e-6, abs=1e-7)
        assert other.linear.beta[1:] == pytest.approx(scale * one.linear.beta[1:], rel=1e-6, abs=1e-6)
        assert other.linear.covariance == pytest.approx(scale**2 * one.linear.covariance, rel=1e-6)

    @settings(max_examples=30, deadline=None)
    @given(SEEDS)
    def test_corrections_only_add(self, seed: int) -> None:
        y, x, person = repeated(seed)
        plain, kauermann, mancl = (
            np.diag(fit_gee(y, x, person, "independence", each).linear.covariance) for each in CORRECTIONS
        )
        assert (plain < kauermann).all() and (kauermann < mancl).all()

    def test_independence_after_kauermann_and_carroll_is_cr2(self) -> None:
        y, x, person = repeated(2)
        gee = fit_gee(y, x, person, "independence", "Kauermann-Carroll").linear
        assert gee.covariance == pytest.approx(fit_linear(y, x, person).covariance, rel=1e-10)


class TestWhatIsTold:
    def test_few_people_are_corrected_and_warned_of(self) -> None:
        y, x, person = repeated(1, FEW - 1)
        found = fit_gee(y, x, person).linear
        assert "Kauermann and Carroll; t(K - p); small sample: 39 people" in found.method
        assert found.coefficients[0].freedom == 39 - 4

    def test_many_people_are_not(self) -> None:
        y, x, person = repeated(1, FEW)
        found = fit_gee(y, x, person).linear
        assert "robust variance; normal interval" in found.method and "small sample" not in found.method
        assert found.coefficients[0].freedom is None


def test_intervals_of_few_people_cover_the_truth() -> None:
    """400 seeds of 20 people: 95 % ± 3.3 % is three standard errors of the simulation."""
    covered = 0
    for seed in range(400):
        y, x, person = repeated(seed, 20, slope=0.3)
        found = fit_gee(y, x, person).linear.coefficients[2]
        assert found.ci_low is not None and found.ci_high is not None
        covered += found.ci_low <= 0.3 <= found.ci_high
    assert abs(covered / 400 - 0.95) < 0.033


class TestTooLittle:
    def test_nobody_has_a_value(self) -> None:
        assert fit_gee([], np.empty((0, 2)), []).linear.contrast([1, 0]).reason == "nobody has a value"

    def test_no_more_rows_than_coefficients(self) -> None:
        y, x, person = repeated(3)
        assert fit_gee(y[:4], x[:4], person[:4]).linear.reason == "no more rows than coefficients"

    def test_one_wave_has_no_correlation_but_may_be_independent(self) -> None:
        y, x, _ = repeated(4)
        people = range(len(y))
        assert fit_gee(y, x, list(people)).linear.reason == "nobody has two waves"
        assert fit_gee(y, x, list(people), "independence").linear.coefficients[0].ci_low is not None

    def test_one_person_says_nothing_of_people(self) -> None:
        y, x, _ = repeated(5)
        found = fit_gee(y, x[:, [0, 2]], ["one"] * len(y), "independence").linear.contrast([0, 1])
        assert found.estimate is None and found.reason == ONE_PERSON

    def test_no_more_people_than_coefficients_have_no_interval(self) -> None:
        y, x, person = repeated(6)
        few = person < 4
        found = fit_gee(y[few], x[few], person[few], "independence").linear.contrast([0, 0, 1, 0])
        assert found.ci_low is None and found.reason == "no interval: no more people than coefficients"

    def test_one_person_in_an_arm_is_no_arm(self) -> None:
        y, x, person = repeated(7)
        x[:, 1] = person == 3
        found = fit_gee(y, x, person).linear
        assert found.contrast([0, 1, 0, 0]).reason == ONE_PERSON
        assert found.contrast([0, 0, 1, 0]).ci_low is not None

    def test_a_covariate_that_does_not_vary(self) -> None:
        y, x, person = repeated(8)
        x[:, 3] = 2
        found = fit_gee(y, x, person).linear
        assert found.reason == "a covariate does not vary, or follows from the others"
        assert found.coefficients == ()

    def test_an_outcome_without_variance_has_no_interval(self) -> None:
        _, x, person = repeated(9)
        for y in (np.full(len(x), 3.3), 2 + x[:, 2]):
            found = fit_gee(y, x, person).linear.contrast([0, 0, 1, 0])
            assert found.reason == "no interval: no residual variance"

    def test_a_correlation_that_none_can_be_is_a_reason(self) -> None:
        """Two waves that contradict each other: the moment is −6/5 · 11/12."""
        found = fit_gee(np.tile([1.0, -1.0], 6), np.ones((12, 1)), np.repeat(np.arange(6), 2)).linear
        assert found.reason == "the working correlation does not settle among those that can be"
