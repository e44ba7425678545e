"""Protocols: what a study set out to estimate, read from `protocols/*.yaml`. Dated and version-controlled.

A protocol names codes that partners post. Each evidence system has a kind of its own; estimates are made by
the tables' modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from pipelines.evidence.pooling import Conventions

FOLDER = Path(__file__).parent / "protocols"

Design = Literal["randomised", "controlled", "cohort", "cross-sectional", "descriptive"]
STRENGTH: tuple[Design, ...] = ("descriptive", "cross-sectional", "cohort", "controlled", "randomised")
"""Designs from the weakest to the strongest."""

RiskOfBias = Literal["low", "some_concerns", "high"]
Scale = Literal[
    "hedges_g", "mean_difference", "log_risk_ratio", "log_odds_ratio", "fisher_z", "logit_proportion"
]
Direction = Literal["lower_is_better", "higher_is_better"]


class WrongProtocol(ValueError):
    """A file says something that a protocol cannot: which line, and why."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Outcome(_Part):
    """What is measured, with what, and when."""

    outcome: str
    instrument: str
    instrument_version: str
    direction: Direction
    time_points: tuple[str, ...]


class PooledOutcome(_Part):
    """What studies report, and on which scale it is pooled.

    Each list of codes is in order of priority: of a study that reports several, the first counts. Without a
    list a study that reports several cannot be used, and its row says so.
    """

    outcome: str
    scale: Scale
    direction: Direction
    arms: tuple[str, ...] = Field(min_length=1)
    reference_arms: tuple[str, ...] = ()
    """None: each study has one arm, whose share is pooled."""
    instruments: tuple[str, ...] = ()
    time_points: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _compares_unless_a_share(self) -> PooledOutcome:
        if (self.scale == "logit_proportion") == bool(self.reference_arms):
            needs = "no reference_arms" if self.reference_arms else "reference_arms"
            raise ValueError(f"{self.scale} needs {needs}")
        return self


class StudyCounting(_Part):
    """Which registered studies are counted, and by what: codes of attributes, or `design`, `result` and
    `risk_of_bias`."""

    studies: tuple[str, ...] = ()
    """None: all that the tenant has registered."""
    by: tuple[str, ...] = ()
    crossed: tuple[tuple[str, str], ...] = ()


class Study(_Part):
    """What every protocol says."""

    study: str
    version: str
    dated: date
    population: str
    design: Design

    def is_post_hoc(self, first_data: date | None) -> bool:
        """Whether the protocol is younger than its first datum. Without data it is not."""
        return first_data is not None and self.dated > first_data


class Engagement(Study):
    """Figures of every group."""

    system: Literal["group_engagement"]


class Comparison(Study):
    """One study. `arms` maps codes to words; a contrast is an arm minus the reference arm."""

    system: Literal["controlled_comparison"]
    arms: dict[str, str]
    reference_arm: str
    outcomes: tuple[Outcome, ...]

    @model_validator(mode="after")
    def _reference_is_an_arm(self) -> Comparison:
        if self.reference_arm not in self.arms:
            raise ValueError(f"reference_arm {self.reference_arm} is none of {', '.join(self.arms)}")
        return self


class Pooling(Study):
    """Many studies. Those of `studies` are eligible, or all that are registered, of which the design and the
    risk of bias are among those wanted."""

    system: Literal["group_peer_support_meta"]
    outcomes: tuple[PooledOutcome, ...]
    studies: tuple[str, ...] = ()
    designs: tuple[Design, ...] = ("randomised",)
    risk_of_bias: tuple[RiskOfBias, ...] = ()
    """None: all, also those that nobody has judged."""
    min_studies: int = Field(default=3, ge=1)
    """With fewer usable studies nothing is pooled."""
    conventions: Conventions = Conventions()
    subgroups: tuple[Literal["design", "risk_of_bias"], ...] = ()
    moderators: tuple[str, ...] = ()
    """`publication_year`, or codes of numbers that studies were registered with."""


Protocol = Annotated[Engagement | Comparison | Pooling, Field(discriminator="system")]
Kind = TypeVar("Kind", Engagement, Comparison, Pooling)
_PROTOCOL: TypeAdapter[Protocol] = TypeAdapter(Protocol)


def protocols(kind: type[Kind]) -> tuple[Kind, ...]:
    """Protocols of one kind, by name of file. Raises WrongProtocol."""
    return tuple(each for each in _all() if isinstance(each, kind))


def studies_of(system: str) -> list[str]:
    """Names of the studies that one system's table may have rows of. Raises WrongProtocol."""
    return [each.study for each in _all() if each.system == system]


def read_protocol(path: Path) -> Protocol:
    """Raises WrongProtocol, naming line, field and reason of all that is wrong."""
    text = path.read_text()
    try:
        return _PROTOCOL.validate_python(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise WrongProtocol(f"{path.name} is no YAML: {error}") from error
    except ValidationError as error:
        tree = yaml.compose(text)
        found = (
            f"{path.name}, line {_line(tree, each['loc'])}: "
            f"{'.'.join(str(part) for part in each['loc'][1:]) or 'the protocol'}: {each['msg']}"
            for each in error.errors()
        )
        raise WrongProtocol("\n".join(found)) from error


@cache
def _all() -> tuple[Protocol, ...]:
    return tuple(read_protocol(path) for path in sorted(FOLDER.glob("*.yaml")))


def _line(node: yaml.Node | None, place: Sequence[str | int]) -> int:
    """Where the place is written, or the nearest place around it that is."""
    line = 1
    for part in place:
        below = _below(node, part)
        if below is not None:
            line, node = below
    return line


def _below(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        value = node.value[part]
        return value.start_mark.line + 1, value
    return None
