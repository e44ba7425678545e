"""Which effect each study contributes to a pool: from its registration and what it reports, by the protocol.

One effect per study and outcome. A study that cannot be used keeps its place and says why. The formulas are
`effects`', pooling is `pooling`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pipelines.evidence.effects import (
    Counts,
    Effect,
    log_odds_ratio,
    log_risk_ratio,
    logit_proportion,
    mean_difference,
    standardised_mean_difference,
)
from pipelines.evidence.estimates import Summary
from pipelines.evidence.protocols import PooledOutcome, Pooling

if TYPE_CHECKING:
    import pandas as pd

YEAR = "publication_year"

NOTHING = "it reports nothing of this outcome"

UNKNOWN_DESIGN = "descriptive"
"""What is said of a study that nobody has registered: the weakest."""


@dataclass(frozen=True)
class Report:
    """A row of `fct_study_report` without its study."""

    kind: str
    arm: str
    comparison_arm: str | None
    instrument: str | None
    time_point: str | None
    count_people: int | None
    mean: float | None
    sd: float | None
    count_people_with_event: int | None
    effect_scale: str | None
    estimate: float | None
    standard_error: float | None


@dataclass(frozen=True)
class StudyEffect:
    """What a study contributes.

    `people`: of each of its arms, arm before reference; empty where it reports an effect without them.
    `left_out`: why the protocol does not ask for the study at all. None: it is eligible.
    """

    study: str
    effect: Effect
    design: str = UNKNOWN_DESIGN
    risk_of_bias: str | None = None
    moderators: Mapping[str, float] = field(default_factory=dict)
    """Numbers that may explain how it differs, its year of publication among them."""
    is_published: bool = False
    people: tuple[int, ...] = ()
    left_out: str | None = None

    @property
    def is_usable(self) -> bool:
        return self.left_out is None and self.effect.effect is not None


def study_effects(
    protocol: Pooling,
    outcome: PooledOutcome,
    studies: pd.DataFrame,
    covariates: pd.DataFrame,
    reports: pd.DataFrame,
) -> list[StudyEffect]:
    """Of one tenant, by code of study: those that report the outcome, and those that the protocol names."""
    registered = {row["study_code"]: row for row in _rows(studies)}
    for row in registered.values():
        row["moderators"] = {} if row["publication_year"] is None else {YEAR: float(row["publication_year"])}
    for row in _rows(covariates):
        if row["study_code"] in registered:
            registered[row["study_code"]]["moderators"][row["covariate"]] = row["covariate_value"]
    told: dict[str, list[Report]] = {}
    for row in _rows(reports):
        if row["outcome"] == outcome.outcome:
            told.setdefault(row["study_code"], []).append(_report(row))
    codes = protocol.studies or sorted(told)
    return [
        _study_effect(protocol, outcome, code, registered.get(code), told.get(code, [])) for code in codes
    ]


def _study_effect(
    protocol: Pooling,
    outcome: PooledOutcome,
    code: str,
    registration: Mapping[str, Any] | None,
    reports: Sequence[Report],
) -> StudyEffect:
    effect, people = _effect(outcome, reports)
    found = StudyEffect(code, effect, people=people)
    if registration is None:
        return replace(found, left_out="nobody has registered it: its design is not known")
    found = replace(
        found,
        design=str(registration["design"] or UNKNOWN_DESIGN).replace("_", "-"),
        risk_of_bias=registration["risk_of_bias"],
        moderators=registration["moderators"],
        is_published=registration["doi"] is not None,
    )
    if found.design not in protocol.designs:
        return replace(found, left_out=f"its design is {found.design}")
    if protocol.risk_of_bias and found.risk_of_bias not in protocol.risk_of_bias:
        return replace(found, left_out=f"its risk of bias is {found.risk_of_bias or 'not judged'}")
    return found


def _effect(outcome: PooledOutcome, reports: Sequence[Report]) -> tuple[Effect, tuple[int, ...]]:
    """From summaries of arms where there are some; else as the study gives it."""
    if not reports:
        return _none(outcome, NOTHING), ()
    found = [*_summarised(outcome, reports)] or [*_ready_made(outcome, reports)]
    if not found:
        return _none(outcome, "it reports nothing of these arms on this scale"), ()
    chosen = _first(outcome, found)
    if isinstance(chosen, str):
        return _none(outcome, chosen), ()
    first = chosen[0]
    if first.estimate is None or first.standard_error is None:
        return _of_summaries(outcome, chosen), tuple(each.count_people or 0 for each in chosen)
    return Effect(first.estimate, first.standard_error**2, f"{outcome.scale} as the study gives it"), ()


def _summarised(outcome: PooledOutcome, reports: Sequence[Report]) -> Iterator[tuple[Report, ...]]:
    """An arm with a reference arm, at one time and by one instrument; the arm alone where there is none."""
    for arm in _summaries(reports, outcome.arms):
        if not outcome.reference_arms:
            yield (arm,)
        for reference in _summaries(reports, outcome.reference_arms):
            if _place(arm) == _place(reference):
                yield arm, reference


def _ready_made(outcome: PooledOutcome, reports: Sequence[Report]) -> Iterator[tuple[Report, ...]]:
    for each in reports:
        is_compared = not outcome.reference_arms or each.comparison_arm in outcome.reference_arms
        if each.effect_scale == outcome.scale and each.arm in outcome.arms and is_compared:
            yield (each,)


def _summaries(reports: Sequence[Report], arms: Sequence[str]) -> Iterator[Report]:
    return (each for each in reports if each.kind == "arm_summarised" and each.arm in arms)


def _first(outcome: PooledOutcome, found: Sequence[tuple[Report, ...]]) -> tuple[Report, ...] | str:
    """The first by the protocol's orders, or why none can be chosen."""
    ranked = [(rank, each) for each in found if (rank := _rank(outcome, each)) is not None]
    if not ranked:
        return "it reports this outcome by no instrument, or at no time, that the protocol names"
    best = min(rank for rank, _ in ranked)
    firsts = [each for rank, each in ranked if rank == best]
    if len(firsts) > 1:
        return f"it reports {len(firsts)} of this outcome, and the protocol has no order for them"
    return firsts[0]


def _rank(outcome: PooledOutcome, reports: Sequence[Report]) -> tuple[int, ...] | None:
    first, last = reports[0], reports[-1]
    reference = last.arm if first.kind == "arm_summarised" else last.comparison_arm
    places = [
        _place_in(outcome.arms, first.arm),
        _place_in(outcome.reference_arms, reference),
        _place_in(outcome.instruments, first.instrument),
        _place_in(outcome.time_points, first.time_point),
    ]
    return None if None in places else tuple(each for each in places if each is not None)


def _place_in(order: Sequence[str], code: str | None) -> int | None:
    """Where the code stands in an order; all are equal where there is none."""
    if not order:
        return 0
    return order.index(code) if code in order else None


def _of_summaries(outcome: PooledOutcome, reports: Sequence[Report]) -> Effect:
    if outcome.scale in ("hedges_g", "mean_difference"):
        if any(each.mean is None for each in reports):
            return _none(outcome, "an arm has no mean")
        compare = standardised_mean_difference if outcome.scale == "hedges_g" else mean_difference
        arm, reference = (Summary(each.count_people or 0, each.mean, each.sd) for each in reports)
        return compare(arm, reference)
    if any(each.count_people_with_event is None for each in reports):
        return _none(outcome, "an arm has no count of people with the event")
    counts = [Counts(each.count_people_with_event or 0, each.count_people or 0) for each in reports]
    if outcome.scale == "logit_proportion":
        return logit_proportion(counts[0])
    ratios: Mapping[str, Callable[[Counts, Counts], Effect]] = {
        "log_risk_ratio": log_risk_ratio,
        "log_odds_ratio": log_odds_ratio,
    }
    if outcome.scale not in ratios:
        return _none(outcome, f"{outcome.scale} cannot be had from summaries of arms")
    return ratios[outcome.scale](counts[0], counts[1])


def _none(outcome: PooledOutcome, reason: str) -> Effect:
    return Effect(None, None, outcome.scale, reason)


def _place(report: Report) -> tuple[str | None, str | None]:
    return report.instrument, report.time_point


def _report(row: Mapping[str, Any]) -> Report:
    return Report(**{name: row[name] for name in Report.__dataclass_fields__})


def _rows(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """With None for what is missing, whatever pandas makes of it."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")
