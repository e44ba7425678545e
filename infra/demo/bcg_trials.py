"""Thirteen trials of a vaccine as study rows. What the data are, and are not, stands in data/README.md."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from circles.studies.v1 import study_event_pb2 as studies

from services.client.events import arm_summarised, study_registered

TENANT = "bcg-trials"
STUDY = "bcg-vaccine"
"""The protocol that pools them."""

OUTCOME = "tuberculosis"
DATA = Path(__file__).parent / "data" / "bcg.csv"
NAMESPACE = uuid.UUID("5a0f6f0a-6a55-5d0e-8a57-2f4f9f5f6f13")
DOI = "10.1001/jama.1994.03510330076038"
"""Of the review that has the rows (Colditz et al. 1994)."""

ARMS = {"vaccinated": ("tpos", "tneg"), "not-vaccinated": ("cpos", "cneg")}
"""Columns of people with and without the disease."""


def events() -> Iterator[studies.StudyEvent]:
    """The same events, ids included, at every call: posting them again changes nothing."""
    with DATA.open() as table:
        for row in csv.DictReader(table):
            yield from _trial(row)


def _trial(row: dict[str, str]) -> Iterator[studies.StudyEvent]:
    code = f"bcg-trial-{int(row['trial']):02}"
    published = datetime(int(row["year"]), 1, 1, tzinfo=UTC)
    is_random = row["alloc"] == "random"
    yield study_registered(
        study=code,
        # Those that alternated, or allocated by another system, were not randomised.
        design=studies.STUDY_DESIGN_RANDOMISED if is_random else studies.STUDY_DESIGN_CONTROLLED,
        publication_year=published.year,
        doi=DOI,
        covariates={"latitude": float(row["ablat"])},
        at=published,
        event_id=_event_id(code),
    )
    for arm, (with_disease, without) in ARMS.items():
        ill, well = int(row[with_disease]), int(row[without])
        yield arm_summarised(
            study=code,
            arm=arm,
            outcome=OUTCOME,
            n=ill + well,
            events=ill,
            at=published,
            event_id=_event_id(f"{code}/{arm}"),
        )


def _event_id(name: str) -> str:
    return str(uuid.uuid5(NAMESPACE, name))
