"""Protocols: what a study set out to estimate, read from `protocols/*.yaml`. Dated and version-controlled.

A protocol names codes that partners post. Estimates are made by the tables' modules.
"""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

FOLDER = Path(__file__).parent / "protocols"

Design = Literal["randomised", "controlled", "cohort", "cross-sectional", "descriptive"]


class Outcome(BaseModel):
    """What is measured, with what, and when."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcome: str
    instrument: str
    instrument_version: str
    direction: Literal["lower_is_better", "higher_is_better"]
    time_points: tuple[str, ...]


class Protocol(BaseModel):
    """One study. `arms` maps codes to words; a contrast is an arm minus the reference arm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str
    system: Literal["group_engagement", "controlled_comparison"]
    version: str
    dated: date
    population: str
    design: Design
    arms: dict[str, str] = {}
    reference_arm: str | None = None
    outcomes: tuple[Outcome, ...] = ()

    @model_validator(mode="after")
    def _reference_is_an_arm(self) -> Protocol:
        if self.arms and self.reference_arm not in self.arms:
            raise ValueError(f"reference_arm {self.reference_arm} is none of {', '.join(self.arms)}")
        return self

    def is_post_hoc(self, first_data: date | None) -> bool:
        """Whether the protocol is younger than its first datum. Without data it is not."""
        return first_data is not None and self.dated > first_data


@cache
def protocols(system: str) -> tuple[Protocol, ...]:
    """Protocols of one system, by name of study. Raises ValidationError naming what is wrong in a file."""
    found = [
        Protocol.model_validate(yaml.safe_load(path.read_text())) for path in sorted(FOLDER.glob("*.yaml"))
    ]
    return tuple(each for each in found if each.system == system)
