"""Studies of two reviews as registrations, to be counted. What is known of them, and what is not, stands in
data/README.md: each count is printed, which study has which combination is not.
"""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from circles.studies.v1 import study_event_pb2 as studies

from services.client.events import study_registered

TENANT = "reviews"
DATA = Path(__file__).parent / "data"
NAMESPACE = uuid.UUID("0b1c5a2e-6f0d-5c43-9a1b-8d7e2f4c6a90")


@dataclass(frozen=True)
class Review:
    """`doi` is the review's: single studies have no other source here. Dated by `year`, nominally."""

    file: str
    doi: str
    year: int


REVIEWS = (
    Review("ali2015_studies.csv", "10.2196/mental.4418", 2015),
    Review("pistrang2008_studies.csv", "10.1007/s10464-008-9181-0", 2008),
)

OF_ALL = ("study", "design", "result")
"""Columns of every file; the others are attributes, empty where the review does not say."""


def events() -> Iterator[studies.StudyEvent]:
    """The same events, ids included, at every call: posting them again changes nothing."""
    for review in REVIEWS:
        with (DATA / review.file).open() as table:
            for row in csv.DictReader(table):
                yield _registered(review, row)


def _registered(review: Review, row: Mapping[str, str]) -> studies.StudyEvent:
    return study_registered(
        study=row["study"],
        design=studies.StudyDesign.Value(f"STUDY_DESIGN_{row['design'].upper()}"),
        result=studies.StudyResult.Value(f"STUDY_RESULT_{row['result'].upper()}"),
        doi=review.doi,
        attributes={code: value for code, value in row.items() if code not in OF_ALL and value},
        at=datetime(review.year, 1, 1, tzinfo=UTC),
        event_id=str(uuid.uuid5(NAMESPACE, row["study"])),
    )
