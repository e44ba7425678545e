"""Non-inferiority and equivalence: verdicts and p values say the same, and what allows none says why.

That they agree with independent code stands in test_agreement_models.
"""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.evidence.equivalence import equivalence, non_inferiority
from pipelines.evidence.estimates import Estimate, not_estimated, with_interval

NUMBERS = st.floats(-10, 10)
ERRORS = st.floats(0.01, 5)
MARGINS = st.floats(0.1, 8)
FREEDOMS = st.none() | st.floats(1, 200)


def difference(estimate: float, se: float, freedom: float | None = None) -> Estimate:
    return with_interval(estimate, se, "", freedom)


class TestNonInferiority:
    @pytest.mark.parametrize(
        ("estimate", "verdict"),
        [(-2.0, "non-inferior"), (0.0, "non-inferior"), (0.9, "non-inferior"), (2.0, "inconclusive"),
         (3.5, "inconclusive"), (5.1, "inferior")],
    )  # fmt: skip
    def test_the_interval_decides(self, estimate: float, verdict: str) -> None:
        """Margin 3, standard error 1: the interval reaches 1.96 to each side."""
        assert non_inferiority(difference(estimate, 1), 3, lower_is_better=True).verdict == verdict
        assert non_inferiority(difference(-estimate, 1), 3, lower_is_better=False).verdict == verdict

    @settings(deadline=None)
    @given(NUMBERS, ERRORS, MARGINS, FREEDOMS, st.booleans())
    def test_it_is_shown_just_when_p_is_below_half_of_5_percent(
        self, estimate: float, se: float, margin: float, freedom: float | None, lower: bool
    ) -> None:
        found = non_inferiority(difference(estimate, se, freedom), margin, lower)
        assert found.p is not None
        assume(abs(found.p - 0.025) > 1e-9)
        assert (found.verdict == "non-inferior") == (found.p < 0.025)
        assert found.verdict != "inferior" or found.p > 0.975

    @settings(deadline=None)
    @given(NUMBERS, ERRORS, MARGINS, FREEDOMS)
    def test_the_interval_is_the_estimates_own(
        self, estimate: float, se: float, margin: float, freedom: float | None
    ) -> None:
        own = difference(estimate, se, freedom)
        found = non_inferiority(own, margin, True)
        assert (found.low, found.high) == (own.ci_low, own.ci_high)


class TestEquivalence:
    @pytest.mark.parametrize(
        ("estimate", "verdict"),
        [
            (0.0, "equivalent"),
            (1.3, "equivalent"),
            (-1.3, "equivalent"),
            (1.4, "not shown"),
            (-9, "not shown"),
        ],
    )
    def test_the_interval_decides(self, estimate: float, verdict: str) -> None:
        """Margin 3, standard error 1: the interval of 90 % reaches 1.645 to each side."""
        assert equivalence(difference(estimate, 1), 3).verdict == verdict

    @settings(deadline=None)
    @given(NUMBERS, ERRORS, MARGINS, FREEDOMS)
    def test_it_is_shown_just_when_both_tests_reject(
        self, estimate: float, se: float, margin: float, freedom: float | None
    ) -> None:
        found = equivalence(difference(estimate, se, freedom), margin)
        assert found.p is not None and found.p_low is not None and found.p_high is not None
        assume(abs(found.p - 0.05) > 1e-9)
        assert (found.verdict == "equivalent") == (found.p_low < 0.05 and found.p_high < 0.05)
        assert found.p == max(found.p_low, found.p_high)

    @settings(deadline=None)
    @given(NUMBERS, ERRORS, MARGINS, FREEDOMS)
    def test_the_sign_does_not_matter(
        self, estimate: float, se: float, margin: float, freedom: float | None
    ) -> None:
        one = equivalence(difference(estimate, se, freedom), margin)
        other = equivalence(difference(-estimate, se, freedom), margin)
        assert one.p == pytest.approx(other.p) and one.verdict == other.verdict

    @settings(deadline=None)
    @given(NUMBERS, ERRORS, MARGINS, FREEDOMS)
    def test_what_is_equivalent_at_95_percent_is_not_inferior_either_way(
        self, estimate: float, se: float, margin: float, freedom: float | None
    ) -> None:
        own = difference(estimate, se, freedom)
        both = {non_inferiority(own, margin, lower).verdict for lower in (True, False)}
        assert (equivalence(own, margin, 0.95).verdict == "equivalent") == (both == {"non-inferior"})


class TestTooLittle:
    @pytest.mark.parametrize(
        ("own", "margin", "reason"),
        [
            (not_estimated("", "nobody has a value"), 1.0, "nobody has a value"),
            (Estimate(1.0, None, None, None, "", "no interval: one person"), 1.0, "no interval: one person"),
            (Estimate(1.0, None, None, None, ""), 1.0, "the difference has no standard error"),
            (difference(1.0, 0.0), 1.0, "the difference has no standard error"),
            (Estimate(1.0, 1.0, None, None, "", freedom=0.0), 1.0, "no degrees of freedom"),
            (difference(1.0, 1.0), 0.0, "the margin is not above 0"),
            (difference(1.0, 1.0), -2.0, "the margin is not above 0"),
            (difference(1.0, 1.0), float("nan"), "the margin is not above 0"),
            (difference(1.0, 1.0), float("inf"), "the margin is not above 0"),
        ],
    )
    def test_there_is_no_verdict_and_a_reason(self, own: Estimate, margin: float, reason: str) -> None:
        for found in (non_inferiority(own, margin, True), equivalence(own, margin)):
            assert (found.verdict, found.p, found.low, found.reason) == (None, None, None, reason)
