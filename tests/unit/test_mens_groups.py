"""The table of members of groups, on ten people of three groups worked out by hand, and on what cannot be
computed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from pipelines.builds.evidence import suite_of
from pipelines.defs.evidence.plots import plot_of
from pipelines.evidence.mens_groups import mens_groups, study_rows
from pipelines.evidence.protocols import MensGroups, ThemeCoding, protocols
from pipelines.evidence.rows import MENS_GROUPS
from pipelines.publication.disclosure import control
from pipelines.quality.expectations import check
from tests.fakes.group_frames import Groups, Member, by_hand, frames

Row = dict[str, Any]
(PROTOCOL,) = protocols(MensGroups)
MEN, WOMEN, NONE, FOR_MEN = "gender: man", "gender: woman", "gender: not stated", "groups for men"


def table(groups: Groups | None = None, protocol: MensGroups = PROTOCOL) -> list[Row]:
    return [*study_rows(frames(groups or by_hand()), protocol)]


def one(rows: list[Row], name: str, part: str | None = None, outcome: str | None = None) -> Row:
    (found,) = [
        each
        for each in rows
        if (each["estimate_name"], each.get("part"), each.get("outcome")) == (name, part, outcome)
    ]
    return found


def estimates(rows: list[Row], name: str, outcome: str | None = None) -> dict[str | None, float | None]:
    return {
        each["part"]: each["estimate"]
        for each in rows
        if each["estimate_name"] == name and each.get("outcome") == outcome
    }


class TestByHand:
    def test_themes_that_more_than_half_of_the_coders_found(self) -> None:
        """Safe space: m1 m2 m4 m6 w2 of ten; m3 and x1, of whom one coder of two found it, are no majority.
        Masculine norms: m1 m4 w1 w2 x1 of ten."""
        rows = table()
        assert estimates(rows, "theme_share", "safe-space") == {
            None: 5 / 10, MEN: 4 / 6, WOMEN: 1 / 3, NONE: 0 / 1, FOR_MEN: 3 / 5,
        }  # fmt: skip
        assert estimates(rows, "theme_share", "masculine-norms") == {
            None: 5 / 10, MEN: 2 / 6, WOMEN: 2 / 3, NONE: 1 / 1, FOR_MEN: 2 / 5,
        }  # fmt: skip
        whole = one(rows, "theme_share", None, "safe-space")
        assert (whole["n"], whole["denominator"], whole["coders"]) == (10, 10, 2)
        assert (whole["n_consented"], whole["n_excluded"], whole["missing_share"]) == (10, 2, 0.0)

    def test_themes_that_any_coder_found(self) -> None:
        """m3 and x1 as well; m5 of masculine norms."""
        protocol = PROTOCOL.model_copy(
            update={"coding": ThemeCoding(themes=PROTOCOL.coding.themes, found_by="any")}
        )
        rows = table(protocol=protocol)
        assert one(rows, "theme_share", None, "safe-space")["estimate"] == pytest.approx(7 / 10)
        assert one(rows, "theme_share", MEN, "masculine-norms")["estimate"] == pytest.approx(3 / 6)

    def test_coders_agree_so_far(self) -> None:
        """Safe space: both yes 5, both no 3, a alone 2: pₒ = 0.8; a says yes 7 of 10, b 5 of 10, so
        pₑ = 0.7 · 0.5 + 0.3 · 0.5 = 0.5 and κ = 0.3 / 0.5 = 0.6.
        α: 20 codes, 12 yes and 8 no; two units differ: 1 − 19 · 4 / (400 − 144 − 64) = 1 − 76 / 192.
        """
        rows = table()
        assert one(rows, "cohens_kappa", None, "safe-space")["estimate"] == pytest.approx(0.6)
        assert one(rows, "krippendorffs_alpha", None, "safe-space")["estimate"] == pytest.approx(1 - 76 / 192)
        assert cohens_kappa([[5, 2], [0, 3]]).kappa == pytest.approx(0.6)

    def test_coders_agree_over_all_themes_without_interval(self) -> None:
        """Twenty units: both yes 10, both no 7, a alone 3: pₒ = 0.85, pₑ = (13 · 10 + 7 · 10) / 400 = 0.5."""
        row = one(table(), "cohens_kappa")
        assert row["estimate"] == pytest.approx(0.35 / 0.5)
        assert (row["ci_low"], row["n"], row["denominator"]) == (None, 10, 20)
        assert "not independent" in row["not_estimated_reason"]

    def test_reciprocity(self) -> None:
        """Dyads: m1–m2 both ways, m5–m4 one; m6–w1 both ways, w1–w2 one, x1–w1 one: 2 of 5. Among men 1 of 2,
        among women 0 of 1, of whom a gender is not stated 0 of 1; in groups for men 1 of 2."""
        rows = table()
        assert estimates(rows, "reciprocity_share") == {
            None: 2 / 5, MEN: 1 / 2, WOMEN: 0.0, "gender: between genders": 1.0, NONE: 0.0, FOR_MEN: 1 / 2,
        }  # fmt: skip
        whole = one(rows, "reciprocity_share")
        assert (whole["n"], whole["denominator"], whole["denominator_unit"]) == (8, 5, "dyads with a reply")

    def test_help_givers(self) -> None:
        """Wrote: m1 m2 m4 m5 m6 w1 w2 x1; replied: m1 m2 m5 m6 w1 x1. In groups for men 3 of 4."""
        assert estimates(table(), "help_giver_share") == {
            None: 6 / 8, MEN: 4 / 5, WOMEN: 1 / 2, NONE: 1.0, FOR_MEN: 3 / 4,
        }  # fmt: skip

    def test_attendance(self) -> None:
        """Sessions: men 4 + 3 + 0 + 2 + 4 + 1 of 22, women 2 + 1 of 4, x1 2 of 2; w3 was invited to none."""
        rows = table()
        assert estimates(rows, "attendance_rate") == pytest.approx(
            {None: 19 / 28, MEN: 14 / 22, WOMEN: 3 / 4, NONE: 1.0, FOR_MEN: 13 / 20}
        )
        whole = one(rows, "attendance_rate")
        assert (whole["n"], whole["denominator"]) == (9, 28)

    def test_its_interval_is_over_groups(self) -> None:
        """Attended and open: g1 7 of 12, g2 6 of 8, g3 6 of 8; r = 19/28; residuals a − r·e: −8/7, 4/7, 4/7.
        se² = 3/2 · (64 + 16 + 16)/49 / 28² = 144/49/784, se = 12/7/28 = 3/49; t of two degrees."""
        row = one(table(), "attendance_rate")
        r, se = 19 / 28, 3 / 49
        assert row["se"] == pytest.approx(se)
        half = stats.t.ppf(0.975, 2) * se / (r * (1 - r))
        logit = math.log(r / (1 - r))
        ends = [1 / (1 + math.exp(-each)) for each in (logit - half, logit + half)]
        assert [row["ci_low"], row["ci_high"]] == pytest.approx(ends)

    def test_change_of_loneliness(self) -> None:
        """Men −2 −1 0 −1 −2 (m6 never answered again), women 0 and 1, x1 −3: in all −8 of 8."""
        rows = table()
        assert estimates(rows, "mean_change", "loneliness") == pytest.approx(
            {None: -1.0, MEN: -6 / 5, WOMEN: 1 / 2, NONE: -3.0, FOR_MEN: -6 / 5}
        )
        whole = one(rows, "mean_change", None, "loneliness")
        assert (whole["n"], whole["instrument"], whole["time_point"]) == (8, "ucla-3", "month-3")
        assert whole["missing_share"] == pytest.approx(1 / 9)
        assert whole["ci_low"] < -1 < whole["ci_high"]
        assert (
            one(rows, "mean_change", WOMEN, "loneliness")["not_estimated_reason"] == "no interval: one group"
        )

    def test_a_person_of_two_groups_is_one_person(self) -> None:
        groups = by_hand()
        groups.members.append(Member("m1", "man", "g3", (0, 2), 1))
        row = one(table(groups), "attendance_rate")
        assert (row["n"], row["denominator"]) == (9, 30)


class TestRows:
    def test_rows_break_no_rule_of_their_table(self) -> None:
        rows = control(mens_groups(frames(by_hand()))).assign(
            release_id=1, lake_snapshot=1, code_version="1", computed_at=pd.Timestamp("2026-11-30", tz="UTC")
        )
        suite = suite_of(MENS_GROUPS)
        found = check(suite.derive(rows), suite, "tenant")
        assert {each.rule: each.problem for each in found if not each.passed} == {}
        assert plot_of("mens_groups", rows).startswith("![plot]")
        assert not rows["suppressed"].any() and rows["contrast"].isna().all()

    def test_of_live_people_little_is_shown_and_nothing_follows(self) -> None:
        """Ten people: each figure of all of them is all that can be shown."""
        rows = control(mens_groups(frames(by_hand(), "live")))
        shown = rows[~rows["suppressed"].astype(bool)]
        assert set(shown["part"]) == {None} and (shown["n"] >= 10).all()
        assert shown["n_excluded"].isna().all()
        assert set(shown["estimate_name"]) <= {"theme_share", "cohens_kappa", "krippendorffs_alpha"}
        safe = rows[(rows["estimate_name"] == "theme_share") & (rows["outcome"] == "safe-space")]
        assert safe["suppressed"].all()

    def test_few_women_hold_back_the_men_beside_them(self) -> None:
        """Thirty men and four women: with everybody shown, men would tell of the women."""
        yes, no = {"a": True}, {"a": False}
        people = [
            Member(f"p{i}", "woman" if i < 4 else "man", f"g{i % 3}", themes={"coping": yes if i % 2 else no})
            for i in range(34)
        ]
        groups = Groups(people, {f"g{i}": "men" for i in range(3)})
        rows = control(mens_groups(frames(groups, "live")))
        coping = rows[(rows["estimate_name"] == "theme_share") & (rows["outcome"] == "coping")]
        held = dict(zip(coping["part"], coping["suppressed"], strict=True))
        assert held == {None: False, MEN: True, WOMEN: True, FOR_MEN: False}

    @pytest.mark.parametrize(
        ("small", "is_held"), [((4,), True), ((4, 4), True), ((6, 6), False), ((), False)]
    )
    def test_a_group_too_small_to_be_shown_does_not_follow_from_a_total(
        self, small: tuple[int, ...], is_held: bool
    ) -> None:
        """Attendance and writers of single groups are shown in another table."""
        sizes = (20, 20, *small)
        people = [
            Member(f"g{group}-{i}", ("man", "woman")[i % 2], f"g{group}", (i % 3, 4), 1)
            for group, size in enumerate(sizes)
            for i in range(size)
        ]
        groups = Groups(people, {f"g{group}": "anyone" for group in range(len(sizes))})
        rows = control(mens_groups(frames(groups, "live")))
        for name in ("attendance_rate", "help_giver_share"):
            found = rows[(rows["estimate_name"] == name) & (rows["part"].isna() | (rows["part"] == MEN))]
            assert found["suppressed"].tolist() == [is_held] * 2


class TestWhatCannotBeComputed:
    def test_one_coder(self) -> None:
        members = [
            replace(each, themes={name: {"a": codes["a"]} for name, codes in each.themes.items()})
            for each in by_hand().members
        ]
        rows = table(replace(by_hand(), members=members))
        assert one(rows, "theme_share", None, "safe-space")["estimate"] == pytest.approx(7 / 10)
        kappa = one(rows, "cohens_kappa", None, "safe-space")
        assert (kappa["estimate"], kappa["not_estimated_reason"]) == (None, "κ is of two coders: there are 1")
        alpha = one(rows, "krippendorffs_alpha", None, "safe-space")
        assert (alpha["estimate"], alpha["not_estimated_reason"]) == (None, "no unit was coded by two")

    def test_three_coders_have_an_alpha_and_no_kappa(self) -> None:
        members = [
            replace(each, themes={n: codes | {"c": codes["b"]} for n, codes in each.themes.items()})
            for each in by_hand().members
        ]
        rows = table(replace(by_hand(), members=members))
        assert one(rows, "cohens_kappa", None, "safe-space")["estimate"] is None
        assert one(rows, "krippendorffs_alpha", None, "safe-space")["estimate"] is not None

    def test_nothing_happened(self) -> None:
        """People with a score, and nothing else: each figure has its rows with a reason."""
        members = [Member(f"p{i}", "man", "g", scores=(5, 4)) for i in range(3)]
        rows = table(Groups(members, {"g": None}))
        reasons = {each["estimate_name"]: each["not_estimated_reason"] for each in rows}
        assert reasons == {
            "theme_share": "nobody has looked for the theme",
            "cohens_kappa": "κ is of two coders: there are none",
            "krippendorffs_alpha": "no unit was coded by two",
            "reciprocity_share": "nobody replied to another",
            "help_giver_share": "nobody wrote",
            "attendance_rate": "no session was open to anybody",
            "mean_change": "nobody has both scores",
        }
        assert {each["outcome"] for each in rows if each["estimate_name"] == "theme_share"} == {
            *PROTOCOL.coding.themes
        }
        assert all(each["denominator"] is not None for each in rows)

    def test_one_group_has_no_interval_that_would_need_several(self) -> None:
        members = [replace(each, group="g1") for each in by_hand().members]
        replies = [("g1", one, other) for _, one, other in by_hand().replies]
        rows = table(Groups(members, {"g1": "men"}, replies))
        for name, outcome in (
            ("reciprocity_share", None), ("attendance_rate", None), ("mean_change", "loneliness"),
        ):  # fmt: skip
            row = one(rows, name, None, outcome)
            assert row["estimate"] is not None and row["ci_low"] is None

    def test_a_theme_is_out_of_the_interviews_in_which_somebody_looked_for_it(
        self,
    ) -> None:
        members = [replace(each, themes=dict(each.themes)) for each in by_hand().members]
        del members[0].themes["safe-space"]
        row = one(table(replace(by_hand(), members=members)), "theme_share", None, "safe-space")
        assert (row["n"], row["estimate"], row["missing_share"]) == (9, pytest.approx(4 / 9), 0.1)

    def test_a_tenant_who_takes_no_part_has_no_rows(self) -> None:
        assert len(mens_groups(frames(Groups([], {})))) > 0
        empty = frames(by_hand())
        assert len(mens_groups(replace(empty, coded_studies=empty.coded_studies.head(0)))) == 0
