"""A simulated study as the frames that the marts would give, without lake or events."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pandas as pd

from pipelines.evidence.inputs import Inputs
from services.simulator.studies import STARTS_AT, Person, Study
from tests.fakes.inputs import inputs

TENANT = "t"
Row = dict[str, Any]


def frames(study: Study, data_class: str = "synthetic") -> Inputs:
    place = {"tenant_id": TENANT, "data_class": data_class, "study_code": study.code}
    return inputs(
        arms=[place | row for row in _arms(study)],
        studies=[place | {"design": "controlled", "result": None, "risk_of_bias": None, "doi": None,
                          "registered_at": pd.Timestamp(STARTS_AT)}],
        scores=[place | row for person in study.people for row in _scores(study, person)],
        members=[
            {"tenant_id": TENANT, "group_id": person.group, "participant_id": person.ref}
            for person in study.people if person.group
        ],
        online_members=[row for person in study.people for row in _online(study, person)],
        person_covariates=[
            place | {"participant_id": person.ref, "covariate": name, "covariate_value": value}
            for person in study.people for name, value in person.covariates.items()
        ],
        person_attributes=[
            {"tenant_id": TENANT, "participant_id": person.ref, "gender": None, "employment": None,
             "education": None, "marital_status": None} | person.attributes
            for person in study.people
        ],
        costs=[
            place | {"arm": person.arm, "participant_id": person.ref, "cost_currency": "GBP",
                     "cost_amount": person.cost}
            for person in study.people if person.cost is not None
        ],
    )  # fmt: skip


def _scores(study: Study, person: Person) -> Iterator[Row]:
    for (instrument, time_point), score in person.scores.items():
        yield {
            "participant_id": person.ref,
            "event_id": f"{person.ref}-{instrument}-{time_point}",
            "arm": person.arm,
            "group_id": None,
            "instrument": instrument,
            "instrument_version": "1",
            "scale": "total",
            "time_point": time_point,
            "score": score,
            "age_band": person.age_band,
            "occurred_at": pd.Timestamp(STARTS_AT + timedelta(days=study.time_points[time_point])),
            "count_posts_before": person.posts if study.time_points[time_point] else 0,
            "count_sessions_before": person.sessions if study.time_points[time_point] else 0,
        }


def _arms(study: Study) -> Iterator[Row]:
    scores: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for person in study.people:
        for (instrument, time_point), score in person.scores.items():
            scores[person.arm, instrument, time_point].append(score)
    for (arm, instrument, time_point), values in scores.items():
        allocated = sum(person.arm == arm for person in study.people)
        at = pd.Timestamp(STARTS_AT + timedelta(days=study.time_points[time_point]))
        yield {
            "arm": arm,
            "instrument": instrument,
            "instrument_version": "1",
            "scale": "total",
            "time_point": time_point,
            "count_allocated": allocated,
            "count_consented": allocated,
            "count_scored": len(values),
            "mean": statistics.fmean(values),
            "sd": statistics.stdev(values) if len(values) > 1 else None,
            "first_allocated_at": pd.Timestamp(STARTS_AT),
            "first_answered_at": at,
            "last_answered_at": at,
        }


def _online(study: Study, person: Person) -> Iterator[Row]:
    kinds = {group.ref: group for group in study.groups}
    if person.group is None or kinds[person.group].format == "in_person":
        return
    last = max(study.time_points.values())
    yield {
        "tenant_id": TENANT,
        "data_class": "synthetic",
        "group_id": person.group,
        "participant_id": person.ref,
        "format": kinds[person.group].format,
        "moderation": kinds[person.group].moderation,
        "condition": "depression",
        "first_joined_at": pd.Timestamp(STARTS_AT),
        "last_activity_at": pd.Timestamp(STARTS_AT + timedelta(days=last - 2 if person.posts > 2 else 1)),
        "age_band": person.age_band,
        "data_until": pd.Timestamp(STARTS_AT + timedelta(days=last)),
    }
