"""The builders: one for each kind, and what they build is what the contract's examples say."""

from __future__ import annotations

import inspect
import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from circles.client import events
from circles.outcomes.v1.outcome_event_pb2 import AGE_BAND_18_25, GENDER_MAN
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from services.client.spooled import TYPES

EXAMPLES = Path(__file__).parents[2] / "protos" / "examples"
AT = datetime(2026, 3, 2, 18, 5, tzinfo=UTC)


def builder_name(event_type: type[Message], kind: str) -> str:
    """Retractions are the one kind that every domain has."""
    domain = event_type.DESCRIPTOR.name.removesuffix("Event").lower()
    return f"{domain}_{kind}" if kind == "event_retracted" else kind


def example_events() -> Iterator[Any]:
    """All of them, of every domain."""
    for event_type in TYPES.values():
        domain = event_type.DESCRIPTOR.name.removesuffix("Event").lower()
        for example in json.loads((EXAMPLES / f"{domain}-events.json").read_text()):
            yield ParseDict(example, event_type())


each_example = pytest.mark.parametrize(
    "example", list(example_events()), ids=lambda event: str(event.WhichOneof("kind"))
)


def by_code(pairs: Any) -> dict[Any, Any]:
    """What a list of pairs says of each code; a list where it says several."""
    told: dict[Any, list[Any]] = {}
    for each in pairs:
        code, value = (getattr(each, field.name) for field in each.DESCRIPTOR.fields)
        told.setdefault(code, []).append(value)
    return {code: values if len(values) > 1 else values[0] for code, values in told.items()}


def arguments(message: Any) -> dict[str, Any]:
    """A message's fields as a builder's arguments: flat, and without `_ref` and `_code`."""
    given: dict[str, Any] = {}
    for field, value in message.ListFields():
        name = re.sub("_(ref|code)$", "", field.name)
        if field.name == "occurred_at":
            given["at"] = value.ToDatetime(UTC)
        elif field.is_repeated:
            given[name] = by_code(value)
        elif field.message_type is not None:
            given |= arguments(value)
        else:
            given[name] = value
    return given


def test_every_kind_has_a_builder_and_every_builder_a_kind() -> None:
    kinds = {
        builder_name(event_type, field.name)
        for event_type in TYPES.values()
        for field in event_type.DESCRIPTOR.oneofs_by_name["kind"].fields
    }
    builders = inspect.getmembers(events, inspect.isfunction)
    assert {name for name, _ in builders if not name.startswith("_")} == kinds
    assert all(function.__doc__ for name, function in builders if name in kinds)


@each_example
def test_a_builder_says_what_the_example_says(example: Any) -> None:
    build = getattr(events, builder_name(type(example), example.WhichOneof("kind")))
    assert build(**arguments(example)) == example


@each_example
def test_a_builder_has_an_argument_for_every_field(example: Any) -> None:
    kind = example.WhichOneof("kind")
    build = getattr(events, builder_name(type(example), kind))
    message = getattr(example, kind).DESCRIPTOR
    if [field.name for field in message.fields] == ["facts"]:
        message = message.fields[0].message_type
    fields = {re.sub("_(ref|code)$", "", field.name) for field in message.fields}
    assert fields <= inspect.signature(build).parameters.keys()


def test_an_event_gets_an_id_of_its_own() -> None:
    ids = {events.group_closed(group="g", at=AT).event_id for _ in range(3)}
    assert len(ids) == 3
    assert {uuid.UUID(each).version for each in ids} == {4}
    assert {str(uuid.UUID(each)) for each in ids} == ids


def test_the_time_is_an_instant() -> None:
    there = AT.astimezone(timezone(timedelta(hours=-5)))
    assert events.group_closed(group="g", at=there).occurred_at.ToDatetime(UTC) == AT


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at=2026-03-02T18:05:00 has no time zone.*datetime\.now\(UTC\)"):
        events.group_closed(group="g", at=AT.replace(tzinfo=None))


def test_two_attributes_are_refused_and_none_is() -> None:
    with pytest.raises(ValueError, match="exactly one attribute, not none"):
        events.attribute_stated(participant="p", at=AT)
    with pytest.raises(ValueError, match="age_band"):
        events.attribute_stated(participant="p", at=AT, age_band=AGE_BAND_18_25, gender=GENDER_MAN)
