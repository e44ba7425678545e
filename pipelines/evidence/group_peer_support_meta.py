"""The table `group_peer_support_meta`: effects of studies side by side, pooled, and how much they differ.

The shape of Lyons, Cooper & Lloyd-Evans 2021, for any set of study rows. Which effect a study contributes is
`study_effects`', the model `pooling`'s, what is asked for the protocol's. Published studies count studies and
are shown whatever their size; of own studies publication decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.evidence.estimates import Estimate, not_estimated, plain, z_quantile
from pipelines.evidence.inputs import Inputs
from pipelines.evidence.pooling import (
    Conventions,
    Estimator,
    Floats,
    Interval,
    Pooled,
    compare,
    egger,
    leave_one_out,
    pool,
    regress,
)
from pipelines.evidence.protocols import STRENGTH, PooledOutcome, Pooling, protocols
from pipelines.evidence.rows import GROUP_PEER_SUPPORT_META, estimate_columns, frame, protocol_columns
from pipelines.evidence.study_effects import NOTHING, StudyEffect, study_effects
from pipelines.evidence.watched import TIGHTEST_SE

if TYPE_CHECKING:
    import pandas as pd

ALL = "all studies"

ESTIMATORS: tuple[Estimator, ...] = ("DL", "REML", "PM")
INTERVALS: tuple[Interval, ...] = ("Wald", "Hartung-Knapp", "Hartung-Knapp, at least Wald")

BACK: dict[str, tuple[str, Callable[[float], float]]] = {
    "log_risk_ratio": ("risk ratio", math.exp),
    "log_odds_ratio": ("odds ratio", math.exp),
    "fisher_z": ("correlation", math.tanh),
    "logit_proportion": ("proportion", lambda x: 1 / (1 + math.exp(-x))),
}
"""Scales that are pooled in another unit than they are read in."""


@dataclass(frozen=True)
class Row:
    """An estimate, which part of the studies it is about, and the studies that it rests on."""

    name: str
    part: str
    estimate: Estimate
    studies: Sequence[StudyEffect]


def group_peer_support_meta(inputs: Inputs) -> pd.DataFrame:
    """One row per protocol, tenant, outcome, estimate and part. A tenant without such reports has none."""
    rows = [
        row
        for protocol in protocols(Pooling)
        for tenant, reports in inputs.reports.groupby("tenant_id")
        for outcome in protocol.outcomes
        for row in _rows_of_outcome(protocol, outcome, str(tenant), inputs, reports)
    ]
    return frame(rows, GROUP_PEER_SUPPORT_META, extra=("parts",))


def _rows_of_outcome(
    protocol: Pooling, outcome: PooledOutcome, tenant: str, inputs: Inputs, reports: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    studies, covariates = (each[each["tenant_id"] == tenant] for each in (inputs.studies, inputs.covariates))
    found = study_effects(protocol, outcome, studies, covariates, reports)
    if all(each.effect.reason == NOTHING for each in found):
        return
    eligible = [each for each in found if each.left_out is None]
    told_at = reports[reports["outcome"] == outcome.outcome]["reported_at"]
    first: date = min(told_at).date()
    common = {
        **protocol_columns(protocol, tenant, min(reports["data_class"]), first),
        "outcome": outcome.outcome,
        "scale": outcome.scale,
        TIGHTEST_SE: outcome.tightest_se,
        "period": f"{first}/{max(told_at).date()}",
    }
    for row in _rows(protocol, outcome, found, eligible):
        yield common | _columns(row, outcome, eligible)


def _rows(
    protocol: Pooling, outcome: PooledOutcome, found: Sequence[StudyEffect], eligible: Sequence[StudyEffect]
) -> Iterator[Row]:
    how = protocol.conventions
    for each in found:
        yield Row("study_effect", each.study, _own_estimate(each, how.level), [each])
    usable = [each for each in eligible if each.is_usable]
    if len(usable) < protocol.min_studies:
        reason = f"{len(usable)} usable studies, fewer than the protocol's {protocol.min_studies}"
        yield Row("pooled", ALL, not_estimated("none", reason), usable)
        return
    y, v = _arrays(usable)
    pooled = pool(y, v, how)
    yield from _whole(pooled, outcome, usable)
    for other in _alternatives(how):
        yield Row("pooled_alternative", _words(other), pool(y, v, other).estimate, usable)
    for each, without in zip(usable, leave_one_out(y, v, how), strict=True):
        rest = [other for other in usable if other is not each]
        yield Row("pooled_without", each.study, without.estimate, rest)
    yield Row("egger_slope", ALL, egger(y, v, _precision(outcome, usable)), usable)
    for subgroup in protocol.subgroups:
        yield from _subgroups(subgroup, usable, how)
    for moderator in protocol.moderators:
        yield from _moderated(moderator, usable, how)


def _whole(pooled: Pooled, outcome: PooledOutcome, usable: Sequence[StudyEffect]) -> Iterator[Row]:
    """Pool, prediction and heterogeneity of all studies."""
    estimate, how = pooled.estimate, pooled.estimate.method
    yield Row("pooled", ALL, estimate, usable)
    if outcome.scale in BACK:
        yield Row("pooled_back_transformed", ALL, _back(estimate, outcome), usable)
    low, high = pooled.predicted or (None, None)
    reason = pooled.prediction_reason and f"no interval: {pooled.prediction_reason}"
    yield Row("prediction", ALL, Estimate(estimate.estimate, None, low, high, how, reason), usable)
    found = pooled.heterogeneity
    assert found is not None  # noqa: S101  # there is a study
    yield Row("tau2", ALL, _within(found.tau2, found.tau2_low, found.tau2_high, f"{how}; Q-profile"), usable)
    for name, value in (("i2", found.i2), ("h2", found.h2), ("q", found.q), ("q_p", found.q_p)):
        yield Row(name, ALL, plain(value, how, "one study"), usable)


def _back(estimate: Estimate, outcome: PooledOutcome) -> Estimate:
    """In the unit that people read. A standard error has no meaning there."""
    unit, back = BACK[outcome.scale]
    middle, low, high = (
        None if each is None else back(each)
        for each in (estimate.estimate, estimate.ci_low, estimate.ci_high)
    )
    return Estimate(middle, None, low, high, f"{estimate.method}; as {unit}", estimate.reason)


def _subgroups(name: str, usable: Sequence[StudyEffect], how: Conventions) -> Iterator[Row]:
    known = [each for each in usable if getattr(each, name) is not None]
    values = [str(getattr(each, name)) for each in known]
    between = compare(*_arrays(known), values, how)
    for value, pooled in between.subgroups.items():
        members = [each for each in known if str(getattr(each, name)) == value]
        yield Row("pooled_subgroup", f"{name}: {value}", pooled.estimate, members)
    method = "Q between subgroups, each with a tau² of its own; chi-square"
    for label, number in (("q_between", between.q), ("q_between_p", between.p)):
        yield Row(label, name, plain(number, method, between.reason), known)


def _moderated(name: str, usable: Sequence[StudyEffect], how: Conventions) -> Iterator[Row]:
    known = [each for each in usable if name in each.moderators]
    y, v = _arrays(known)
    model = regress(y, v, np.array([each.moderators[name] for each in known], float), how)
    slope = (
        model.coefficients[1] if model.coefficients else not_estimated("meta-regression", model.reason or "")
    )
    yield Row("slope", name, slope, known)
    method = "share of tau² that the moderator explains, in percent"
    reason = model.reason or "the studies do not differ: there is nothing to explain"
    yield Row("r2", name, plain(model.r2, method, reason), known)


def _alternatives(how: Conventions) -> Iterator[Conventions]:
    """The other common choices, so that a reader sees what hangs on the protocol's."""
    choices = [replace(how, estimator=each, interval=ends) for each, ends in product(ESTIMATORS, INTERVALS)]
    yield from (each for each in [replace(how, estimator="fixed", interval="Wald"), *choices] if each != how)


def _words(how: Conventions) -> str:
    return f"{how.estimator}; {how.interval}"


def _columns(row: Row, outcome: PooledOutcome, eligible: Sequence[StudyEffect]) -> dict[str, Any]:
    unusable = sum(not each.is_usable for each in eligible)
    used = [each for each in row.studies if each.is_usable]
    people = [sum(each.people) for each in row.studies]
    design = min((each.design for each in row.studies), key=STRENGTH.index, default="descriptive")
    is_published = bool(row.studies) and all(each.is_published for each in row.studies)
    return estimate_columns(row.estimate) | {
        "source_kind": "literature" if is_published else "own",
        "estimate_name": row.name,
        "part": row.part,
        "contrast": _contrast(outcome, design),
        "design": design,
        "k": len(used),
        "n": sum(people) if all(people) else None,
        "denominator": len(eligible),
        "denominator_unit": "eligible studies",
        "missing_share": unusable / len(eligible) if eligible else None,
        # A pool with one small own study would tell of it, less the others.
        "parts": tuple(n for each in row.studies if not each.is_published for n in each.people),
    }


def _contrast(outcome: PooledOutcome, design: str) -> str | None:
    if not outcome.reference_arms:
        return None
    what = f"{' or '.join(outcome.arms)} − {' or '.join(outcome.reference_arms)}"
    if design == "randomised":
        return f"{what}: effect in studies that were randomised"
    return f"{what}: associated with the arm, not an effect of it"


def _own_estimate(study: StudyEffect, level: float) -> Estimate:
    effect = study.effect
    if study.left_out is not None:
        return not_estimated(effect.method, f"left out by the protocol: {study.left_out}")
    if effect.effect is None or effect.variance is None:
        return not_estimated(effect.method, effect.reason or "")
    se = math.sqrt(effect.variance)
    half = z_quantile(level) * se
    method = f"{effect.method}; normal interval"
    return Estimate(effect.effect, se, effect.effect - half, effect.effect + half, method)


def _precision(outcome: PooledOutcome, usable: Sequence[StudyEffect]) -> list[float] | None:
    """1/n₁ + 1/n₂, for Egger's test of standardised differences; None where a study does not tell its n."""
    if outcome.scale != "hedges_g" or not all(len(each.people) == 2 for each in usable):
        return None
    return [sum(1 / n for n in each.people) for each in usable]


def _within(value: float, low: float | None, high: float | None, method: str) -> Estimate:
    if low is None or high is None:
        return Estimate(value, None, None, None, method, "no interval: one study")
    if not low <= value <= high:
        return Estimate(value, None, None, None, method, "no interval: the Q-profile one does not hold it")
    return Estimate(value, None, low, high, method)


def _arrays(studies: Sequence[StudyEffect]) -> tuple[Floats, Floats]:
    """Effects and variances of usable studies."""
    effects = [(each.effect.effect, each.effect.variance) for each in studies]
    return np.array([y for y, _ in effects], float), np.array([v for _, v in effects], float)
