"""Time until an event: examples worked by hand, laws that hold for all input, coverage, and too little.

That it agrees with independent code stands in test_agreement_communities.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evidence.estimates import Estimate
from pipelines.evidence.survival import NO_DURATION, NOBODY, TOO_LONG, clustered_survival, follow

pytestmark = pytest.mark.filterwarnings("error")

HOUR, DAY = 3600.0, 86_400.0


class Row(NamedTuple):
    duration: int
    cause: int
    group: int


ROWS = st.lists(st.builds(Row, st.integers(0, 12), st.integers(0, 2), st.integers(0, 3)), max_size=60)


def one(durations: Any, causes: Any) -> Any:
    return follow(durations, causes)


def numbers(found: Estimate) -> tuple[float | None, ...]:
    return found.estimate, found.se, found.ci_low, found.ci_high


class TestKaplanMeier:
    """Threads answered after 1, 2, 2 and 5 hours; two not by the end, after 2 and 4 hours."""

    DURATIONS, ANSWERED = (1, 2, 2, 2, 4, 5), (1, 1, 1, 0, 0, 1)

    def test_who_is_censored_at_a_time_was_at_risk_at_it(self) -> None:
        """S(2) = 5/6 · 3/5; Σ d/(n(n − d)) = 1/30 + 2/15."""
        (found,) = follow(self.DURATIONS, self.ANSWERED).curves().at(2)
        assert found.estimate == pytest.approx(1 / 2)
        assert found.se == pytest.approx(0.5 * math.sqrt(1 / 30 + 2 / 15))
        reach = 1.959963984540054 * math.sqrt(1 / 30 + 2 / 15) / math.log(2)
        assert (found.ci_low, found.ci_high) == pytest.approx(
            (0.5 ** math.exp(reach), 0.5 ** math.exp(-reach))
        )

    def test_between_steps_the_share_stays(self) -> None:
        curves = follow(self.DURATIONS, self.ANSWERED).curves()
        assert curves.at(2) == curves.at(4.9)
        assert curves.at(0)[0].estimate == 1

    def test_the_median_is_the_first_time_at_which_half_are_left(self) -> None:
        (found,) = follow(self.DURATIONS, self.ANSWERED).curves().quantiles()
        assert found.estimate == 2

    def test_a_restricted_mean_is_the_area_under_the_curve(self) -> None:
        """1 + 5/6 + 2 · 1/2; of what is after u: (5/6 + 1)² /30 + 1² · 2/15."""
        (found,) = follow(self.DURATIONS, self.ANSWERED).curves().restricted_means(4)
        assert found.estimate == pytest.approx(1 + 5 / 6 + 1)
        assert found.se == pytest.approx(math.sqrt((5 / 6 + 1) ** 2 / 30 + 2 / 15))

    def test_the_unanswered_make_it_longer_than_the_mean_of_the_answered(self) -> None:
        (found,) = follow([1, 1, 1, 9, 9, 9], [1, 1, 1, 0, 0, 0]).curves().restricted_means(9)
        assert found.estimate == pytest.approx((3 * 1 + 3 * 9) / 6)

    @settings(max_examples=60)
    @given(ROWS)
    def test_without_censoring_it_is_the_share_that_is_left(self, rows: list[Row]) -> None:
        durations = [each.duration for each in rows]
        (found,) = follow(durations, [1] * len(rows)).curves().at(6)
        left = sum(each > 6 for each in durations)
        if rows:
            assert found.estimate == pytest.approx(left / len(rows), abs=1e-12)
        if found.se is not None:
            assert found.se == pytest.approx(math.sqrt(left * (len(rows) - left) / len(rows) ** 3))


class TestManyGroups:
    @settings(max_examples=100)
    @given(ROWS, st.integers(0, 13))
    def test_each_group_is_as_it_is_alone(self, rows: list[Row], time: int) -> None:
        columns = [[row[i] for row in rows] for i in range(3)]
        together = follow(columns[0], columns[1], columns[2], 4)
        kinds = {each.cause for each in rows}
        for group in range(4):
            own = [each for each in rows if each.group == group]
            alone = follow([each.duration for each in own], [each.cause for each in own])
            assert together.curves().at(time)[group] == alone.curves().at(time)[0]
            assert together.curves().quantiles()[group] == alone.curves().quantiles()[0]
            assert together.curves().restricted_means(time)[group] == alone.curves().restricted_means(time)[0]
            for cause in kinds - {0}:
                ours, theirs = together.incidence(cause).at(time)[group], alone.incidence(cause).at(time)[0]
                assert numbers(ours) == pytest.approx(numbers(theirs), abs=1e-12)
                assert ours.reason == theirs.reason

    @settings(max_examples=60)
    @given(ROWS, st.randoms(), st.floats(0.1, 100))
    def test_order_and_unit_do_not_matter(self, rows: list[Row], chance: Any, unit: float) -> None:
        shuffled = chance.sample(rows, len(rows))
        a = follow([each.duration for each in rows], [each.cause for each in rows])
        b = follow([unit * each.duration for each in shuffled], [each.cause for each in shuffled])
        assert a.curves().at(5) == b.curves().at(5 * unit)
        (here,), (there,) = a.curves().quantiles(), b.curves().quantiles()
        if here.estimate is not None:
            assert there.estimate == pytest.approx(unit * here.estimate)


class TestAalenJohansen:
    def test_a_removed_thread_competes_with_a_reply(self) -> None:
        """Of four: reply at 1, removal at 2, reply at 3, censored at 4: F(3) = 1/4 + 1/2 · 1/2 = 1/2."""
        followed = follow([1, 2, 3, 4], [1, 2, 1, 0])
        assert followed.incidence(1).at(3)[0].estimate == pytest.approx(1 / 2)
        assert followed.incidence(2).at(3)[0].estimate == pytest.approx(1 / 4)

    @settings(max_examples=100)
    @given(ROWS, st.integers(0, 12))
    def test_causes_and_who_is_left_are_everybody(self, rows: list[Row], time: int) -> None:
        followed = follow([each.duration for each in rows], [each.cause for each in rows])
        (left,) = followed.curves().at(time)
        shares = [followed.incidence(cause).at(time)[0] for cause in (1, 2)]
        assert {each.reason for each in shares} == {left.reason} or left.estimate is not None
        if left.estimate is not None:
            assert left.estimate + sum(each.estimate or 0 for each in shares) == pytest.approx(1)

    @settings(max_examples=100)
    @given(ROWS, st.integers(0, 12))
    def test_a_single_cause_is_kaplan_meier_with_its_interval(self, rows: list[Row], time: int) -> None:
        followed = follow([each.duration for each in rows], [each.cause > 0 for each in rows])
        (left,), (had,) = followed.curves().at(time), followed.incidence().at(time)
        assert had.reason == left.reason
        if left.estimate is not None:
            assert had.estimate == pytest.approx(1 - left.estimate, abs=1e-12)
        if left.ci_low is not None and left.ci_high is not None:
            assert (had.se, had.ci_low, had.ci_high) == pytest.approx(
                (left.se, 1 - left.ci_high, 1 - left.ci_low), abs=1e-9
            )

    def test_of_millions_it_is_kaplan_meiers_as_well(self) -> None:
        """At one time each, so that all is in proportion: 4 million threads."""
        durations, replied = np.repeat([1, 2, 3, 4], 1_000_000), np.repeat([1, 0, 1, 0], 1_000_000)
        followed = follow(durations, replied)
        (left,), (had,) = followed.curves().at(3), followed.incidence().at(3)
        assert had.estimate == pytest.approx(1 - 3 / 4 * 1 / 2)
        assert had.se == pytest.approx(left.se, rel=1e-9)
        assert left.se == pytest.approx(3 / 8 * math.sqrt((1 / 12 + 1 / 2) / 1_000_000))

    def test_a_cause_that_never_came_has_a_share_of_0(self) -> None:
        (found,) = follow([1, 2, 3], [1, 1, 0]).incidence(2).at(2)
        assert (found.estimate, found.ci_low) == (0, None)


class TestClusters:
    @settings(max_examples=60)
    @given(ROWS, st.integers(0, 12))
    def test_rows_alone_have_greenwoods_variance(self, rows: list[Row], time: int) -> None:
        durations, happened = [each.duration for each in rows], [each.cause == 1 for each in rows]
        (plain,) = follow(durations, happened).curves().at(time)
        found = clustered_survival(durations, happened, time)
        assert (found.estimate, found.reason) == (plain.estimate, plain.reason)
        if plain.se is not None:
            n = len(rows)
            assert found.se == pytest.approx(plain.se * math.sqrt(n / (n - 1)))

    def test_a_row_twice_is_one_row_told_twice(self) -> None:
        chance = np.random.default_rng(1)
        durations, happened = chance.integers(0, 9, 30), chance.random(30) < 0.6
        once = clustered_survival(durations, happened, 4)
        twice = clustered_survival(
            np.repeat(durations, 2), np.repeat(happened, 2), 4, np.repeat(np.arange(30), 2)
        )
        assert numbers(twice) == pytest.approx(numbers(once))

    def test_one_cluster_tells_of_no_spread(self) -> None:
        found = clustered_survival([1, 2, 3], [True, True, False], 2, ["a"] * 3)
        assert found.estimate == pytest.approx(1 / 3) and found.reason == "no interval: one cluster"


class TestTooLittle:
    @pytest.mark.parametrize(
        ("durations", "causes", "reason"),
        [
            ([], [], NOBODY),
            ([3.0, math.nan], [1, 1], NO_DURATION),
            ([3.0, -1.0], [1, 1], NO_DURATION),
            ([3.0, math.inf], [1, 0], NO_DURATION),
            ([3.0, 4.0], [1, 0], TOO_LONG),
        ],
    )
    def test_nothing_is_said_of_what_nobody_was_followed_to(
        self, durations: list[float], causes: list[int], reason: str
    ) -> None:
        followed = follow(durations, causes)
        for (found,) in (
            followed.curves().at(9),
            followed.incidence().at(9),
            followed.curves().restricted_means(9),
        ):
            assert (found.estimate, found.reason) == (None, reason)

    def test_a_group_that_is_broken_leaves_the_others(self) -> None:
        broken, whole, empty = follow([1, math.nan, 2, 4], [1, 1, 1, 0], [0, 0, 1, 1], 3).curves().at(3)
        assert (broken.reason, empty.reason) == (NO_DURATION, NOBODY)
        assert whole.estimate == pytest.approx(0.5)

    def test_after_nobody_is_left_nobody_is(self) -> None:
        followed = follow([1, 2], [1, 1])
        (share,), (mean,) = followed.curves().at(9), followed.curves().restricted_means(9)
        assert (share.estimate, mean.estimate) == (0, 1.5)

    def test_a_median_that_is_not_reached_says_so(self) -> None:
        (found,) = follow([1, 5, 5, 5], [1, 0, 0, 0]).curves().quantiles()
        assert (found.estimate, found.reason) == (None, "median not reached")
        (found,) = follow([1, 5, 5, 5], [1, 0, 0, 0]).curves().quantiles(0.2)
        assert found.estimate == 1

    def test_an_end_of_a_medians_interval_that_is_not_reached_says_so(self) -> None:
        (found,) = follow([1, 2, 3, 9, 9, 9], [1, 1, 1, 0, 0, 0]).curves().quantiles()
        assert (found.estimate, found.ci_high) == (3, None)
        assert found.reason == "no upper end of the interval: too few are left when it would be reached"

    def test_before_anything_happened_there_is_no_interval(self) -> None:
        (found,) = follow([2, 3], [1, 0]).curves().at(1)
        assert (found.estimate, found.ci_low) == (1, None)
        assert found.reason == "no interval: it happened to nobody yet, or to all"

    @pytest.mark.parametrize("time", [-1.0, math.nan, math.inf])
    def test_what_is_no_time_has_a_reason(self, time: float) -> None:
        curves = follow([2, 3], [1, 1]).curves()
        assert curves.at(time)[0].reason == curves.restricted_means(time)[0].reason
        assert curves.at(time)[0].reason == "the time is no number from 0 on"

    def test_what_is_no_table_is_a_mistake_of_the_caller(self) -> None:
        for arguments in (([1], []), ([1], [-1]), ([1], [1], [2], 2), ([1], [1], [-1], 2)):
            with pytest.raises(ValueError, match=r"cause|durations"):
                follow(*arguments)

    def test_any_table_has_finite_numbers_or_a_reason(self) -> None:
        seen: set[str | None] = set()
        for seed in range(300):
            chance = np.random.default_rng(seed)
            n = int(chance.integers(0, 9))
            durations = chance.integers(0, 4, n) * chance.choice([1, 1e-9, 1e9])
            followed = follow(durations, chance.integers(0, 3, n), chance.integers(0, 3, n), 3)
            time = float(chance.choice([0, 1, 2e-9, 2e9]))
            found = (
                *followed.curves().at(time),
                *followed.curves().quantiles(),
                *followed.curves().restricted_means(time),
                *followed.incidence(1).at(time),
                *followed.incidence(2).at(time),
                clustered_survival(durations, np.arange(n) % 2, time, chance.integers(0, 3, n)),
            )
            for each in found:
                assert all(number is None or math.isfinite(number) for number in numbers(each)), (seed, each)
                assert (each.ci_high is None) == (each.reason is not None), (seed, each)
                seen.add(each.reason)
        assert len(seen) > 7, seen


def test_intervals_cover_the_truth_nearly_at_the_nominal_rate() -> None:
    """400 samples of 150, in which all comes at constant rates. Three standard errors are 3.3 %."""
    truth = {
        "left": math.exp(-1.5),
        "replied": 2 / 3 * (1 - math.exp(-1.5)),
        "median": math.log(2) / 1.5,
        "mean": (1 - math.exp(-1.5)) / 1.5,
        "in groups": math.exp(-1),
    }
    covered = dict.fromkeys(truth, 0)
    for seed in range(400):
        chance = np.random.default_rng(seed)
        reply, removal, end = chance.exponential([[1], [2], [2]], (3, 150))
        ended = np.minimum(np.minimum(reply, removal), end)
        cause = np.where(ended == end, 0, np.where(ended == reply, 1, 2))
        followed = follow(ended, cause)
        # Each answer stands three times, as if groups of three were always answered together.
        found = {
            "left": followed.curves().at(1)[0],
            "replied": followed.incidence(1).at(1)[0],
            "median": followed.curves().quantiles()[0],
            "mean": followed.curves().restricted_means(1)[0],
            "in groups": clustered_survival(
                np.repeat(np.minimum(reply, end), 3),
                np.repeat(reply < end, 3),
                1,
                np.repeat(np.arange(150), 3),
            ),
        }
        for name, each in found.items():
            assert each.ci_low is not None and each.ci_high is not None
            covered[name] += each.ci_low <= truth[name] <= each.ci_high
    assert all(abs(found / 400 - 0.95) < 0.033 for found in covered.values()), covered
