"""Models of people against independent code: 200 random data sets each, from seeds.

Independent are statsmodels, scipy, and formulas written with whole matrices, one person or cluster at a time.
1e-8 for what is closed, 1e-5 for what iterates. Laws and degenerate input stand in the tests of each model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import statsmodels.api as sm
from scipy import linalg, optimize, stats
from statsmodels.regression.mixed_linear_model import MixedLMParams
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_ind

from pipelines.evidence.equivalence import equivalence, non_inferiority
from pipelines.evidence.estimates import mean_difference, summarise
from pipelines.evidence.gee import Correction, fit_gee
from pipelines.evidence.mixed import Likelihood, fit_mixed
from pipelines.evidence.propensity import fit_logistic, overlap_difference
from pipelines.evidence.regression import ancova, fit_linear

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

CASES = 200
CLOSED, ITERATED = 1e-8, 1e-5


class Rows(NamedTuple):
    """Outcome, design, and whose or of which cluster the rows are."""

    y: Floats
    x: Floats
    codes: Integers


def grouped_people(seed: int) -> Iterator[Rows]:
    """People of one row, in a few groups of any size, in many, or each alone."""
    chance = np.random.default_rng(seed)
    for _ in range(CASES):
        n, p = int(chance.integers(12, 40)), int(chance.integers(1, 5))
        x = np.column_stack([np.ones(n), chance.normal(size=(n, p - 1))])
        codes = chance.integers(0, chance.choice([4, 10, 100]), n)
        y = x @ chance.normal(size=p) + chance.normal(size=100)[codes] + chance.normal(size=n)
        yield Rows(y, x, codes)


def waves_of_people(seed: int, count: tuple[int, int] = (8, 16)) -> Iterator[Rows]:
    """1 to 4 waves of each person, an arm, a wave and a covariate; people differ by little or much."""
    chance = np.random.default_rng(seed)
    while True:
        people = int(chance.integers(*count))
        codes = np.repeat(np.arange(people), chance.integers(1, 5, people))
        n = len(codes)
        x = np.column_stack([np.ones(n), codes % 2, np.arange(n) % 4, chance.normal(size=n)])
        between = chance.choice([0, 0.5, 1, 2]) * chance.normal(size=people)
        yield Rows(x @ chance.normal(size=4) + between[codes] + chance.normal(size=n), x, codes)


# --- Regression -------------------------------------------------------------------------------------------


def test_people_alone_have_the_coefficients_and_hc2_of_statsmodels() -> None:
    for y, x, _ in grouped_people(1):
        ours, theirs = fit_linear(y, x), sm.OLS(y, x).fit()
        assert ours.beta == pytest.approx(theirs.params, rel=CLOSED, abs=CLOSED)
        assert ours.covariance == pytest.approx(theirs.cov_HC2, rel=CLOSED, abs=1e-12)


def test_cr2_and_its_degrees_of_freedom_equal_their_definition() -> None:
    for y, x, codes in grouped_people(2):
        ours = fit_linear(y, x, codes)
        covariance, freedoms = _cr2(y, x, codes)
        assert ours.covariance == pytest.approx(covariance, rel=CLOSED, abs=1e-12)
        for found, freedom in zip(ours.coefficients, freedoms, strict=True):
            assert found.freedom == pytest.approx(freedom, rel=CLOSED)
            half = stats.t.ppf(0.975, freedom) * (found.se or 0)
            assert (found.ci_low, found.ci_high) == pytest.approx(
                ((found.estimate or 0) - half, (found.estimate or 0) + half), rel=CLOSED, abs=CLOSED
            )


def test_ancova_with_one_arm_in_groups_equals_the_definition() -> None:
    chance = np.random.default_rng(3)
    for _ in range(CASES):
        n = int(chance.integers(16, 40))
        arm = np.arange(n) < n // 2
        baseline, covariate = chance.normal(size=(2, n))
        y = 0.5 * baseline + 0.3 * arm + chance.normal(size=n)
        groups = [f"g{i % 4}" if each else None for i, each in enumerate(arm)]
        codes = np.where(arm, np.arange(n) % 4, 4 + np.arange(n))
        x = np.column_stack([np.ones(n), arm, baseline, covariate])
        ours = ancova(y, baseline, arm, covariates=covariate, clusters=groups)
        covariance, freedoms = _cr2(y, x, codes)
        assert ours.difference.estimate == pytest.approx(sm.OLS(y, x).fit().params[1], rel=CLOSED)
        assert ours.difference.se == pytest.approx(math.sqrt(covariance[1, 1]), rel=CLOSED)
        assert ours.difference.freedom == pytest.approx(freedoms[1], rel=CLOSED)
        assert (ours.n_arm, ours.n_reference, ours.clusters) == (n // 2, n - n // 2, 4 + n - n // 2)


def _cr2(y: Floats, x: Floats, codes: Integers) -> tuple[Floats, Floats]:
    """With all matrices of n × n, one cluster after the other (Bell & McCaffrey 2002)."""
    inverse = np.linalg.inv(x.T @ x)
    maker = np.eye(len(y)) - x @ inverse @ x.T
    residuals = maker @ y
    meat, columns = np.zeros_like(inverse), []
    for code in np.unique(codes):
        rows = codes == code
        adjusted = np.linalg.inv(linalg.sqrtm(maker[np.ix_(rows, rows)]).real) @ x[rows]
        score = adjusted.T @ residuals[rows]
        meat = meat + np.outer(score, score)
        columns.append(maker[:, rows] @ adjusted @ inverse)
    freedoms = []
    for j in range(x.shape[1]):
        quadratic = np.column_stack([each[:, j] for each in columns])
        products = quadratic.T @ quadratic
        freedoms.append(np.trace(products) ** 2 / (products**2).sum())
    return inverse @ meat @ inverse, np.array(freedoms)


# --- GEE --------------------------------------------------------------------------------------------------


def test_exchangeable_gee_equals_statsmodels() -> None:
    """Coefficients, scale, correlation; robust and Mancl and DeRouen's variance."""
    compared = without = 0
    for y, x, people in waves_of_people(4):
        ours = fit_gee(y, x, people, correction="none")
        if ours.linear.reason:  # so few people may have a moment that is no correlation
            assert "does not settle" in ours.linear.reason
            without += 1
            continue
        model = sm.GEE(y, x, groups=people, cov_struct=sm.cov_struct.Exchangeable())
        theirs: Any = model.fit(maxiter=1000, ctol=1e-12, cov_type="bias_reduced")
        assert ours.linear.beta == pytest.approx(theirs.params, rel=ITERATED, abs=ITERATED)
        assert ours.correlation == pytest.approx(model.cov_struct.dep_params, abs=ITERATED)
        assert ours.scale == pytest.approx(theirs.scale, rel=ITERATED)
        assert ours.linear.covariance == pytest.approx(theirs.cov_robust, rel=ITERATED, abs=1e-8)
        mancl = fit_gee(y, x, people, correction="Mancl-DeRouen")
        assert mancl.linear.covariance == pytest.approx(theirs.cov_robust_bc, rel=ITERATED, abs=1e-8)
        compared += 1
        if compared == CASES:
            break
    assert without < CASES / 5


def test_gee_of_independence_equals_statsmodels() -> None:
    for (y, x, people), _ in zip(waves_of_people(5), range(CASES), strict=False):
        ours = fit_gee(y, x, people, "independence", "none").linear
        theirs: Any = sm.GEE(y, x, groups=people).fit()
        assert ours.beta == pytest.approx(theirs.params, rel=CLOSED, abs=CLOSED)
        assert ours.covariance == pytest.approx(theirs.cov_robust, rel=CLOSED, abs=1e-12)


@pytest.mark.parametrize(("correction", "power"), [("Kauermann-Carroll", -0.5), ("Mancl-DeRouen", -1.0)])
def test_corrections_equal_their_definition(correction: Correction, power: float) -> None:
    compared = 0
    for y, x, people in waves_of_people(6):
        ours = fit_gee(y, x, people, correction=correction)
        if ours.correlation is None:
            continue
        found = _sandwich(y, x, people, ours.correlation, power)
        assert ours.linear.covariance == pytest.approx(found, rel=ITERATED, abs=1e-8)
        freedom = len(np.unique(people)) - 4
        assert {each.freedom for each in ours.linear.coefficients} == {freedom}
        compared += 1
        if compared == CASES:
            break


def _sandwich(y: Floats, x: Floats, people: Integers, correlation: float, power: float) -> Floats:
    """One person after the other, with the inverse of each correlation matrix."""
    parts = []
    for each in np.unique(people):
        rows = people == each
        count = int(rows.sum())
        parts.append((x[rows], y[rows], np.linalg.inv(_exchangeable(count, correlation))))
    bread = np.linalg.inv(sum(d.T @ v @ d for d, _, v in parts))
    beta = bread @ sum(d.T @ v @ z for d, z, v in parts)
    meat = np.zeros_like(bread)
    for d, z, v in parts:
        without = np.eye(len(z)) - d @ bread @ d.T @ v
        root = linalg.sqrtm(without) if power == -0.5 else without
        score = d.T @ v @ np.linalg.solve(root, z - d @ beta).real
        meat = meat + np.outer(score, score)
    return np.asarray(bread @ meat @ bread)


def _exchangeable(count: int, correlation: float) -> Floats:
    return (1 - correlation) * np.eye(count) + correlation * np.ones((count, count))


# --- Mixed model ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["REML", "ML"])
def test_the_mixed_model_is_where_statsmodels_likelihood_is_highest(by: Likelihood) -> None:
    """Its own search often stops short or fails, so scipy searches its likelihood."""
    compared = 0
    for y, x, people in waves_of_people(7, (6, 11)):
        ours = fit_mixed(y, x, people, by)
        if ours.log_likelihood is None or ours.between is None or ours.within is None:
            assert ours.linear.reason == "nobody has two waves"
            continue
        model = _mixed(y, x, people, by)
        ratio = _highest(model)
        assert ours.log_likelihood == pytest.approx(_likelihood(model, ratio), abs=1e-6)
        own = ours.between / ours.within
        assert _likelihood(model, own or 1e-8) == pytest.approx(ours.log_likelihood, abs=1e-6)
        theirs = model.get_fe_params(np.array([[ratio]]), np.zeros(0))[0]
        assert ours.linear.beta == pytest.approx(theirs, rel=ITERATED, abs=ITERATED)
        scale = model.get_scale(theirs, np.array([[ratio]]), np.zeros(0))
        assert (ours.within, ours.between) == pytest.approx((scale, ratio * scale), rel=1e-4, abs=1e-4)
        covariance = np.eye(len(y)) + own * (people[:, None] == people)
        weighted = sm.GLS(y, x, covariance).fit()
        expected = ours.within * weighted.normalized_cov_params
        assert ours.linear.beta == pytest.approx(weighted.params, rel=CLOSED, abs=CLOSED)
        assert ours.linear.covariance == pytest.approx(expected, rel=1e-7, abs=1e-10)
        compared += 1
        if compared == CASES:
            break


def _mixed(y: Floats, x: Floats, people: Integers, by: Likelihood) -> Any:
    """What its `fit` prepares before it evaluates a likelihood."""
    model = sm.MixedLM(y, x, groups=people)
    model.reml, model.cov_pen, model.fe_pen, model._cov_sing = by == "REML", None, None, 0
    return model


def _likelihood(model: Any, ratio: float) -> float:
    params = MixedLMParams.from_components(fe_params=np.zeros(4), cov_re=np.array([[ratio]]))
    return float(model.loglike(params))


def _highest(model: Any) -> float:
    grid = [1e-8, *np.geomspace(1e-3, 1e3, 14)]
    best = int(np.argmax([_likelihood(model, each) for each in grid]))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    found = optimize.minimize_scalar(
        lambda ratio: -_likelihood(model, ratio), bounds=bounds, method="bounded", options={"xatol": 1e-11}
    )
    return float(found.x)


# --- Propensity -------------------------------------------------------------------------------------------


def members(seed: int) -> Iterator[tuple[Floats, Any, Floats]]:
    """Outcome, membership and covariates of people whose membership has an estimable model."""
    chance = np.random.default_rng(seed)
    while True:
        n, m = int(chance.integers(30, 80)), int(chance.integers(1, 4))
        x = chance.normal(size=(n, m))
        is_member = chance.random(n) < 1 / (1 + np.exp(-x @ chance.normal(0, 0.7, m)))
        yield x @ chance.normal(size=m) + is_member + chance.normal(size=n), is_member, x


def test_logistic_regression_equals_statsmodels() -> None:
    for (_, member, covariates), _ in zip(members(8), range(CASES), strict=False):
        x = sm.add_constant(covariates)
        ours = fit_logistic(member, x)
        theirs: Any = sm.Logit(member, x).fit(disp=0, tol=1e-12, maxiter=200)
        assert ours.reason is None
        assert ours.beta == pytest.approx(theirs.params, rel=ITERATED, abs=ITERATED)
        assert ours.covariance == pytest.approx(theirs.cov_params(), rel=ITERATED, abs=1e-8)
        assert ours.probabilities == pytest.approx(theirs.predict(), rel=ITERATED)


def test_separation_is_said_just_where_a_linear_programme_finds_it() -> None:
    """Some combination puts nobody on the wrong side, and somebody on the right one (Albert & Anderson)."""
    chance = np.random.default_rng(9)
    separated = 0
    for _ in range(CASES):
        n, m = int(chance.integers(6, 16)), int(chance.integers(1, 4))
        x = np.column_stack([np.ones(n), chance.integers(0, 3, (n, m))]).astype(float)
        y = chance.random(n) < 0.5
        found = fit_logistic(y, x).reason
        if np.linalg.matrix_rank(x) < x.shape[1] or y.all() or not y.any() or n <= x.shape[1]:
            assert found is not None and "apart" not in found
            continue
        sides = np.where(y, 1, -1)[:, None] * x
        best = optimize.linprog(-sides.sum(axis=0), A_ub=-sides, b_ub=np.zeros(n), bounds=(-1, 1))
        is_separated = bool(best.fun < -1e-9)
        assert (found == "the covariates tell the arms apart completely") == is_separated, found
        separated += is_separated
    assert 20 < separated < CASES - 20


def test_the_variance_of_overlap_weights_is_that_of_stacked_equations() -> None:
    """Bread by numerical derivatives of all equations at once: logistic coefficients and both means."""
    for (y, member, covariates), _ in zip(members(10), range(CASES), strict=False):
        x = sm.add_constant(covariates)
        p = x.shape[1]

        def equations(theta: Floats, y: Floats = y, z: Any = member, x: Floats = x, p: int = p) -> Floats:
            e = 1 / (1 + np.exp(-x @ theta[:p]))
            means = z * (1 - e) * (y - theta[p]), ~z * e * (y - theta[p + 1])
            return np.column_stack([x * (z - e)[:, None], *means])

        e = np.asarray(sm.Logit(member, x).fit(disp=0, tol=1e-12, maxiter=200).predict())
        one = DescrStatsW(y[member], weights=1 - e[member])
        other = DescrStatsW(y[~member], weights=e[~member])
        beta = sm.Logit(member, x).fit(disp=0, tol=1e-12, maxiter=200).params
        theta = np.array([*beta, one.mean, other.mean])
        steps = 1e-5 * np.eye(p + 2)
        bread = np.linalg.inv(
            np.column_stack([(equations(theta + h) - equations(theta - h)).sum(axis=0) / 2e-5 for h in steps])
        )
        values = equations(theta)
        covariance = bread @ values.T @ values @ bread.T
        contrast = np.array([*np.zeros(p), 1, -1])
        ours = overlap_difference(y, member, covariates)
        assert ours.difference.estimate == pytest.approx(one.mean - other.mean, rel=ITERATED)
        assert ours.difference.se == pytest.approx(math.sqrt(contrast @ covariance @ contrast), rel=ITERATED)


def test_balance_and_effective_sizes_equal_weighted_statistics() -> None:
    for (y, member, covariates), _ in zip(members(11), range(CASES), strict=False):
        ours = overlap_difference(y, member, covariates)
        e = fit_logistic(member, sm.add_constant(covariates)).probabilities
        weights = {True: 1 - e[member], False: e[~member]}
        for found, covariate in zip(ours.balance, covariates.T, strict=True):
            raw = [DescrStatsW(covariate[each], ddof=1) for each in (member, ~member)]
            weighted = [
                DescrStatsW(covariate[each], weights[is_in]).mean
                for each, is_in in ((member, True), (~member, False))
            ]
            spread = math.sqrt((raw[0].var + raw[1].var) / 2)
            assert found.before == pytest.approx((raw[0].mean - raw[1].mean) / spread, rel=CLOSED)
            assert found.after == pytest.approx((weighted[0] - weighted[1]) / spread, abs=CLOSED)
        # The variance of a weighted mean of people alike, Σw²/(Σw)², is one over their effective number.
        sizes = [1 / np.square(each / each.sum()).sum() for each in weights.values()]
        assert [ours.effective_arm, ours.effective_reference] == pytest.approx(sizes, rel=CLOSED)


# --- Margins ----------------------------------------------------------------------------------------------


def test_equivalence_equals_statsmodels_two_one_sided_tests() -> None:
    chance = np.random.default_rng(12)
    for _ in range(CASES):
        a, b = chance.normal(0.3, 1, chance.integers(3, 40)), chance.normal(0, 2, chance.integers(3, 40))
        margin = float(chance.uniform(0.2, 2))
        ours = equivalence(mean_difference(summarise(a), summarise(b)), margin)
        p, low, high = ttost_ind(a, b, -margin, margin, usevar="unequal")
        assert (ours.p, ours.p_low, ours.p_high) == pytest.approx((p, low[1], high[1]), rel=CLOSED, abs=1e-15)
        interval = CompareMeans(DescrStatsW(a), DescrStatsW(b)).tconfint_diff(0.1, usevar="unequal")
        assert (ours.low, ours.high) == pytest.approx(interval, rel=CLOSED, abs=CLOSED)
        assert ours.verdict == ("equivalent" if p < 0.05 else "not shown")


def test_non_inferiority_equals_scipys_one_sided_test() -> None:
    chance = np.random.default_rng(13)
    for case in range(CASES):
        a, b = chance.normal(0.3, 1, chance.integers(3, 40)), chance.normal(0, 2, chance.integers(3, 40))
        margin, lower_is_better = float(chance.uniform(0.2, 2)), case % 2 == 0
        ours = non_inferiority(mean_difference(summarise(a), summarise(b)), margin, lower_is_better)
        shift, side = (margin, "less") if lower_is_better else (-margin, "greater")
        theirs = stats.ttest_ind(a - shift, b, equal_var=False, alternative=side)
        assert ours.p == pytest.approx(theirs.pvalue, rel=CLOSED, abs=1e-15)
        interval = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
        assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), rel=CLOSED, abs=CLOSED)
        assert (ours.verdict == "non-inferior") == (theirs.pvalue < 0.025)
