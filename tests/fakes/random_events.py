"""Events of any kind at random, good ones and ones with some fields wrong, made from the contract alone."""

from __future__ import annotations

import math
import random
import time
import uuid
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

GOOD_TEXTS = {"currency": "EUR", "time_zone": "Europe/London", "doi": "10.1000/182"}
TEXTS = [
    *(
        "",
        "a",
        "A",
        "7",
        "4711234567",
        "abc.def",
        "a-b_c",
        "x" * 48,
        "x" * 49,
        "x" * 64,
        "x" * 65,
        "-a",
        "_a",
        "a b",
    ),
    *(
        "a\n",
        "a\0",
        "Zoë",
        "\u202ex",
        "jane@example.org",
        "jane.doe.com",
        "www.example.org",
        "https:x",
        "20250101",
    ),
    *(
        "i-feel-very-sad-today",
        "a-b-c-d",
        "a-b-c-d-e-f-g",
        "a.1.b.2.c.3",
        "../etc",
        "'; drop",
        "<b>",
        "=1+1",
        "{{x}}",
    ),
    *(
        "2025-01-01",
        "1.2.3",
        "nct01234567",
        "GBP",
        "gbp",
        "XXX",
        "EUR\n",
        "Europe/London",
        "10.1000/182",
        "10.1/x",
    ),
    *(str(uuid.UUID(int=7)), str(uuid.UUID(int=7)).upper(), "0" * 36),
]
NUMBERS = [
    0,
    1,
    2,
    199,
    200,
    201,
    1000,
    1001,
    1440,
    1441,
    1899,
    1900,
    2100,
    2101,
    10**9,
    10**9 + 1,
    2**32 - 1,
]
DOUBLES = [0.0, -0.0, 1.5, -1.5, 1000.0, 1000.1, -1000.0, 1e308, math.inf, -math.inf, math.nan]


def random_event(event: Descriptor, rng: random.Random, wrongness: float) -> Any:
    """One event. `wrongness`: the probability with which a field gets an arbitrary value, or none."""
    made = GetMessageClass(event)()
    members = list(event.oneofs_by_name["kind"].fields)
    chosen = None if rng.random() < wrongness / 4 else rng.choice(members)
    _fill(made, rng, wrongness, chosen)
    return made


def _fill(message: Any, rng: random.Random, wrongness: float, chosen: FieldDescriptor | None = None) -> None:
    for oneof in message.DESCRIPTOR.oneofs:
        if oneof.name != "kind" and not oneof.name.startswith("_"):
            chosen = None if rng.random() < wrongness else rng.choice(list(oneof.fields))
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and not oneof.name.startswith("_") and field is not chosen:
            continue
        _set(message, field, rng, wrongness)


def _set(message: Any, field: FieldDescriptor, rng: random.Random, wrongness: float) -> None:
    nested, is_wrong = field.message_type, rng.random() < wrongness
    if nested is not None and nested.full_name == "google.protobuf.Timestamp":
        if not is_wrong or rng.random() < 0.7:
            getattr(message, field.name).seconds = _seconds(rng, is_wrong)
    elif field.is_repeated:
        count = rng.choice([0, 1, 2, 200, 201]) if is_wrong else rng.choice([0, 1, 3])
        for number in range(count):
            element = getattr(message, field.name).add()
            _fill(element, rng, wrongness if count < 10 else 0.0)
            if field.name == "items" and rng.random() > wrongness:
                element.item = number + 1
    elif nested is not None:
        getattr(message, field.name).SetInParent()
        _fill(getattr(message, field.name), rng, wrongness)
    elif not field.has_presence or rng.random() < 0.5 or field.containing_oneof is not None:
        setattr(message, field.name, _scalar(field, rng, is_wrong))


def _seconds(rng: random.Random, is_wrong: bool) -> int:
    now = int(time.time())
    wrong = [0, -1, -2_208_988_800, -2_208_988_801, now + 200, now + 400, 253_402_300_799, -62_135_596_800]
    return rng.choice(wrong) if is_wrong else now - rng.randrange(10**9)


def _scalar(field: FieldDescriptor, rng: random.Random, is_wrong: bool) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        return rng.choice(TEXTS) if is_wrong else _good_text(field, rng)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return rng.choice(DOUBLES) if is_wrong else rng.uniform(0.1, 27)
    if field.enum_type is not None:
        numbers = [value.number for value in field.enum_type.values]
        return rng.choice([*numbers, 0, 99, -1]) if is_wrong else rng.choice(numbers[1:])
    if is_wrong:
        return rng.choice(
            [number for number in NUMBERS if field.type == FieldDescriptor.TYPE_UINT32 or number < 2**31]
        )
    return {"publication_year": 2011}.get(field.name, rng.randrange(1, 20))


def _good_text(field: FieldDescriptor, rng: random.Random) -> str:
    if field.name.endswith("event_id"):
        return str(uuid.UUID(int=rng.getrandbits(128)))
    return GOOD_TEXTS.get(field.name, f"{field.name.partition('_')[0]}-{rng.randrange(1000)}")
