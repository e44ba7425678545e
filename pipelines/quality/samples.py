"""What may be shown of a value that breaks a rule: numbers and words of the contract. Never anything that a
partner, or a stranger, could have put a name or a reference into.

Which rules show values at all is theirs to say (`Rule.shows_values`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from numbers import Number
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FileDescriptor

from pipelines.quality.rules import codes, kinds
from services.kafka.topics import topics

LARGEST_SHOWN = 1e6
"""A longer number may be a telephone's, or a patient's."""


def shown(value: Any) -> str:
    """The value, or what kind of value it is."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Number) or _is_number(value):
        number = float(str(value))
        if math.isinf(number) or abs(number) < LARGEST_SHOWN:
            return f"{number:.6g}"
        return f"a number of {len(str(int(abs(number))))} digits"
    text = str(value)
    return text if text in known_words() else f"a text of {len(text)} characters"


@cache
def known_words() -> frozenset[str]:
    """Every code and every kind of the contract."""
    words = {code for enum in _enums() for code in codes(enum)}
    return frozenset(words.union(*(kinds(each.event) for each in topics().values() if each.is_event_topic)))


def _is_number(value: Any) -> bool:
    """Digits: how a code of a newer contract lands."""
    return isinstance(value, str) and value.isascii() and value.isdigit()


def _enums() -> Iterator[EnumDescriptor]:
    for file in _files():
        if file.package.startswith("circles."):
            yield from file.enum_types_by_name.values()


def _files() -> set[FileDescriptor]:
    found: set[FileDescriptor] = set()
    ahead = {each.message.file for each in topics().values()}
    while ahead:
        found |= ahead
        ahead = {dependency for file in ahead for dependency in file.dependencies} - found
    return found
