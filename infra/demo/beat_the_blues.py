"""The Beat-the-Blues trial as events. What the data are, and are not, stands in data/README.md."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from circles.outcomes.v1.outcome_event_pb2 import OutcomeEvent
from circles.studies.v1 import study_event_pb2

from services.client import Event

TENANT = "beat-the-blues"
STUDY = "beat-the-blues"
DATA = Path(__file__).parent / "data" / "btheb.csv"
NAMESPACE = uuid.UUID("0f0e3c1e-8d0b-5f3e-9f43-5b7f6f0d2f10")

ALLOCATED_AT = datetime(2000, 1, 1, tzinfo=UTC)
"""Nominal: the table has waves, no dates."""

ARMS = {"TAU": "tau", "BtheB": "btheb"}
WAVES = {"bdi.pre": ("baseline", 0), "bdi.2m": ("month-2", 61), "bdi.3m": ("month-3", 91),
         "bdi.5m": ("month-5", 152), "bdi.8m": ("month-8", 243)}  # fmt: skip
"""Time point and days after allocation by column."""

EPISODE = {"<6m": "under-6-months", ">6m": "over-6-months"}


def events() -> Iterator[Event]:
    """The same events, ids included, at every call: posting them again changes nothing."""
    yield _registered()
    with DATA.open() as table:
        for row in csv.DictReader(table):
            yield from _person(row)


def _registered() -> study_event_pb2.StudyEvent:
    event = study_event_pb2.StudyEvent(event_id=_event_id("registered"), study_code=STUDY)
    event.occurred_at.FromDatetime(ALLOCATED_AT)
    event.study_registered.design = study_event_pb2.STUDY_DESIGN_RANDOMISED
    event.study_registered.publication_year = 2003
    return event


def _person(row: dict[str, str]) -> Iterator[Event]:
    subject = row["subject"]
    allocated = _outcome(subject, "arm", 0)
    allocated.arm_allocated.study_code = STUDY
    allocated.arm_allocated.arm = ARMS[row["treatment"]]
    yield allocated
    for covariate, value in (("antidepressant", row["drug"].lower()), ("episode", EPISODE[row["length"]])):
        stated = _outcome(subject, covariate, 0)
        stated.covariate_stated.study_code = STUDY
        stated.covariate_stated.covariate = covariate
        stated.covariate_stated.value = value
        yield stated
    for column, (time_point, days) in WAVES.items():
        if row[column]:
            yield _answered(subject, time_point, days, float(row[column]))


def _answered(subject: str, time_point: str, days: int, total: float) -> OutcomeEvent:
    event = _outcome(subject, time_point, days)
    event.questionnaire_answered.instrument = "bdi-ii"
    event.questionnaire_answered.instrument_version = "1"
    event.questionnaire_answered.total = total
    event.questionnaire_answered.study_code = STUDY
    event.questionnaire_answered.time_point = time_point
    return event


def _outcome(subject: str, what: str, days: int) -> OutcomeEvent:
    event = OutcomeEvent(event_id=_event_id(f"{subject}/{what}"), participant_ref=f"subject-{subject}")
    event.occurred_at.FromDatetime(ALLOCATED_AT + timedelta(days=days))
    return event


def _event_id(name: str) -> str:
    return str(uuid.uuid5(NAMESPACE, name))
