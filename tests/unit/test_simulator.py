"""Simulated communities: what was published comes out of their events by plain counting, what is planted by
plain arithmetic, and disorder leaves both as they are. The product's own statistics are not asked here.
"""

from __future__ import annotations

import math
import random
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest

from services.ingestion.instruments import answer_violations
from services.ingestion.rules import violations
from services.simulator import features, mens_groups, moderation, singapore, survey
from services.simulator.catalogue import COMMUNITIES
from services.simulator.disorder import Disorder, disordered
from services.simulator.telling import Figure
from tests.fakes.retracting import counted

BAD = Disorder(late=0.3, duplicated=0.1, retracted=0.1, withdrawn=0.1, unconsenting=0.1)


@cache
def events_of(name: str) -> tuple[Any, ...]:
    return tuple(COMMUNITIES[name].simulated().events())


def of_kind(events: Iterable[Any], *kinds: str) -> list[Any]:
    return [event for event in events if event.WhichOneof("kind") in kinds]


def digest(events: Iterable[Any]) -> str:
    return sha256(b"".join(event.SerializeToString(deterministic=True) for event in events)).hexdigest()


def figure(figures: Sequence[Figure], name: str, part: str = "", of: str = "") -> float:
    (value,) = (each.value for each in figures if (each.name, each.part, each.of) == (name, part, of))
    return value


class TestEveryCommunity:
    @pytest.mark.parametrize("name", COMMUNITIES)
    def test_is_taken_by_the_gateway_and_has_each_id_once(self, name: str) -> None:
        events = events_of(name)
        assert [(event, found) for event in events if (found := violations(event))] == []
        answers = [event.questionnaire_answered for event in of_kind(events, "questionnaire_answered")]
        assert [found for answer in answers for found in answer_violations(answer)] == []
        assert len({event.event_id for event in events}) == len(events)

    @pytest.mark.parametrize("name", ["geramita", "moderation", "features", "carers", "community"])
    def test_another_seed_is_another_community_in_another_tenant(self, name: str) -> None:
        known = COMMUNITIES[name]
        other = known.simulated(seed=2)
        assert other.tenant == f"{known.tenant}-s2"
        mine, theirs = events_of(name), tuple(other.events())
        assert not {event.event_id for event in mine} & {event.event_id for event in theirs}
        assert not people(mine) & people(theirs)
        assert [found for event in theirs if (found := violations(event))] == []

    def test_the_same_seed_gives_the_same_bytes_in_another_process(self) -> None:
        names = ("geramita", "moderation", "youth")
        program = (
            "import sys; from tests.unit.test_simulator import *\n"
            f"print(*[digest(disordered(events_of(name), BAD, 1)) for name in {names}])"
        )
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert run.stdout.split() == [digest(disordered(events_of(name), BAD, 1)) for name in names]

    def test_parameters_are_checked(self) -> None:
        with pytest.raises(ValueError, match="no parameter 'colour'"):
            COMMUNITIES["moderation"].with_parameters({"colour": "1"})
        with pytest.raises(ValueError, match="a number"):
            COMMUNITIES["moderation"].with_parameters({"reply_peer": "often"})
        with pytest.raises(ValueError, match="0 or more"):
            COMMUNITIES["moderation"].with_parameters({"reply_peer": "-1"})
        with pytest.raises(ValueError, match="as published"):
            COMMUNITIES["geramita"].with_parameters({"members": "3"})
        with pytest.raises(ValueError, match="published"):
            COMMUNITIES["geramita"].simulated(size=100)

    def test_a_parameter_makes_another_tenant(self) -> None:
        known = COMMUNITIES["moderation"]
        changed = known.simulated(parameters=known.with_parameters({"reply_peer": "0.2"}))
        assert changed.tenant.startswith("synthetic-moderation-") and changed.tenant != known.tenant
        assert known.simulated(size=40).tenant == "synthetic-moderation-n40"


def people(events: Iterable[Any]) -> set[str]:
    return {event.participant_ref for event in events if getattr(event, "participant_ref", "")}


class TestWhatWasPublished:
    """Counted over the events of those who consent, after what was taken back is gone."""

    @pytest.mark.parametrize("disorder", [Disorder(), BAD], ids=["in order", "in disorder"])
    def test_psycho_babble(self, disorder: Disorder) -> None:
        told = counted(disordered(events_of("psycho-babble"), disorder, 1))
        posts = of_kind(told, "thread_started", "reply_posted")
        by_author = Counter(post.participant_ref for post in posts)
        by_thread = Counter(getattr(post, str(post.WhichOneof("kind"))).thread_ref for post in posts)
        assert (len(by_author), len(posts), len(by_thread)) == (1516, 21_230, 3028)
        assert f"{sum(n == 1 for n in by_author.values()) / 1516:.0%}" == "48%"
        assert f"{sum(n == 1 for n in by_thread.values()) / 3028:.0%}" == "13%"
        assert (f"{21_230 / 1516:.1f}", f"{21_230 / 3028:.1f}") == ("14.0", "7.0")
        days = {post.occurred_at.ToDatetime().date().isoformat() for post in posts}
        assert min(days) >= "2000-01-01" and max(days) <= "2000-08-31"

    @pytest.mark.parametrize("disorder", [Disorder(), BAD], ids=["in order", "in disorder"])
    def test_geramita(self, disorder: Disorder) -> None:
        told = counted(disordered(events_of("geramita"), disorder, 1))
        members = {event.participant_ref for event in of_kind(told, "member_joined")}
        wrote = Counter(post.participant_ref for post in of_kind(told, "thread_started", "reply_posted"))
        read = {event.participant_ref for event in of_kind(told, "thread_read")}
        ranked = [count for _, count in wrote.most_common()]
        assert (len(members), len(members - read - set(wrote)), len(read - set(wrote)), len(wrote)) == (
            302, 74, 87, 141,
        )  # fmt: skip
        assert ranked[3] < ranked[2] and ranked[33] < ranked[32]
        assert f"{sum(ranked[:3]) / sum(ranked):.1%}" == "42.3%"
        (forum,) = of_kind(told, "group_registered")
        assert forum.group_registered.facts.reads_collected

    @pytest.mark.parametrize("disorder", [Disorder(), BAD], ids=["in order", "in disorder"])
    def test_singapore(self, disorder: Disorder) -> None:
        answers = surveyed(counted(disordered(events_of("singapore"), disorder, 1)))
        users = [(given, weight) for given, weight in answers if given["online-group"] == "yes"]
        assert (len(answers), len(users)) == (6110, 53)
        whole, of_users = (sum(weight for _, weight in each) for each in (answers, users))
        assert of_users / whole == pytest.approx(0.01, rel=1e-9)
        for (question, answer), share in singapore.PRINTED.items():
            found = sum(weight for given, weight in users if given[question] == answer) / of_users
            assert found == pytest.approx(share, rel=1e-9)

    @pytest.mark.parametrize("seed", range(2, 12))
    def test_the_survey_of_every_seed_has_its_shares(self, seed: int) -> None:
        users = singapore._users(random.Random(seed))
        weights = singapore._raked(users)
        women = sum(
            weight for given, weight in zip(users, weights, strict=True) if given["gender"] == "woman"
        )
        assert women / sum(weights) == pytest.approx(0.569, rel=1e-9)


def surveyed(events: Iterable[Any]) -> list[tuple[dict[str, str], float]]:
    return [
        ({each.question: each.answer for each in event.survey_answered.answers}, event.survey_answered.weight)
        for event in of_kind(events, "survey_answered")
    ]


class TestWhatIsPlanted:
    """In communities large enough, by arithmetic of this page. Bands are four standard errors or more."""

    def test_odds_ratios_and_prevalence_of_the_survey(self) -> None:
        truth = survey.Truth(users=0.3, icc=0.1)
        answers = surveyed(survey.events(3, 12_000, truth))
        figures = survey.figures(12_000, truth)
        whole = sum(weight for _, weight in answers)
        assert whole / len(answers) == pytest.approx(1, abs=0.05)
        users = sum(weight for given, weight in answers if given["online-group"] == "yes") / whole
        assert users == pytest.approx(figure(figures, "prevalence_share"), abs=0.035)
        # Within answers that are otherwise the same, pooled over them (Mantel and Haenszel).
        assert math.log(mantel_haenszel(answers, "mdd", "yes")) == pytest.approx(math.log(4.0), abs=0.35)
        assert math.log(mantel_haenszel(answers, "ocd", "yes")) == pytest.approx(0.0, abs=0.45)
        assert math.log(mantel_haenszel(answers, "gender", "man")) == pytest.approx(math.log(0.7), abs=0.25)

    def test_people_of_a_cluster_are_alike(self) -> None:
        spread = {}
        for icc in (0.0, 0.4):
            shares = defaultdict(list)
            for event in of_kind(survey.events(1, 6000, survey.Truth(users=0.3, icc=icc)), "survey_answered"):
                body = event.survey_answered
                shares[body.cluster].append(
                    any(a.question == "online-group" and a.answer == "yes" for a in body.answers)
                )
            spread[icc] = statistics.pvariance([statistics.fmean(each) for each in shares.values()])
        assert spread[0.4] > 2 * spread[0.0]

    def test_hazards_of_groups(self) -> None:
        truth = moderation.Truth(reply_peer=0.05, removal_peer=0.02, answer_peer=0.03, dropout_peer=0.02)
        told = list(moderation.events(2, 1000, truth))
        figures = moderation.figures(1000, truth)
        waits = waits_of(told, "peer")
        for name in ("replied_share", "closed_share", "moderator_replied_share"):
            happened = statistics.fmean(wait <= 24 for wait in waits[name])
            assert happened == pytest.approx(figure(figures, name, "24 h", "peer"), abs=0.045), name
        early = [days for days, has_left in memberships(told, "peer") if not has_left]
        assert statistics.fmean(days <= 60 for days in early) == pytest.approx(
            1 - math.exp(-0.02 * 60), abs=0.15
        )

    def test_who_stays_is_never_silent_for_thirty_days(self) -> None:
        told = list(moderation.events(1, 240, moderation.Truth()))
        acts = defaultdict(list)
        for event in of_kind(told, "member_joined", "thread_started", "reply_posted"):
            acts[event.participant_ref].append(event.occurred_at.seconds)
        gaps = [b - a for each in map(sorted, acts.values()) for a, b in pairwise(each)]
        assert max(gaps) < moderation.GAP_DAYS * 86_400

    def test_nobody_answers_a_thread_that_was_removed(self) -> None:
        removed = {}
        told = list(moderation.events(1, 240, moderation.Truth(removal_peer=0.05)))
        for event in of_kind(told, "moderation_acted"):
            if event.moderation_acted.action == 2:
                removed[event.moderation_acted.act_ref] = event.occurred_at.seconds
        replies = [
            (each.reply_posted.thread_ref, each.occurred_at.seconds) for each in of_kind(told, "reply_posted")
        ]
        assert removed and all(at <= removed.get(thread, at) for thread, at in replies)

    def test_themes_agreement_and_replies_of_mens_groups(self) -> None:
        truth = mens_groups.Truth(kappa=0.6)
        told = list(mens_groups.events(1, 1000, truth))
        pairs: dict[str, list[Any]] = defaultdict(list)
        codes: dict[tuple[str, str], dict[str, bool]] = defaultdict(dict)
        for event in of_kind(told, "theme_coded"):
            body = event.theme_coded
            codes[event.participant_ref, body.theme][body.coder_ref] = body.is_present
        for (_, theme), found in codes.items():
            pairs[theme].append((found["coder-a"], found["coder-b"]))
        for theme, share in mens_groups.THEMES.items():
            both = [each for pair in pairs[theme] for each in pair]
            assert statistics.fmean(both) == pytest.approx(share, abs=0.07)
            assert kappa(pairs[theme]) == pytest.approx(0.6, abs=0.13)
        arcs = {
            (each.participant_ref, each.reply_posted.in_reply_to_act_ref)
            for each in of_kind(told, "reply_posted")
        }
        dyads = {frozenset(arc) for arc in arcs}
        assert sum((b, a) in arcs for a, b in arcs) / 2 / len(dyads) == pytest.approx(0.5, abs=0.07)
        scores: dict[str, dict[str, float]] = defaultdict(dict)
        for event in of_kind(told, "questionnaire_answered"):
            body = event.questionnaire_answered
            scores[body.time_point][event.participant_ref] = body.total
        changes = [scores["month-3"][who] - scores["baseline"][who] for who in scores["baseline"]]
        assert statistics.fmean(changes) == pytest.approx(-1.0, abs=0.12)
        held, attended = (len(of_kind(told, kind)) for kind in ("session_held", "session_attended"))
        assert attended / (held * 10) == pytest.approx(0.65, abs=0.02)

    def test_drift_and_interruption_of_features(self) -> None:
        truth = features.Truth()
        numbers = [
            (event.group_ref, event.occurred_at.ToDatetime().date(),
             {each.code: each.value for each in event.text_features_measured.features})
            for event in of_kind(features.events(1, 2500, truth), "text_features_measured")
        ]  # fmt: skip
        for group, share in features.GROUPS.items():
            for year in features.YEARS:
                mine = [(day, found) for each, day, found in numbers if each == group and day.year == year]
                late = [(f["anxiety"] / f["n_words"]) for day, f in mine if features._through(day) > 0.8]
                early = [(f["anxiety"] / f["n_words"]) for day, f in mine if features._through(day) < 0.2]
                expected = 0.8 * share * truth.drift if year == 2020 else 0.0
                moved = (statistics.fmean(late) - statistics.fmean(early)) / features.SPREAD
                assert moved == pytest.approx(expected, abs=0.4), (group, year)
        about: dict[tuple[int, bool], list[bool]] = defaultdict(list)
        for _, day, found in numbers:
            is_after = (day.month, day.day) >= (features.INTERRUPTED_ON.month, features.INTERRUPTED_ON.day)
            about[day.year, is_after].append(found["isolation"] > 0)
        shares = {place: statistics.fmean(found) for place, found in about.items()}
        assert shares[2020, True] / shares[2020, False] == pytest.approx(2.0, abs=0.45)
        assert shares[2019, True] / shares[2019, False] == pytest.approx(1.0, abs=0.3)

    @pytest.mark.parametrize("missing", ["mcar", "mar", "mnar"])
    def test_who_misses_an_answer(self, missing: str) -> None:
        known = COMMUNITIES["mutual-help"]
        truth = known.with_parameters({"missing": missing, "lost": "0.4", "people": "4"})
        scores: dict[str, dict[str, float]] = defaultdict(dict)
        for event in of_kind(known.events(1, 3000, truth), "questionnaire_answered"):
            scores[event.participant_ref][event.questionnaire_answered.time_point] = (
                event.questionnaire_answered.total
            )
        there = [each["baseline"] for each in scores.values() if len(each) == 2]
        gone = [each["baseline"] for each in scores.values() if len(each) == 1]
        assert len(gone) / len(scores) == pytest.approx(0.4, abs=0.06)
        worse = statistics.fmean(gone) - statistics.fmean(there)
        assert (worse > 0.5) == (missing != "mcar")


def mantel_haenszel(answers: Sequence[tuple[dict[str, str], float]], question: str, answer: str) -> float:
    planted = [each for each in ("age-group", "gender", "education", "mdd", "ocd") if each != question]
    cells: dict[Any, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for given, _ in answers:
        place = 2 * (given[question] != answer) + (given["online-group"] != "yes")
        cells[tuple(given[each] for each in planted)][place] += 1
    above = sum(a * d / (a + b + c + d) for a, b, c, d in cells.values())
    below = sum(b * c / (a + b + c + d) for a, b, c, d in cells.values())
    return above / below


def kappa(pairs: Sequence[tuple[bool, bool]]) -> float:
    agreed = statistics.fmean(a == b for a, b in pairs)
    first, second = (statistics.fmean(pair[i] for pair in pairs) for i in (0, 1))
    by_chance = first * second + (1 - first) * (1 - second)
    return (agreed - by_chance) / (1 - by_chance)


def waits_of(events: Iterable[Any], kind: str) -> dict[str, list[float]]:
    """Hours until what came first, of threads that were followed for a day; infinite: it did not come."""
    starts, found = {}, defaultdict(dict)  # type: ignore[var-annotated]
    end = moderation.ENDS_AT.timestamp()
    for event in events:
        at = event.occurred_at.seconds
        if event.WhichOneof("kind") == "thread_started" and event.group_ref.startswith(f"{kind}-"):
            starts[event.thread_started.act_ref] = at
        elif event.WhichOneof("kind") == "reply_posted":
            found["reply"][event.reply_posted.in_reply_to_act_ref] = at
        elif event.WhichOneof("kind") == "moderation_acted":
            name = {1: "answer", 2: "removal"}[event.moderation_acted.action]
            found[name][event.moderation_acted.act_ref] = at
    followed = {act: at for act, at in starts.items() if at < end - 86_400}

    def hours(name: str, act: str) -> float:
        return float(found[name].get(act, math.inf) - followed[act]) / 3600

    replies = [hours("reply", act) for act in followed]
    removals = [wait if wait < hours("reply", act) else math.inf
                for act in followed for wait in [hours("removal", act)]]  # fmt: skip
    return {"replied_share": replies, "closed_share": removals,
            "moderator_replied_share": [hours("answer", act) for act in followed]}  # fmt: skip


def memberships(events: Iterable[Any], kind: str) -> list[tuple[float, bool]]:
    """Days from joining to the last act, and whether they completed: of those there from the beginning."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    completed = set()
    for event in of_kind(events, "member_joined", "member_left", "thread_started", "reply_posted"):
        if event.group_ref.startswith(f"{kind}-"):
            who, at = event.participant_ref, event.occurred_at.seconds
            if event.WhichOneof("kind") == "member_left":
                completed.add(who)
            first.setdefault(who, at)
            last[who] = at
    begins = min(first.values())
    return [((last[who] - at) / 86_400, who in completed) for who, at in first.items() if at == begins]


class TestDisorder:
    def test_what_is_counted_is_the_same(self) -> None:
        for name in ("moderation", "mens-groups", "features"):
            events = events_of(name)
            assert sorted(map(digest_of, counted(disordered(events, BAD, 1)))) == sorted(
                map(digest_of, events)
            )

    def test_there_is_as_much_of_it_as_was_asked_for(self) -> None:
        events = events_of("geramita")
        order = {event.event_id: place for place, event in enumerate(events)}
        told = disordered(events, Disorder(late=0.3), 1)
        assert sorted(order) == sorted(event.event_id for event in told)
        latest, behind = -1, 0
        for event in told:
            behind += order[event.event_id] < latest
            latest = max(latest, order[event.event_id])
        assert 0.2 < behind / len(events) < 0.4
        twice = Counter(event.event_id for event in disordered(events, Disorder(duplicated=0.2), 1))
        assert statistics.fmean(count == 2 for count in twice.values()) == pytest.approx(0.2, abs=0.03)
        taken_back = of_kind(disordered(events, Disorder(retracted=0.2), 1), "event_retracted")
        assert len(taken_back) / len(events) == pytest.approx(0.2, abs=0.03)
        withdrawn = of_kind(disordered(events, Disorder(withdrawn=0.5), 1), "consent_withdrawn")
        assert len(withdrawn) / 302 == pytest.approx(0.5, abs=0.12)

    def test_no_disorder_is_none(self) -> None:
        events = events_of("geramita")
        assert disordered(events, Disorder(), 1) == list(events)

    def test_what_is_added_is_taken_by_the_gateway_and_has_ids_of_its_own(self) -> None:
        for name in ("geramita", "features", "carers"):
            told = disordered(events_of(name), BAD, 1)
            bodies = {(event.event_id, event.SerializeToString()) for event in told}
            assert len(bodies) == len({event.event_id for event in told})
            assert [found for event in told if (found := violations(event))] == []

    def test_a_share_is_a_share(self) -> None:
        with pytest.raises(ValueError, match="late is a share"):
            Disorder(late=1.5)


def digest_of(event: Any) -> str:
    return digest([event])
