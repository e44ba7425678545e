"""The table `mutual_help`: members of groups against people who are none, and against professional treatment.

The shape of Pistrang, Barker & Humphreys 2008, for any such study and any set of registered ones. Nobody
draws lots to be a member, so it shows how alike the arms were, and compares them where they overlap. Whether
members do as well as people in treatment is asked within a margin that the protocol gave before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from pipelines.evidence.arms import (
    ArmStudy,
    Cell,
    Row,
    ancova_of,
    ancova_rows,
    arm_rows,
    arm_studies,
    change_rows,
    contrast_row,
    cost_rows,
    place_of,
    recovery_rows,
)
from pipelines.evidence.counted import counted_rows
from pipelines.evidence.equivalence import EQUIVALENCE_LEVEL, equivalence, non_inferiority
from pipelines.evidence.estimates import Estimate, Summary, not_estimated, plain
from pipelines.evidence.inputs import Inputs
from pipelines.evidence.people import of
from pipelines.evidence.propensity import Overlap, overlap_difference
from pipelines.evidence.protocols import Margin, MemberArms, MutualHelp, Outcome, protocols
from pipelines.evidence.rows import MUTUAL_HELP, frame

if TYPE_CHECKING:
    import pandas as pd


def mutual_help(inputs: Inputs) -> pd.DataFrame:
    """Rows of counted studies and of members compared, as protocols ask."""
    rows = [
        row
        for protocol in protocols(MutualHelp)
        for row in (*counted_rows(inputs, protocol), *_compared(inputs, protocol))
    ]
    return frame(rows, MUTUAL_HELP, extra=("parts",))


def _compared(inputs: Inputs, protocol: MutualHelp) -> Iterator[Row]:
    members = protocol.members
    if members is None:
        return
    for study in arm_studies(inputs, protocol, members):
        for outcome in members.outcomes:
            yield from arm_rows(study, outcome)
            yield from ancova_rows(study, outcome)
            if members.weights == "overlap":
                yield from _weighted_rows(study, members, outcome)
            yield from change_rows(study, outcome, inputs.changes)
            yield from _margin_rows(study, members, outcome)
        yield from recovery_rows(study, inputs.recoveries)
        yield from cost_rows(study, inputs.costs)


# --- Where arms overlap -----------------------------------------------------------------------------------


def _weighted_rows(study: ArmStudy, members: MemberArms, outcome: Outcome) -> Iterator[Row]:
    """Members against people who are none, weighted to overlap in baseline and covariates, at each later time
    point; and how alike both were, of those who have a score then."""
    arms = (members.members_arm, members.reference_arm)
    for time_point in outcome.time_points[1:]:
        overlap, names, cells = _overlap(study, outcome, time_point, arms)
        place = study.common | place_of(outcome, time_point)
        yield place | contrast_row(study, "overlap_weighted_difference", overlap.difference, *cells)
        for name, balance in zip(names, overlap.balance, strict=True):
            for when, value in (("before", balance.before), ("after", balance.after)):
                estimate = plain(value, _SMD, balance.reason)
                row = contrast_row(study, f"balance_{when}_weighting", estimate, *cells)
                yield (
                    place | row | {"part": name, "contrast": f"{arms[0]} − {arms[1]}: associated with {name}"}
                )
        for cell, size in zip(cells, (overlap.effective_arm, overlap.effective_reference), strict=True):
            estimate = plain(size, "Kish (Σw)²/Σw²", overlap.difference.reason)
            row = contrast_row(study, "effective_sample_size", estimate, *cells)
            yield place | row | {"part": cell.arm, "contrast": None}


_SMD = "standardised mean difference; denominator √((s₁² + s₀²)/2) without weights"


def _overlap(
    study: ArmStudy, outcome: Outcome, time_point: str, arms: tuple[str, str]
) -> tuple[Overlap, tuple[str, ...], tuple[Cell, Cell]]:
    people = study.people
    scores = people.at(outcome, time_point)
    who = [each for each in scores if people.arms.get(each) in arms]
    columns = people.columns(study.arms.covariates, who)
    x = np.column_stack([of(who, people.at(outcome, outcome.time_points[0])), columns.values])
    there = np.isfinite(x).all(axis=1)
    kept = [*compress(who, np.asarray(there).tolist())]
    overlap = overlap_difference(
        of(kept, scores),
        [people.arms[each] == arms[0] for each in kept],
        x[there],
        clusters=people.of_group(kept),
        level=study.arms.level,
    )
    counts = (overlap.n_arm, overlap.n_reference)
    one, other = (
        replace(study.cell(arm, outcome, time_point), scores=Summary(n, None, None))
        for arm, n in zip(arms, counts, strict=True)
    )
    return overlap, ("baseline", *columns.names), (one, other)


# --- Within a margin --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Analysis:
    name: str
    without: Sequence[str] = ()


def _margin_rows(study: ArmStudy, members: MemberArms, outcome: Outcome) -> Iterator[Row]:
    """Members against professional treatment at the last time point, as allocated and per protocol.

    Per protocol leaves out members who attended too few sessions before they answered; all others stay.
    """
    margin, professional = members.margins.get(outcome.outcome), members.professional_arm
    if margin is None or professional is None:
        return
    last = outcome.time_points[-1]
    for analysis in (_Analysis("as allocated"), _Analysis("per protocol", _too_few(study, members, last))):
        difference, cells = ancova_of(
            study, outcome, last, arm=members.members_arm, reference=professional, without=analysis.without
        )
        place = study.common | place_of(outcome, last) | {"part": analysis.name}
        for name, verdict, estimate, level in _tests(difference, margin, outcome, study.first_data):
            row = contrast_row(study, name, estimate, *cells)
            yield (
                place
                | row
                | {
                    "contrast": "; ".join(each for each in (row["contrast"], verdict) if each),
                    "ci_level": None if estimate.ci_low is None else level,
                    # Both analyses together tell how many were left out.
                    "parts": (*row["parts"], len(analysis.without)),
                }
            )


def _tests(
    difference: Estimate, margin: Margin, outcome: Outcome, first_data: date
) -> Iterator[tuple[str, str | None, Estimate, float]]:
    """Name, verdict, estimate and level: the difference with its interval against the margin, and p."""
    told = f"margin {margin.value:g} points of {margin.dated}: {margin.justification}"
    if margin.dated > first_data:
        told += "; the margin is younger than the data"
    inferiority = non_inferiority(difference, margin.value, outcome.direction == "lower_is_better")
    same = equivalence(difference, margin.value)
    for name, found in (("non_inferiority", inferiority), ("equivalence", same)):
        method = f"{difference.method}; {_TESTS[name]}; {told}"
        if found.reason or difference.estimate is None:
            yield f"{name}_difference", None, not_estimated(method, found.reason or ""), found.level
            continue
        whole = replace(difference, ci_low=found.low, ci_high=found.high, method=method)
        yield f"{name}_difference", found.verdict, whole, found.level
        yield f"{name}_p", found.verdict, Estimate(found.p, None, None, None, method), found.level


_TESTS = {
    "non_inferiority": "two-sided 95 % interval against the margin; p one-sided",
    "equivalence": f"two one-sided tests, {EQUIVALENCE_LEVEL:.0%} interval within the margin",
}


def _too_few(study: ArmStudy, members: MemberArms, time_point: str) -> list[str]:
    scores = study.people.scores
    answers = scores[(scores["arm"] == members.members_arm) & (scores["time_point"] == time_point)]
    sessions = answers.groupby("participant_id")["count_sessions_before"].max()
    return [*sessions[sessions < members.per_protocol_sessions].index]
