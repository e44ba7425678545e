"""How many studies are of which kind, and how they came out: the counts that a review prints.

The shape of Ali et al. 2015 and Pistrang, Barker & Humphreys 2008, for any set of registered studies. Studies
are counted and not people: a description without an interval. How large effects are is `pooling`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from pipelines.evidence.estimates import Estimate, count, not_estimated
from pipelines.evidence.protocols import StudyCounting

if TYPE_CHECKING:
    import pandas as pd

ALL = "all studies"
NOT_STATED = "not stated"
METHOD = "count of studies"

COLUMNS = ("design", "result", "risk_of_bias")
"""What every registration may say; all other codes are attributes."""

DIRECTIONS = ("positive", "no-difference", "harmful", "not-reported")

Told = Mapping[str, Sequence[str]]
"""Of one study: its values by code. Without the code: it is not stated."""


@dataclass(frozen=True)
class StudyCount:
    """So many studies of `denominator` are of the kind that `part` names, as `modality: forum`.

    `unknown`: studies of which it is not known whether they are. `with_several`: studies with several values,
    which count for each. `is_published`: every study of the denominator has a DOI.
    """

    name: str
    part: str
    count: int
    denominator: int
    unknown: int
    with_several: int = 0
    is_published: bool = False

    @property
    def estimate(self) -> Estimate:
        """Without a number, and with the reason, where there is no study."""
        if self.denominator == 0:
            return not_estimated(METHOD, "no study is registered")
        several = f"; {self.with_several} of them have several values and count for each"
        return replace(count(self.count), method=METHOD + (several if self.with_several else ""))


def study_counts(
    counting: StudyCounting, studies: pd.DataFrame, attributes: pd.DataFrame
) -> list[StudyCount]:
    """Counts of the studies of one tenant that `counting` asks for.

    `studies` and `attributes` are rows of `dim_study` and `dim_study_attribute`. First all studies and, where
    some are named, those that nobody has registered; then each code of `by` and each crossing, the parts of
    which add up to the studies unless some have several values; last the votes.
    """
    if counting.studies:
        studies = studies[studies["study_code"].isin(counting.studies)]
    told = _told(studies, attributes)
    is_published = bool(told) and bool(studies["doi"].notna().all())
    return [replace(each, is_published=is_published) for each in _counts(counting, [*told.values()])]


def _counts(counting: StudyCounting, studies: Sequence[Told]) -> Iterator[StudyCount]:
    k = len(studies)
    yield StudyCount("studies", ALL, k, k, 0)
    if counting.studies:
        named = len(set(counting.studies))
        yield StudyCount("studies_not_registered", ALL, named - k, named, 0)
    if k == 0:
        return
    for codes in dict.fromkeys([*((code,) for code in counting.by), *counting.crossed]):
        yield from _parts(codes, studies)
    yield from _votes(studies)


def _parts(codes: Sequence[str], studies: Sequence[Told]) -> Iterator[StudyCount]:
    """Studies by the values of one code, or of several together."""
    cells = [[*product(*(each.get(code) or (NOT_STATED,) for code in codes))] for each in studies]
    unknown = sum(any(code not in each for code in codes) for each in studies)
    several = sum(len(each) > 1 for each in cells)
    found = Counter(values for each in cells for values in each)
    for values in sorted(found, key=lambda each: [(value == NOT_STATED, value) for value in each]):
        part = " × ".join(f"{code}: {value}" for code, value in zip(codes, values, strict=True))
        yield StudyCount("studies", part, found[values], len(studies), unknown, several)


def _votes(studies: Sequence[Told]) -> Iterator[StudyCount]:
    """By direction, also those that nobody voted for. A study that says nothing has not reported."""
    found = Counter(value for each in studies for value in each.get("result", ("not-reported",)))
    for direction in DIRECTIONS:
        unknown = found["not-reported"]
        yield StudyCount("votes", direction, found[direction], len(studies), unknown)


def _told(studies: pd.DataFrame, attributes: pd.DataFrame) -> dict[str, Told]:
    told: dict[str, dict[str, list[str]]] = {code: {} for code in studies["study_code"]}
    for row in attributes.to_dict("records"):
        # What every registration may say is not said by an attribute of that name.
        if row["study_code"] in told and row["attribute"] not in COLUMNS:
            told[row["study_code"]].setdefault(row["attribute"], []).append(row["attribute_value"])
    for row in studies.to_dict("records"):
        told[row["study_code"]] |= {
            name: [row[name].replace("_", "-")] for name in COLUMNS if isinstance(row[name], str)
        }
    return {**told}
