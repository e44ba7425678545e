"""A survey's respondents as arrays: how they were drawn, what they answered, how many are in which cell.

Reshapes frames and knows no statistics. Who may be looked at is decided where frames are read, which cells
are too small by publication.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipelines.evidence.linear import Floats, Integers
from pipelines.evidence.protocols import Answered
from pipelines.evidence.survey import Booleans, Design, design_of

if TYPE_CHECKING:
    import pandas as pd

Cell = frozenset[tuple[str, Hashable]]
Answers = npt.NDArray[np.object_]
CASE = "has the outcome"  # no code of a question: those have no spaces


@dataclass(frozen=True, eq=False)
class Sample:
    """Consenting respondents of one survey. `answers`: by question (n,), None where it is not answered."""

    n: int
    design: Design
    answers: Mapping[str, Answers]

    def answer(self, question: str) -> Answers:
        found = self.answers.get(question)
        return np.full(self.n, None, object) if found is None else found

    def is_yes(self, asked: Answered) -> Floats:
        """1 and 0 (n,), NaN where the question is not answered."""
        given = self.answer(asked.question)
        return np.where(_is_told(given), np.isin(given, asked.answers), np.nan).astype(float)

    def levels(self, question: str, listed: Sequence[str]) -> tuple[str, ...]:
        """Answers to a question: those that are listed, then those that were given besides."""
        given = {each for each in self.answer(question) if each is not None}
        return (*listed, *sorted(given - set(listed)))


def sample_of(answers: pd.DataFrame) -> Sample:
    """Of the rows of one survey of one tenant, one per respondent and question."""
    drawn = answers.drop_duplicates("participant_id").sort_values("participant_id")
    people = {each: i for i, each in enumerate(drawn["participant_id"])}
    strata, clusters = (
        [None if each is None or each != each else str(each) for each in drawn[name]]  # noqa: PLR0124
        for name in ("survey_stratum", "survey_cluster")
    )
    design = design_of(
        drawn["survey_weight"].to_numpy(float),
        # People of whom no stratum is told are one; of whom no cluster is told were drawn alone.
        [each or "" for each in strata] if any(strata) else None,
        clusters if any(clusters) else None,
    )
    given: dict[str, Answers] = {}
    for question, told in answers.groupby("question"):
        column = given[str(question)] = np.full(len(people), None, object)
        column[[people[each] for each in told["participant_id"]]] = told["answer"].to_numpy(object)
    return Sample(len(people), design, given)


def _is_told(answers: Answers) -> Booleans:
    return np.array([each is not None for each in answers], bool)


# --- Cells ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Cells:
    """People with a known outcome, counted by what they are told apart by; cells are those of disclosure
    control, which are sets of values by dimension. The outcome is the dimension `CASE`.

    `levels`: values that are counted, by dimension; `codes` (n,): the place of each one's value among them.
    """

    is_case: Floats
    levels: dict[str, tuple[Hashable, ...]] = field(default_factory=dict)
    codes: dict[str, Integers] = field(default_factory=dict)

    def add(self, name: str, values: Iterable[Hashable], levels: Sequence[Hashable]) -> None:
        """`values` (n,) of all respondents; who has none of `levels`, as None, is counted as one more."""
        place = {each: i for i, each in enumerate(levels)}
        self.levels[name] = tuple(levels)
        self.codes[name] = np.array([place.get(each, len(place)) for each in values], np.int64)

    def cube(self, crossed: Sequence[tuple[str, str]]) -> dict[Cell, int]:
        """Everybody, each dimension, those that are crossed, and those of which one value holds all people of
        another, as any disorder those of a disorder; each of them as a whole and by outcome."""
        nested = [pair for pair in combinations(self.levels, 2) if self._is_nested(*pair)]
        pairs = {tuple(sorted(pair)) for pair in (*crossed, *nested)}
        found: dict[Cell, int] = {}
        for names in ((), *((name,) for name in self.levels), *sorted(pairs)):
            for values, cases, others in self._counts(names):
                place = frozenset(zip(names, values, strict=True))
                found[place] = cases + others
                found[place | {(CASE, True)}], found[place | {(CASE, False)}] = cases, others
        return found

    def _counts(self, names: Sequence[str]) -> Iterator[tuple[tuple[Hashable, ...], int, int]]:
        """Values, cases and others, for all combinations of values: also those of nobody."""
        codes, shape = np.zeros(len(self.is_case), np.int64), [len(self.levels[name]) + 1 for name in names]
        for name, size in zip(names, shape, strict=True):
            codes = codes * size + self.codes[name]
        total = int(np.prod(shape))
        is_known = np.isfinite(self.is_case)
        cases, others = (
            np.bincount(codes[is_known & (self.is_case == outcome)], minlength=total)
            for outcome in (1.0, 0.0)
        )
        for i in range(total):
            places = np.unravel_index(i, shape) if names else ()
            values = ((*self.levels[name], None)[int(j)] for name, j in zip(names, places, strict=True))
            yield tuple(values), int(cases[i]), int(others[i])

    def _is_nested(self, one: str, other: str) -> bool:
        """Whether all people of a value of one are of a single value of the other, which has others too."""
        is_known = np.isfinite(self.is_case)
        rows, columns = len(self.levels[one]) + 1, len(self.levels[other]) + 1
        codes = self.codes[one][is_known] * columns + self.codes[other][is_known]
        table = np.bincount(codes, minlength=rows * columns).reshape(rows, columns) > 0
        return _holds_another(table) or _holds_another(table.T)


def _holds_another(table: Booleans) -> bool:
    """Whether all people of a row are in one column, with people of other rows, and others elsewhere."""
    is_shared = table.sum(axis=0) > 1
    is_within = (table.sum(axis=1) == 1) & table[:, is_shared].any(axis=1)
    return bool(is_within.any()) and int(table.any(axis=0).sum()) > 1
