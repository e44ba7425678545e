"""Instruments that this deployment knows: versions, items, ranges, how they are scored, and what scores mean.

One YAML file each: the product's own in protos/instruments, an operator's in the data folder. What the
gateway refuses is `services.ingestion.instruments`'; scores are made in dbt, from `scales` as a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.runtime.settings import IngestionSettings

OWN = Path(__file__).parents[2] / "protos" / "instruments"

TOTAL = "total"
"""The scale that each instrument has."""

Licence = Literal["open", "non_commercial", "registered", "closed"]
Direction = Literal["lower_is_better", "higher_is_better"]
Mark = Literal["verified", "secondary", "unverified"]
"""How a figure was read: in its source, in a source that quotes it, or not at all."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Part):
    """Both ends are included."""

    least: float
    most: float

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if self.least >= self.most:
            raise ValueError(f"least {self.least:g} is not below most {self.most:g}")
        return self


class Sourced(_Part):
    """Something that somebody has found or agreed on. An unverified one says so wherever it is used."""

    mark: Mark
    source: str


class Figure(Sourced):
    """In points of the scale."""

    value: float


class Missing(Sourced):
    """With at most so many items missing, the mean of the others stands for each of them."""

    at_most: int = Field(ge=1)


class Bands(Sourced):
    """From which score on, by the band's name."""

    least: dict[str, float]


class Norm(Sourced):
    """Scores of people who are not in treatment."""

    mean: float
    sd: float = Field(gt=0)


class Loinc(Sourced):
    """Codes of LOINC; those of items in their order."""

    panel: str | None = None
    total: str | None = None
    items: tuple[str, ...] = ()


class Scale(_Part):
    """One score: `times` the sum of its items."""

    times: float = 1
    total: Range
    missing: Missing | None = None
    """None: every item is needed."""
    bands: Bands | None = None
    case_at: Figure | None = None
    """A score from here on is a case; where higher is better, a score up to here."""
    reliable_change: Figure | None = None
    minimal_change: Figure | None = None
    reliability: Figure | None = None
    norm: Norm | None = None


class Subscale(Scale):
    """Of the items that it names by their numbers."""

    items: tuple[int, ...] = Field(min_length=1)


class Items(_Part):
    """How many there are, and which values an answer may have. Reversed ones count from the other end.

    `is_scored`: whether the sum of the items makes the total; None: if their ranges agree. Where it does not,
    only a posted total is a score.
    """

    count: int = Field(ge=1, le=200)
    least: int
    most: int
    reversed: tuple[int, ...] = ()
    is_scored: bool | None = None

    @model_validator(mode="after")
    def _has_a_range(self) -> Items:
        Range(least=self.least, most=self.most)
        return self


class Instrument(Scale):
    """Itself the scale `total`. An item's value is whole, a total may be a fraction."""

    code: str
    name: str
    versions: tuple[str, ...] = Field(min_length=1)
    licence: Licence
    source: str = ""
    direction: Direction | None = None
    """None: nobody says which way is better, so no change is told."""
    items: Items
    loinc: Loinc | None = None
    scales: dict[str, Subscale] = {}

    @model_validator(mode="after")
    def _names_items_that_are_there(self) -> Instrument:
        named = [*self.items.reversed, *(item for scale in self.scales.values() for item in scale.items)]
        for item in named:
            if not 1 <= item <= self.items.count:
                raise ValueError(f"item {item} is none of the {self.items.count} items")
        if self.loinc and len(self.loinc.items) not in (0, self.items.count):
            raise ValueError(f"loinc has {len(self.loinc.items)} items, the instrument {self.items.count}")
        if TOTAL in self.scales:
            raise ValueError(f"scale {TOTAL} is the instrument itself")
        return self

    @model_validator(mode="after")
    def _totals_are_sums_of_items(self) -> Instrument:
        for name, scale, items in self.all_scales():
            made = self._made(scale, items)
            if self.items.is_scored and made != scale.total:
                raise ValueError(f"{name}: its items make totals from {made.least:g} to {made.most:g}")
        return self

    @property
    def is_scored(self) -> bool:
        """Whether items make scores."""
        if self.items.is_scored is not None:
            return self.items.is_scored
        return all(self._made(scale, items) == scale.total for _, scale, items in self.all_scales())

    def _made(self, scale: Scale, items: tuple[int, ...]) -> Range:
        least, most = (scale.times * len(items) * end for end in (self.items.least, self.items.most))
        return Range(least=least, most=most)

    def all_scales(self) -> Iterator[tuple[str, Scale, tuple[int, ...]]]:
        """Name, scale and numbers of its items."""
        yield TOTAL, self, tuple(range(1, self.items.count + 1))
        for name, scale in self.scales.items():
            yield name, scale, scale.items


@cache
def instruments() -> Mapping[str, Instrument]:
    """By code. An operator's file of the same name wins. Raises ValueError naming a file that is wrong."""
    folders = (OWN, IngestionSettings.load().instrument_folder)
    return {path.stem: read_instrument(path) for folder in folders for path in sorted(folder.glob("*.yaml"))}


def is_known(instrument: str, version: str) -> bool:
    known = instruments().get(instrument)
    return known is not None and version in known.versions


def read_instrument(path: Path) -> Instrument:
    """Raises ValueError, naming field and reason of all that is wrong."""
    try:
        body = yaml.safe_load(path.read_text())
        if not isinstance(body, dict):
            raise ValueError(f"{path.name} is no instrument: it has no fields")
        return Instrument(**(body | {"code": path.stem}))
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name} is no YAML: {error}") from error
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, each['loc'])) or 'it'}: {each['msg']}" for each in error.errors())
        raise ValueError(f"{path.name} is no instrument: {'; '.join(wrong)}") from error
