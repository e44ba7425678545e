"""The table of a household survey: what Roystonn et al. print comes out of a survey made so, planted odds
ratios come back, what cannot be computed says so, and nothing small can be had from what is shown."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from pydantic import ValidationError
from scipy import stats

from pipelines.builds.evidence import suite_of
from pipelines.defs.evidence.plots import plot_of
from pipelines.evidence.osg_prevalence import osg_prevalence, survey_rows
from pipelines.evidence.protocols import OddsModel, Survey, protocols
from pipelines.evidence.rows import OSG_PREVALENCE, frame
from pipelines.publication.disclosure import ASIDE, control
from pipelines.quality.expectations import check
from tests.fakes.survey_frames import (
    ODDS,
    PEOPLE,
    PRINTED,
    USERS,
    Respondent,
    planted,
    roystonn,
    survey_inputs,
)

Row = dict[str, Any]
(ROYSTONN,) = [each for each in protocols(Survey) if each.study == "roystonn-2020"]
ASKED = Survey.model_validate(
    {
        "study": "synthetic-survey",
        "system": "osg_prevalence",
        "version": "1",
        "dated": "2026-01-01",
        "population": "nobody",
        "design": "cross-sectional",
        "survey": "s",
        "outcome": "use",
        "case": {"question": "online-group", "answers": ["yes"]},
        "questions": {
            "age-group": ["18-34", "35-49", "50-64"], "gender": ["woman", "man"], "mdd": ["no", "yes"],
        },
        "strata": ["gender"],
        "models": [{"model": "all", "predictors": ["age-group", "gender", "mdd"]}],
    }
)  # fmt: skip


def one(rows: list[Row], name: str, part: str | None = None, model: str | None = None) -> Row:
    (found,) = [
        each
        for each in rows
        if (each["estimate_name"], each.get("part"), each.get("model")) == (name, part, model)
    ]
    return found


def asked(people: list[Respondent], protocol: Survey = ASKED, data_class: str = "synthetic") -> list[Row]:
    return [*survey_rows(survey_inputs(people, protocol.survey, data_class), protocol)]


def user(is_user: bool, weight: float = 1.0, **answers: str) -> Respondent:
    """Answers not given are the first of each question; `none` is no answer."""
    told = {"age-group": "18-34", "gender": "woman", "mdd": "no"} | {
        name.replace("_", "-"): answer for name, answer in answers.items()
    }
    told = {name: answer for name, answer in told.items() if answer != "none"}
    return Respondent(told | {"online-group": "yes" if is_user else "no"}, weight)


@cache
def rows_of_printed() -> list[Row]:
    return asked(roystonn(), ROYSTONN)


class TestRoystonn:
    """Definition: weights are made so that these shares must come out."""

    def test_the_printed_marginals_come_out(self) -> None:
        rows = rows_of_printed()
        assert one(rows, "users")["estimate"] == USERS
        whole = one(rows, "prevalence_share")
        assert (round(100 * whole["estimate"], 1), whole["n"]) == (1.0, PEOPLE)
        for (question, answer), share in PRINTED.items():
            found = one(rows, "users_share", f"{question}: {answer}")
            assert round(100 * found["estimate"], 1) == round(100 * share, 1)
            assert (found["denominator"], found["ci_low"] < share < found["ci_high"]) == (USERS, True)

    def test_unweighted_they_would_not(self) -> None:
        users = [each for each in roystonn() if each.answers["online-group"] == "yes"]
        women = sum(each.answers["gender"] == "woman" for each in users)
        assert round(100 * women / USERS, 1) != 56.9
        assert round(100 * USERS / PEOPLE, 1) != 1.0

    def test_diagnoses_overlap_and_each_stands_for_itself(self) -> None:
        rows = rows_of_printed()
        users = {
            name: one(rows, "prevalence_share", f"{name}: yes")["n_cases"]
            for name in ("mdd", "ocd", "any-disorder")
        }
        assert users["mdd"] + users["ocd"] > users["any-disorder"] > max(users["mdd"], users["ocd"])
        models = {each["model"] for each in rows if each["estimate_name"] == "odds_ratio"}
        assert models == {"sociodemographic", "disorders: any-disorder", "disorders: mdd", "disorders: ocd"}

    def test_strata_of_everybody_are_the_design(self) -> None:
        assert {(each["strata"], each["psus"]) for each in rows_of_printed()} == {(16, PEOPLE)}

    def test_rows_break_no_rule_of_their_table(self) -> None:
        rows = control(frame(rows_of_printed(), OSG_PREVALENCE, extra=ASIDE)).assign(
            release_id=1, lake_snapshot=1, code_version="1", computed_at=pd.Timestamp("2026-11-30", tz="UTC")
        )
        suite = suite_of(OSG_PREVALENCE)
        found = check(suite.derive(rows), suite, "tenant")
        assert {each.rule: each.problem for each in found if not each.passed} == {}
        assert rows["contrast"].dropna().str.contains("associated with").all()
        assert not rows["suppressed"].any()
        assert plot_of("osg_prevalence", rows).startswith("![plot]")

    def test_of_formal_treatment_all_four_quarters_add_up(self) -> None:
        rows = rows_of_printed()
        parts = [
            one(rows, name, "formal treatment")["estimate"]
            for name in ("users_and_treated_share", "users_untreated_share", "treated_only_share")
        ]
        treated = one(rows, "treated_among_users_share", "formal treatment")
        assert parts[0] + parts[1] == pytest.approx(one(rows, "prevalence_share")["estimate"])
        assert parts[0] / (parts[0] + parts[1]) == pytest.approx(treated["estimate"])
        assert treated["n"] == USERS

    def test_the_table_has_the_rows_of_its_protocols(self) -> None:
        rows = osg_prevalence(survey_inputs([user(i % 2 == 0) for i in range(20)], ROYSTONN.survey))
        assert set(rows["study"]) == {"roystonn-2020"} and set(rows["post_hoc"]) == {True}
        assert set(osg_prevalence(survey_inputs([user(True)], "another"))["study"]) == set()


class TestPlanted:
    def test_odds_ratios_come_back(self) -> None:
        """Of 200 surveys with unequal weights, strata and clusters: no bias, and intervals that hold."""
        found: dict[tuple[str, str], list[float]] = {each: [] for each in ODDS}
        inside = 0
        protocol = ASKED.model_copy(update={"strata": ()})
        for seed in range(200):
            rows = asked([*planted(seed)], protocol)
            for (question, answer), ratio in ODDS.items():
                reference = protocol.reference(question)
                row = one(rows, "odds_ratio", f"{question}: {answer} against {reference}", "all")
                found[question, answer].append(math.log(row["estimate"]))
                inside += row["ci_low"] <= ratio <= row["ci_high"]
        for place, logs in found.items():
            error = np.std(logs, ddof=1) / math.sqrt(len(logs))
            assert abs(np.mean(logs) - math.log(ODDS[place])) < 3 * error + 0.03, place
        # 95 % of 800, of which four of a survey hang together.
        assert 0.92 < inside / 800 < 0.98

    # statsmodels warns that it does not know all such variances with weights; this one it does.
    @pytest.mark.filterwarnings("ignore:cov_type not fully supported")
    @pytest.mark.parametrize("seed", range(3))
    def test_a_model_is_that_of_independent_code(self, seed: int) -> None:
        """Without strata: statsmodels' weighted likelihood, with its sandwich over clusters and our t."""
        people = [replace(each, stratum=None) for each in planted(seed, 600)]
        rows = asked(people)
        terms = [*ODDS]
        x = np.array([[1.0, *(each.answers[q] == a for q, a in terms)] for each in people], float)
        y = np.array([each.answers["online-group"] == "yes" for each in people], float)
        w = np.array([each.weight for each in people])
        clusters = np.unique([each.cluster for each in people], return_inverse=True)[1]
        k = clusters.max() + 1
        fit = sm.GLM(y, x, sm.families.Binomial(), var_weights=w * len(w) / w.sum()).fit(
            cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
        )
        half = stats.t.ppf(0.975, k - 1) * np.sqrt(k / (k - 1)) * fit.bse
        for i, (question, answer) in enumerate(terms, 1):
            row = one(rows, "odds_ratio", f"{question}: {answer} against {ASKED.reference(question)}", "all")
            wanted = np.exp([fit.params[i], fit.params[i] - half[i], fit.params[i] + half[i]])
            assert [row["estimate"], row["ci_low"], row["ci_high"]] == pytest.approx([*wanted], rel=1e-6)

    def test_one_by_one_is_not_adjusted_and_says_so(self) -> None:
        model = OddsModel(model="single", predictors=("gender", "mdd"), one_by_one=True)
        rows = asked([*planted(1)], ASKED.model_copy(update={"models": (model,)}))
        row = one(rows, "odds_ratio", "mdd: yes against no", "single: mdd")
        assert row["contrast"].endswith("associated with it, not an effect of it; not adjusted")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"strata": ["income"]}, "strata: income is none of the questions"),
        ({"references": {"gender": "x"}}, "references: x is no answer to gender"),
        ({"models": [{"model": "m", "predictors": ["gender", "gender"]}]}, "the same question twice"),
        ({"models": [{"model": "m", "predictors": ["mdd"]}] * 2}, "two have the same name"),
        ({"period": {"first": "2026-01-01"}}, "all of its answers count"),
    ],
)
def test_a_protocol_that_says_something_impossible_is_refused(changes: Row, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Survey.model_validate(ASKED.model_dump(exclude={"period"}) | changes)


class TestWhatCannotBeComputed:
    def test_an_empty_cell_gives_a_sensitivity_that_is_called_so(self) -> None:
        people = [user(i % 3 == 0, gender="man" if i % 2 else "woman") for i in range(60)]
        people += [user(False, mdd="yes") for _ in range(12)]
        rows = asked(people)
        place = ("mdd: yes against no", "all")
        row = one(rows, "odds_ratio", *place)
        assert row["estimate"] is None and "empty cell" in row["not_estimated_reason"]
        penalised = one(rows, "odds_ratio_penalised", *place)
        assert penalised["estimate"] < 1
        assert penalised["method"].startswith("sensitivity: ") and "not design-based" in penalised["method"]

    def test_an_answer_that_nobody_gave_has_rows_that_say_so(self) -> None:
        rows = asked([user(i % 4 == 0, gender="woman") for i in range(40)])
        for name, part, model in (
            ("prevalence_share", "gender: man", None),
            ("odds_ratio", "gender: man against woman", "all"),
        ):
            row = one(rows, name, part, model)
            assert row["estimate"] is None and row["not_estimated_reason"].startswith("nobody")

    @pytest.mark.parametrize("is_user", [True, False])
    def test_when_all_are_users_or_none_is(self, is_user: bool) -> None:
        rows = asked([user(is_user, gender="man" if i % 2 else "woman") for i in range(30)])
        row = one(rows, "prevalence_share")
        assert (row["estimate"], row["ci_low"]) == (float(is_user), None)
        assert row["not_estimated_reason"].startswith("no interval")
        assert one(rows, "odds_ratio", "gender: man against woman", "all")["estimate"] is None

    def test_one_cluster_and_single_psus(self) -> None:
        together = [user(i % 3 == 0, gender="man" if i % 2 else "woman") for i in range(30)]
        for each in together:
            each.cluster = "all"
        row = one(asked(together), "prevalence_share")
        assert (row["psus"], row["ci_low"]) == (1, None)
        assert row["not_estimated_reason"].startswith("no interval")
        for i, each in enumerate(together):
            each.cluster, each.stratum = None, f"stratum-{max(i, 3)}"
        row = one(asked(together[:10]), "prevalence_share")
        assert "PSUs alone in a stratum" in row["method"]

    @pytest.mark.parametrize("people", [0, 1, 2])
    def test_hardly_anybody(self, people: int) -> None:
        some = [user(i == 0) for i in range(people)]
        nobody = replace(user(True), consents=False)
        rows = [*survey_rows(survey_inputs([*some, nobody], ROYSTONN.survey), ROYSTONN)]
        assert rows and {each["n_excluded"] for each in rows} == {1}
        for each in rows:
            assert each["estimate"] is not None or each["not_estimated_reason"]
            assert each["denominator"] is not None
            numbers = [each[name] for name in ("estimate", "se", "ci_low", "ci_high")]
            assert all(number is None or math.isfinite(number) for number in numbers)

    def test_who_has_not_answered_is_missing_and_not_a_no(self) -> None:
        people = [user(i % 2 == 0, gender="none" if i < 4 else "man") for i in range(20)]
        del people[0].answers["online-group"]
        rows = asked(people)
        assert one(rows, "prevalence_share")["n"] == 19
        assert one(rows, "prevalence_share")["missing_share"] == pytest.approx(1 / 20)
        assert one(rows, "prevalence_share", "gender: not answered")["n"] == 3
        assert one(rows, "odds_ratio", "gender: man against woman", "all")["n"] == 16


# --- Disclosure -------------------------------------------------------------------------------------------


def live_rows() -> list[Row]:
    """The printed survey as if it were live: 53 users by ethnicity and age, among others."""
    return [row | {"data_class": "live"} for row in rows_of_printed()]


@cache
def live() -> pd.DataFrame:
    return control(frame(live_rows(), OSG_PREVALENCE, extra=ASIDE))


class TestDisclosure:
    def test_nothing_that_is_shown_is_small(self) -> None:
        shown = live()[~live()["suppressed"].astype(bool)]
        assert len(shown) and (shown["n"] >= 10).all()
        share = shown[shown["estimate_name"] == "prevalence_share"]
        assert ((share["n_cases"] == 0) | (share["n_cases"] >= 10)).all()

    def test_some_of_the_crossed_cells_are_shown_and_some_large_ones_are_not(self) -> None:
        crossed = live()[live()["part"].fillna("").str.contains("; age-group")]
        counts = {
            (one, other): sum(
                each.answers["online-group"] == "yes"
                and (each.answers["ethnicity"], each.answers["age-group"]) == (one, other)
                for each in roystonn()
            )
            for one, other in itertools.product(
                ROYSTONN.questions["ethnicity"], ROYSTONN.questions["age-group"]
            )
        }
        large = sum(count >= 10 for count in counts.values())
        shown = crossed[~crossed["suppressed"].astype(bool)]
        assert 0 < (shown["n_cases"] >= 10).sum() < large

    def test_no_small_number_of_users_follows_from_what_is_shown(self) -> None:
        """An attacker writes what is shown as equations in the 32 kinds of people that ethnicity, age and use
        make. A cell is known if it is a combination of them; of the small ones none is."""
        kinds = [*_kinds()]
        people = dict.fromkeys(kinds, 0)
        for each in roystonn():
            given = each.answers
            people[given["ethnicity"], given["age-group"], given["online-group"] == "yes"] += 1
        counts = np.array([people[kind] for kind in kinds])
        cells = dict(_cells(kinds))
        shown = live()[~live()["suppressed"].astype(bool)]
        told = [
            cells[part, outcome]
            for words in shown["part"].fillna("")
            for part in _parts(words)
            if (part, None) in cells
            for outcome in (None, True, False)
        ]
        empty = [cell for cell in cells.values() if counts @ cell == 0]
        known = np.array([*told, *empty])
        rank = np.linalg.matrix_rank(known)
        small = [name for name, cell in cells.items() if 0 < counts @ cell < 10]
        assert len(small) > 10
        for name in small:
            assert np.linalg.matrix_rank(np.vstack([known, cells[name]])) == rank + 1, name

    def test_rows_of_large_cells_are_held_back_as_well(self) -> None:
        """Else the test before would show nothing."""
        is_large = [
            all(row["cube"][cell] not in range(1, 10) for cell in row["cells"]) for row in live_rows()
        ]
        held = live()["suppressed"].astype(bool)
        assert held[np.array(is_large)].any() and held[~np.array(is_large)].all()

    def test_few_who_did_not_answer_are_not_told(self) -> None:
        people = [user(i % 2 == 0, gender="man" if i % 4 < 2 else "woman") for i in range(120)]
        for each in people[:3]:
            del each.answers["online-group"]
        found = control(pd.DataFrame(asked(people, data_class="live"), dtype=object))
        assert not found["suppressed"].all()
        assert found["n_consented"].isna().all() and found["missing_share"].isna().all()

    def test_few_without_one_of_the_models_answers_hold_the_model_back(self) -> None:
        people = [
            user(i % 2 == 0, gender="man" if i % 4 < 2 else "woman", mdd="yes" if i % 8 < 3 else "no")
            for i in range(400)
        ]
        del people[0].answers["age-group"]
        found = control(pd.DataFrame(asked(people, data_class="live"), dtype=object))
        models = found[found["estimate_name"].str.startswith("odds_ratio")]
        assert models["suppressed"].all()
        assert not found.loc[found["part"] == "gender: man", "suppressed"].any()


def _kinds() -> Iterator[tuple[str, str, bool]]:
    return itertools.product(ROYSTONN.questions["ethnicity"], ROYSTONN.questions["age-group"], (True, False))


def _parts(words: str) -> list[str]:
    """A contrast is about both of its answers."""
    question, _, answers = words.partition(": ")
    return [f"{question}: {each}" for each in answers.split(" against ")] if " against " in words else [words]


def _cells(kinds: list[tuple[str, str, bool]]) -> Iterator[tuple[tuple[str, bool | None], np.ndarray]]:
    """Everybody, ethnicities, ages and both, as rows of the table name them, whole and by use."""
    ethnicities, ages = ([None, *ROYSTONN.questions[each]] for each in ("ethnicity", "age-group"))
    for ethnicity, age, outcome in itertools.product(ethnicities, ages, (None, True, False)):
        names = [f"ethnicity: {ethnicity}"] if ethnicity else []
        names += [f"age-group: {age}"] if age else []
        yield (
            ("; ".join(names), outcome),
            np.array(
                [
                    (ethnicity in (None, kind[0])) and (age in (None, kind[1])) and outcome in (None, kind[2])
                    for kind in kinds
                ],
                float,
            ),
        )
