"""What a row of a file comes to: the events that it makes, or what is wrong with it.

The rules are the gateway's own, asked before anything is posted. No format of files is known here.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from circles.common.v1.common_pb2 import FieldViolation
from circles.outcomes.v1.outcome_event_pb2 import OutcomeEvent

from services.client import Event
from services.ingestion.instruments import answer_violations
from services.ingestion.rules import violation, violations
from services.runtime.instruments import is_known

NAMESPACE = uuid.UUID("9d3b5f5c-6d0e-5c0b-9a55-1f0f6c8d4b27")
"""Of all imports by whomever: an event's identity at the gateway has the tenant in it already."""

UTC = ZoneInfo("UTC")

T = TypeVar("T")


class Unreadable(Exception):
    """The file, or the mapping of it, cannot be used at all: a sentence that says why."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How any file is read."""

    time_zone: ZoneInfo = UTC
    """Of dates and times that name none."""
    decimal_comma: bool = False
    revision: int = 1
    """Part of each event's id: with a higher one, everything counts as told anew."""


class Wrong(NamedTuple):
    """One thing that is wrong. `value` is escaped and cut; a reference to a person is not shown."""

    place: str
    field: str
    value: str
    rule: str


@dataclass
class Row:
    """`place` says where it stands, as `line 7`. With anything `wrong` none of its events is to be posted."""

    place: str
    cells: Mapping[str, str] = field(default_factory=dict)
    """Text by column, without surrounding blanks; empty: missing. Of tables only."""
    revision: int = 1
    events: list[Event] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is left out and is no mistake, in words that are counted."""

    def refuse(self, field: str, value: object, rule: str) -> None:
        shown = violation(field, value, rule)
        self.wrong.append(Wrong(self.place, shown.field, shown.value, rule))

    def parsed(self, field: str, text: str, parse: Callable[[str], T]) -> T | None:
        """What `parse` makes of the text; None, and a line in `wrong`, where it raises ValueError."""
        try:
            return parse(text)
        except ValueError as rule:
            self.refuse(field, text, str(rule))
            return None

    def add(self, event: Event, columns: Mapping[str, str]) -> None:
        """Gives the event its id and keeps it; or what is wrong with it.

        `columns`: where in the file a field of the event comes from, by the field's path in the contract.
        """
        event.event_id = event_id_of(event, self.revision)
        for each in _violations(event):
            value = f"{len(each.value)} characters" if each.field.endswith("_ref") else each.value
            self.wrong.append(Wrong(self.place, columns.get(each.field, each.field), value, each.rule))
        self.events.append(event)
        if isinstance(event, OutcomeEvent) and event.HasField("questionnaire_answered"):
            answer = event.questionnaire_answered
            if not is_known(answer.instrument, answer.instrument_version):
                name = f"{answer.instrument} version {answer.instrument_version}"
                self.notes.append(f"{name} is not known here: the gateway may set its answers aside")


def event_id_of(event: Event, revision: int = 1) -> str:
    """A UUID made of all that the event says: the same event has the same id, from whichever file.

    So a changed value is another event, and no import can meet another body under an id of its own.
    """
    bare = type(event)()
    bare.CopyFrom(event)  # type: ignore[arg-type]  # of the same type
    bare.ClearField("event_id")
    body = bare.SerializeToString(deterministic=True).hex()
    return str(uuid.uuid5(NAMESPACE, f"{bare.DESCRIPTOR.full_name}/{revision}/{body}"))


def _violations(event: Event) -> Iterator[FieldViolation]:
    found = violations(event)
    yield from found
    if not found and isinstance(event, OutcomeEvent) and event.HasField("questionnaire_answered"):
        answer = event.questionnaire_answered
        if is_known(answer.instrument, answer.instrument_version):
            yield from answer_violations(answer)
