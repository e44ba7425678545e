"""The attendance of 18 women at 14 dated events as events of one group. Source: data/README.md."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from circles.groups.v1 import group_event_pb2
from circles.participation.v1 import participation_event_pb2

from services.client import Event

TENANT = "southern-women"
GROUP = "old-city"
DATA = Path(__file__).parent / "data" / "southern_women.csv"
NAMESPACE = uuid.UUID("7a7b5a52-3a9d-5e0c-8f0e-2f6f9c1d7b11")

YEAR = 1936
"""Nominal: month and day are printed, the year is not."""


def events() -> Iterator[Event]:
    """The same events, ids included, at every call: posting them again changes nothing."""
    with DATA.open() as table:
        rows = list(csv.DictReader(table))
    yield _registered()
    for woman in sorted({row["participant"] for row in rows}):
        joined = _act(f"{woman}/joined", woman, datetime(YEAR, 1, 1, tzinfo=UTC))
        joined.member_joined.SetInParent()
        yield joined
    for session, month_day in sorted({(row["event"], row["month_day"]) for row in rows}):
        held = _act(f"{session}/held", "", _evening(month_day))
        held.session_held.session_ref = session
        yield held
    for row in rows:
        attended = _act(
            f"{row['participant']}/{row['event']}", row["participant"], _evening(row["month_day"])
        )
        attended.session_attended.session_ref = row["event"]
        attended.session_attended.role = participation_event_pb2.ATTENDANCE_ROLE_MEMBER
        yield attended


def _registered() -> group_event_pb2.GroupEvent:
    event = group_event_pb2.GroupEvent(event_id=str(uuid.uuid5(NAMESPACE, "registered")), group_ref=GROUP)
    event.occurred_at.FromDatetime(datetime(YEAR, 1, 1, tzinfo=UTC))
    facts = event.group_registered.facts
    facts.format = group_event_pb2.GROUP_FORMAT_IN_PERSON
    facts.moderation = group_event_pb2.MODERATION_NONE
    facts.condition = group_event_pb2.CONDITION_NONE
    facts.population = group_event_pb2.POPULATION_WOMEN
    return event


def _act(name: str, woman: str, at: datetime) -> participation_event_pb2.ParticipationEvent:
    event = participation_event_pb2.ParticipationEvent(
        event_id=str(uuid.uuid5(NAMESPACE, name)), group_ref=GROUP, participant_ref=woman
    )
    event.occurred_at.FromDatetime(at)
    return event


def _evening(month_day: str) -> datetime:
    month, day = month_day.split("-")
    return datetime(YEAR, int(month), int(day), 20, tzinfo=UTC)
