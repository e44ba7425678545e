"""What became of posted events, counted from the gateway's answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from circles.common.v1.common_pb2 import (
    EVENT_STATUS_ACCEPTED,
    EVENT_STATUS_DEFERRED,
    EVENT_STATUS_DUPLICATE,
    EventResult,
)

from services.client.doors import Event


class Refusal(NamedTuple):
    """An event that the gateway did not store, with its own words on why."""

    event: Event
    result: EventResult
    """Status REFUSED, or CONFLICT: another event is known under this `event_id`."""


@dataclass
class Summary:
    """Every posted event is in one of accepted, duplicates, deferred and refused."""

    count_accepted: int = 0
    count_duplicates: int = 0
    """Identical copies of what was in Kafka already, as after a batch that was sent twice."""
    count_deferred: int = 0
    """In Kafka, set aside until the operator knows the instrument. Nothing to do."""
    count_late: int = 0
    """Those of the accepted ones that are too old for live figures."""
    refused: list[Refusal] = field(default_factory=list)

    @property
    def count_acknowledged(self) -> int:
        """How many events are in Kafka and need no further thought."""
        return self.count_accepted + self.count_duplicates + self.count_deferred

    def add(self, events: Sequence[Event], results: Iterable[EventResult]) -> None:
        """One batch and its results, in the same order."""
        for event, result in zip(events, results, strict=True):
            if result.status == EVENT_STATUS_ACCEPTED:
                self.count_accepted += 1
                self.count_late += result.is_late
            elif result.status == EVENT_STATUS_DUPLICATE:
                self.count_duplicates += 1
            elif result.status == EVENT_STATUS_DEFERRED:
                self.count_deferred += 1
            else:  # a status of a newer contract too: it is not said to be in Kafka
                self.refused.append(Refusal(event, result))
