"""Rules and suites as data: one rule is one expectation of Great Expectations, with a name of its own and
with what follows when it is broken.

Nothing here imports Great Expectations, which takes seconds; `expectations` turns rules into it. Which
rules a table has stands in `suites`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd
    from google.protobuf.descriptor import Descriptor, EnumDescriptor

Severity = Literal["block", "warn"]
BLOCK: Severity = "block"
WARN: Severity = "warn"


@dataclass(frozen=True)
class Rule:
    """One expectation. `name` is the name of the check that people see.

    `shows_values`: whether values that break it may be shown. Only codes and numbers that identify
    nobody; never references, ids or whatever a stranger could have put text into.
    `severity`: block keeps back what breaks it, warn only tells. `why`: the reason for that.
    """

    name: str
    expectation: str
    arguments: Mapping[str, Any]
    shows_values: bool = False
    severity: Severity = BLOCK
    why: str = "What breaks it would make figures wrong."

    @property
    def meaning(self) -> str:
        """What people read beside its name."""
        return f"{'Blocks' if self.severity == BLOCK else 'Warns'}. {self.why}"


@dataclass(frozen=True)
class Computed:
    """A column that the lake computes of one of its own: what is a list there would be slow in a frame."""

    source: str
    sql: str


@dataclass(frozen=True)
class Suite:
    """The rules of one table and the columns that they need.

    `computed` are read like `columns`, under their names; `derive` adds columns that rules look at.
    """

    name: str
    columns: tuple[str, ...]
    rules: tuple[Rule, ...]
    derive: Callable[[pd.DataFrame], pd.DataFrame] = field(default=lambda frame: frame)
    computed: Mapping[str, Computed] = field(default_factory=dict)


def warns(rule: Rule, why: str) -> Rule:
    """The rule as one that only tells."""
    return replace(rule, severity=WARN, why=why)


def has_columns(columns: Sequence[str]) -> Rule:
    """The table has at least these columns."""
    arguments = {"column_set": list(columns), "exact_match": False}
    return Rule(
        "columns_are_there",
        "ExpectTableColumnsToMatchSet",
        arguments,
        why="What is computed from a missing column would be empty.",
    )


def is_present(column: str) -> Rule:
    return Rule(
        f"{column}_is_present",
        "ExpectColumnValuesToNotBeNull",
        {"column": column},
        why="A row without it has no place in any figure.",
    )


def is_one_of(column: str, values: Sequence[str], name: str | None = None) -> Rule:
    """Closed vocabulary. NULL passes: whether it may be absent is another rule's."""
    return Rule(
        name or f"{column}_is_known",
        "ExpectColumnValuesToBeInSet",
        {"column": column, "value_set": list(values)},
        shows_values=True,
        why="A code that this version does not know would silently be counted nowhere.",
    )


def is_between(column: str, low: float | None, high: float | None, name: str | None = None) -> Rule:
    """Bounds included. NULL passes."""
    arguments = {"column": column, "min_value": low, "max_value": high}
    return Rule(
        name or f"{column}_is_in_range",
        "ExpectColumnValuesToBeBetween",
        arguments,
        shows_values=True,
        why="One impossible number moves every mean that it is in.",
    )


def is_true(column: str, name: str) -> Rule:
    """A derived column of booleans is true in every row."""
    return Rule(name, "ExpectColumnValuesToBeInSet", {"column": column, "value_set": [True]})


def matches(column: str, pattern: str, name: str) -> Rule:
    return Rule(name, "ExpectColumnValuesToMatchRegex", {"column": column, "regex": pattern})


def is_unique(columns: Sequence[str], name: str) -> Rule:
    arguments = {"column_list": list(columns), "ignore_row_if": "never"}
    return Rule(
        name, "ExpectCompoundColumnsToBeUnique", arguments, why="A row that is there twice counts twice."
    )


def codes(enum: EnumDescriptor) -> list[str]:
    """Codes of an enum as they stand in the lake: lower case, without the enum's prefix."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return [value.name.removeprefix(prefix).lower() for value in enum.values if value.number != 0]


def kinds(message: Descriptor) -> list[str]:
    """Names of the kinds of an event, from its contract."""
    return [member.name for member in message.oneofs_by_name["kind"].fields]
