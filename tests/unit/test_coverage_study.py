"""The coverage study finds what is wrong, goes on where it was, and says where each expectation is from."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from pipelines.evidence.estimates import Estimate, not_estimated
from tests.coverage_study import __main__ as study
from tests.coverage_study import exact
from tests.coverage_study.declarations import Figure, Scenario, exactly
from tests.coverage_study.results import RESULTS, failed, text
from tests.coverage_study.sources import SOURCES
from tests.coverage_study.tallies import fingerprint, keep, kept, simulate, what_fails

DATASETS = 400
BY_NAME = {each.name: each for each in study.declared()}
MEAN = BY_NAME["mean-normal-5"]


def changed(scenario: Scenario, how: Callable[[Estimate], Estimate | bool]) -> Scenario:
    """The scenario with its only figure's answers changed."""
    (figure,) = scenario.figures

    def ask(data: Any) -> Estimate | bool:
        answer = figure.ask(data)
        assert isinstance(answer, Estimate)
        return how(answer)

    return replace(scenario, figures=(replace(figure, ask=ask),))


def scaled(answer: Estimate, factor: float) -> Estimate:
    assert answer.estimate is not None and answer.ci_low is not None
    half = factor * (answer.estimate - answer.ci_low)
    return replace(answer, ci_low=answer.estimate - half, ci_high=answer.estimate + half)


def findings(scenario: Scenario) -> list[str]:
    return failed(scenario, simulate(scenario, DATASETS))


class TestAWrongEstimator:
    def test_the_right_one_is_as_expected(self) -> None:
        assert findings(MEAN) == []

    def test_an_interval_half_as_wide_is_found(self) -> None:
        (finding,) = findings(changed(MEAN, lambda answer: scaled(answer, 0.5)))
        assert re.fullmatch(r"mean-normal-5, mean, t: 0\.\d+ is outside of 0\.9\d+ to \S+", finding)

    def test_an_interval_twice_as_wide_is_found(self) -> None:
        assert findings(changed(MEAN, lambda answer: scaled(answer, 2)))

    def test_an_interval_beside_the_truth_is_found(self) -> None:
        shifted = changed(MEAN, lambda answer: replace(answer, ci_low=(answer.ci_low or 0) + 4))
        assert findings(shifted)

    def test_claims_that_are_made_too_often_are_found(self) -> None:
        scenario = BY_NAME["non-inferiority-12-lower"]
        (figure,) = scenario.figures
        eager = replace(figure, ask=lambda arms: bool(figure.ask(arms) or arms[0][0] < 0))
        assert findings(scenario) == []
        assert findings(replace(scenario, figures=(eager,)))

    @pytest.mark.parametrize(
        "nothing",
        [not_estimated("mean", "no reason at all"), Estimate(12.0, 1.0, math.nan, math.nan, "mean")],
    )
    def test_one_that_gives_no_interval_is_found(self, nothing: Estimate) -> None:
        some = changed(MEAN, lambda answer: nothing if (answer.estimate or 0) > 14 else answer)
        assert "without an interval" in findings(some)[0]

    def test_one_that_raises_says_in_which_data_set(self) -> None:
        def ask(_: Any) -> Estimate:
            raise ZeroDivisionError

        broken = replace(MEAN, figures=(replace(MEAN.figures[0], ask=ask),))
        with pytest.raises(ZeroDivisionError) as caught:
            simulate(broken, 1)
        assert caught.value.__notes__ == ["in data set 0 of mean-normal-5"]


class TestARun:
    def run(self, monkeypatch: pytest.MonkeyPatch, folder: Path, *scenarios: Scenario) -> int:
        """With state in the folder and results on the terminal."""
        given = ("--only=mean", "--datasets=40", "--processes=1", f"--state={folder}")
        monkeypatch.setattr(sys, "argv", ["coverage-study", *given])
        monkeypatch.setattr(study, "declared", lambda: scenarios)
        return study.main()

    def test_it_goes_on_with_what_is_not_finished(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = BY_NAME["mean-normal-30"]
        assert self.run(monkeypatch, tmp_path, MEAN) == 0
        first = simulate(MEAN, 40)
        assert self.run(monkeypatch, tmp_path, MEAN, other) == 0
        assert "1 of 2 scenarios are done" in capsys.readouterr().err
        found = {path.stem for path in tmp_path.iterdir()}
        assert found == {"mean-normal-5", "mean-normal-30"}
        assert simulate(MEAN, 40) == first

    def test_its_exit_code_says_that_something_is_wrong(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        wrong = changed(MEAN, lambda answer: scaled(answer, 0.1))
        assert self.run(monkeypatch, tmp_path, wrong) == 1
        told = capsys.readouterr()
        assert "* FAILS: mean-normal-5, mean, t" in told.out
        assert "1 of 1 figures are not as expected" in told.err

    def test_what_was_found_of_others_is_found_anew(self, tmp_path: Path) -> None:
        tallies, mark = simulate(MEAN, 10), fingerprint(MEAN, 10)
        keep(tmp_path, mark, MEAN.name, tallies)
        assert kept(tmp_path, mark, MEAN.name) == tallies
        wider = changed(MEAN, lambda answer: scaled(answer, 1.001))
        moved = replace(MEAN, truth=12.001)
        for other in (fingerprint(MEAN, 11), fingerprint(wider, 10), fingerprint(moved, 10)):
            assert kept(tmp_path, other, MEAN.name) is None

    def test_what_is_expected_may_change_without_another_run(self) -> None:
        (figure,) = MEAN.figures
        other = replace(MEAN, figures=(replace(figure, expected=exactly(0.9, "")),))
        assert fingerprint(other, 10) == fingerprint(MEAN, 10)

    @pytest.mark.parametrize(
        "name",
        [
            "proportion-30-0.05",
            "pool-equal-5-0.1",
            "groups-3-9-unequal",
            "waves-10-arm",
            "dropout",
            "overlap-100",
        ],
    )
    def test_forty_data_sets_are_as_expected(self, name: str) -> None:
        scenario = BY_NAME[name]
        assert failed(scenario, simulate(scenario, 40)) == []


class TestWhatIsExpected:
    def test_every_expectation_cites_what_is_listed(self) -> None:
        cited = set()
        for scenario in BY_NAME.values():
            for figure in scenario.figures:
                names = [name for name in SOURCES if name in figure.expected.source]
                years = re.findall(r"(?:1[89]|20)\d\d", figure.expected.source)
                assert figure.expected.source and len(names) == len(years), figure.expected.source
                cited.update(names)
        assert cited == set(SOURCES)

    def test_the_committed_results_are_of_these_expectations(self) -> None:
        """Every row up to its expected share: estimator and band."""

        def rows(told: str) -> list[list[str]]:
            cells = [
                [cell.strip() for cell in line.split("|")[1:]] for line in told.splitlines() if "|" in line
            ]
            return [each[:2] for each in cells]

        assert rows(RESULTS.read_text()) == rows(text(study.declared(), {}, study.DATASETS))

    def test_the_committed_results_are_of_a_whole_run_in_which_nothing_failed(self) -> None:
        told = RESULTS.read_text()
        assert "not run" not in told.lower() and "FAILS" not in told
        assert re.search(r"(\d+) figures of .*\. \1 are as expected, 0 are not\.", told)

    def test_names_and_estimators_are_unique(self) -> None:
        assert len(BY_NAME) == len(study.declared())
        for scenario in BY_NAME.values():
            assert len({figure.estimator for figure in scenario.figures}) == len(scenario.figures)

    def test_more_data_sets_allow_less(self) -> None:
        expected = exactly(0.95, "")
        low, high = expected.allowed(2_000)
        lower, higher = expected.allowed(500)
        assert lower < low < 0.95 < high < higher
        assert low == pytest.approx(0.95 - 4 * math.sqrt(0.95 * 0.05 / 2_000), abs=2e-3)

    def test_a_band_that_ends_at_one_allows_all(self) -> None:
        figure = Figure("", lambda _: True, exactly(1.0, ""))
        scenario = replace(MEAN, figures=(figure,))
        assert what_fails(figure, simulate(scenario, 5)[""]) is None


class TestExactly:
    """What quadrature and enumeration give where a table or another formula knows it as well."""

    def test_wald_of_much_heterogeneity_is_t_with_a_normal_quantile(self) -> None:
        for k in (5, 10, 30):
            known = 1 - 2 * stats.t.sf(exact.Z, k - 1)
            assert exact.wald(k, 1e-9, 1.0) == pytest.approx(known, abs=2e-4)

    def test_wilson_at_a_half_of_ten(self) -> None:
        assert exact.wilson(10, 0.5) == pytest.approx(1 - 22 / 1024)  # all but 0, 1, 9 and 10

    def test_welch_of_two_equal_large_arms_is_nominal(self) -> None:
        assert exact.welch((400, 400), (1, 3)) == pytest.approx(0.95, abs=2e-4)

    def test_equal_arms_have_a_pooled_variance(self) -> None:
        known = 1 - 2 * stats.t.sf(2.0, 18)
        assert exact.two_means((10, 10), 2.0) == pytest.approx(known, abs=2e-4)

    def test_g_of_many_people_is_nominal(self) -> None:
        assert exact.hedges((2_000, 2_000), 0.3) == pytest.approx(0.95, abs=1e-3)

    def test_a_prediction_by_a_known_mean_square_is_t(self) -> None:
        """Without variance within studies the new effect and s² are a t statistic with k − 1."""
        known = 1 - 2 * stats.t.sf(2.5, 9)
        assert exact.prediction(10, 1e-9, 1.0, 2.5) == pytest.approx(known, abs=2e-4)

    def test_people_who_differ_much_are_means_of_people(self) -> None:
        arm, _ = exact.mixed_balanced(10, 4, 0.99)
        assert arm == pytest.approx(1 - 2 * stats.t.sf(exact.t(6), 8), abs=2e-4)

    def test_one_effect_is_nominal_where_there_is_one(self) -> None:
        assert exact.one_effect(stats.uniform.ppf([0.1, 0.5, 0.9]), 0.0) == pytest.approx(0.95)

    def test_who_stays_by_chance_is_no_bias(self) -> None:
        assert exact.means_of_who_stayed(60, 5, 0.0, 1.5) == pytest.approx(0.95)
