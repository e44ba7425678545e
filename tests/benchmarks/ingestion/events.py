"""The events of a forum, and the requests that carry them: as our contract has them, and as OTLP logs.

Both hold the same facts. How often each kind of event comes stands here; how fast they are sent does not.
"""

from __future__ import annotations

import base64
import json
import random
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from circles.participation.v1 import participation_event_pb2 as participation
from circles.participation.v1 import participation_service_pb2 as service
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

SHARES = {
    "thread_read": 40,
    "reply_posted": 30,
    "reaction_given": 15,
    "session_attended": 10,
    "thread_started": 5,
}
"""Percent of the events."""

GROUPS, PEOPLE, THREADS, SESSIONS, EARLIER_ACTS = 200, 5_000, 2_000, 400, 20_000
EVENTS_OF_A_FILE = 8_192
"""Enough that a file's share of kinds, groups and people is that of the whole."""

_FRESH = re.compile(rb"f0f0f0f0-f0f0-4f0f-8f0f-[0-9a-f]{12}")
"""A UUID that the load generator writes anew before each send."""


class ForumEvent(NamedTuple):
    """What happened, in no encoding. A field that the kind does not have is empty or 0."""

    kind: str
    event_id: str
    group: str
    person: str
    place: str
    """Thread or session."""
    act: str
    in_reply_to: str
    number: int
    """Which reaction, or minutes of attendance."""
    nanoseconds: int


class Forum:
    """Makes events. The same seed makes the same forum, at another time."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._fresh = count()
        self._acts = [str(uuid.UUID(int=self._random.getrandbits(128))) for _ in range(EARLIER_ACTS)]
        self._now = time.time_ns()

    def events(self, number: int) -> list[ForumEvent]:
        kinds = self._random.choices(list(SHARES), weights=list(SHARES.values()), k=number)
        return [self._event(kind) for kind in kinds]

    def _event(self, kind: str) -> ForumEvent:
        of_session, is_new_act = kind == "session_attended", kind in ("reply_posted", "thread_started")
        earlier_act = self._random.choice(self._acts)
        number = {"reaction_given": self._random.randint(1, 4), "session_attended": 50}.get(kind, 0)
        act = self._fresh_uuid() if is_new_act else earlier_act if kind == "reaction_given" else ""
        return ForumEvent(
            kind=kind,
            event_id=self._fresh_uuid(),
            group=f"g-{self._random.randrange(GROUPS)}",
            person=f"m-{self._random.randrange(PEOPLE)}",
            place=self._place(of_session, kind),
            act=act,
            in_reply_to=earlier_act if kind == "reply_posted" else "",
            number=number,
            nanoseconds=self._now - self._random.randrange(60_000_000) * 1_000,
        )

    def _place(self, of_session: bool, kind: str) -> str:
        if of_session:
            return f"s-{self._random.randrange(SESSIONS)}"
        return "" if kind == "reaction_given" else f"t-{self._random.randrange(THREADS)}"

    def _fresh_uuid(self) -> str:
        return f"f0f0f0f0-f0f0-4f0f-8f0f-{next(self._fresh):012x}"


def participation_event(event: ForumEvent) -> participation.ParticipationEvent:
    message = participation.ParticipationEvent(
        event_id=event.event_id, group_ref=event.group, participant_ref=event.person
    )
    message.occurred_at.FromNanoseconds(event.nanoseconds)
    match event.kind:
        case "thread_read":
            message.thread_read.thread_ref = event.place
        case "reply_posted":
            message.reply_posted.thread_ref = event.place
            message.reply_posted.act_ref = event.act
            message.reply_posted.in_reply_to_act_ref = event.in_reply_to
        case "reaction_given":
            message.reaction_given.act_ref = event.act
            message.reaction_given.reaction = participation.Reaction.ValueType(event.number)
        case "session_attended":
            message.session_attended.session_ref = event.place
            message.session_attended.minutes = event.number
        case "thread_started":
            message.thread_started.thread_ref = event.place
            message.thread_started.act_ref = event.act
    return message


def log_record(event: ForumEvent) -> LogRecord:
    """Seven strings and a number, as a partner's logger with a fixed list of attributes sends them."""
    strings = {
        "event_id": event.event_id,
        "kind": event.kind,
        "group_ref": event.group,
        "participant_ref": event.person,
        "place_ref": event.place,
        "act_ref": event.act,
        "in_reply_to_act_ref": event.in_reply_to,
    }
    attributes = [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in strings.items()]
    attributes.append(KeyValue(key="number", value=AnyValue(int_value=event.number)))
    return LogRecord(time_unix_nano=event.nanoseconds, attributes=attributes)


def unary_request(events: Sequence[ForumEvent]) -> bytes:
    messages = map(participation_event, events)
    return service.PostParticipationEventsRequest(events=messages).SerializeToString()


def streaming_request(events: Sequence[ForumEvent]) -> bytes:
    """Without its sequence, which the load generator puts before it."""
    messages = map(participation_event, events)
    return service.StreamParticipationEventsRequest(events=messages).SerializeToString()


def otlp_request(events: Sequence[ForumEvent]) -> bytes:
    request = ExportLogsServiceRequest()
    resource_logs = request.resource_logs.add()
    resource_logs.resource.attributes.add(key="service.name").value.string_value = "forum"
    resource_logs.scope_logs.add().log_records.extend(map(log_record, events))
    return request.SerializeToString()


ENCODINGS = {"unary": unary_request, "streaming": streaming_request, "otlp": otlp_request}


def write_requests(path: Path, encoding: str, batch: int) -> float:
    """Writes a file for the load generator. Returns the mean bytes of an event."""
    bodies = [ENCODINGS[encoding](events) for events in _batches(batch)]
    lines = [
        {
            "body": base64.b64encode(body).decode(),
            "events": batch,
            "fresh": [found.start() for found in _FRESH.finditer(body)],
        }
        for body in bodies
    ]
    path.write_text(json.dumps(lines))
    return sum(map(len, bodies)) / (batch * len(bodies))


def _batches(batch: int) -> Iterator[list[ForumEvent]]:
    events = Forum().events(max(1, EVENTS_OF_A_FILE // batch) * batch)
    return (events[start : start + batch] for start in range(0, len(events), batch))
