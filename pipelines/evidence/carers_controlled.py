"""The table `carers_controlled`: a study's arms over time, and what else goes with the outcomes.

The shape of Shu & Lung 2005, for any study of arms whose protocol asks for it: arms at each time point,
ANCOVA, a marginal and a mixed model over all later time points with covariates, and whether these change how
far apart the arms are. Rows that all studies of arms have are `arms`', the models `gee`'s and `mixed`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from pipelines.evidence.arms import (
    ArmStudy,
    Cell,
    Row,
    ancova_rows,
    arm_rows,
    arm_studies,
    change_rows,
    cost_rows,
    people_columns,
    place_of,
    recovery_rows,
)
from pipelines.evidence.estimates import Estimate, Summary, not_estimated, plain
from pipelines.evidence.gee import Marginal, fit_gee
from pipelines.evidence.inputs import Inputs
from pipelines.evidence.linear import Floats, Linear
from pipelines.evidence.mixed import Mixed, fit_mixed
from pipelines.evidence.people import of
from pipelines.evidence.protocols import Comparison, Outcome, protocols
from pipelines.evidence.rows import CARERS_CONTROLLED, estimate_columns, frame

if TYPE_CHECKING:
    import pandas as pd

TIME, BASELINE = "time", "baseline"
_ARM, _TIMES = "arm: ", " × "


def carers_controlled(inputs: Inputs) -> pd.DataFrame:
    """One row per protocol, tenant, arm, time point and estimate. Studies without data have no rows."""
    rows = [
        row
        for protocol in protocols(Comparison)
        for study in arm_studies(inputs, protocol, protocol)
        for row in _rows(study, protocol, inputs)
    ]
    return frame(rows, CARERS_CONTROLLED, extra=("parts",))


def _rows(study: ArmStudy, protocol: Comparison, inputs: Inputs) -> Iterator[Row]:
    for outcome in protocol.outcomes:
        yield from arm_rows(study, outcome)
        yield from ancova_rows(study, outcome)
        yield from change_rows(study, outcome, inputs.changes)
        if outcome.times:
            yield from _model_rows(study, protocol, outcome)
    yield from recovery_rows(study, inputs.recoveries)
    yield from cost_rows(study, inputs.costs)


# --- All time points together -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Long:
    """Persons × later time points: outcome (n,), design (n, p) with its terms, whose the rows are, their arm
    and group."""

    outcome: Floats
    design: Floats
    terms: tuple[str, ...]
    people: tuple[str, ...]
    arms: tuple[str, ...]
    groups: tuple[str | None, ...]

    def gee(self, protocol: Comparison) -> Marginal:
        return fit_gee(
            self.outcome, self.design, self.people, correction=protocol.correction, groups=self.groups
        )

    def mixed(self, protocol: Comparison) -> Mixed:
        """Its variance is of people: groups are not in it, and its method says so."""
        fit = fit_mixed(self.outcome, self.design, self.people, protocol.likelihood)
        if not any(self.groups):
            return fit
        told = f"{fit.linear.method}; groups of people are not in the model"
        return replace(fit, linear=replace(fit.linear, method=told))

    @property
    def persons(self) -> dict[str, str]:
        """Arm by person."""
        return dict(zip(self.people, self.arms, strict=True))

    @property
    def main(self) -> Long:
        """Without the products of arms and moderators, which would take the arms' terms apart."""
        is_main = [_TIMES not in each for each in self.terms]
        terms = tuple(each for each, is_in in zip(self.terms, is_main, strict=True) if is_in)
        return replace(self, design=self.design[:, is_main], terms=terms)


def long_table(study: ArmStudy, protocol: Comparison, outcome: Outcome) -> Long:
    """Rows with all that the models need; who lacks baseline or a covariate has none."""
    people, arms = study.people, study.people.arms
    rows = [
        (person, outcome.times[time_point], score)
        for time_point in outcome.time_points[1:]
        if time_point in outcome.times
        for person, score in people.at(outcome, time_point).items()
        if arms.get(person) in protocol.arms
    ]
    who = [person for person, _, _ in rows]
    others = [arm for arm in protocol.arms if arm != protocol.reference_arm]
    is_arm = {arm: np.array([arms[each] == arm for each in who], float) for arm in others}
    columns = people.columns(protocol.covariates, who)
    terms = ["intercept", *(f"{_ARM}{arm}" for arm in others), TIME, BASELINE, *columns.names]
    times = np.array([time for _, time, _ in rows], float)
    baseline = of(who, people.at(outcome, outcome.time_points[0]))
    design = [np.ones(len(who)), *is_arm.values(), times, baseline, *columns.values.T]
    for name, column in zip(columns.names, columns.values.T, strict=True):
        if name.partition("=")[0] in protocol.moderators:
            terms += [f"{_ARM}{arm}{_TIMES}{name}" for arm in others]
            design += [each * column for each in is_arm.values()]
    x = np.column_stack(design)
    there = np.isfinite(x).all(axis=1)
    kept = [*compress(who, [*there])]
    y = np.array([score for _, _, score in rows], float)
    return Long(
        y[there],
        x[there],
        tuple(terms),
        tuple(kept),
        tuple(arms[each] for each in kept),
        tuple(people.of_group(kept)),
    )


def _model_rows(study: ArmStudy, protocol: Comparison, outcome: Outcome) -> Iterator[Row]:
    """Terms of both models; the moderators' from models of their own, with the products beside all others."""
    long = long_table(study, protocol, outcome)
    last = [each for each in outcome.time_points if each in outcome.times][-1]
    cells = _cells(study, outcome, long, last)
    main, place = long.main, study.common | place_of(outcome, None)
    marginal, mixed = main.gee(protocol), main.mixed(protocol)
    for model, linear in (("gee", marginal.linear), ("mixed", mixed.linear)):
        for term in main.terms[1:]:
            yield place | _coefficient(study, f"{model}_coefficient", linear, main, term=term, cells=cells)
    told = {
        "gee_correlation": (marginal.correlation, marginal.linear),
        "mixed_between_variance": (mixed.between, mixed.linear),
        "mixed_within_variance": (mixed.within, mixed.linear),
        "mixed_icc": (mixed.icc, mixed.linear),
    }
    for name, (value, linear) in told.items():
        yield place | _of_all(plain(value, linear.method, linear.reason), name, None, cells)
    if protocol.moderators:
        products = [each for each in long.terms if _TIMES in each]
        for model, linear in (("gee", long.gee(protocol).linear), ("mixed", long.mixed(protocol).linear)):
            for term in products:
                yield place | _coefficient(study, f"{model}_moderation", linear, long, term=term, cells=cells)
    if protocol.deltas:
        yield from _delta_rows(study, protocol, outcome, mixed.linear, main, last=last)


def _coefficient(
    study: ArmStudy, name: str, linear: Linear, long: Long, *, term: str, cells: dict[str, Cell]
) -> Row:
    """Terms of an arm are about it and the reference arm, all others about everybody."""
    weights = np.eye(len(long.terms))[long.terms.index(term)]
    if not term.startswith(_ARM):
        return _of_all(linear.contrast(weights), name, term, cells) | {"contrast": _with(term)}
    arm, reference = term.removeprefix(_ARM).partition(_TIMES)[0], study.arms.reference_arm
    return (
        estimate_columns(linear.contrast(weights, study.arms.level), study.arms.level)
        | people_columns([cells[arm], cells[reference]])
        | {
            "estimate_name": name,
            "part": term,
            "arm": arm,
            "reference_arm": reference,
            "contrast": _with(term) if _TIMES in term else study.contrast(arm, reference),
        }
    )


def _with(term: str) -> str:
    return f"outcome associated with {term}, all other terms alike"


def _of_all(estimate: Estimate, name: str, part: str | None, cells: dict[str, Cell]) -> Row:
    columns = people_columns([*cells.values()]) | {"n_arm": None, "n_reference": None}
    return estimate_columns(estimate) | columns | {"estimate_name": name, "part": part}


def _cells(study: ArmStudy, outcome: Outcome, long: Long, time_point: str) -> dict[str, Cell]:
    """People of each arm who are in the models, whatever time points they have."""
    count = dict.fromkeys(study.arms.arms, 0)
    for arm in long.persons.values():
        count[arm] += 1
    return {
        arm: replace(study.cell(arm, outcome, time_point), scores=Summary(n, None, None))
        for arm, n in count.items()
    }


# --- What if the missing are worse ------------------------------------------------------------------------


def _delta_rows(
    study: ArmStudy, protocol: Comparison, outcome: Outcome, linear: Linear, long: Long, *, last: str
) -> Iterator[Row]:
    """The mixed model's difference if those without a score at the last time point were δ points worse than
    it takes them to be: δ times the difference of the arms' missing shares, which are taken as known.
    """
    sign = 1 if outcome.direction == "lower_is_better" else -1
    reference = study.cell(protocol.reference_arm, outcome, last)
    for arm in protocol.arms:
        if arm == protocol.reference_arm:
            continue
        cell = study.cell(arm, outcome, last)
        weights = np.eye(len(long.terms))[long.terms.index(f"{_ARM}{arm}")]
        for delta in protocol.deltas:
            estimate = _moved(
                linear.contrast(weights, protocol.level), sign * delta, _missing(cell), _missing(reference)
            )
            yield (
                study.common
                | place_of(outcome, last)
                | estimate_columns(estimate, protocol.level)
                | people_columns([cell, reference])
                | {
                    "estimate_name": "mixed_delta",
                    "part": f"missing outcomes {delta:g} points worse",
                    "arm": arm,
                    "reference_arm": protocol.reference_arm,
                    "contrast": study.contrast(arm, protocol.reference_arm),
                }
            )


def _moved(difference: Estimate, delta: float, arm: float | None, reference: float | None) -> Estimate:
    if difference.estimate is None or difference.ci_low is None or difference.ci_high is None:
        return difference
    if arm is None or reference is None:
        return not_estimated(difference.method, "nobody in one of the arms has consented")
    shift = delta * (arm - reference)
    return replace(
        difference,
        estimate=difference.estimate + shift,
        ci_low=difference.ci_low + shift,
        ci_high=difference.ci_high + shift,
        method=f"{difference.method}; pattern mixture, missing shares taken as known",
    )


def _missing(cell: Cell) -> float | None:
    return 1 - cell.scores.n / cell.consented if cell.consented else None
