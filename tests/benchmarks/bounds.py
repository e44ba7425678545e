"""Single figures, each with what must hold of it, and how they are judged. Which ones, is a benchmark's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.benchmarks.tables import aligned

HEADINGS = ("figure", "value", "must", "verdict")
FAILS = "FAILS"


@dataclass(frozen=True)
class Bound:
    """A limit on one figure that is not compared with anybody's."""

    figure: str
    limit: float
    unit: str
    at_least: bool = False

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def words(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:,g} {self.unit}"


class Line(NamedTuple):
    """One figure as it is shown."""

    figure: str
    value: str
    must: str = ""
    verdict: str = ""


def judged(bound: Bound, value: float) -> Line:
    digits = 2 if bound.limit < 100 else 0
    verdict = "holds" if bound.holds(value) else FAILS
    return Line(bound.figure, f"{value:,.{digits}f} {bound.unit}", bound.words, verdict)


def lines(found: Sequence[Line]) -> list[str]:
    return aligned(HEADINGS, found, {"figure", "verdict"})


def failed(found: Sequence[Line]) -> list[str]:
    return [f"{each.figure}: {each.value}, must be {each.must}" for each in found if each.verdict == FAILS]
