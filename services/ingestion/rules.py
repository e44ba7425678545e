"""Which events are refused: the rules that the contract states (protovalidate's annotations), read once
per message type and turned into plain Python, with words for the partner.

protovalidate itself takes 50 µs for an event, this module 15, and `compiled`, which asks no more than
whether all is well, 2; decision 0012 has the measurement, tests/contracts the proof that they agree.
What the annotations cannot say stands here too: the time zone database. Instruments are `instruments`'.
"""

from __future__ import annotations

import math
import re
import time
import zoneinfo
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from buf.validate import validate_pb2
from circles.common.v1.common_pb2 import FieldViolation
from circles.rules.v1 import rules_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor
from google.protobuf.message import Message

MAX_FUTURE_SECONDS = 300
"""As `plausible` in circles/rules/v1/rules.proto says; ahead by more than this the time is wrong."""

EARLIEST_SECONDS = -2_208_988_800
"""1900-01-01, as `plausible` says."""

MAX_VALUE_CHARACTERS = 64
TIMESTAMP = "google.protobuf.Timestamp"


class Rule(NamedTuple):
    """`holds` tells whether a value keeps the rule; `words` say the rule to the partner."""

    words: str
    holds: Callable[[Any], bool]


class MessageRule(NamedTuple):
    """A rule over several fields of a message. `field` is empty when it concerns the message as a whole.

    `source` is a Python expression with `{0}` for the message.
    """

    rule_id: str
    field: str
    words: str
    source: str


def violations(event: Message) -> list[FieldViolation]:
    """What is wrong with an event. Empty: nothing."""
    found: list[FieldViolation] = []
    _collect(event, "", found)
    return found


def rule_of(field: FieldDescriptor) -> Rule:
    """The rule of a field's values; of a list that of its length. Raises ValueError when there is none."""
    if field.is_repeated:
        return _length_rule(_options(field).repeated)
    if field.enum_type is not None:
        return _code_rule(field)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return Rule("true or false", lambda value: True)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text_rule(field)
    return _number_rule(field)


def text_rule(name: str) -> Rule:
    """A rule of circles/rules/v1/rules.proto by its name."""
    return _predefined(rules_pb2.DESCRIPTOR.extensions_by_name[name])


def codes_of(field: FieldDescriptor) -> frozenset[int]:
    """The numbers that a code may be. Raises ValueError when the contract leaves it open."""
    enum, stated = field.enum_type, _options(field).enum
    if enum is None or not stated.defined_only:
        raise ValueError(f"{field.full_name}: a code needs the rule defined_only")
    return frozenset(enum.values_by_number) - set(stated.not_in)


class Bounds(NamedTuple):
    """Of a number; both ends are in it, unless `is_above`. Infinity and NaN are never."""

    low: float
    high: float
    is_above: bool
    is_whole: bool


def bounds_of(field: FieldDescriptor) -> Bounds:
    """Raises ValueError when the contract has no rule for the number."""
    options = _options(field)
    kind = options.WhichOneof("type")
    if kind is None:
        raise ValueError(f"{field.full_name}: a number needs a rule")
    stated = {each.name: value for each, value in getattr(options, kind).ListFields()}
    low = stated.get("gte", stated.get("gt", -math.inf))
    return Bounds(low, stated.get("lte", math.inf), "gt" in stated, kind != "double")


def may_be_absent(field: FieldDescriptor) -> bool:
    """Whether the zero value, where the field has no presence, means that the partner said nothing."""
    return bool(_options(field).ignore == validate_pb2.IGNORE_IF_ZERO_VALUE)


@cache
def message_rules(message: Descriptor) -> tuple[MessageRule, ...]:
    """Rules over several fields. Their Python stands beside their CEL; a test holds one to the other."""
    stated = message.GetOptions().Extensions[validate_pb2.message].cel
    return tuple(_message_rule(message, each.id, each.message) for each in stated)


def required_oneofs(message: Descriptor) -> Iterator[OneofDescriptor]:
    for oneof in message.oneofs:
        if oneof.GetOptions().Extensions[validate_pb2.oneof].required:
            yield oneof


def violation(field: str, value: object, rule: str) -> FieldViolation:
    """A violation with its value escaped and cut, so that it can be shown anywhere."""
    shown = str(value).encode("unicode_escape").decode("ascii")[:MAX_VALUE_CHARACTERS]
    return FieldViolation(field=field, value=shown, rule=rule)


# One message after another ------------------------------------------------------------------------------

Check = Callable[[Any, str, list[FieldViolation]], None]


def _collect(message: Any, path: str, found: list[FieldViolation]) -> None:
    for check in _checks(message.DESCRIPTOR):
        check(message, path, found)


@cache
def _checks(message: Descriptor) -> tuple[Check, ...]:
    return (
        *(_check_of(field) for field in message.fields),
        *(_check_oneof(oneof) for oneof in required_oneofs(message)),
        *(_check_message(rule) for rule in message_rules(message)),
    )


def _check_of(field: FieldDescriptor) -> Check:
    nested = field.message_type
    if nested is not None and nested.full_name == TIMESTAMP:
        return _check_time(field.name)
    if nested is not None and not field.is_repeated:
        return _check_nested(field.name)
    return _check_list(field) if field.is_repeated else _check_value(field)


def _check_value(field: FieldDescriptor) -> Check:
    name, rule, has_presence, absent = field.name, rule_of(field), field.has_presence, may_be_absent(field)

    def check(message: Any, path: str, found: list[FieldViolation]) -> None:
        value = getattr(message, name)
        if (absent and not value) or (has_presence and not message.HasField(name)):
            return
        if not rule.holds(value):
            found.append(violation(path + name, value, rule.words))

    return check


def _check_time(name: str) -> Check:
    extension = rules_pb2.DESCRIPTOR.extensions_by_name["plausible"]
    plausible = extension.GetOptions().Extensions[validate_pb2.predefined].cel[0].message

    def check(message: Any, path: str, found: list[FieldViolation]) -> None:
        value = getattr(message, name)
        if not message.HasField(name):
            found.append(violation(path + name, "", "the time at which it occurred"))
        elif not EARLIEST_SECONDS <= value.seconds <= time.time() + MAX_FUTURE_SECONDS:
            found.append(violation(path + name, _shown_time(value.seconds), plausible))
        elif not 0 <= value.nanos < 1_000_000_000:
            found.append(violation(f"{path}{name}.nanos", value.nanos, "from 0 to 999999999"))

    return check


def _shown_time(seconds: int) -> str:
    """As 2026-11-25T08:00:00Z where Python's calendar reaches."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s since 1970"


def _check_nested(name: str) -> Check:
    def check(message: Any, path: str, found: list[FieldViolation]) -> None:
        if message.HasField(name):
            _collect(getattr(message, name), f"{path}{name}.", found)

    return check


def _check_list(field: FieldDescriptor) -> Check:
    name, length = field.name, rule_of(field)

    def check(message: Any, path: str, found: list[FieldViolation]) -> None:
        elements = getattr(message, name)
        if not length.holds(elements):
            found.append(violation(path + name, f"{len(elements)} entries", length.words))
            return
        for i, element in enumerate(elements):
            _collect(element, f"{path}{name}[{i}].", found)

    return check


def _check_oneof(oneof: OneofDescriptor) -> Check:
    words = "exactly one of " + ", ".join(field.name for field in oneof.fields)

    def check(message: Any, path: str, found: list[FieldViolation]) -> None:
        if message.WhichOneof(oneof.name) is None:
            found.append(violation(path + oneof.name, "", words))

    return check


def _check_message(rule: MessageRule) -> Check:
    holds = eval(f"lambda message: {rule.source.format('message')}")  # noqa: S307  # a constant of this module

    def check(message: Any, path: str, found: list[FieldViolation]) -> None:
        if not holds(message):
            value = _shown(getattr(message, rule.field)) if rule.field else ""
            found.append(violation((path + rule.field).rstrip("."), value, rule.words))

    return check


def _shown(value: Any) -> object:
    return value if isinstance(value, str | int | float) else f"{len(value)} entries"


# Annotations to rules -----------------------------------------------------------------------------------


def _options(field: FieldDescriptor) -> Any:
    return field.GetOptions().Extensions[validate_pb2.field]


def _text_rule(field: FieldDescriptor) -> Rule:
    stated = _options(field).string.ListFields()
    if len(stated) != 1 or not stated[0][0].is_extension:
        raise ValueError(f"{field.full_name}: text needs exactly one rule of circles/rules/v1/rules.proto")
    rule = _predefined(stated[0][0])
    if stated[0][0].name == "time_zone":
        return Rule(rule.words, lambda value: value in zoneinfo.available_timezones())
    return rule


@cache
def _predefined(extension: FieldDescriptor) -> Rule:
    (cel,) = extension.GetOptions().Extensions[validate_pb2.predefined].cel
    conjuncts = [_pattern(conjunct) for conjunct in cel.expression.split(" && ")]
    # Those that begin at the beginning are one look; the others are searched for.
    look = "".join(
        f"(?{'=' if wanted else '!'}{pattern})" for pattern, wanted in conjuncts if pattern[0] == "^"
    )
    names = {"match": re.compile(look).match}
    tests = ["match(value) is not None"]
    for pattern, wanted in conjuncts:
        if pattern[0] != "^":
            names[f"search{len(tests)}"] = re.compile(pattern).search
            tests.append(f"search{len(tests)}(value) is {'not ' * wanted}None")
    return Rule(cel.message, eval(f"lambda value: {' and '.join(tests)}", names))  # noqa: S307  # our own protos


def _pattern(conjunct: str) -> tuple[str, bool]:
    """The pattern of `this.matches(r'…')`, and whether it must match. RE2's `$` is Python's `\\Z`."""
    shape = re.fullmatch(r"(!?)this\.matches\(r'([^']*)'\)", conjunct)
    if shape is None:
        raise ValueError(f"cannot be compiled: {conjunct}")
    return shape[2].replace("$", r"\Z"), not shape[1]


def _code_rule(field: FieldDescriptor) -> Rule:
    assert field.enum_type is not None  # noqa: S101  # the caller chose this by it
    names = ", ".join(value.name for value in field.enum_type.values if value.number != 0)
    return Rule(f"one of {names}", codes_of(field).__contains__)


def _length_rule(stated: Any) -> Rule:
    least, most = stated.min_items, stated.max_items
    words = f"from {least} to {most} entries" if least else f"at most {most} entries"
    return Rule(words, lambda value: least <= len(value) <= most)


def _number_rule(field: FieldDescriptor) -> Rule:
    low, high, is_above, is_whole = bounds_of(field)
    limits = [
        f"above {low:.15g}" if is_above else f"of at least {low:.15g}" if low > -math.inf else "",
        f"of at most {high:.15g}" if high < math.inf else "",
    ]
    words = f"{'a whole' if is_whole else 'a finite'} number {' and '.join(filter(None, limits))}".strip()
    if is_above:
        return Rule(words, lambda value: low < value <= high and value < math.inf)
    return Rule(words, lambda value: low <= value <= high and -math.inf < value < math.inf)


WITHOUT_PARTICIPANT = ("session_held", "session_cancelled", "event_retracted")
"""Kinds of participation that are nobody's act, as the rule in the protos says."""

_PYTHON = {
    "participation_event.participant": (
        f"{{0}}.participant_ref != '' or {{0}}.WhichOneof('kind') in {WITHOUT_PARTICIPANT}"
    ),
    "reply_posted.other_act": "{0}.in_reply_to_act_ref != {0}.act_ref",
    "questionnaire_answered.items_or_total": "{0}.HasField('total') != bool({0}.items)",
    "questionnaire_answered.each_item_once": "len({{each.item for each in {0}.items}}) == len({0}.items)",
    "arm_summarised.events_of_n": "not {0}.HasField('events') or {0}.events <= {0}.n",
    "arm_summarised.mean_with_sd": "{0}.HasField('mean') == {0}.HasField('sd')",
}
"""Rules over several fields by their id in the protos, where the same stands in CEL."""


def _message_rule(message: Descriptor, rule_id: str, text: str) -> MessageRule:
    field, separator, words = text.partition(": ")
    if separator and field in message.fields_by_name:
        return MessageRule(rule_id, field, words, _PYTHON[rule_id])
    return MessageRule(rule_id, "", text, _PYTHON[rule_id])
