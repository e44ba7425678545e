"""The people of one study as arrays: who is in which arm and group, their scores, and what is adjusted for.

Reshapes frames and knows no statistics. Who may be looked at is decided where frames are read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.evidence.inputs import Inputs
from pipelines.evidence.linear import Floats
from pipelines.evidence.protocols import ATTRIBUTES, Covariate, Outcome

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Columns:
    """Columns (n, m) of what is adjusted for, by name. NaN: not known of the person."""

    names: tuple[str, ...]
    values: Floats


@dataclass(frozen=True)
class People:
    """Consenting people with a score in one study of one tenant.

    `scores`: rows of `Inputs.scores`. `covariates`, `attributes`, `members`: rows of the inputs' frames about
    this tenant and study.
    """

    scores: pd.DataFrame
    covariates: pd.DataFrame
    attributes: pd.DataFrame
    members: pd.DataFrame

    @cached_property
    def arms(self) -> dict[str, str]:
        """Arm by person, as first allocated. Who is in none is not in it."""
        return _by_person(self.scores.dropna(subset="arm"), "arm")

    @cached_property
    def groups(self) -> dict[str, str]:
        """Group by person: the one that answers name first, else the only one that the person is a member of.

        People of no group, or of several and nobody says which, are not in it.
        """
        memberships = self.members.groupby("participant_id")["group_id"].agg(["nunique", "first"])
        known = memberships.loc[memberships["nunique"] == 1, "first"].to_dict()
        named = self.scores.dropna(subset="group_id").sort_values(["occurred_at", "event_id"])
        return {str(person): group for person, group in known.items()} | _by_person(named, "group_id")

    def of_group(self, people: Sequence[str]) -> list[str | None]:
        """Labels of clusters. Who is in no group is one alone."""
        return [self.groups.get(each) for each in people]

    def at(self, outcome: Outcome | Covariate, time_point: str) -> dict[str, float]:
        """Score by person, in the order of their names."""
        scale = (outcome.instrument, outcome.instrument_version, outcome.scale)
        return self._scores.get((*scale, time_point), {})

    @cached_property
    def _scores(self) -> dict[tuple[str, str, str, str], dict[str, float]]:
        """Score by person, by scale and time point."""
        found: dict[tuple[str, str, str, str], dict[str, float]] = {}
        names = ["instrument", "instrument_version", "scale", "time_point", "participant_id", "score"]
        for *place, person, score in zip(*(self.scores[each] for each in names), strict=True):
            found.setdefault((place[0], place[1], place[2], place[3]), {})[person] = float(score)
        return found

    def columns(self, wanted: Sequence[Covariate], people: Sequence[str]) -> Columns:
        """What is adjusted for, of these people."""
        coded = [
            each
            for covariate in wanted
            for each in _coded(covariate, [*map(self._values(covariate).get, people)])
        ]
        columns = [column for _, column in coded]
        values = np.column_stack(columns) if columns else np.empty((len(people), 0))
        return Columns(tuple(name for name, _ in coded), values)

    def _values(self, covariate: Covariate) -> dict[str, Any]:
        if covariate.source == "score":
            return self.at(covariate, covariate.time_point)
        if covariate.source == "attribute":
            return _by_person(self.attributes, covariate.covariate)
        stated = self.covariates[self.covariates["covariate"] == covariate.covariate]
        return _by_person(stated, "covariate_value")


def of(people: Sequence[str], scores: Mapping[str, float]) -> Floats:
    """Scores (n,) of these people. NaN: a person has none."""
    return np.array([scores.get(each, np.nan) for each in people], float)


def people_of(inputs: Inputs, study: str, tenant: str) -> People:
    scores, covariates, attributes, members = (
        each[each["tenant_id"] == tenant]
        for each in (inputs.scores, inputs.person_covariates, inputs.person_attributes, inputs.members)
    )
    return People(
        scores[scores["study_code"] == study],
        covariates[covariates["study_code"] == study],
        attributes[["participant_id", *ATTRIBUTES]],
        members,
    )


def _coded(covariate: Covariate, values: Sequence[Any]) -> list[tuple[str, Floats]]:
    """A column of numbers, or one for each value but the first."""
    if covariate.numeric or covariate.source == "score":
        return [(covariate.covariate, np.array([_number(each) for each in values], float))]
    others = sorted({each for each in values if isinstance(each, str)})[1:]
    return [(f"{covariate.covariate}={value}", _is(value, values)) for value in others]


def _is(value: str, values: Sequence[Any]) -> Floats:
    """1 or 0. NaN: not known."""
    return np.array([each == value if isinstance(each, str) else np.nan for each in values], float)


def _number(value: Any) -> float:
    """NaN: no number, or one that is not finite."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _by_person(rows: pd.DataFrame, column: str) -> dict[str, Any]:
    """Of several rows of a person the first counts."""
    found: dict[str, Any] = {}
    for person, value in zip(rows["participant_id"], rows[column], strict=True):
        found.setdefault(str(person), value)
    return found
