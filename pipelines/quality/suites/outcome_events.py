"""Rules of raw.outcome_events. What an answer may be is its instrument's to say: its file has the ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from circles.outcomes.v1 import outcome_event_pb2 as contract

from pipelines.quality.rules import Computed, codes, is_between, is_one_of, is_true, warns
from pipelines.quality.suites.events import event_suite
from services.runtime.instruments import instruments

if TYPE_CHECKING:
    import pandas as pd

ITEMS = "questionnaire_answered__items"
COMPUTED = {
    "count_items": Computed(ITEMS, f"len({ITEMS})"),
    "highest_item": Computed(ITEMS, f"list_max(list_transform({ITEMS}, lambda each: each.item))"),
    "least_value": Computed(ITEMS, f"list_min(list_transform({ITEMS}, lambda each: each.value))"),
    "most_value": Computed(ITEMS, f"list_max(list_transform({ITEMS}, lambda each: each.value))"),
}

MAX_SCORE = 1000.0
"""No instrument goes further, either way. Infinity and NaN are further."""


def _derive(frame: pd.DataFrame) -> pd.DataFrame:
    kind = frame["kind"]
    scored = frame["questionnaire_answered__total"].notna() | frame["count_items"].notna()
    allocated = frame[["arm_allocated__study_code", "arm_allocated__arm"]].notna().all(axis=1)
    scope = frame["consent_given__scope"].notna() | frame["consent_withdrawn__scope"].notna()
    return frame.assign(
        has_participant=frame["participant_ref"].notna() | (kind == "event_retracted"),
        has_score=(kind != "questionnaire_answered") | scored,
        has_instrument=(kind != "questionnaire_answered")
        | frame["questionnaire_answered__instrument"].notna(),
        has_arm=(kind != "arm_allocated") | allocated,
        has_scope=~kind.isin(["consent_given", "consent_withdrawn"]) | scope,
        **_within_instrument(frame),
    )


def _within_instrument(frame: pd.DataFrame) -> dict[str, pd.Series[bool]]:
    """Whether totals and items are within the ranges of their instrument; of an unknown one they are."""
    import pandas as pd

    code = frame["questionnaire_answered__instrument"]
    total = pd.to_numeric(frame["questionnaire_answered__total"])
    numbers = {name: pd.to_numeric(frame[name]) for name in ("highest_item", "least_value", "most_value")}
    ranges = {
        each.code: (each.total.least, each.total.most, each.items.least, each.items.most, each.items.count)
        for each in instruments().values()
    }
    limits = pd.DataFrame(
        [ranges.get(each, (None,) * 5) for each in code],
        index=frame.index,
        columns=["least_total", "most_total", "least", "most", "count"],
        dtype=float,
    )
    return {
        "has_known_instrument": code.isna() | limits["count"].notna(),
        "has_total_in_range": ~((total < limits["least_total"]) | (total > limits["most_total"])),
        "has_items_in_range": ~(
            (numbers["least_value"] < limits["least"])
            | (numbers["most_value"] > limits["most"])
            | (numbers["highest_item"] > limits["count"])
        ),
    }


SUITE = event_suite(
    "outcome_events",
    contract.OutcomeEvent.DESCRIPTOR,
    columns=(
        "participant_ref",
        "questionnaire_answered__instrument",
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
        is_true("has_total_in_range", "total_is_in_range_of_its_instrument"),
        is_true("has_items_in_range", "items_are_in_range_of_their_instrument"),
        warns(
            is_true("has_known_instrument", "instrument_is_known"),
            "The gateway has no file of it any more, or the pipelines have another folder of instruments.",
        ),
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
    computed=COMPUTED,
)
