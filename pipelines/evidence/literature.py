"""Figures as publications print them, read from `literature.csv`: to stand beside our own in each table.

Nothing is computed here. A figure is as its source has it, digit by digit; its citation says where it was
read, its mark how well.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.evidence.protocols import Design

FILE = Path(__file__).parent / "literature.csv"

System = Literal[
    "youth_online_peer_support",
    "mutual_help",
    "group_peer_support_meta",
    "carers_controlled",
    "mens_groups",
    "osg_prevalence",
    "professional_moderation",
    "covid_change",
]
SYSTEMS: tuple[System, ...] = get_args(System)

Mark = Literal["verified", "secondary", "derived"]
"""Read in the source or its abstract; in another that quotes it; made of two printed figures."""

TENANT = "literature"
VERSION = "as printed"
"""In place of a protocol's: there was none of ours."""

NO_INTERVAL = "no interval is printed"

COMPARISONS = ("pooled_smd", "pooled_md", "odds_ratio")
"""Estimates that compare `part`'s two sides, or a group with its control."""


class WrongLiterature(ValueError):
    """The file has a row that is no figure: which line, and why."""


class Figure(BaseModel):
    """A printed figure. `n`: people, `k`: studies behind it; `denominator`: what it is out of.

    Without `estimate` the source has a row for it that could not be read, and `note` says why.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    system: System
    study: str = Field(min_length=1)
    outcome: str | None
    estimate_name: str = Field(min_length=1)
    part: str | None
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    ci_level: float | None = Field(gt=0, lt=1)
    n: int | None = Field(ge=1)
    k: int | None = Field(ge=0)
    denominator: int = Field(ge=1)
    denominator_unit: str = Field(min_length=1)
    design: Design
    mark: Mark
    citation: str = Field(min_length=1)
    note: str | None

    @model_validator(mode="after")
    def _interval_is_whole_and_holds_the_estimate(self) -> Self:
        interval = (self.ci_low, self.ci_high, self.ci_level)
        if all(each is None for each in interval):
            return self
        if self.estimate is None or self.ci_low is None or self.ci_high is None or self.ci_level is None:
            raise ValueError("an interval has an estimate, two ends and a level")
        if not self.ci_low <= self.estimate <= self.ci_high:
            raise ValueError("the interval does not hold the estimate")
        return self

    @model_validator(mode="after")
    def _says_why_it_is_missing(self) -> Self:
        if self.estimate is None and self.note is None:
            raise ValueError("a figure without an estimate says why in its note")
        return self


def literature_rows(system: str) -> list[dict[str, Any]]:
    """Rows of one system's table, without `release_id` and what follows from the release.

    With `part`, `k` and `parts` beside the columns that all tables have. They are published already:
    disclosure control shows them whatever their size. Raises WrongLiterature.
    """
    return [_row(each) for each in figures() if each.system == system]


def literature_studies(system: str) -> list[str]:
    """Codes of the studies of these rows, as `lyons-2021`. They have no protocol. Raises WrongLiterature."""
    return sorted({each.study for each in figures() if each.system == system})


@cache
def figures() -> tuple[Figure, ...]:
    """All printed figures. Raises WrongLiterature."""
    return read_figures(FILE)


def read_figures(path: Path) -> tuple[Figure, ...]:
    """Raises WrongLiterature, naming line, column and reason of all that is wrong."""
    found: list[Figure] = []
    wrong: list[str] = []
    with path.open(newline="") as table:
        rows = csv.DictReader(table)
        for row in rows:
            try:
                found.append(_figure(row))
            except ValidationError as error:
                wrong.extend(f"{path.name}, line {rows.line_num}: {each}" for each in _reasons(error))
    if wrong:
        raise WrongLiterature("\n".join(wrong))
    return tuple(found)


def _figure(row: dict[str | Any, Any]) -> Figure:
    # Cells beyond the header have no name.
    return Figure.model_validate({str(name): value or None for name, value in row.items()})


def _reasons(error: ValidationError) -> Iterator[str]:
    for each in error.errors():
        yield f"{'.'.join(str(part) for part in each['loc']) or 'the figure'}: {each['msg']}"


def _row(figure: Figure) -> dict[str, Any]:
    return {
        "system": figure.system,
        "study": figure.study,
        "protocol_version": VERSION,
        "post_hoc": False,
        "tenant": TENANT,
        "data_class": "public",
        "source_kind": "literature",
        "population": f"as described by {figure.citation}",
        "outcome": figure.outcome,
        "contrast": _contrast(figure),
        "estimate_name": figure.estimate_name,
        "part": figure.part,
        "estimate": figure.estimate,
        "ci_low": figure.ci_low,
        "ci_high": figure.ci_high,
        "ci_level": figure.ci_level,
        "not_estimated_reason": _why_incomplete(figure),
        "n": figure.n,
        "k": figure.k,
        "denominator": figure.denominator,
        "denominator_unit": figure.denominator_unit,
        "method": "; ".join(
            each for each in (f"as printed; mark: {figure.mark}", figure.citation, figure.note) if each
        ),
        "design": figure.design,
        "parts": (),
    }


def _contrast(figure: Figure) -> str | None:
    if figure.estimate_name not in COMPARISONS:
        return None
    if figure.design == "randomised":
        return f"{figure.part}: effect in studies that were randomised"
    return f"{figure.part}: associated with it, not an effect of it"


def _why_incomplete(figure: Figure) -> str | None:
    if figure.estimate is None:
        return figure.note
    return NO_INTERVAL if figure.ci_low is None else None
