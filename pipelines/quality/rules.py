"""Rules and suites as data: one rule is one expectation of Great Expectations, with a name of its own.

Nothing here imports Great Expectations, which takes seconds; `expectations` turns rules into it. Which
rules a table has stands in `suites`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from google.protobuf.descriptor import Descriptor, EnumDescriptor


@dataclass(frozen=True)
class Rule:
    """One expectation. `name` is the name of the check that people see.

    `shows_values`: whether values that break it may be shown. Only codes and numbers that identify
    nobody; never references, ids or whatever a stranger could have put text into.
    """

    name: str
    expectation: str
    arguments: Mapping[str, Any]
    shows_values: bool = False


@dataclass(frozen=True)
class Suite:
    """The rules of one table and the columns that they need. `derive` adds columns that rules look at."""

    name: str
    columns: tuple[str, ...]
    rules: tuple[Rule, ...]
    derive: Callable[[pd.DataFrame], pd.DataFrame] = field(default=lambda frame: frame)


def has_columns(columns: Sequence[str]) -> Rule:
    """The table has at least these columns."""
    arguments = {"column_set": list(columns), "exact_match": False}
    return Rule("columns_are_there", "ExpectTableColumnsToMatchSet", arguments)


def is_present(column: str) -> Rule:
    return Rule(f"{column}_is_present", "ExpectColumnValuesToNotBeNull", {"column": column})


def is_one_of(column: str, values: Sequence[str], name: str | None = None) -> Rule:
    """Closed vocabulary. NULL passes: whether it may be absent is another rule's."""
    arguments = {"column": column, "value_set": list(values)}
    return Rule(name or f"{column}_is_known", "ExpectColumnValuesToBeInSet", arguments, shows_values=True)


def is_between(column: str, low: float | None, high: float | None, name: str | None = None) -> Rule:
    """Bounds included. NULL passes."""
    arguments = {"column": column, "min_value": low, "max_value": high}
    name = name or f"{column}_is_in_range"
    return Rule(name, "ExpectColumnValuesToBeBetween", arguments, shows_values=True)


def is_true(column: str, name: str) -> Rule:
    """A derived column of booleans is true in every row."""
    return Rule(name, "ExpectColumnValuesToBeInSet", {"column": column, "value_set": [True]})


def matches(column: str, pattern: str, name: str) -> Rule:
    return Rule(name, "ExpectColumnValuesToMatchRegex", {"column": column, "regex": pattern})


def is_unique(columns: Sequence[str], name: str) -> Rule:
    arguments = {"column_list": list(columns), "ignore_row_if": "never"}
    return Rule(name, "ExpectCompoundColumnsToBeUnique", arguments)


def codes(enum: EnumDescriptor) -> list[str]:
    """Codes of an enum as they stand in the lake: lower case, without the enum's prefix."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return [value.name.removeprefix(prefix).lower() for value in enum.values if value.number != 0]


def kinds(message: Descriptor) -> list[str]:
    """Names of the kinds of an event, from its contract."""
    return [member.name for member in message.oneofs_by_name["kind"].fields]
