"""Events as records of a spool, and the line that is kept of a refused one."""

from __future__ import annotations

import json

from circles.common.v1.common_pb2 import EventStatus
from circles.groups.v1.group_event_pb2 import GroupEvent
from circles.outcomes.v1.outcome_event_pb2 import OutcomeEvent
from circles.participation.v1.participation_event_pb2 import ParticipationEvent
from circles.studies.v1.study_event_pb2 import StudyEvent

from services.client.doors import Event
from services.client.errors import SpoolDamaged
from services.client.summary import Refusal

TYPES: dict[int, type[Event]] = {1: ParticipationEvent, 2: OutcomeEvent, 3: GroupEvent, 4: StudyEvent}
"""The first byte of a record. Spools outlive a release: a number keeps its type."""

_NUMBERS = {kind: number for number, kind in TYPES.items()}


def encoded(event: Event) -> bytes:
    return bytes([_NUMBERS[type(event)]]) + event.SerializeToString()


def decoded(record: bytes) -> Event:
    """Raises SpoolDamaged for a record that a newer SDK has written."""
    kind = TYPES.get(record[0])
    if kind is None:
        raise SpoolDamaged("The spool has an event of a domain that this SDK does not know: use a newer one")
    return kind.FromString(record[1:])


def refusal_line(refusal: Refusal) -> str:
    """JSON without the values that were refused: one may be the name that made the event wrong."""
    result = refusal.result
    return json.dumps(
        {
            "event_id": result.event_id,  # the gateway's echo, empty when it is not a UUID
            "event": type(refusal.event).__name__,
            "kind": refusal.event.WhichOneof("kind"),
            "status": EventStatus.Name(result.status),
            "violations": [{"field": each.field, "rule": each.rule} for each in result.violations],
        }
    )
