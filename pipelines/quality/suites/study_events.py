"""Rules of raw.study_events."""

from __future__ import annotations

from circles.studies.v1 import study_event_pb2 as contract

from pipelines.quality.rules import codes, is_between, is_one_of, is_present
from pipelines.quality.suites.events import event_suite

LARGEST = 1e15
"""Statistics are finite; infinity is further than this."""

SUITE = event_suite(
    "study_events",
    contract.StudyEvent.DESCRIPTOR,
    columns=(
        "study_code",
        "study_registered__design",
        "study_registered__result",
        "study_registered__risk_of_bias",
        "study_registered__publication_year",
        "arm_summarised__n",
        "arm_summarised__mean",
        "arm_summarised__sd",
        "effect_estimated__scale",
        "effect_estimated__estimate",
        "effect_estimated__standard_error",
    ),
    rules=(
        is_present("study_code"),
        is_one_of("study_registered__design", codes(contract.StudyDesign.DESCRIPTOR)),
        is_one_of("study_registered__result", codes(contract.StudyResult.DESCRIPTOR)),
        is_one_of("study_registered__risk_of_bias", codes(contract.RiskOfBias.DESCRIPTOR)),
        is_between("study_registered__publication_year", 0, 2100),
        is_between("arm_summarised__n", 0, 1e9),
        is_between("arm_summarised__mean", -LARGEST, LARGEST),
        is_between("arm_summarised__sd", 0, LARGEST),
        is_one_of("effect_estimated__scale", codes(contract.EffectScale.DESCRIPTOR)),
        is_between("effect_estimated__estimate", -LARGEST, LARGEST),
        is_between("effect_estimated__standard_error", 0, LARGEST),
    ),
)
