"""Rules of raw.outcome_events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from circles.outcomes.v1 import outcome_event_pb2 as contract

from pipelines.quality.rules import codes, is_between, is_one_of, is_true
from pipelines.quality.suites.events import event_suite

if TYPE_CHECKING:
    import pandas as pd

MAX_SCORE = 1000.0
"""No instrument goes further, either way. Infinity and NaN are further."""


def _derive(frame: pd.DataFrame) -> pd.DataFrame:
    kind = frame["kind"]
    scored = frame[["questionnaire_answered__total", "questionnaire_answered__items"]].notna().any(axis=1)
    allocated = frame[["arm_allocated__study_code", "arm_allocated__arm"]].notna().all(axis=1)
    scope = frame["consent_given__scope"].notna() | frame["consent_withdrawn__scope"].notna()
    return frame.assign(
        has_participant=frame["participant_ref"].notna() | (kind == "event_retracted"),
        has_score=(kind != "questionnaire_answered") | scored,
        has_instrument=(kind != "questionnaire_answered")
        | frame["questionnaire_answered__instrument"].notna(),
        has_arm=(kind != "arm_allocated") | allocated,
        has_scope=~kind.isin(["consent_given", "consent_withdrawn"]) | scope,
    )


SUITE = event_suite(
    "outcome_events",
    contract.OutcomeEvent.DESCRIPTOR,
    columns=(
        "participant_ref",
        "questionnaire_answered__instrument",
        "questionnaire_answered__items",
        "questionnaire_answered__total",
        "attribute_stated__age_band",
        "attribute_stated__gender",
        "attribute_stated__employment",
        "attribute_stated__education",
        "attribute_stated__marital_status",
        "attribute_stated__diagnosis",
        "arm_allocated__study_code",
        "arm_allocated__arm",
        "consent_given__scope",
        "consent_withdrawn__scope",
        "survey_answered__weight",
        "cost_recorded__category",
        "cost_recorded__amount",
    ),
    rules=(
        is_true("has_participant", "participant_ref_is_present"),
        is_true("has_instrument", "instrument_is_present"),
        is_true("has_score", "questionnaire_has_items_or_total"),
        is_between("questionnaire_answered__total", -MAX_SCORE, MAX_SCORE),
        is_true("has_arm", "allocation_names_study_and_arm"),
        is_true("has_scope", "consent_names_its_scope"),
        is_one_of("attribute_stated__age_band", codes(contract.AgeBand.DESCRIPTOR)),
        is_one_of("attribute_stated__gender", codes(contract.Gender.DESCRIPTOR)),
        is_one_of("attribute_stated__employment", codes(contract.Employment.DESCRIPTOR)),
        is_one_of("attribute_stated__education", codes(contract.Education.DESCRIPTOR)),
        is_one_of("attribute_stated__marital_status", codes(contract.MaritalStatus.DESCRIPTOR)),
        is_one_of("attribute_stated__diagnosis", codes(contract.Diagnosis.DESCRIPTOR)),
        is_one_of("consent_given__scope", codes(contract.ConsentScope.DESCRIPTOR)),
        is_one_of("consent_withdrawn__scope", codes(contract.ConsentScope.DESCRIPTOR)),
        is_between("survey_answered__weight", 0, 1e9),
        is_one_of("cost_recorded__category", codes(contract.CostCategory.DESCRIPTOR)),
        is_between("cost_recorded__amount", 0, 1e12),
    ),
    derive=_derive,
)
