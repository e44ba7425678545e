"""The small histories of `tests/vectors/engagement` with the figures that were counted by hand.

A file names `events` with the fields of `Told`, who has `withdrawn`, `as_of`, and per window the `expected`
figures: what it does not name is 0, and of a median or a Gini coefficient, not set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from circles.engagement.v1.group_engagement_pb2 import WindowEngagement

from tests.fakes.engagement_oracle import Figures, Told

VECTORS = Path(__file__).parents[1] / "vectors" / "engagement"


@dataclass(frozen=True)
class Vector:
    """A named history of one group, and what must come out of it."""

    name: str
    told: list[Told]
    withdrawn: frozenset[str]
    as_of: int
    expected: dict[int, Figures]

    def __str__(self) -> str:
        return self.name


def vectors() -> Iterator[Vector]:
    """All of them, by name."""
    for path in sorted(VECTORS.glob("*.yaml")):
        read = yaml.safe_load(path.read_text())
        yield Vector(
            path.stem,
            [_told(event) for event in read["events"]],
            frozenset(read.get("withdrawn", ())),
            _seconds(read["as_of"]),
            {hours: {**_nothing(), **given} for hours, given in read["expected"].items()},
        )


def _told(event: dict[str, Any]) -> Told:
    return Told(**{**event, "occurred_at": _seconds(event["occurred_at"])})


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _nothing() -> Figures:
    """Figures of a window in which nothing happened. An optional field is not set."""
    fields = [field for field in WindowEngagement.DESCRIPTOR.fields if field.name != "window_hours"]
    return {field.name: None if field.has_presence else 0 for field in fields}
