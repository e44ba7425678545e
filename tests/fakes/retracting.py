"""Which events count, by plain Python: each id once, not those that were taken back, and of people only those
who consent in the end. What the models do in SQL is not asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def counted(events: Iterable[Any]) -> list[Any]:
    """Retractions and withdrawals themselves are not among them."""
    once = list({event.event_id: event for event in events}.values())
    gone = {each.event_retracted.retracted_event_id for each in once if _is(each, "event_retracted")}
    kept = [event for event in once if event.event_id not in gone and not _is(event, "event_retracted")]
    given = {event.participant_ref for event in kept if _is(event, "consent_given")}
    given -= {event.participant_ref for event in kept if _is(event, "consent_withdrawn")}
    return [
        event for event in kept if not getattr(event, "participant_ref", "") or event.participant_ref in given
    ]


def _is(event: Any, kind: str) -> bool:
    return bool(event.WhichOneof("kind") == kind)
