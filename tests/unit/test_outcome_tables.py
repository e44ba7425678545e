"""Tables of people's outcomes on simulated studies: what they hold, what is planted comes back, and what
cannot be computed says so."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.builds.evidence import suite_of
from pipelines.evidence.carers_controlled import carers_controlled
from pipelines.evidence.inputs import Inputs
from pipelines.evidence.mutual_help import mutual_help
from pipelines.evidence.protocols import YoungMembers, YouthOnline, protocols
from pipelines.evidence.rows import CARERS_CONTROLLED, MUTUAL_HELP, YOUTH_ONLINE_PEER_SUPPORT, Table
from pipelines.evidence.youth_online_peer_support import youth_online_peer_support
from pipelines.publication.disclosure import control
from pipelines.quality.expectations import check
from services.simulator import studies
from services.simulator.studies import Study, Truth
from tests.fakes.study_frames import frames

Term = tuple[str, str | None]
"""Name of an estimate, and its part."""
Wanted = dict[Term, float]
TABLES: dict[str, tuple[Callable[[Inputs], pd.DataFrame], Table, Callable[..., Study]]] = {
    "carers": (carers_controlled, CARERS_CONTROLLED, studies.carers),
    "mutual help": (mutual_help, MUTUAL_HELP, studies.mutual_help),
    "youth": (youth_online_peer_support, YOUTH_ONLINE_PEER_SUPPORT, studies.youth),
}


def table_of(name: str, study: Study | None = None) -> pd.DataFrame:
    build, _, simulate = TABLES[name]
    return build(frames(study or simulate(1)))


def one(rows: pd.DataFrame, **wanted: Any) -> dict[str, Any]:
    """The only row of these values."""
    for name, value in wanted.items():
        rows = rows[rows[name] == value]
    (found,) = rows.to_dict("records")
    return {str(name): value for name, value in found.items()}


@pytest.mark.parametrize("name", TABLES)
def test_rows_break_no_rule_of_their_table(name: str) -> None:
    table = TABLES[name][1]
    rows = control(table_of(name)).assign(
        release_id=1, lake_snapshot=1, code_version="1", computed_at=pd.Timestamp("2026-11-30", tz="UTC")
    )
    suite = suite_of(table)
    found = check(suite.derive(rows), suite, "tenant")
    assert {each.rule: (each.by_tenant, each.problem) for each in found if not each.passed} == {}


@pytest.mark.parametrize("name", TABLES)
def test_nothing_from_a_study_without_lots_is_called_an_effect(name: str) -> None:
    rows = table_of(name)
    assert set(rows["design"]) == {"controlled"}
    words = rows["contrast"].dropna()
    assert len(words) and all("associated with" in each for each in words)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_study_of_hardly_anybody_gives_rows_with_reasons(name: str, left: int) -> None:
    """One or two people of each arm, one of them without a later answer."""
    study = TABLES[name][2](1)
    arms = {person.arm for person in study.people}
    few = [each for arm in arms for each in [p for p in study.people if p.arm == arm][:left]]
    for person in few[:1]:
        person.scores = dict([*person.scores.items()][:1])
    rows = table_of(name, replace(study, people=few))
    assert (rows["estimate"].notna() | rows["not_estimated_reason"].notna()).all()
    assert rows["denominator"].notna().all()
    numbers = rows[["estimate", "se", "ci_low", "ci_high"]].astype(float)
    assert not np.isinf(numbers).any(axis=None)


class TestCarers:
    def test_every_outcome_has_arms_contrasts_and_models(self) -> None:
        rows = table_of("carers")
        for outcome in ("psychological distress", "wellbeing"):
            found = rows[rows["outcome"] == outcome]
            assert set(found["estimate_name"]) >= {
                "n", "mean", "sd", "mean_difference", "hedges_g", "ancova_difference", "gee_coefficient",
                "mixed_coefficient", "gee_moderation", "mixed_moderation", "mixed_icc", "mixed_delta",
            }  # fmt: skip
        terms = set(rows.loc[rows["estimate_name"] == "gee_coefficient", "part"])
        assert terms == {"arm: group", "time", "baseline", "wellbeing", "employment=homemaker"}

    def test_intervals_of_contrasts_are_wider_for_several_outcomes(self) -> None:
        """Two outcomes at two later time points: 1 − 0.05/4."""
        rows = table_of("carers")
        contrasts = rows[rows["reference_arm"].notna() & rows["ci_low"].notna()]
        assert set(contrasts["ci_level"]) == {1 - 0.05 / 4}

    def test_a_small_study_is_warned_of_and_corrected(self) -> None:
        """Eight and nineteen mothers, as Shu and Lung had."""
        rows = table_of("carers", studies.carers(3, in_group=8, controls=19, truth=Truth(lost=0.0)))
        method = one(rows, estimate_name="gee_coefficient", part="time", outcome="wellbeing")["method"]
        assert "small sample: 27 people" in method and "variance of groups, CR2" in method

    def test_one_group_in_the_arm_is_not_separable_from_it(self) -> None:
        rows = table_of("carers", studies.carers(3, in_group=8, controls=19, truth=Truth(lost=0.0)))
        found = one(rows, estimate_name="ancova_difference", outcome="wellbeing", time_point="post")
        assert (found["estimate"], found["not_estimated_reason"]) == (None, "not separable from group")
        found = one(rows, estimate_name="gee_coefficient", outcome="wellbeing", part="arm: group")
        assert (found["estimate"], found["not_estimated_reason"]) == (None, "not separable from group")

    def test_missing_outcomes_that_are_worse_move_the_difference_by_their_share(self) -> None:
        rows = table_of("carers")
        place = {"outcome": "psychological distress"}
        main = one(rows, estimate_name="mixed_coefficient", part="arm: group", **place)
        moved = one(rows, estimate_name="mixed_delta", **place)
        n = {
            arm: one(rows, estimate_name="n", arm=arm, time_point="month-1", **place)["estimate"]
            for arm in ("group", "control")
        }
        shift = 3 * ((1 - n["group"] / 60) - (1 - n["control"] / 90))
        assert moved["estimate"] - main["estimate"] == pytest.approx(shift, rel=1e-9)
        assert moved["ci_high"] - moved["ci_low"] == pytest.approx(main["ci_high"] - main["ci_low"], rel=1e-9)

    def test_what_is_planted_comes_back(self) -> None:
        truth, place = Truth(), {"outcome": "psychological distress"}
        wanted: Wanted = {
            ("mixed_coefficient", "arm: group"): truth.difference,
            ("mixed_coefficient", "wellbeing"): truth.wellbeing,
            ("mixed_coefficient", "employment=homemaker"): -truth.employment,
            ("mixed_moderation", "arm: group × wellbeing"): 0.0,
        }
        _comes_back("carers", wanted, truth, place, seeds=200, in_group=20, controls=30)

    def test_groups_that_differ_are_in_the_variance(self) -> None:
        truth, place = Truth(groups=2.0), {"outcome": "psychological distress"}
        wanted: Wanted = {("gee_coefficient", "arm: group"): truth.difference}
        _comes_back("carers", wanted, truth, place, in_group=80, controls=40)


class TestMutualHelp:
    def test_balance_is_exact_after_weighting(self) -> None:
        rows = table_of("mutual help")
        for part in ("baseline", "gender=woman", "years-ill"):
            before = one(rows, estimate_name="balance_before_weighting", part=part)["estimate"]
            after = one(rows, estimate_name="balance_after_weighting", part=part)["estimate"]
            assert after == pytest.approx(0, abs=1e-8)
            assert part == "gender=woman" or abs(before) > 0.3

    def test_members_and_professionals_within_the_margin(self) -> None:
        rows = table_of("mutual help", studies.mutual_help(1, members=600, others=60, treated=600))
        inferiority = one(rows, estimate_name="non_inferiority_difference", part="as allocated")
        same = one(rows, estimate_name="equivalence_difference", part="as allocated")
        assert inferiority["contrast"].endswith("; non-inferior") and inferiority["ci_level"] == 0.95
        assert same["contrast"].endswith("; equivalent") and same["ci_level"] == 0.90
        assert "margin 2 points of 2026-01-01: below the smallest change" in same["method"]
        assert "younger than the data" not in same["method"]

    def test_per_protocol_leaves_out_members_who_hardly_came(self) -> None:
        study = studies.mutual_help(1)
        rows = table_of("mutual help", study)
        answered = [p for p in study.people if p.arm == "members" and len(p.scores) == 2]
        came = [p for p in answered if p.sessions >= 2]
        name = "non_inferiority_difference"
        assert one(rows, estimate_name=name, part="as allocated")["n_arm"] == len(answered)
        assert one(rows, estimate_name=name, part="per protocol")["n_arm"] == len(came) < len(answered)

    def test_few_who_are_left_out_are_not_told_of(self) -> None:
        study = studies.mutual_help(1)
        for i, person in enumerate(p for p in study.people if p.arm == "members"):
            person.sessions = 0 if i < 5 else 8
        rows = control(mutual_help(frames(study, "live")))
        name = "non_inferiority_difference"
        assert not one(rows, estimate_name=name, part="as allocated")["suppressed"]
        assert one(rows, estimate_name=name, part="per protocol")["suppressed"]

    def test_what_an_arm_costs(self) -> None:
        study = studies.mutual_help(1)
        found = one(table_of("mutual help", study), estimate_name="mean_cost", arm="professional")
        costs = [p.cost for p in study.people if p.arm == "professional" and p.cost is not None]
        assert (found["estimate"], found["part"]) == (pytest.approx(statistics.fmean(costs)), "GBP")

    def test_what_is_planted_comes_back(self) -> None:
        truth = Truth()
        wanted: Wanted = {("overlap_weighted_difference", None): truth.difference}
        arm = {"arm": "members"}
        _comes_back("mutual help", wanted, truth, arm, members=36, others=40, treated=10)


class TestYouth:
    def test_only_those_who_were_young_when_they_answered(self) -> None:
        study = studies.youth(1)
        rows = table_of("youth", study)
        young = [
            p for p in study.people if p.arm == "members" and p.age_band != "35_49" and len(p.scores) == 2
        ]
        found = one(rows, estimate_name="young_members", part="all online groups")
        assert found["estimate"] == len(young)
        parts = rows[(rows["estimate_name"] == "young_members") & (rows["part"] != "all online groups")]
        assert sorted(parts["part"]) == [
            "modality: chat × moderation: peer",
            "modality: online-forum × moderation: peer",
            "modality: online-forum × moderation: professional",
            "modality: virtual-reality × moderation: none",
        ]
        assert parts["estimate"].sum() == len(young)

    def test_one_small_kind_of_group_hides_the_others_but_not_the_whole(self) -> None:
        """Three young people are in the only chat: they could be had from the whole and the others."""
        study = studies.youth(1, members=160, waiting=20)
        chat = {group.ref for group in study.groups if group.format == "chat"}
        people = [each for each in study.people if each.group not in chat]
        few = [each for each in study.people if each.group in chat and each.age_band != "35_49"][:3]
        rows = control(youth_online_peer_support(frames(replace(study, people=[*people, *few]), "live")))
        members = rows[rows["estimate_name"] == "young_members"]
        assert set(members.loc[members["suppressed"].astype(bool), "part"]) == {
            "modality: chat × moderation: peer",
            "modality: online-forum × moderation: peer",
            "modality: online-forum × moderation: professional",
            "modality: virtual-reality × moderation: none",
        }
        assert not one(rows, estimate_name="young_members", part="all online groups")["suppressed"]

    @pytest.mark.parametrize(
        ("asked", "parts"),
        [
            ({"moderations": ["professional"]}, ["modality: online-forum × moderation: professional"]),
            ({"conditions": ["bereavement"]}, []),
        ],
    )
    def test_only_the_groups_that_the_protocol_is_about(
        self, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], parts: list[str]
    ) -> None:
        (protocol,) = (each for each in protocols(YouthOnline) if each.members)
        other = protocol.model_copy(
            update={"members": YoungMembers(**(protocol.members.model_dump() | asked))}  # type: ignore[union-attr]
        )
        monkeypatch.setattr("pipelines.evidence.youth_online_peer_support.protocols", lambda _: [other])
        rows = table_of("youth")
        strata = rows[(rows["estimate_name"] == "young_members") & (rows["part"] != "all online groups")]
        assert [*strata["part"]] == parts

    def test_retention_is_out_of_those_who_could_have_stayed(self) -> None:
        study = studies.youth(1)
        found = one(
            table_of("youth", study), estimate_name="retained_30_days_share", part="all online groups"
        )
        young = [p for p in study.people if p.arm == "members" and p.age_band != "35_49"]
        stayed = [p for p in young if p.posts > 2]
        assert (found["n"], found["estimate"]) == (len(young), pytest.approx(len(stayed) / len(young)))
        assert 0 < found["ci_low"] < found["estimate"] < found["ci_high"] < 1

    def test_what_is_planted_comes_back(self) -> None:
        truth = Truth()
        wanted: Wanted = {("dose_response_slope", "all online groups"): truth.dose}
        _comes_back("youth", wanted, truth, {"time_point": "week-12"}, members=80, waiting=10)


def _comes_back(
    name: str, wanted: Wanted, truth: Truth, place: dict[str, Any], *, seeds: int = 60, **sizes: int
) -> None:
    """Estimates are right on average, and their intervals hold the truth about as often as they say."""
    found: dict[Term, list[tuple[float, bool]]] = {each: [] for each in wanted}
    for seed in range(seeds):
        rows = table_of(name, TABLES[name][2](seed, truth=truth, **sizes))
        for (estimate_name, part), value in wanted.items():
            is_part = {} if part is None else {"part": part}
            row = one(rows, estimate_name=estimate_name, **is_part, **place)
            if row["ci_low"] is not None:
                is_held = row["ci_low"] <= value <= row["ci_high"]
                found[estimate_name, part].append((row["estimate"] - value, is_held))
    for each, looked in found.items():
        errors = [error for error, _ in looked]
        assert len(looked) >= 0.95 * seeds, each
        assert abs(statistics.fmean(errors)) < 4 * statistics.stdev(errors) / math.sqrt(len(errors)), each
        assert statistics.fmean(is_held for _, is_held in looked) > 0.9, each
