"""Confidence sequences: what they reach, when there is none, and how rarely they mislead who always looks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from pipelines.evidence import estimates
from pipelines.evidence.estimates import (
    Estimate,
    Summary,
    mean,
    mean_difference,
    not_estimated,
    with_interval,
)
from pipelines.evidence.gee import fit_gee
from pipelines.evidence.low2020 import METHOD as LOW2020
from pipelines.evidence.mixed import fit_mixed
from pipelines.evidence.pooling import Conventions, egger, pool
from pipelines.evidence.propensity import overlap_difference
from pipelines.evidence.regression import ancova, fit_linear
from pipelines.evidence.sequences import (
    ASYMPTOTICALLY_LINEAR,
    BURN_IN,
    FIXED_ONLY,
    VOIDS,
    WHY_NOT,
    Void,
    Watch,
    asymptotic,
    beside,
    e_value,
    mixing,
    pooled,
    proportion,
    standard_errors,
    unless_voided,
    why_fixed_only,
)
from pipelines.evidence.trends import fit_counts
from tests import watched_paths
from tests.watched_paths import LOOKS, WATCHED, Watched

LEVELS = st.sampled_from([0.8, 0.9, 0.95, 0.99])


def a_mean(n: int, sd: float = 5.0, about: float = 12.0) -> Estimate:
    return mean(Summary(n, about, sd))


def ever_outside() -> float:
    """The limit of the chance that the truth is excluded at any look from the burn-in on.

    2Φ̄(b) + α(1 − 2Φ̄(b/√(1 + m))) with m = `mixing` and b = `standard_errors(1)`: what the mixture has spent
    before the burn-in is not used. The first term is of the first look; from then on the mixture is a
    martingale, and the second is α times the chance, under the mixture of truths, that it is below 1/α there.
    """
    first = standard_errors(1.0)
    of_mixture = first / math.sqrt(1 + mixing())
    return float(2 * stats.norm.sf(first) + 0.05 * (1 - 2 * stats.norm.sf(of_mixture)))


class TestBeside:
    """Which sequence an estimate has follows from what made it."""

    def test_means_have_that_of_their_people(self) -> None:
        fixed = a_mean(100)
        assert beside(fixed) == asymptotic(fixed, 100)

    def test_shares_of_people_have_the_exact_one_from_the_first_person_on(self) -> None:
        found, exact = beside(estimates.proportion(0, 3)), proportion(0, 3)
        assert (found.ci_low, found.ci_high) == (exact.ci_low, exact.ci_high)
        assert found.method == f"{estimates.proportion(0, 3).method}; {exact.method.partition('; ')[2]}"

    @given(st.integers(1, 2000), st.floats(0, 1))
    def test_they_hold_the_fixed_sample_interval(self, n: int, share: float) -> None:
        for fixed in (estimates.proportion(round(share * n), n), a_mean(max(n, BURN_IN))):
            found = beside(fixed)
            ends = found.ci_low, fixed.ci_low, fixed.ci_high, found.ci_high
            assert None not in ends and ends == tuple(sorted(ends, key=float))  # type: ignore[arg-type]

    def test_groups_are_the_units_where_people_meet(self) -> None:
        y = np.random.default_rng(1).normal(0, 1, 200)
        fit = fit_linear(y, np.ones((200, 1)), np.arange(200) // 10)
        assert beside(fit.contrast([1.0])).reason == f"{FIXED_ONLY}: 20 of 100 independent units"

    def test_the_smaller_arm_counts(self) -> None:
        chance = np.random.default_rng(1)
        y, x, is_arm = chance.normal(0, 1, 120), chance.normal(0, 1, 120), np.arange(120) < 40
        for fixed in (ancova(y, x, is_arm).difference, overlap_difference(y, is_arm, x).difference):
            assert beside(fixed).reason == f"{FIXED_ONLY}: 40 of 50 independent units in an arm"

    def test_a_pool_has_one_where_a_standard_error_is_declared(self) -> None:
        fixed = pool([0.1, 0.3], [0.01, 0.02], Conventions("fixed")).estimate
        assert beside(fixed, tightest_se=0.1) == pooled(fixed, 0.1)
        assert beside(fixed).reason == f"{FIXED_ONLY}: the protocol declares no standard error for it"

    def test_whoever_has_none_keeps_its_method_and_says_why(self) -> None:
        for fixed in (
            estimates.count(3),
            not_estimated("mean; t interval", "nobody has a value"),
            a_mean(1000, sd=0),
            estimates.hedges_g(Summary(80, 1, 1), Summary(80, 0, 1)),
            pool([0.1, 0.3], [0.01, 0.02]).estimate,
        ):
            found = beside(fixed, Watch(), 0.1)
            assert (found.estimate, found.ci_low, found.method) == (fixed.estimate, None, fixed.method)
            assert found.reason and found.reason.startswith(f"{FIXED_ONLY}: ")


class TestReach:
    def test_is_the_mixture_of_normal_truths_at_its_threshold(self) -> None:
        """By quadrature: at the end of the sequence ∫ exp(δS − δ²n/2) dN(δ; 0, ρ²) is 1/α."""
        for clock in (0.3, 1.0, 4.0, 50.0):
            n, rho2 = 100 * clock, mixing() / 100
            s = standard_errors(clock) * math.sqrt(n)

            def density(delta: float, s: float = s, n: float = n, rho2: float = rho2) -> float:
                return math.exp(delta * s - delta**2 * n / 2) * float(
                    stats.norm.pdf(delta, 0, math.sqrt(rho2))
                )

            peak, width = s / (n + 1 / rho2), 1 / math.sqrt(n + 1 / rho2)
            found = integrate.quad(density, peak - 12 * width, peak + 12 * width)[0]
            assert found == pytest.approx(20, rel=1e-6)

    @given(LEVELS)
    def test_is_least_at_the_burn_in(self, level: float) -> None:
        def reach(ratio: float) -> float:
            return math.sqrt((ratio + 1) / ratio * math.log((ratio + 1) / (1 - level) ** 2))

        lowest = optimize.minimize_scalar(reach, bounds=(0.1, 100), method="bounded", options={"xatol": 1e-9})
        assert mixing(level) == pytest.approx(lowest.x, rel=1e-5)
        assert standard_errors(1.0, level) == pytest.approx(lowest.fun, rel=1e-9)

    def test_of_95_percent_is_half_as_far_again_as_a_fixed_sample_interval(self) -> None:
        assert mixing() == pytest.approx(8.212, abs=5e-4)
        assert standard_errors(1.0) == pytest.approx(3.035, abs=5e-4)

    def test_the_chance_to_leave_after_the_burn_in_is_the_limit_of_ever_denser_looks(self) -> None:
        """By quadrature, to a million burn-ins; what is missed goes with the square root of the steps."""
        steps = np.log([1.16, 1.08, 1.04])
        found = []
        for step in steps:
            looks = BURN_IN * np.exp(step * np.arange(math.log(1e6) / step))
            found.append(watched_paths.ever_outside(looks, [standard_errors(n / BURN_IN) for n in looks]))
        limit = np.linalg.solve(np.column_stack([np.ones(3), np.sqrt(steps), steps]), found)[0]
        assert found == sorted(found)
        assert limit == pytest.approx(ever_outside(), abs=5e-4)

    @given(st.integers(BURN_IN, 10**7), st.floats(0.1, 100), LEVELS)
    def test_holds_the_fixed_sample_interval(self, n: int, sd: float, level: float) -> None:
        fixed = mean(Summary(n, 3.0, sd), level)
        found = asymptotic(fixed, n, watch=Watch(level=level))
        assert found.ci_low is not None and found.ci_high is not None
        assert fixed.ci_low is not None and fixed.ci_high is not None
        assert found.ci_low < fixed.ci_low <= fixed.ci_high < found.ci_high
        assert (found.estimate, found.se) == (fixed.estimate, fixed.se)

    def test_narrows_towards_the_truth(self) -> None:
        widths = [
            (found.ci_high or 0) - (found.ci_low or 0)
            for found in (asymptotic(a_mean(n), n) for n in (100, 1_000, 10_000, 10**6))
        ]
        assert widths == sorted(widths, reverse=True) and widths[-1] < 0.01 * 5


class TestAsymptotic:
    def test_before_the_burn_in_is_fixed_sample_only(self) -> None:
        found = asymptotic(a_mean(99), 99)
        assert found.ci_low is None and found.ci_high is None and found.estimate == 12.0
        assert found.reason == "fixed-sample only: 99 of 100 independent units"
        assert asymptotic(a_mean(100), 100).ci_low is not None

    def test_a_burn_in_of_its_own_is_told(self) -> None:
        assert asymptotic(a_mean(60), 60, watch=Watch(50)).method.endswith("normal mixture, from n = 50")

    def test_each_arm_waits_for_half_of_it(self) -> None:
        fixed = mean_difference(Summary(49, 3.0, 1.0), Summary(400, 2.0, 1.0))
        assert (
            asymptotic(fixed, 449, smallest_arm=49).reason
            == "fixed-sample only: 49 of 50 independent units in an arm"
        )
        arms = mean_difference(Summary(60, 3.0, 1.0), Summary(400, 2.0, 1.0))
        assert asymptotic(arms, 460, smallest_arm=60).ci_low is not None

    def test_few_degrees_of_freedom_are_no_independent_units(self) -> None:
        fixed = with_interval(1.0, 0.2, "least squares; variance CR2 over groups", 7.4)
        assert (
            asymptotic(fixed, 300).reason == "fixed-sample only: its standard error has 7 degrees of freedom"
        )

    @pytest.mark.parametrize(
        "fixed",
        [
            mean(Summary(0, None, None)),
            mean(Summary(1, 3.0, None)),
            mean(Summary(200, 3.0, 0.0)),
            Estimate(0.5, None, None, None, "mean; t interval"),
            Estimate(0.5, 0.0, None, None, "mean; t interval", "no interval: people do not differ"),
            not_estimated("mean; t interval", "nobody has a value"),
        ],
    )
    def test_without_a_fixed_sample_interval_there_is_none(self, fixed: Estimate) -> None:
        found = asymptotic(fixed, 500)
        assert found.ci_low is None and found.ci_high is None and found.reason
        assert found.estimate == fixed.estimate

    def test_on_the_logit_scale_stays_between_0_and_1(self) -> None:
        fixed = with_interval(0.97, 0.02, "ratio of sums; variance linearised over people", 120)
        plain, logit = asymptotic(fixed, 120), asymptotic(fixed, 120, scale="logit")
        assert plain.ci_high is not None and plain.ci_high > 1
        assert logit.ci_low is not None and logit.ci_high is not None
        assert 0 < logit.ci_low < 0.97 < logit.ci_high < 1

    def test_a_rate_is_symmetric_on_the_log_scale(self) -> None:
        found = asymptotic(with_interval(2.0, 0.1, "ratio of sums; x", 200), 200, scale="log")
        assert found.ci_low is not None and found.ci_high is not None
        assert found.ci_low * found.ci_high == pytest.approx(4.0)
        reach = standard_errors(2.0)
        assert math.log(found.ci_high / 2) == pytest.approx(reach * 0.1 / 2)

    @pytest.mark.parametrize(
        ("value", "scale"), [(0.0, "log"), (0.0, "logit"), (1.0, "logit"), (1.2, "logit")]
    )
    def test_at_the_end_of_a_scale_there_is_none(self, value: float, scale: str) -> None:
        fixed = with_interval(value, 0.1, "ratio of sums; x")
        found = asymptotic(fixed, 200, scale="log" if scale == "log" else "logit")
        assert found.ci_low is None
        assert found.reason == "fixed-sample only: it is at the end of its range"

    def test_what_is_too_wide_for_a_float_is_no_infinity(self) -> None:
        found = asymptotic(with_interval(1e-6, 1e6, "ratio of sums; x"), 200, scale="log")
        assert found.ci_high is not None and math.isfinite(found.ci_high)


class TestTheory:
    def test_is_known_of_the_methods_that_our_estimators_have(self) -> None:
        """The table goes by how methods begin, so it is asked of what estimators say."""
        chance = np.random.default_rng(1)
        y, x = chance.normal(size=40), chance.normal(size=40)
        arm, people = np.arange(40) % 2 == 0, [i // 2 for i in range(40)]
        design = np.column_stack([np.ones(40), arm])
        holds = [
            a_mean(40),
            mean_difference(Summary(20, 1.0, 1.0), Summary(20, 0.0, 1.0)),
            estimates.clustered_ratio([1, 2, 3], [2, 3, 4]),
            fit_linear(y, design).contrast([0, 1]),
            fit_linear(y, design, people).contrast([0, 1]),
            ancova(y, x, arm).difference,
            overlap_difference(y, arm, x[:, None]).difference,
        ]
        assert {why_fixed_only(each.method) for each in holds} == {None}
        fails = [
            pool(y, np.ones(40)).estimate,
            pool(y, np.ones(40), Conventions("fixed")).estimate,
            egger(y, 1 + x**2),
            estimates.hedges_g(Summary(20, 1.0, 1.0), Summary(20, 0.0, 1.0)),
            estimates.proportion(3, 10),
            estimates.count(3),
            fit_gee(y, design, people).linear.contrast([0, 1]),
            fit_mixed(y, design, people).linear.contrast([0, 1]),
            fit_counts(np.ones(40), design, np.ones(40)).linear.contrast([0, 1]),
            not_estimated(LOW2020, ""),
        ]
        told = [why_fixed_only(each.method) for each in fails]
        assert all(each and each in WHY_NOT.values() for each in told)
        for each in fails:
            assert (
                each.estimate is None
                or not each.se
                or (asymptotic(each, 500).reason or "").startswith("fixed-sample only: ")
            )

    def test_is_denied_of_what_nobody_has_thought_of(self) -> None:
        assert why_fixed_only("median; sign test") == "no theory is known here for this estimate"

    def test_no_method_is_in_both_lists(self) -> None:
        assert not any(begins.startswith(ASYMPTOTICALLY_LINEAR) for begins in WHY_NOT)


class TestProportion:
    @given(st.integers(1, 400), st.data(), LEVELS)
    def test_ends_are_where_the_probability_is_alpha_over_n_plus_1(
        self, n: int, data: st.DataObject, level: float
    ) -> None:
        successes = data.draw(st.integers(0, n))
        found = proportion(successes, n, level)
        assert found.ci_low is not None and found.ci_high is not None
        for end, is_open in ((found.ci_low, successes > 0), (found.ci_high, successes < n)):
            if is_open:
                wanted = math.log((1 - level) / (n + 1))
                assert stats.binom.logpmf(successes, n, end) == pytest.approx(wanted, rel=1e-7)
        assert found.ci_low <= successes / n <= found.ci_high

    @given(st.integers(1, 400), st.data())
    def test_is_wider_than_wilsons(self, n: int, data: st.DataObject) -> None:
        successes = data.draw(st.integers(0, n))
        found, fixed = proportion(successes, n), estimates.proportion(successes, n)
        assert (found.ci_high or 0) - (found.ci_low or 0) > (fixed.ci_high or 0) - (fixed.ci_low or 0)

    @given(st.integers(1, 200), st.data())
    def test_of_who_does_not_mirrors_who_does(self, n: int, data: st.DataObject) -> None:
        successes = data.draw(st.integers(0, n))
        found, mirrored = proportion(successes, n), proportion(n - successes, n)
        assert found.ci_low == pytest.approx(1 - (mirrored.ci_high or 0), abs=1e-9)

    def test_of_nobody_has_a_reason(self) -> None:
        assert proportion(0, 0).reason == "the denominator is 0"

    @pytest.mark.parametrize("p", [0.02, 0.3])
    def test_all_paths_of_fifty_people_together_leave_in_5_percent_at_most(self, p: float) -> None:
        """Exactly, by the chances of all counts of who is still inside; every person is a look."""
        inside = np.array([1.0])
        for n in range(1, 51):
            inside = np.convolve(inside, [1 - p, p])
            for successes in np.flatnonzero(inside):
                found = proportion(int(successes), n)
                if not (found.ci_low or 0) <= p <= (found.ci_high or 1):
                    inside[successes] = 0
        assert 0 < 1 - inside.sum() <= 0.05


class TestPooled:
    EFFECTS, VARIANCES = (0.2, 0.1, 0.4), (0.04, 0.02, 0.05)

    def fixed(self) -> Estimate:
        return pool(self.EFFECTS, self.VARIANCES, Conventions("fixed")).estimate

    @pytest.mark.parametrize("tightest_se", [0.02, 0.1, 0.5])
    def test_is_the_set_of_effects_whose_e_value_is_below_1_over_alpha(self, tightest_se: float) -> None:
        fixed, found = self.fixed(), pooled(self.fixed(), tightest_se)
        assert fixed.estimate is not None and fixed.se is not None
        for end in (found.ci_low, found.ci_high):
            assert end is not None
            assert e_value(fixed.estimate, fixed.se, tightest_se, end) == pytest.approx(20)

    def test_e_values_are_1_on_average_if_there_is_no_effect(self) -> None:
        def weighed(z: float) -> float:
            return e_value(0.08 * z, 0.08, 0.1) * float(stats.norm.pdf(z))

        assert integrate.quad(weighed, -40, 40, limit=200)[0] == pytest.approx(1.0, abs=1e-6)

    def test_says_where_it_is_narrowest(self) -> None:
        assert pooled(self.fixed(), 0.1).method.endswith("normal mixture, narrowest at se = 0.1")

    def test_random_effects_have_none(self) -> None:
        found = pooled(pool(self.EFFECTS, self.VARIANCES).estimate, 0.1)
        assert found.ci_low is None and "fixed-sample only: between studies" in (found.reason or "")
        assert "one effect" in (pooled(a_mean(50), 0.1).reason or "")

    def test_no_study_gives_none(self) -> None:
        assert pooled(pool([], [], Conventions("fixed")).estimate, 0.1).reason == "no study has an effect"

    @pytest.mark.parametrize("tightest_se", [0.0, -1.0, math.inf, math.nan])
    def test_without_a_declared_standard_error_there_is_none(self, tightest_se: float) -> None:
        found = pooled(self.fixed(), tightest_se)
        assert found.reason == "fixed-sample only: no standard error above 0 is declared"


class TestVoids:
    def test_nothing_voids_nothing(self) -> None:
        found = asymptotic(a_mean(200), 200)
        assert unless_voided(found, ()) is found

    @pytest.mark.parametrize("void", [*VOIDS])
    def test_each_takes_the_interval_and_says_why(self, void: Void) -> None:
        found = unless_voided(asymptotic(a_mean(200), 200), {void})
        assert (found.ci_low, found.ci_high) == (None, None)
        assert found.estimate == 12.0
        assert found.reason == f"anytime guarantee void: {VOIDS[void]}"

    def test_what_has_no_interval_keeps_its_reason(self) -> None:
        none = asymptotic(a_mean(20), 20)
        assert unless_voided(none, {"backfill"}) == none

    def test_several_are_told_in_one_order(self) -> None:
        one = unless_voided(proportion(3, 9), ("erasure", "backfill")).reason
        assert one == unless_voided(proportion(3, 9), ("backfill", "erasure")).reason
        assert one == f"anytime guarantee void: {VOIDS['backfill']}, {VOIDS['erasure']}"


class TestPaths:
    PATHS = 100

    @pytest.mark.parametrize("watched", WATCHED, ids=lambda each: each.name)
    def test_without_a_difference_the_sequence_finds_one_rarely_and_the_fixed_sample_interval_often(
        self, watched: Watched
    ) -> None:
        told = [
            watched.ever_excluded(watched.draw(np.random.default_rng((34, number))))
            for number in range(self.PATHS)
        ]
        fixed, sequence = (sum(each) / self.PATHS for each in zip(*told, strict=True))
        # A limit that holds for the one is broken by the other. How often each does is the coverage study's.
        assert sequence <= 0.064 < fixed, (fixed, sequence)

    def test_of_normal_units_the_chances_are_those_of_quadrature(self) -> None:
        """What the coverage study expects: a fixed-sample interval misleads more than one in four, a sequence
        one in fifty. Of 20,000 sums of normal units."""
        looks = np.array(LOOKS)
        steps = np.random.default_rng(7).normal(size=(20_000, len(looks))) * np.sqrt(
            np.diff(looks, prepend=0)
        )
        away = np.abs(np.cumsum(steps, axis=1)) / np.sqrt(looks)
        sequence = np.array([standard_errors(n / BURN_IN) for n in looks])
        for reaches, least, most in ((np.full(len(looks), 1.96), 0.25, 0.5), (sequence, 0.0, ever_outside())):
            share = float((away > reaches).any(axis=1).mean())
            chance = watched_paths.ever_outside(looks, reaches)
            assert least < chance < most
            assert share == pytest.approx(chance, abs=4 * math.sqrt(chance / 20_000))

    def test_quadrature_gives_the_table_of_armitage_mcpherson_and_rowe(self) -> None:
        """1969: how often a mean without a difference is significant at 5 % at one of so many looks."""
        printed = {1: 0.050, 2: 0.083, 3: 0.107, 4: 0.126, 5: 0.142, 10: 0.193, 20: 0.248, 50: 0.320}
        z = float(stats.norm.ppf(0.975))
        found = {looks: watched_paths.ever_outside(range(1, looks + 1), [z] * looks) for looks in printed}
        assert found == pytest.approx(printed, abs=5e-4)

    def test_quadrature_agrees_with_one_and_two_looks(self) -> None:
        one = watched_paths.ever_outside([50], [1.96])
        assert one == pytest.approx(2 * stats.norm.sf(1.96), abs=1e-9)
        root = math.sqrt(0.5)
        both = stats.multivariate_normal(cov=[[1, root], [root, 1]])
        corners: Callable[[float, float], float] = lambda a, b: float(both.cdf([a, b]))  # noqa: E731
        inside = corners(1.96, 1.96) - corners(-1.96, 1.96) - corners(1.96, -1.96) + corners(-1.96, -1.96)
        assert watched_paths.ever_outside([50, 100], [1.96, 1.96]) == pytest.approx(1 - inside, abs=1e-5)
