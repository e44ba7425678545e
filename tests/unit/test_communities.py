"""Figures of communities: published aggregates of constructed histories, laws for all input, and too little.

That they agree with independent code stands in test_agreement_communities.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evidence.communities import (
    CLASSES,
    EVERYBODY,
    Network,
    describe_messages,
    describe_replies,
    five_classes,
    gini,
    lorenz,
    one_nine_ninety,
)
from pipelines.evidence.estimates import Estimate
from services.simulator.published import geramita, psycho_babble, spread

pytestmark = pytest.mark.filterwarnings("error")

AMOUNTS = st.lists(st.integers(0, 50), max_size=80)
ARCS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=40)


def value(found: Estimate) -> float:
    assert found.estimate is not None
    return found.estimate


def network(arcs: list[tuple[int, int]], members: int = 8) -> Network:
    return describe_replies([a for a, _ in arcs], [b for _, b in arcs], members)


class TestDefinitions:
    def test_psycho_babbles_seven_figures(self) -> None:
        found = describe_messages(*psycho_babble())
        counts = (found.posters, found.messages, found.threads)
        assert [value(each) for each in counts] == [1516, 21_230, 3028]
        assert f"{value(found.posted_once_share):.0%}" == "48%"
        assert f"{value(found.initial_only_share):.0%}" == "13%"
        assert [f"{value(each):.1f}" for each in (found.per_poster, found.per_thread)] == ["14.0", "7.0"]

    def test_geramitas_five_classes(self) -> None:
        members = geramita()
        found = five_classes(members.posts, members.has_logged_in)
        assert [value(each) for each in found.people] == [3, 30, 108, 87, 74]
        assert f"{value(found.shares[0]):.1%}" == "42.3%"
        assert (members.posts.sum(), members.has_logged_in.sum(), (members.posts > 0).sum()) == (
            1488,
            228,
            141,
        )

    def test_they_do_not_hang_on_who_comes_first(self) -> None:
        chance = np.random.default_rng(1)
        written, members = psycho_babble(), geramita()
        order, others = chance.permutation(len(written.authors)), chance.permutation(302)
        assert describe_messages(written.authors[order], written.threads[order]) == describe_messages(
            *written
        )
        found = five_classes(members.posts[others], members.has_logged_in[others])
        assert [value(each) for each in found.people] == [3, 30, 108, 87, 74]

    def test_a_spread_is_what_it_says(self) -> None:
        found = spread(21_230, 1516, ones=728)
        assert (found.sum(), len(found), (found == 1).sum()) == (21_230, 1516, 728)
        with pytest.raises(ValueError, match="cannot be spread"):
            spread(10, 8, ones=2)


class TestGini:
    def test_all_alike_is_0_and_one_alone_is_nearly_1(self) -> None:
        assert value(gini([4, 4, 4, 4])) == pytest.approx(0, abs=1e-15)
        assert value(gini([0, 0, 0, 9])) == pytest.approx(0.75)

    def test_a_set_worked_by_hand(self) -> None:
        """Differences of all ordered pairs of 1, 2, 5: 2 · (1 + 4 + 3) = 16; over 2 · 3² · mean 8/3."""
        assert value(gini([2, 5, 1])) == pytest.approx(16 / (2 * 9 * 8 / 3))

    @given(AMOUNTS, st.integers(1, 9))
    def test_a_scale_or_a_copy_of_everybody_changes_nothing(self, amounts: list[int], scale: int) -> None:
        one = gini(amounts)
        for other in (gini([scale * each for each in amounts]), gini(amounts * 2)):
            assert other.estimate == (None if one.estimate is None else pytest.approx(one.estimate))

    @given(AMOUNTS)
    def test_it_is_twice_the_area_between_lorenz_and_the_diagonal(self, amounts: list[int]) -> None:
        people, written = lorenz(amounts)
        found = gini(amounts)
        if found.estimate is None:
            assert found.reason in {"there are no members", "nobody wrote anything"} and len(people) == 0
            return
        assert found.reason == EVERYBODY and found.ci_low is None
        assert found.estimate == pytest.approx(1 - 2 * float(np.trapezoid(written, people)), abs=1e-12)
        assert (written[0], written[-1]) == (0, pytest.approx(1)) and (np.diff(written) >= 0).all()


class TestRanks:
    def test_ranks_of_a_hundred(self) -> None:
        found = one_nine_ninety([100] + [10] * 9 + [1] * 90)
        assert [each.people for each in found] == [1, 9, 90]
        assert [value(each.share) for each in found] == pytest.approx([100 / 280, 90 / 280, 90 / 280])

    def test_few_members_have_no_first_hundredth(self) -> None:
        first, nine, ninety = one_nine_ninety([3] * 20)
        assert first.share.estimate is None and first.share.reason == "the rank has nobody: too few members"
        assert (nine.people, ninety.people) == (2, 18)

    @given(AMOUNTS)
    def test_ranks_are_everybody_and_the_first_write_most(self, amounts: list[int]) -> None:
        found = one_nine_ninety(amounts)
        assert sum(each.people for each in found) == len(amounts)
        if any(amounts):
            assert sum(each.share.estimate or 0 for each in found) == pytest.approx(1)
            of_each = [value(each.share) / each.people for each in found if each.people]
            assert of_each == sorted(of_each, reverse=True)

    @given(AMOUNTS, st.randoms())
    def test_classes_are_everybody_and_only_who_wrote_is_a_contributor(
        self, amounts: list[int], chance: Any
    ) -> None:
        seen = [bool(each) or chance.random() < 0.5 for each in amounts]
        found = five_classes(amounts, seen)
        people = [value(each) for each in found.people]
        assert sum(people) == len(amounts) and sum(people[:3]) == sum(each > 0 for each in amounts)
        assert people[4] == seen.count(False)
        for code, amount in zip(found.codes, amounts, strict=True):
            assert (CLASSES[code] in CLASSES[:3]) == (amount > 0)

    def test_who_writes_without_a_log_in_has_logged_in(self) -> None:
        assert five_classes([3, 0], [False, False]).codes.tolist() == [2, 4]

    def test_without_log_ins_observers_are_unknown(self) -> None:
        found = five_classes([5, 0, 0], None)
        assert found.codes.tolist() == [2, -1, -1]
        assert [each.reason for each in found.people[3:]] == ["reads are not collected"] * 2
        assert value(found.people[2]) == 1


class TestReplies:
    def test_a_star_is_all_central_and_not_mutual(self) -> None:
        found = network([(i, 0) for i in range(1, 8)])
        assert (value(found.centralisation), value(found.reciprocity)) == (1, 0)

    def test_a_ring_is_not_central(self) -> None:
        found = network([(i, (i + 1) % 8) for i in range(8)])
        assert (value(found.centralisation), found.dyads, found.mutual) == (0, 8, 0)

    def test_a_network_worked_by_hand(self) -> None:
        """0 ↔ 1, 2 → 0, 3 → 0: in-degrees 3, 1, 0, 0; (0 + 2 + 3 + 3)/9."""
        found = network([(0, 1), (1, 0), (1, 0), (2, 0), (3, 0), (3, 3)], 4)
        assert (found.dyads, found.mutual) == (3, 1)
        assert value(found.reciprocity) == pytest.approx(1 / 3)
        assert value(found.centralisation) == pytest.approx(8 / 9)

    @given(ARCS)
    def test_how_often_and_to_oneself_do_not_matter(self, arcs: list[tuple[int, int]]) -> None:
        assert network(arcs + arcs + [(3, 3)]) == network(arcs)

    @given(ARCS)
    def test_directions_turned_are_as_mutual(self, arcs: list[tuple[int, int]]) -> None:
        assert network([(b, a) for a, b in arcs]).reciprocity == network(arcs).reciprocity

    @given(ARCS)
    def test_answers_to_all_make_it_mutual(self, arcs: list[tuple[int, int]]) -> None:
        found = network(arcs + [(b, a) for a, b in arcs])
        assert found.dyads == found.mutual
        assert found.reciprocity.estimate == (1 if found.dyads else None)


class TestTooLittle:
    def test_nobody(self) -> None:
        assert describe_messages([], []).per_poster.reason == "nobody wrote anything"
        assert value(describe_messages([], []).posters) == 0
        assert gini([]).reason == five_classes([], []).shares[0].reason == "there are no members"
        found = describe_replies([], [], 0)
        assert found.reciprocity.reason == "nobody replied to another"
        assert found.centralisation.reason == "fewer than two members"

    def test_what_is_no_amount(self) -> None:
        for amounts in ([1, -2], [1, float("nan")], [1, float("inf")]):
            assert gini(amounts).reason == "an amount is missing, or below 0"
            assert one_nine_ninety(amounts)[0].share.estimate is None
            assert five_classes(amounts, [True, True]).shares[0].estimate is None

    def test_numbers_that_differ_are_a_mistake_of_the_caller(self) -> None:
        for call in (
            lambda: describe_messages([1], []),
            lambda: five_classes([1], []),
            lambda: describe_replies([0], [], 3),
            lambda: describe_replies([0], [3], 3),
            lambda: describe_replies([-1], [2], 3),
        ):
            with pytest.raises(ValueError):
                call()
