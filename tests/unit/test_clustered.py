"""Curves of rows that belong together: against survival's own where nobody does, and against derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evidence.clustered import Together, together
from pipelines.evidence.linear import Clusters, clusters_of, everyone_alone
from pipelines.evidence.survival import clustered_survival, follow

TIMES = (0.0, 2.0, 3.5, 6.0)


def community(seed: int, n: int = 40, clusters: int = 6) -> Together:
    random = np.random.default_rng(seed)
    waits = random.integers(0, 8, n).astype(float)
    return together(waits, random.integers(0, 3, n), clusters_of(random.integers(0, clusters, n)))


def weighted(found: Together, weights: np.ndarray, time: float, what: str) -> float:
    """A figure of rows that count so often each: the curve written out, step by step."""
    survival, incidence, area, last = 1.0, 0.0, 0.0, 0.0
    for at in np.unique(found.waits):
        if at > time:
            break
        area, last = area + survival * (at - last), at
        n = weights[found.waits >= at].sum()
        here = found.waits == at
        incidence += survival * weights[here & (found.causes == 1)].sum() / n
        survival *= 1 - weights[here & (found.causes > 0)].sum() / n
    return {"S": survival, "F": incidence, "area": area + survival * (time - last)}[what]


@pytest.mark.parametrize("what", ["S", "F", "area"])
@pytest.mark.parametrize("seed", range(25))
def test_the_variance_is_that_of_the_derivatives(seed: int, what: str) -> None:
    found, time, step = community(seed), 5.0, 1e-6
    derivatives = []
    for cluster in range(found.clusters.count):
        up, down = (np.where(found.clusters.codes == cluster, 1 + sign * step, 1.0) for sign in (1, -1))
        change = weighted(found, up, time, what) - weighted(found, down, time, what)
        derivatives.append(change / (2 * step))
    count = found.clusters.count
    expected = np.sqrt(count / (count - 1) * np.square(derivatives).sum())
    told = {
        "S": lambda: found.survival([time])[0],
        "F": lambda: found.incidence([time])[0],
        "area": lambda: found.restricted_mean(time),
    }[what]()
    assert told.estimate == pytest.approx(weighted(found, np.ones(len(found.waits)), time, what))
    assert told.se == pytest.approx(expected, rel=1e-5)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_kaplan_meier_is_that_of_survival(seed: int) -> None:
    found = community(seed)
    for time, told in zip(TIMES, found.survival(TIMES), strict=True):
        known = clustered_survival(found.waits, found.causes > 0, time, found.clusters.codes.tolist())
        assert (told.estimate, told.reason is None) == (known.estimate, known.reason is None)
        for name in ("se", "ci_low", "ci_high"):
            assert getattr(told, name) == pytest.approx(getattr(known, name))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_the_incidence_of_a_single_cause_is_the_complement(seed: int) -> None:
    found = community(seed)
    single = together(found.waits, found.causes > 0, found.clusters)
    for one, other in zip(single.incidence(TIMES), single.survival(TIMES), strict=True):
        if other.se is None or one.se is None:
            assert (one.se, one.reason is None) == (other.se, other.reason is None)
        else:
            told = (1 - other.estimate, other.se, 1 - other.ci_high, 1 - other.ci_low)  # type: ignore[operator]
            assert (one.estimate, one.se, one.ci_low, one.ci_high) == pytest.approx(told)


def test_without_clusters_it_is_greenwoods_and_dinse_and_larsons_nearly() -> None:
    random = np.random.default_rng(1)
    waits, causes = random.exponential(size=20_000), random.integers(0, 3, 20_000)
    found = together(waits, causes, everyone_alone(20_000))
    (told,), (known,) = found.incidence([1.0]), follow(waits, causes).incidence(1).at(1.0)
    assert (told.estimate, told.se) == pytest.approx((known.estimate, known.se), rel=1e-3)


def test_what_cannot_be_told_has_a_reason() -> None:
    nobody = together([], [], Clusters(np.empty(0, np.int64), np.empty(0, np.int64)))
    alone = together([1.0, 2.0, 3.0], [1, 2, 0], clusters_of(["g", "g", "g"]))
    for told in (*nobody.survival([1.0]), *nobody.incidence([1.0]), nobody.restricted_mean(1.0)):
        assert told.estimate is None and told.reason == "nobody was followed"
    for told in (*alone.survival([1.0]), *alone.incidence([1.0]), alone.restricted_mean(2.0)):
        assert told.se is None and told.reason == "no interval: one cluster"
    assert alone.incidence([9.0])[0].reason == "nobody was followed for so long"


def test_rows_must_be_of_one_number() -> None:
    with pytest.raises(ValueError, match="2 waits, 1 causes, 2 labels"):
        together([1.0, 2.0], [1], everyone_alone(2))


def test_shares_of_groups_that_differ_are_covered() -> None:
    """200 seeds of 40 groups, each of a pace of its own, whose threads may be closed before a reply."""
    groups, threads, time, closing = 40, 12, 24.0, 0.02
    paces = np.random.default_rng(0).lognormal(np.log(0.05), 0.8, 200_000)
    truth = np.mean(paces / (paces + closing) * (1 - np.exp(-(paces + closing) * time)))
    labels = np.repeat(np.arange(groups), threads)
    covered, alone, estimates = 0, 0, []
    for seed in range(200):
        random = np.random.default_rng([1, seed])
        pace = random.lognormal(np.log(0.05), 0.8, groups)[labels]
        ends = random.exponential([1 / pace, np.full(len(pace), 1 / closing), np.full(len(pace), 1e3)])
        ends[2] = random.uniform(10, 200, len(pace))
        causes = (ends.argmin(axis=0) + 1) % 3
        (found,) = together(ends.min(axis=0), causes, clusters_of(labels)).incidence([time])
        (naive,) = follow(ends.min(axis=0), causes).incidence(1).at(time)
        assert found.ci_low is not None and found.ci_high is not None and found.estimate is not None
        assert naive.ci_low is not None and naive.ci_high is not None
        covered += found.ci_low <= truth <= found.ci_high
        alone += naive.ci_low <= truth <= naive.ci_high
        estimates.append(found.estimate)
    assert np.mean(estimates) == pytest.approx(truth, abs=3 * np.std(estimates) / np.sqrt(200))
    assert covered >= 180 > alone
