"""Statistics of communities, surveys and coders against independent code: 200 random data sets, from seeds.

Independent are statsmodels, networkx, scipy, and definitions written out row by row or with whole matrices.
1e-8 for what is closed, 1e-5 for what iterates. Laws and degenerate input stand in the tests of each module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import numpy.typing as npt
import pytest
import statsmodels.api as sm
from scipy import optimize, stats
from statsmodels.duration.survfunc import CumIncidenceRight, SurvfuncRight
from statsmodels.stats.inter_rater import cohens_kappa as statsmodels_kappa

from pipelines.evidence.agreement import cohens_kappa, krippendorffs_alpha
from pipelines.evidence.communities import describe_replies, gini
from pipelines.evidence.estimates import Estimate
from pipelines.evidence.firth import fit_firth
from pipelines.evidence.survey import EMPTY_CELL, Design, design_of, logistic_odds, prevalence
from pipelines.evidence.survival import clustered_survival, follow

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

CASES = 200
CLOSED, ITERATED = 1e-8, 1e-5


def waits(seed: int) -> Iterator[tuple[Integers, Integers]]:
    """Durations with many ties, and what ended them: 0 the end of the data, 1 a reply, 2 a removal."""
    chance = np.random.default_rng(seed)
    for _ in range(CASES):
        n = int(chance.integers(5, 60))
        yield chance.integers(1, chance.choice([6, 30, 500]), n), chance.choice(3, n, p=[0.3, 0.5, 0.2])


# --- Survival ---------------------------------------------------------------------------------------------


def test_kaplan_meier_and_greenwood_equal_statsmodels() -> None:
    for durations, causes in waits(1):
        ours = follow(durations, causes).curves()
        theirs = SurvfuncRight(durations, causes > 0)
        assert ours.followed.times == pytest.approx(theirs.surv_times)
        assert ours.followed.at_risk == pytest.approx(theirs.n_risk)
        assert ours.survival == pytest.approx(theirs.surv_prob, rel=CLOSED, abs=1e-12)
        is_left = theirs.surv_prob > 0  # else theirs has no standard error
        for time, se in zip(theirs.surv_times[is_left], theirs.surv_prob_se[is_left], strict=True):
            (found,) = ours.at(float(time))
            assert found.se == pytest.approx(se, rel=CLOSED)


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:divide by zero")
def test_intervals_of_medians_equal_statsmodels_where_it_reaches_them() -> None:
    compared = 0
    for durations, causes in waits(2):
        (found,) = follow(durations, causes).curves().quantiles()
        theirs = SurvfuncRight(durations, causes > 0)
        if found.estimate is None or found.ci_low is None or found.ci_high is None:
            continue
        low, high = theirs.quantile_ci(0.5, method="cloglog")
        # Where nobody is left it has no interval of the share, and so no end.
        assert (found.ci_low, found.ci_high) == (low, high) or theirs.surv_prob[-1] == 0
        compared += (found.ci_low, found.ci_high) == (low, high)
    assert compared > CASES / 2


def test_medians_equal_their_definition_in_fractions() -> None:
    for durations, causes in waits(3):
        (found,) = follow(durations, causes).curves().quantiles()
        left, median = Fraction(1), None
        for time in sorted(set(durations.tolist())):
            at_risk, gone = int((durations >= time).sum()), int(((durations == time) & (causes > 0)).sum())
            left *= Fraction(at_risk - gone, at_risk)
            if gone and left <= Fraction(1, 2) and median is None:
                median = time
        assert found.estimate == median


def test_restricted_means_equal_their_definition() -> None:
    chance = np.random.default_rng(4)
    for durations, causes in waits(4):
        until = float(chance.uniform(0, durations.max()))
        (found,) = follow(durations, causes).curves().restricted_means(until)
        theirs = SurvfuncRight(durations, causes > 0)
        times, shares = [0.0, *theirs.surv_times], [1.0, *theirs.surv_prob]

        def area(start: float, times: Any = times, shares: Any = shares, until: float = until) -> float:
            ends = [*times[1:], math.inf]
            pieces = zip(times, ends, shares, strict=True)
            return float(sum(s * max(0.0, min(b, until) - max(a, start)) for a, b, s in pieces))

        assert found.estimate == pytest.approx(area(0), rel=CLOSED, abs=1e-12)
        variance = sum(
            area(time) ** 2 * d / (n * (n - d))
            for time, n, d in zip(theirs.surv_times, theirs.n_risk, theirs.n_events, strict=True)
            if time <= until and n > d
        )
        assert (found.se or 0) == pytest.approx(math.sqrt(variance), rel=CLOSED, abs=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:divide by zero")
def test_aalen_johansen_and_its_variance_equal_statsmodels() -> None:
    for durations, causes in waits(5):
        if causes.max() < 2:
            continue
        theirs = CumIncidenceRight(durations, causes)
        for cause in (1, 2):
            ours = follow(durations, causes).incidence(cause)
            steps = np.searchsorted(theirs.times, ours.followed.times)
            assert ours.share == pytest.approx(theirs.cinc[cause - 1][steps], rel=CLOSED, abs=1e-12)
            expected = theirs.cinc_se[cause - 1][steps] ** 2  # NaN where nobody is left
            is_there = np.isfinite(expected)
            assert ours.variance[is_there] == pytest.approx(expected[is_there], rel=CLOSED, abs=1e-12)


def test_variance_over_clusters_is_that_of_numerical_derivatives() -> None:
    """How ln S(t) changes with the weight of each row, summed by cluster."""
    chance = np.random.default_rng(6)
    compared = 0
    for durations, causes in waits(6):
        time, labels = int(np.median(durations)), chance.integers(0, 6, len(durations))
        found = clustered_survival(durations, causes == 1, time, labels)
        if found.se is None or found.estimate is None:
            continue
        slopes = []
        for i in range(len(durations)):
            heights = []
            for change in (1e-5, -1e-5):
                weights = np.ones(len(durations))
                weights[i] += change
                heights.append(_log_survival(durations, causes == 1, weights, time))
            slopes.append((heights[0] - heights[1]) / 2e-5)
        sums = np.bincount(labels, slopes)
        k = len(np.unique(labels))
        expected = found.estimate * math.sqrt(k / (k - 1) * (sums**2).sum())
        assert found.se == pytest.approx(expected, rel=ITERATED)
        assert found.freedom == k - 1
        compared += 1
    assert compared > CASES / 2


def _log_survival(durations: Integers, happened: Any, weights: Floats, until: int) -> float:
    times = np.unique(durations[happened & (durations <= until)])
    at_risk = (weights * (durations >= times[:, None])).sum(axis=1)
    gone = (weights * happened * (durations == times[:, None])).sum(axis=1)
    return float(np.log1p(-gone / at_risk).sum())


# --- Surveys ----------------------------------------------------------------------------------------------


class Surveyed(NamedTuple):
    """Cases, covariates, weights, strata, and PSUs that no two strata share."""

    y: Any
    x: Floats
    weights: Floats
    stratum: Integers
    psu: Integers

    @property
    def design(self) -> Design:
        return design_of(self.weights, self.stratum, self.psu)


def surveys(seed: int, most_strata: int = 4) -> Iterator[Surveyed]:
    """Two PSUs and more in each stratum, and 8 people and more in each of them."""
    chance = np.random.default_rng(seed)
    for _ in range(CASES):
        strata, psus = int(chance.integers(1, most_strata + 1)), int(chance.integers(2, 6))
        n = strata * psus * int(chance.integers(8, 15))
        stratum = np.arange(n) % strata
        psu = stratum * 100 + np.arange(n) // strata % psus
        x = chance.normal(size=(n, int(chance.integers(1, 4))))
        y = chance.random(n) < 1 / (1 + np.exp(1 - x[:, 0] - chance.normal(0, 0.5, 500)[psu]))
        yield Surveyed(y, x, chance.uniform(0.5, 4, n), stratum, psu)


def test_in_one_stratum_a_share_is_statsmodels_weighted_mean_with_clusters() -> None:
    for each in surveys(7, most_strata=1):
        found = prevalence(each.y, each.design).share
        model = sm.WLS(each.y.astype(float), np.ones(len(each.y)), weights=each.weights)
        groups = {"groups": each.psu, "use_correction": False}
        theirs: Any = model.fit(cov_type="cluster", cov_kwds=groups)
        psus = len(np.unique(each.psu))
        assert found.estimate == pytest.approx(theirs.params[0], rel=CLOSED)
        assert found.se == pytest.approx(theirs.bse[0] * math.sqrt(psus / (psus - 1)), rel=CLOSED)
        assert found.freedom == psus - 1


def test_shares_of_a_part_and_of_all_equal_the_linearisation_written_out() -> None:
    for i, each in enumerate(surveys(8)):
        within = (each.x[:, 0] > 0) | bool(i % 2)
        found = prevalence(each.y, each.design, within).share
        w = each.weights * within
        p = w @ each.y / w.sum()
        variance = 0.0
        for stratum in np.unique(each.stratum):
            sums = [
                sum(w[i] * (each.y[i] - p) / w.sum() for i in np.flatnonzero(each.psu == unit))
                for unit in np.unique(each.psu[each.stratum == stratum])
            ]
            variance += len(sums) * float(np.var(sums, ddof=1))
        freedom = len(np.unique(each.psu)) - len(np.unique(each.stratum))
        reach = stats.t.ppf(0.975, freedom) * math.sqrt(variance) / (p * (1 - p))
        logits = math.log(p / (1 - p)) - reach, math.log(p / (1 - p)) + reach
        assert (found.estimate, found.se) == pytest.approx((p, math.sqrt(variance)), rel=CLOSED)
        ends = [1 / (1 + math.exp(-logit)) for logit in logits]
        assert [found.ci_low, found.ci_high] == pytest.approx(ends, rel=CLOSED)


@pytest.mark.filterwarnings("ignore:cov_type not fully supported")
def test_in_one_stratum_odds_are_statsmodels_with_clusters() -> None:
    for each in surveys(9, most_strata=1):
        odds = logistic_odds(each.y, each.x, each.design)
        if odds.reason:
            assert odds.reason == EMPTY_CELL
            continue
        ours = odds.log_ratios
        model = sm.GLM(
            each.y.astype(float),
            sm.add_constant(each.x),
            family=sm.families.Binomial(),
            freq_weights=each.weights,
        )
        groups = {"groups": each.psu, "use_correction": False}
        theirs: Any = model.fit(tol=1e-13, maxiter=200, cov_type="cluster", cov_kwds=groups)
        psus = len(np.unique(each.psu))
        errors = theirs.bse * math.sqrt(psus / (psus - 1))
        assert [o.estimate for o in ours] == pytest.approx(theirs.params, rel=ITERATED, abs=ITERATED)
        assert [o.se for o in ours] == pytest.approx(errors, rel=ITERATED)


def test_odds_of_a_part_and_of_all_equal_the_sandwich_written_out() -> None:
    for i, each in enumerate(surveys(10)):
        within = (each.x[:, 0] > -0.7) | bool(i % 2)
        x = sm.add_constant(each.x)
        ours = logistic_odds(each.y, each.x, each.design, within)
        if ours.reason:
            continue
        w = each.weights * within
        theirs: Any = sm.GLM(
            each.y[within].astype(float),
            x[within],
            family=sm.families.Binomial(),
            freq_weights=each.weights[within],
        ).fit(tol=1e-13, maxiter=200)
        p = 1 / (1 + np.exp(-x @ theirs.params))
        bread = np.linalg.inv((x.T * (w * p * (1 - p))) @ x)
        meat = np.zeros_like(bread)
        for stratum in np.unique(each.stratum):
            units = np.unique(each.psu[each.stratum == stratum])
            scores = x * (w * (each.y - p))[:, None]
            sums = np.array([scores[each.psu == unit].sum(axis=0) for unit in units])
            meat += len(units) * np.atleast_2d(np.cov(sums.T))
        errors = np.sqrt(np.diag(bread @ meat @ bread))
        found = ours.log_ratios
        assert [o.estimate for o in found] == pytest.approx(theirs.params, rel=ITERATED, abs=ITERATED)
        assert [o.se for o in found] == pytest.approx(errors, rel=ITERATED)


def test_firths_top_and_profile_are_those_of_the_penalised_likelihood() -> None:
    """Written out, searched by scipy. Every second set has a rare exposure, which often tells cases apart."""
    chance = np.random.default_rng(11)
    for case in range(CASES):
        n = int(chance.integers(15, 40))
        x = np.column_stack(
            [np.ones(n), chance.normal(size=n), chance.random(n) < (0.1 if case % 2 else 0.5)]
        )
        y = chance.random(n) < 1 / (1 + np.exp(1 - x[:, 1]))
        if np.linalg.matrix_rank(x) < 3:
            continue
        found = fit_firth(y, x)
        height = _penalised(y.astype(float), x)
        information = -sm.Logit(y.astype(float), x).hessian(np.ones(3))
        unpenalised = height(np.ones(3)) - 0.5 * np.linalg.slogdet(information)[1]
        assert unpenalised == pytest.approx(sm.Logit(y.astype(float), x).loglike(np.ones(3)))
        top = _highest(height, np.zeros(3))
        assert [each.estimate for each in found.coefficients] == pytest.approx(top, rel=1e-4, abs=1e-4)
        ours = np.array([each.estimate for each in found.coefficients])
        assert height(ours) >= height(top) - 1e-9
        j = case % 3
        each = found.coefficients[j]
        assert each.ci_low is not None and each.ci_high is not None, each
        for end in (each.ci_low, each.ci_high):
            profile = _profile(height, ours, j, end)
            assert height(ours) - profile == pytest.approx(stats.chi2.ppf(0.95, 1) / 2, abs=ITERATED)


def _penalised(y: Floats, x: Floats) -> Callable[[Floats], float]:
    def height(beta: Floats) -> float:
        logits = x @ beta
        p = 1 / (1 + np.exp(-logits))
        likelihood = float(y @ logits - np.logaddexp(0, logits).sum())
        return likelihood + 0.5 * float(np.linalg.slogdet((x.T * (p * (1 - p))) @ x)[1])

    return height


def _highest(height: Callable[[Floats], float], start: Floats) -> Floats:
    found = optimize.minimize(lambda beta: -height(beta), start, method="BFGS", options={"gtol": 1e-8})
    return np.asarray(found.x)


def _profile(height: Callable[[Floats], float], top: Floats, j: int, value: float) -> float:
    others = np.delete(top, j)

    def loss(free: Floats) -> float:
        return -height(np.insert(free, j, value))

    found = optimize.minimize(loss, others, method="BFGS", options={"gtol": 1e-6})
    return -float(found.fun)


# --- Coders and communities -------------------------------------------------------------------------------


def test_kappa_equals_statsmodels() -> None:
    chance = np.random.default_rng(12)
    for _ in range(CASES):
        n, kinds = int(chance.integers(10, 80)), int(chance.integers(2, 6))
        one = chance.integers(0, kinds, n)
        other = np.where(chance.random(n) < 0.6, one, chance.integers(0, kinds, n))
        table = np.zeros((kinds, kinds))
        np.add.at(table, (one, other), 1)
        ours, theirs = cohens_kappa(one.tolist(), other.tolist()).estimate, statsmodels_kappa(table)
        if ours.reason:
            assert (one == other).all()
            continue
        found = [ours.estimate, ours.se, ours.ci_low, ours.ci_high]
        expected = [theirs.kappa, theirs.std_kappa, theirs.kappa_low, theirs.kappa_upp]
        assert found == pytest.approx(expected, rel=1e-7, abs=CLOSED)


def coded(seed: int) -> Iterator[Floats]:
    """Units by coders, who agree in most; a quarter is missing."""
    chance = np.random.default_rng(seed)
    for _ in range(CASES):
        units, coders = int(chance.integers(6, 30)), int(chance.integers(2, 5))
        table = np.repeat(chance.integers(0, 4, (units, 1)), coders, axis=1).astype(float)
        any_code = chance.random(table.shape) < 0.4
        table[any_code] = chance.integers(0, 4, int(any_code.sum()))
        table[chance.random(table.shape) < 0.25] = np.nan
        yield table


def test_alpha_is_that_of_the_coincidence_matrix() -> None:
    for table in coded(13):
        found = krippendorffs_alpha(table)
        if found.codes > 1:
            units = [_coincidences(row) for row in table if np.isfinite(row).sum() > 1]
            assert found.units == len(units)
            assert found.estimate.estimate == pytest.approx(_alpha(units, 0, 0.0), rel=CLOSED, abs=CLOSED)


def test_the_variance_of_alpha_is_that_of_numerical_derivatives() -> None:
    """How α of the coincidence matrix changes with the weight of each unit."""
    for table in coded(14):
        found = krippendorffs_alpha(table).estimate
        if found.se is None:
            continue
        units = [_coincidences(row) for row in table if np.isfinite(row).sum() > 1]
        slopes = np.array(
            [(_alpha(units, i, 1e-5) - _alpha(units, i, -1e-5)) / 2e-5 for i in range(len(units))]
        )
        expected = math.sqrt(len(units) * float(np.var(slopes, ddof=1)))
        assert found.se == pytest.approx(expected, rel=ITERATED, abs=1e-9)
        assert found.freedom == len(units) - 1


def _coincidences(row: Floats) -> Floats:
    """Each ordered pair of codes of a unit, over one less than its codes."""
    codes = row[np.isfinite(row)].astype(int)
    found = np.zeros((4, 4))
    for i, a in enumerate(codes):
        for j, b in enumerate(codes):
            if i != j:
                found[a, b] += 1 / (len(codes) - 1)
    return found


def _alpha(units: list[Floats], i: int, change: float) -> float:
    together = np.sum(units, axis=0) + change * units[i]
    of_code = together.sum(axis=0)
    n = float(of_code.sum())
    observed = (together.sum() - np.trace(together)) / n
    expected = (n**2 - float(of_code @ of_code)) / (n * (n - 1))
    return float(1 - observed / expected)


def test_gini_is_the_mean_difference_of_all_pairs() -> None:
    chance = np.random.default_rng(15)
    for _ in range(CASES):
        x = np.floor(chance.pareto(1.2, int(chance.integers(1, 60))) * 3)
        if x.any():
            expected = np.abs(x[:, None] - x).mean() / (2 * x.mean())
            assert gini(x).estimate == pytest.approx(expected, rel=CLOSED, abs=1e-12)


def test_networks_equal_networkx() -> None:
    chance = np.random.default_rng(16)
    for _ in range(CASES):
        n = int(chance.integers(2, 25))
        arcs = chance.integers(0, n, (int(chance.integers(1, 80)), 2))
        graph = nx.DiGraph([(int(a), int(b)) for a, b in arcs if a != b])
        graph.add_nodes_from(range(n))
        found = describe_replies(arcs[:, 0], arcs[:, 1], n)
        mutual, dyads = graph.to_undirected(reciprocal=True), graph.to_undirected()
        assert (found.mutual, found.dyads) == (mutual.number_of_edges(), dyads.number_of_edges())
        if found.dyads:
            assert _number(found.reciprocity) == pytest.approx(found.mutual / found.dyads)
            # networkx counts arcs: of each mutual dyad two.
            of_arcs = 2 * found.mutual / (found.mutual + found.dyads)
            assert nx.overall_reciprocity(graph) == pytest.approx(of_arcs)
        degrees = np.array([*nx.in_degree_centrality(graph).values()])
        expected = (degrees.max() - degrees).sum() / (n - 1)
        assert _number(found.centralisation) == pytest.approx(expected, rel=CLOSED, abs=1e-12)


def _number(found: Estimate) -> float:
    assert found.estimate is not None
    return found.estimate
