"""What the stories of all communities have in common: who agrees and joins, the order of time, and the
figures that a truth is told in.

Ids are `naming`'s: the events here have none yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple, TypeVar

from circles.outcomes.v1.outcome_event_pb2 import CONSENT_SCOPE_RESEARCH

from services.client import Event
from services.client import events as made

Told = TypeVar("Told", bound=Event)


class Figure(NamedTuple):
    """A number that is planted, or must come out.

    `name`, `outcome` and `part`: as in the published table. `of`: of which groups, communities or model it
    is, where there are several. `printed`: as a study prints it.
    """

    name: str
    value: float
    outcome: str = ""
    part: str = ""
    of: str = ""
    printed: str = ""


def agreed(participant: str, at: datetime) -> Event:
    """To research: nobody else is counted."""
    return made.consent_given(participant=participant, scope=CONSENT_SCOPE_RESEARCH, at=at, event_id="")


def joined(group: str, participant: str, at: datetime) -> Iterator[Event]:
    """Agreed, and became a member."""
    yield agreed(participant, at)
    yield made.member_joined(group=group, participant=participant, at=at, event_id="")


def in_time(events: Iterable[Told]) -> list[Told]:
    """In the order of their time, and as they came at one moment."""
    return sorted(events, key=lambda event: (event.occurred_at.seconds, event.occurred_at.nanos))
