"""The usual case made fast: one plain function per kind of event that asks whether every rule holds and,
if so, puts the pseudonyms in their places.

The function is written here from the same rules that `rules` explains, and compiled once. It may doubt
a good event, never admit a bad one: where it says no, `rules` finds the words. tests/contracts holds
both, and protovalidate, against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from services.ingestion.pseudonyms import KINDS, THINGS, Names, NotAReference
from services.ingestion.rules import (
    EARLIEST_SECONDS,
    TIMESTAMP,
    Rule,
    may_be_absent,
    message_rules,
    required_oneofs,
    rule_of,
)

MAX_REMEMBERED_TEXTS = 50_000

Admit = Callable[[Any, Sequence[Names], float], tuple[str, int, str] | None]
"""`admit(event, names in the order of `THINGS`, latest_seconds)`: None unless the event keeps every rule, and
then it is as it was. Otherwise its references are replaced, and what is asked of it again and again comes
back: event_id, seconds since 1970, and what its topic is partitioned by beside the tenant."""


class Doubt(Exception):
    """A text breaks its rule."""


class Known(dict[str, bool]):
    """Texts that have kept a rule before; looking one up costs less than asking the rule again."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self._holds = rule.holds

    def __missing__(self, text: str) -> bool:
        if not self._holds(text):
            raise Doubt
        if len(self) >= MAX_REMEMBERED_TEXTS:
            self.clear()
        self[text] = True
        return True


@cache
def admitters(event: Descriptor, partitioned_by: str) -> Mapping[str, Admit]:
    """The function of each kind of this event type."""
    return {kind.name: _compile(event, kind, partitioned_by) for kind in event.oneofs_by_name["kind"].fields}


class _Writer:
    """Collects the lines of one function, the constants that they use, and the assignments for its end."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.assignments: list[str] = []
        self.constants: dict[str, Any] = {"Doubt": Doubt, "NotAReference": NotAReference}
        self.locals: dict[str, str] = {}
        """The local that has the value of an expression as `body.act_ref`, or what stands for it."""

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def local(self) -> str:
        return f"v{len(self.lines)}"


def _compile(event: Descriptor, kind: FieldDescriptor, partitioned_by: str) -> Admit:
    writer = _Writer()
    members = set(event.oneofs_by_name["kind"].fields)
    values = {
        field.name: _write_field(writer, "event", field, "  ")
        for field in event.fields
        if field not in members
    }
    body = kind.message_type
    assert body is not None  # noqa: S101  # every kind is a message
    writer.lines.append(f"  body = event.{kind.name}")
    _write_message(writer, "body", body, "  ")
    _write_rules(writer, "event", event, "  ")
    result = f"{values['event_id']}, {values['occurred_at']}, {values[partitioned_by]}"
    source = [
        "def admit(event, names, latest):",
        f" {', '.join(THINGS)} = names",
        " try:",
        *writer.lines,
        " except (Doubt, NotAReference):",
        "  return None",
        *(f" {line}" for line in writer.assignments),
        f" return {result}",
    ]
    exec("\n".join(source), writer.constants)  # noqa: S102  # written above, from our own protos
    admit: Admit = writer.constants["admit"]
    return admit


def _write_message(writer: _Writer, name: str, message: Descriptor, indent: str) -> None:
    for field in message.fields:
        _write_field(writer, name, field, indent)
    for oneof in required_oneofs(message):
        writer.lines.append(f"{indent}if {name}.WhichOneof('{oneof.name}') is None: return None")
    _write_rules(writer, name, message, indent)


def _write_rules(writer: _Writer, name: str, message: Descriptor, indent: str) -> None:
    for rule in message_rules(message):
        source = rule.source.format(name)
        # What was read already is not read again: a pseudonym is as equal and as empty as its reference.
        for expression, local in writer.locals.items():
            source = re.sub(rf"\b{re.escape(expression)}\b(?!\()", local, source)
        writer.lines.append(f"{indent}if not ({source}): return None")


def _write_field(writer: _Writer, message: str, field: FieldDescriptor, indent: str) -> str:
    """Writes the lines of a field; returns the name of the local variable that has its value."""
    value = writer.local()
    nested = field.message_type
    if nested is None:
        lines = _value_lines(writer, message, field, value)
        writer.locals[f"{message}.{field.name}"] = value
    elif nested.full_name == TIMESTAMP:
        lines = _time_lines(message, field, value)
    elif field.is_repeated:
        return _write_list(writer, message, field, value, indent)
    else:
        return _write_nested(writer, message, field, value, indent)
    writer.lines += [indent + line for line in lines]
    return value


def _write_nested(writer: _Writer, message: str, field: FieldDescriptor, value: str, indent: str) -> str:
    assert field.message_type is not None  # noqa: S101  # the caller chose this by it
    writer.lines.append(f"{indent}if {message}.HasField('{field.name}'):")
    writer.lines.append(f"{indent} {value} = {message}.{field.name}")
    _write_message(writer, value, field.message_type, indent + " ")
    return value


def _write_list(writer: _Writer, message: str, field: FieldDescriptor, value: str, indent: str) -> str:
    nested = field.message_type
    assert nested is not None  # noqa: S101  # the caller chose this by it
    if any(each.name in KINDS for each in nested.fields):
        raise ValueError(f"{field.full_name}: a reference in a list cannot be replaced")
    writer.lines.append(f"{indent}{value} = {message}.{field.name}")
    writer.lines.append(f"{indent}if not {writer.constant(rule_of(field).holds)}({value}): return None")
    writer.lines.append(f"{indent}for {value}e in {value}:")
    _write_message(writer, f"{value}e", nested, indent + " ")
    return value


def _time_lines(message: str, field: FieldDescriptor, value: str) -> Iterator[str]:
    """`value` becomes the seconds."""
    yield f"time = {message}.{field.name}"
    yield f"{value} = time.seconds"
    yield f"if not ({EARLIEST_SECONDS} <= {value} <= latest and -1 < time.nanos < 1000000000): return None"
    yield f"if not {value} and not {message}.HasField('{field.name}'): return None"


def _value_lines(writer: _Writer, message: str, field: FieldDescriptor, value: str) -> Iterator[str]:
    """Lines that return None, or raise, unless the field's value keeps its rule."""
    yield f"{value} = {message}.{field.name}"
    if field.name in KINDS:
        yield f"{value} = {KINDS[field.name]}[{value}]" + (
            f" if {value} else ''" if may_be_absent(field) else ""
        )
        writer.assignments.append(f"{message}.{field.name} = {value}")
        return
    if field.has_presence:
        condition = f"{message}.HasField('{field.name}') and "
    else:
        condition = f"{value} and " if may_be_absent(field) else ""
    rule = rule_of(field)
    # An event_id is new each time; other texts come again and again.
    if field.type == FieldDescriptor.TYPE_STRING and not field.name.endswith("event_id"):
        yield f"{condition}{writer.constant(Known(rule))}[{value}]"
    else:
        yield f"if {condition}not {writer.constant(rule.holds)}({value}): return None"
