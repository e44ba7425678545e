"""The table `osg_prevalence`: how many of a population use online support groups, who they are, and what goes
with it, by a survey.

The shape of Roystonn et al. 2020, for any survey whose protocol asks for it. Answers are compared at one
time: nothing here is an effect. Diagnoses overlap: each stands for itself, and none are added up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.evidence.estimates import Estimate, count, not_estimated
from pipelines.evidence.firth import fit_firth
from pipelines.evidence.inputs import Inputs
from pipelines.evidence.linear import Floats
from pipelines.evidence.protocols import OddsModel, Survey, protocols
from pipelines.evidence.rows import OSG_PREVALENCE, estimate_columns, frame, protocol_columns
from pipelines.evidence.samples import CASE, Answers, Cell, Cells, Sample, sample_of
from pipelines.evidence.survey import EMPTY_CELL, Booleans, exponentiated, logistic_odds, prevalence

if TYPE_CHECKING:
    import pandas as pd

NOT_ANSWERED = "not answered"

_NO_TERM = "weighted logistic regression"
_NOBODY = "nobody who has answered all questions of the model gave this answer, or its reference"
_TREATED = "formal treatment"
_IN_MODEL = "in model "

Row = dict[str, Any]


def osg_prevalence(inputs: Inputs) -> pd.DataFrame:
    """One row per protocol, tenant, estimate and stratum. Surveys that nobody has answered have no rows."""
    rows = [row for protocol in protocols(Survey) for row in survey_rows(inputs, protocol)]
    return frame(rows, OSG_PREVALENCE, extra=("parts", "cells", "cube", "missing"))


def survey_rows(inputs: Inputs, protocol: Survey) -> Iterator[Row]:
    """Rows of one protocol, of each tenant whose survey it is about."""
    asked = inputs.surveys[inputs.surveys["survey_code"] == protocol.survey]
    for each in asked.to_dict("records"):
        yield from _rows(_surveyed(inputs, protocol, each))


@dataclass(frozen=True, eq=False)
class Surveyed:
    """A survey of one tenant as its protocol looks at it, and what all of its rows say."""

    protocol: Survey
    sample: Sample
    common: Row
    consented: int

    @cached_property
    def is_case(self) -> Floats:
        """1 and 0 (n,), NaN: not answered."""
        return self.sample.is_yes(self.protocol.case)

    @cached_property
    def is_treated(self) -> Floats:
        asked = self.protocol.treatment
        return np.full(self.sample.n, np.nan) if asked is None else self.sample.is_yes(asked)

    @cached_property
    def known(self) -> Booleans:
        return np.isfinite(self.is_case)

    def levels(self, question: str) -> tuple[str, ...]:
        return self.sample.levels(question, self.protocol.questions[question])

    def is_at(self, question: str, answer: str | None) -> Booleans:
        """Who gave this answer; None: none at all."""
        given = self.sample.answer(question)
        return np.asarray([each == answer for each in given], bool)

    def has_all(self, questions: Sequence[str]) -> Booleans:
        is_told = [~self.is_at(each, None) for each in questions]
        return np.asarray(np.logical_and.reduce([np.ones(self.sample.n, bool), *is_told]), bool)

    @cached_property
    def cube(self) -> dict[Cell, int]:
        """All cells that rows may tell of."""
        cells, protocol = Cells(self.is_case), self.protocol
        for question in protocol.questions:
            cells.add(question, self.sample.answer(question), self.levels(question))
        if protocol.treatment is not None:
            cells.add(_TREATED, _labels(self.is_treated), (True, False))
        for model in protocol.models:
            for name, questions in _fits(model):
                cells.add(_IN_MODEL + name, _labels(self.has_all(questions).astype(float)), (True, False))
        return cells.cube(protocol.crossed)

    def row(
        self, name: str, estimate: Estimate, within: Booleans, cells: Sequence[Cell], part: str | None = None
    ) -> Row:
        """`within`: on whom the estimate rests; `cells`: whom it tells of."""
        n = int((within & self.known).sum())
        return (
            self.common
            | estimate_columns(estimate)
            | {
                "estimate_name": name,
                "part": part,
                "n": n,
                "n_cases": int((within & (self.is_case == 1)).sum()),
                "denominator": n,
                "missing_share": 1 - int(self.known.sum()) / self.consented if self.consented else None,
                "parts": (n,),
                "cells": tuple(cells),
                "cube": self.cube,
                "missing": (self.consented - int(self.known.sum()),),
            }
        )


def _surveyed(inputs: Inputs, protocol: Survey, asked: Mapping[Any, Any]) -> Surveyed:
    """`asked`: a row of `Inputs.surveys`."""
    answers, tenant = inputs.survey_answers, str(asked["tenant_id"])
    is_of_it = (answers["tenant_id"] == tenant) & (answers["survey_code"] == protocol.survey)
    sample = sample_of(answers[is_of_it])
    consented = int(asked["count_consented"])
    first, last = (
        asked[name].date() if consented else None for name in ("first_answered_at", "last_answered_at")
    )
    common = protocol_columns(protocol, tenant, asked["data_class"], first) | {
        "source_kind": "own",
        "outcome": protocol.outcome,
        "design": protocol.design,
        "period": f"{first}/{last}" if consented else None,
        "n_consented": consented,
        "n_excluded": int(asked["count_respondents"]) - consented,
        "denominator_unit": "people who answered",
        "psus": sample.design.psus.count,
        "strata": sample.design.count_strata,
    }
    return Surveyed(protocol, sample, common, consented)


def _rows(survey: Surveyed) -> Iterator[Row]:
    yield from _everybody_rows(survey)
    for question in survey.protocol.strata:
        yield from _stratum_rows(survey, question)
    for one, other in survey.protocol.crossed:
        yield from _crossed_rows(survey, one, other)
    if survey.protocol.treatment is not None:
        yield from _overlap_rows(survey)
    for model in survey.protocol.models:
        for name, questions in _fits(model):
            yield from _model_rows(survey, model, name, questions)


# --- How many, and who ------------------------------------------------------------------------------------


def _everybody_rows(survey: Surveyed) -> Iterator[Row]:
    everybody = np.ones(survey.sample.n, bool)
    cells = _by_case(frozenset())
    users = int((survey.is_case == 1).sum())
    yield survey.row("users", count(users), everybody, cells)
    yield survey.row("prevalence_share", _share(survey, survey.is_case, everybody), everybody, cells)


def _stratum_rows(survey: Surveyed, question: str) -> Iterator[Row]:
    """Prevalence among those who gave an answer, and its share of the users."""
    is_user, is_told = survey.is_case == 1, ~survey.is_at(question, None)
    for level in _with_missing(survey, question):
        is_of_it, place = survey.is_at(question, level), frozenset({(question, level)})
        part = _part(question, level)
        yield survey.row(
            "prevalence_share", _share(survey, survey.is_case, is_of_it), is_of_it, _by_case(place), part
        )
        if level is None:
            continue
        within = is_user & is_told
        yield survey.row(
            "users_share",
            _share(survey, is_of_it.astype(float), within),
            within,
            [place | {(CASE, True)}, frozenset({(question, None), (CASE, True)}), frozenset({(CASE, True)})],
            part,
        ) | {"denominator_unit": "people who have the outcome and answered"}


def _crossed_rows(survey: Surveyed, one: str, other: str) -> Iterator[Row]:
    for level in survey.levels(one):
        for beside in survey.levels(other):
            is_of_it = survey.is_at(one, level) & survey.is_at(other, beside)
            yield survey.row(
                "prevalence_share",
                _share(survey, survey.is_case, is_of_it),
                is_of_it,
                _by_case(frozenset({(one, level), (other, beside)})),
                f"{_part(one, level)}; {_part(other, beside)}",
            )


def _overlap_rows(survey: Surveyed) -> Iterator[Row]:
    """Users and people in formal treatment: who is both, and each of the other."""
    user, treated = survey.is_case, survey.is_treated
    known = survey.known & np.isfinite(treated)
    both = np.where(known, user * treated, np.nan)
    alone = np.where(known, user * (1 - treated), np.nan)
    treatment = np.where(known, (1 - user) * treated, np.nan)
    quarters = [
        frozenset({(CASE, is_user), (_TREATED, is_treated)})
        for is_user in (True, False)
        for is_treated in (True, False)
    ]
    of_users, of_treated = quarters[:2], quarters[::2]
    asked = (
        ("treated_among_users_share", treated, known & (user == 1), of_users),
        ("users_among_treated_share", user, known & (treated == 1), of_treated),
        ("users_among_untreated_share", user, known & (treated == 0), quarters[1::2]),
        ("users_and_treated_share", both, known, quarters),
        ("users_untreated_share", alone, known, quarters),
        ("treated_only_share", treatment, known, quarters),
    )
    for name, values, within, cells in asked:
        yield survey.row(name, _share(survey, values, within), within, cells, _TREATED)


def _share(survey: Surveyed, values: Floats, within: Booleans) -> Estimate:
    found = prevalence(values, survey.sample.design, within & survey.known)
    if found.n == 0:
        return not_estimated(found.share.method, "nobody is in it who has answered")
    return found.share


# --- What goes with it ------------------------------------------------------------------------------------


def _fits(model: OddsModel) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name, and questions, of each model that is fitted."""
    if not model.one_by_one:
        yield model.model, (*model.predictors, *model.adjusted_for)
        return
    for each in model.predictors:
        yield f"{model.model}: {each}", (each, *model.adjusted_for)


def _model_rows(survey: Surveyed, model: OddsModel, name: str, questions: Sequence[str]) -> Iterator[Row]:
    """Odds ratios of the predictors' answers; where a cell is empty, their penalised sensitivity as well."""
    within = survey.has_all(questions)
    terms = [(question, level) for question in questions for level in _others(survey, question, within)]
    x = np.column_stack([np.ones(survey.sample.n), *(survey.is_at(*each).astype(float) for each in terms)])
    odds = logistic_odds(survey.is_case, x[:, 1:], survey.sample.design, within)
    found = {"odds_ratio": dict(zip(terms, odds.ratios[1:], strict=True))}
    if odds.reason == EMPTY_CELL:
        asked = [i for i, (question, _) in enumerate(terms, 1) if question in model.predictors]
        found["odds_ratio_penalised"] = dict(zip(terms, _penalised(survey, x, within, asked), strict=True))
    for question in questions:
        if question not in model.predictors:
            continue
        others = ", ".join(each for each in questions if each != question)
        adjusted = f"at the same {others}" if others else "not adjusted"
        for level in survey.levels(question):
            reference = survey.protocol.reference(question)
            if level == reference:
                continue
            for estimate_name, ratios in found.items():
                estimate = ratios.get((question, level)) or not_estimated(_NO_TERM, _NOBODY)
                row = _odds_row(survey, estimate_name, estimate, within, (question, level, reference))
                yield row | {
                    "model": name,
                    "contrast": f"{row['part']}: associated with it, not an effect of it; {adjusted}",
                    # Who is in the model at all.
                    "cells": (*row["cells"], *_by_case(frozenset({(_IN_MODEL + name, True)}))),
                }


def _odds_row(
    survey: Surveyed, name: str, estimate: Estimate, within: Booleans, pair: tuple[str, str, str]
) -> Row:
    """`pair`: question, answer, and the answer that it is compared with."""
    question, level, reference = pair
    cells = [place for answer in (level, reference) for place in _by_case(frozenset({(question, answer)}))]
    row = survey.row(name, estimate, within, cells, f"{_part(question, level)} against {reference}")
    lost = survey.consented - row["n"]
    return row | {
        "missing_share": lost / survey.consented if survey.consented else None,
        "missing": (*row["missing"], lost),
    }


def _others(survey: Surveyed, question: str, within: Booleans) -> Iterator[str]:
    """Answers that have a column: all but the reference that somebody in the model gave. Without anybody in
    the reference nothing is compared with it."""
    reference = survey.protocol.reference(question)
    is_in = within & survey.known
    if not (is_in & survey.is_at(question, reference)).any():
        return
    for level in survey.levels(question):
        if level != reference and (is_in & survey.is_at(question, level)).any():
            yield level


def _penalised(survey: Surveyed, x: Floats, within: Booleans, asked: Sequence[int]) -> tuple[Estimate, ...]:
    """Of each column of x (n, p) but the first; those that are `asked` have an interval."""
    weights = survey.sample.design.weights
    is_in = within & survey.known & (weights > 0)
    fit = fit_firth(survey.is_case[is_in], x[is_in], weights[is_in], terms=asked)
    return tuple(exponentiated(each) for each in fit.coefficients[1:])


# --- Small parts ------------------------------------------------------------------------------------------


def _by_case(place: Cell) -> list[Cell]:
    return [place, place | {(CASE, True)}, place | {(CASE, False)}]


def _part(question: str, level: str | None) -> str:
    return f"{question}: {NOT_ANSWERED if level is None else level}"


def _with_missing(survey: Surveyed, question: str) -> tuple[str | None, ...]:
    is_missing = bool((survey.is_at(question, None) & survey.known).any())
    return (*survey.levels(question), *([None] if is_missing else []))


def _labels(values: Floats) -> Answers:
    """True, False, and None for NaN."""
    return np.array([None if each != each else bool(each) for each in values], object)  # noqa: PLR0124
