"""A client that posts any mix of events, each to its service, in batches and with a window of calls.

Repeating is safe because an event counts once under its `event_id`. Not here: keeping events on disk
while the gateway is away.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import grpc
from circles.common.v1.common_pb2 import EVENT_STATUS_ACCEPTED, EventResult
from circles.groups.v1 import group_event_pb2, group_service_pb2, group_service_pb2_grpc
from circles.outcomes.v1 import outcome_event_pb2, outcome_service_pb2, outcome_service_pb2_grpc
from circles.participation.v1 import (
    participation_event_pb2,
    participation_service_pb2,
    participation_service_pb2_grpc,
)
from circles.studies.v1 import study_event_pb2, study_service_pb2, study_service_pb2_grpc

Event = (
    participation_event_pb2.ParticipationEvent
    | outcome_event_pb2.OutcomeEvent
    | group_event_pb2.GroupEvent
    | study_event_pb2.StudyEvent
)

BATCH_EVENTS = 500
CALLS_IN_FLIGHT = 8
CALL_SECONDS = 60.0
PASSING = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,  # not by us: a gateway that stops has not begun with the call
)
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


class Refusal(NamedTuple):
    """An event that the gateway refused, with its own words on why."""

    event: Event
    result: EventResult


@dataclass
class Summary:
    """What became of the posted events. A refused event is stored nowhere."""

    count_accepted: int = 0
    refused: list[Refusal] = field(default_factory=list)


class _Call(NamedTuple):
    events: list[Event]
    attempt: int
    answer: Any


class Client:
    """Posts events as the tenant of `api_key`. Use as a context manager."""

    def __init__(self, address: str, api_key: str, *, patience_seconds: float = 60.0) -> None:
        """`patience_seconds`: how long a batch is repeated while the gateway is away; then it raises."""
        self._channel = grpc.insecure_channel(address)
        self._metadata = (("authorization", f"Bearer {api_key}"),)
        self._patience_seconds = patience_seconds
        self._doors = _doors(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def post(self, events: Iterable[Event], on_progress: Callable[[int], None] | None = None) -> Summary:
        """Posts all events; returns when each is accepted or refused.

        `on_progress` gets the number of events answered since its last call. Raises grpc.RpcError when
        the gateway stays away for longer than the client's patience, or refuses a whole batch.
        """
        summary = Summary()
        calls: deque[_Call] = deque()
        for batch in _batches(events):
            if len(calls) >= CALLS_IN_FLIGHT:
                self._settle(calls.popleft(), summary, on_progress)
            calls.append(self._send(batch))
        while calls:
            self._settle(calls.popleft(), summary, on_progress)
        return summary

    def _send(self, events: list[Event], attempt: int = 1) -> _Call:
        request_class, call = self._doors[type(events[0])]
        request = request_class(events=events)
        return _Call(events, attempt, call.future(request, metadata=self._metadata, timeout=CALL_SECONDS))

    def _settle(self, call: _Call, summary: Summary, on_progress: Callable[[int], None] | None) -> None:
        results = self._answer(call)
        for event, result in zip(call.events, results, strict=True):
            if result.status == EVENT_STATUS_ACCEPTED:
                summary.count_accepted += 1
            else:
                summary.refused.append(Refusal(event, result))
        if on_progress is not None:
            on_progress(len(results))

    def _answer(self, call: _Call) -> list[EventResult]:
        """The call's results; repeats it while the trouble is a passing one."""
        give_up_at = time.monotonic() + self._patience_seconds
        while True:
            try:
                return list(call.answer.result().results)
            except grpc.RpcError as error:
                if error.code() not in PASSING or time.monotonic() > give_up_at:
                    raise
                time.sleep(_pause(call.attempt))
                call = self._send(call.events, call.attempt + 1)


def _pause(attempt: int) -> float:
    """Doubling, bounded, and spread, so that many clients do not come back at once."""
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(attempt, 8))
    return random.uniform(longest / 2, longest)  # noqa: S311  # spreads load, protects nothing


def _batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Batches of one type each, in the order in which they fill."""
    filling: dict[type, list[Event]] = {}
    for event in events:
        batch = filling.setdefault(type(event), [])
        batch.append(event)
        if len(batch) == BATCH_EVENTS:
            yield filling.pop(type(event))
    yield from filling.values()


def _doors(channel: grpc.Channel) -> dict[type, tuple[Any, Any]]:
    """Request type and call by event type."""
    return {
        participation_event_pb2.ParticipationEvent: (
            participation_service_pb2.PostParticipationEventsRequest,
            participation_service_pb2_grpc.ParticipationServiceStub(channel).PostParticipationEvents,
        ),
        outcome_event_pb2.OutcomeEvent: (
            outcome_service_pb2.PostOutcomeEventsRequest,
            outcome_service_pb2_grpc.OutcomeServiceStub(channel).PostOutcomeEvents,
        ),
        group_event_pb2.GroupEvent: (
            group_service_pb2.PostGroupEventsRequest,
            group_service_pb2_grpc.GroupServiceStub(channel).PostGroupEvents,
        ),
        study_event_pb2.StudyEvent: (
            study_service_pb2.PostStudyEventsRequest,
            study_service_pb2_grpc.StudyServiceStub(channel).PostStudyEvents,
        ),
    }
