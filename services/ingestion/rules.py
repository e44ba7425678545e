"""Which events are refused: the rules that the contract states (protovalidate's annotations), read once
per message type and turned into plain Python, with words for the partner.

protovalidate itself takes 50 µs for an event, this module 15, and `compiled`, which asks no more than
whether all is well, 2; decision 0012 has the measurement, tests/contracts the proof that they agree.
What the annotations cannot say stands here too: the time zone database. Instruments are `instruments`'.
"""

from __future__ import annotations

import re
import time
import zoneinfo
from collections.abc import Callable, Iterator
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
            found.append(violation(path + name, f"{value.seconds} s since 1970", plausible))
        elif not 0 <= value.nanos < 1_000_000_000:
            found.append(violation(f"{path}{name}.nanos", value.nanos, "from 0 to 999999999"))

    return check


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
    searches = [_search(conjunct) for conjunct in cel.expression.split(" && ")]
    tests = [f"s{i}(value) is {'not ' * wanted}None" for i, (_, wanted) in enumerate(searches)]
    names = {f"s{i}": search for i, (search, _) in enumerate(searches)}
    return Rule(cel.message, eval(f"lambda value: {' and '.join(tests)}", names))  # noqa: S307  # our own protos


def _search(conjunct: str) -> tuple[Callable[[str], object], bool]:
    """The search of `this.matches(r'…')`, and whether it must find something. RE2's `$` is Python's `\\Z`."""
    shape = re.fullmatch(r"(!?)this\.matches\(r'([^']*)'\)", conjunct)
    if shape is None:
        raise ValueError(f"cannot be compiled: {conjunct}")
    return re.compile(shape[2].replace("$", r"\Z")).search, not shape[1]


def _code_rule(field: FieldDescriptor) -> Rule:
    enum, stated = field.enum_type, _options(field).enum
    if enum is None or not stated.defined_only:
        raise ValueError(f"{field.full_name}: a code needs the rule defined_only")
    allowed = frozenset(enum.values_by_number) - set(stated.not_in)
    names = ", ".join(value.name for value in enum.values if value.number != 0)
    return Rule(f"one of {names}", allowed.__contains__)


def _length_rule(stated: Any) -> Rule:
    least, most = stated.min_items, stated.max_items
    words = f"from {least} to {most} entries" if least else f"at most {most} entries"
    return Rule(words, lambda value: least <= len(value) <= most)


def _number_rule(field: FieldDescriptor) -> Rule:
    stated = getattr(_options(field), _options(field).WhichOneof("type") or "", None)
    if stated is None:
        raise ValueError(f"{field.full_name}: a number needs a rule")
    bounds = {each.name: value for each, value in stated.ListFields()}
    words, source = number_test(bounds, is_whole="double" not in stated.DESCRIPTOR.full_name.lower())
    return Rule(words, eval(f"lambda value: {source.format('value')}"))  # noqa: S307  # from our own protos


def number_test(bounds: dict[str, Any], *, is_whole: bool) -> tuple[str, str]:
    """The words, and a Python expression with `{0}` for the value, of protovalidate's bounds of a number.

    NaN and infinity keep no rule: every comparison with NaN is false, and both ends are closed.
    """
    low, high = bounds.get("gte", bounds.get("gt")), bounds.get("lte")
    left = f"{low} {'<' if 'gt' in bounds else '<='} " if low is not None else "" if is_whole else "-INF < "
    right = f" <= {high}" if high is not None else "" if is_whole else " < INF"
    kind = "a whole number" if is_whole else "a finite number"
    limits = [
        f"above {low:.15g}" if "gt" in bounds else f"of at least {low:.15g}" if low is not None else "",
        f"of at most {high:.15g}" if high is not None else "",
    ]
    words = f"{kind} {' and '.join(filter(None, limits))}".strip()
    return words, (left + "{0}" + right).replace("INF", "float('inf')")


_PYTHON = {
    "participation_event.participant": (
        "{0}.participant_ref != '' or "
        "{0}.WhichOneof('kind') in ('session_held', 'session_cancelled', 'event_retracted')"
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
        return MessageRule(field, words, _PYTHON[rule_id])
    return MessageRule("", text, _PYTHON[rule_id])
