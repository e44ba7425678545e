"""Small histories as a partner would post them, with known totals. References stand as sent: nothing here
is pseudonymised, and nothing touches Kafka or the lake.
"""

from __future__ import annotations

import csv
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from circles.groups.v1.group_event_pb2 import GroupEvent
from circles.outcomes.v1.outcome_event_pb2 import CONSENT_SCOPE_RESEARCH, OutcomeEvent
from circles.participation.v1.participation_event_pb2 import ATTENDANCE_ROLE_MEMBER, ParticipationEvent
from circles.studies.v1.study_event_pb2 import STUDY_DESIGN_RANDOMISED, StudyEvent
from google.protobuf.message import Message

from tests.fakes.raw_lake import timestamp

BTHEB_CSV = Path(__file__).parents[2] / "infra" / "demo" / "data" / "btheb.csv"

BTHEB_WAVES = {
    "baseline": ("bdi.pre", 0),
    "month-2": ("bdi.2m", 61),
    "month-3": ("bdi.3m", 91),
    "month-5": ("bdi.5m", 152),
    "month-8": ("bdi.8m", 243),
}
"""Time point to the CSV's column and days after allocation."""


def event_id(*parts: object) -> str:
    """A UUID that is the same for the same parts."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join(map(str, parts))))


def participation(
    *parts: object, at: datetime, group: str, participant: str = "", **kind: Any
) -> ParticipationEvent:
    return ParticipationEvent(
        event_id=event_id(*parts),
        occurred_at=timestamp(at),
        group_ref=group,
        participant_ref=participant,
        **kind,
    )


def outcome(*parts: object, at: datetime, participant: str, **kind: Any) -> OutcomeEvent:
    return OutcomeEvent(
        event_id=event_id(*parts), occurred_at=timestamp(at), participant_ref=participant, **kind
    )


def consent(participant: str, at: datetime) -> OutcomeEvent:
    given = {"scope": CONSENT_SCOPE_RESEARCH}
    return outcome("consent", participant, at=at, participant=participant, consent_given=given)


def registered(study: str) -> StudyEvent:
    design: Any = {"design": STUDY_DESIGN_RANDOMISED}
    return StudyEvent(
        event_id=event_id("study", study),
        occurred_at=timestamp(datetime(2003, 1, 1, tzinfo=UTC)),
        study_code=study,
        study_registered=design,
    )


def group(reference: str, at: datetime) -> GroupEvent:
    facts: Any = {"facts": {"time_zone": "UTC", "capacity": 30}}
    return GroupEvent(
        event_id=event_id("group", reference),
        occurred_at=timestamp(at),
        group_ref=reference,
        group_registered=facts,
    )


def anything(raw_table: str, name: str) -> Message:
    """An event of the domain that makes `name` appear in its mart."""
    at = datetime(2020, 1, 1, tzinfo=UTC)
    match raw_table:
        case "participation_events":
            return participation(
                raw_table, name, at=at, group="g-1", participant=f"p-{name}", member_joined={}
            )
        case "outcome_events":
            answered = {"instrument": "phq-9", "instrument_version": "1", "total": 7.0}
            return outcome(raw_table, name, at=at, participant=name, questionnaire_answered=answered)
        case "group_events":
            return group(name, at)
        case _:
            return registered(name)


def retraction_of(event: Any) -> Any:
    """Takes `event` back: posted to the same service, of the same group, person or study."""
    made = type(event)()
    made.CopyFrom(event)
    made.event_id = event_id("retraction", event.event_id)
    made.event_retracted.retracted_event_id = event.event_id
    return made


def beat_the_blues() -> Iterator[OutcomeEvent]:
    """The trial's rows as allocations and questionnaires."""
    start = datetime(2001, 1, 1, tzinfo=UTC)
    with BTHEB_CSV.open() as file:
        for row in csv.DictReader(file):
            person = f"subject-{row['subject']}"
            yield outcome(
                "btheb", person, "arm", at=start, participant=person,
                arm_allocated={"study_code": "beat-the-blues", "arm": row["treatment"].lower()},
            )  # fmt: skip
            for time_point, (column, days) in BTHEB_WAVES.items():
                if row[column]:
                    yield outcome(
                        "btheb", person, time_point, at=start + timedelta(days=days), participant=person,
                        questionnaire_answered={
                            "instrument": "bdi-ii", "instrument_version": "1", "total": float(row[column]),
                            "study_code": "beat-the-blues", "time_point": time_point,
                        },
                    )  # fmt: skip


def attended_group(
    people: int, sessions: int, attendances: int, *, group: str = "g-1", seed: int = 1
) -> Iterator[ParticipationEvent]:
    """One group whose members all join first; `attendances` of people x sessions took place."""
    start = datetime(2020, 1, 1, tzinfo=UTC)
    pairs = [(person, session) for person in range(people) for session in range(sessions)]
    for person in range(people):
        yield participation(
            group, "join", person, at=start, group=group, participant=f"{group}-p{person}", member_joined={}
        )
    for session in range(sessions):
        yield participation(
            group, "held", session, at=start + timedelta(days=session + 1), group=group,
            session_held={"session_ref": f"{group}-s{session}", "minutes": 60},
        )  # fmt: skip
    for person, session in random.Random(seed).sample(pairs, attendances):
        yield participation(
            group, "attended", person, session, at=start + timedelta(days=session + 1), group=group,
            participant=f"{group}-p{person}",
            session_attended={"session_ref": f"{group}-s{session}", "role": ATTENDANCE_ROLE_MEMBER},
        )  # fmt: skip
