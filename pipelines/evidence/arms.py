"""Rows that studies of arms have in common: sizes and means at a time point, arms against each other there,
how people changed, and what they cost. What a system asks for beside is its own module's.

Means, deviations and counts come from the marts; only what needs single people is computed from them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipelines.evidence.estimates import (
    Estimate,
    Summary,
    count,
    hedges_g,
    mean,
    mean_difference,
    not_estimated,
    proportion,
    summarise,
)
from pipelines.evidence.inputs import Inputs
from pipelines.evidence.people import People, of, people_of
from pipelines.evidence.protocols import STRENGTH, Arms, Comparison, Design, MutualHelp, Outcome, Study
from pipelines.evidence.regression import ancova
from pipelines.evidence.rows import estimate_columns, protocol_columns
from pipelines.evidence.watched import GROWS, MEET, NOT_WATCHED

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One arm at one time point. People allocated, those of them who consent, and the scores of those."""

    arm: str
    scores: Summary
    allocated: int
    consented: int
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True)
class ArmStudy:
    """A study of one tenant as its protocol looks at it, and what all of its rows say."""

    protocol: Study
    arms: Arms
    tenant: str
    design: Design
    common: Row
    summaries: pd.DataFrame
    people: People

    @property
    def first_data(self) -> date:
        """The day on which the first person was allocated."""
        first: date = min(self.summaries["first_allocated_at"]).date()
        return first

    def cell(self, arm: str, outcome: Outcome, time_point: str) -> Cell:
        allocated, consented = self._sizes.get(arm, (0, 0))
        found = self._cells.get((arm, *_scale(outcome), time_point))
        nobody = Cell(arm, Summary(0, None, None), allocated, consented)
        if found is None:
            return nobody
        n = int(found["count_scored"])
        scores = Summary(n, float(found["mean"]) if n else None, float(found["sd"]) if n > 1 else None)
        first, last = (found[name].date() for name in ("first_answered_at", "last_answered_at"))
        return replace(nobody, scores=scores, first=first, last=last)

    @cached_property
    def _cells(self) -> dict[tuple[str, ...], Row]:
        place = ("arm", "instrument", "instrument_version", "scale", "time_point")
        return {tuple(row[each] for each in place): row for row in _records(self.summaries)}

    @cached_property
    def _sizes(self) -> dict[str, tuple[int, int]]:
        """People allocated, and those of them who consent, by arm: they stand in each of its rows."""
        return {
            row["arm"]: (int(row["count_allocated"]), int(row["count_consented"]))
            for row in _records(self.summaries)
        }

    def meets(self, *arms: str) -> str | None:
        """Why people of these arms are not independent of each other. None: nobody is in a group."""
        people = self.people
        return MEET if any(people.arms.get(each) in arms for each in people.groups) else None

    def keeps_change(self, outcome: Outcome, arm: str) -> str | None:
        """Why the change of people from first to last score is not theirs for good. None: it is."""
        scores = self.people.scores
        is_of_it = (scores["instrument"] == outcome.instrument) & (scores["scale"] == outcome.scale)
        posted = set(scores.loc[is_of_it, "time_point"])
        is_once = len(outcome.time_points) == 2 and posted <= set(outcome.time_points)
        return self.meets(arm) if is_once else GROWS

    def contrast(self, arm: str, reference: str) -> str:
        if self.design == "randomised":
            return f"{arm} − {reference}: difference between arms as randomised"
        return f"{arm} − {reference}: associated with the arm, not an effect of it"


def arm_studies(inputs: Inputs, protocol: Comparison | MutualHelp, arms: Arms) -> Iterator[ArmStudy]:
    """One for each tenant that has allocated people in the study."""
    of_study = inputs.arms[inputs.arms["study_code"] == protocol.study]
    for tenant, summaries in of_study.groupby("tenant_id"):
        design = _design(protocol, inputs.studies, str(tenant))
        first = min(summaries["first_allocated_at"]).date()
        asked = protocol_columns(protocol, str(tenant), min(summaries["data_class"]), first)
        common = asked | {"source_kind": "own", "design": design}
        people = people_of(inputs, protocol.study, str(tenant))
        yield ArmStudy(protocol, arms, str(tenant), design, common, summaries, people)


# --- At a time point --------------------------------------------------------------------------------------


def arm_rows(study: ArmStudy, outcome: Outcome) -> Iterator[Row]:
    """Size, mean and spread of each arm at each time point, and each arm against the reference arm."""
    for time_point in outcome.time_points:
        place = place_of(outcome, time_point)
        cells = {arm: study.cell(arm, outcome, time_point) for arm in study.arms.arms}
        for cell in cells.values():
            for row in _arm_rows(cell):
                yield study.common | place | row | {NOT_WATCHED: study.meets(cell.arm)}
        reference = cells[study.arms.reference_arm]
        for cell in cells.values():
            if cell is not reference:
                why_not = study.meets(cell.arm, reference.arm)
                for row in _contrast_rows(study, cell, reference):
                    yield study.common | place | row | {NOT_WATCHED: why_not}


def place_of(outcome: Outcome, time_point: str | None) -> Row:
    return {
        "outcome": outcome.outcome,
        "instrument": outcome.instrument,
        "instrument_scale": outcome.scale,
        "time_point": time_point,
    }


def _arm_rows(cell: Cell) -> Iterator[Row]:
    estimates = {"n": count(cell.scores.n), "mean": mean(cell.scores), "sd": _spread(cell.scores)}
    for name, estimate in estimates.items():
        yield estimate_columns(estimate) | people_columns([cell]) | {"estimate_name": name, "arm": cell.arm}


def _contrast_rows(study: ArmStudy, cell: Cell, reference: Cell) -> Iterator[Row]:
    """In the score's unit and standardised."""
    level = study.arms.level
    estimates = {
        "mean_difference": mean_difference(cell.scores, reference.scores, level),
        "hedges_g": hedges_g(cell.scores, reference.scores, level),
    }
    for name, estimate in estimates.items():
        yield contrast_row(study, name, estimate, cell, reference)


def contrast_row(study: ArmStudy, name: str, estimate: Estimate, cell: Cell, reference: Cell) -> Row:
    """`cell` and `reference` tell who stands behind the row."""
    return (
        estimate_columns(estimate, study.arms.level)
        | people_columns([cell, reference])
        | {
            "estimate_name": name,
            "arm": cell.arm,
            "reference_arm": reference.arm,
            "contrast": study.contrast(cell.arm, reference.arm),
        }
    )


def people_columns(cells: Sequence[Cell]) -> Row:
    """Who stands behind a row: the arm's people, in a contrast with those of the reference arm."""
    n = sum(each.scores.n for each in cells)
    consented = sum(each.consented for each in cells)
    return {
        "n": n,
        "n_arm": cells[0].scores.n,
        "n_reference": cells[1].scores.n if len(cells) > 1 else None,
        "denominator": n,
        "denominator_unit": "people with a score",
        "missing_share": 1 - n / consented if consented else None,
        "n_consented": consented,
        "n_excluded": sum(each.allocated for each in cells) - consented,
        "period": _period(cells),
        "parts": tuple(each.scores.n for each in cells),
    }


# --- With covariates --------------------------------------------------------------------------------------


def ancova_rows(study: ArmStudy, outcome: Outcome) -> Iterator[Row]:
    """Each arm against the reference arm at each later time point, at the same baseline and covariates."""
    reference = study.arms.reference_arm
    for time_point in outcome.time_points[1:]:
        for arm in study.arms.arms:
            if arm != reference:
                estimate, cells = ancova_of(study, outcome, time_point, arm=arm, reference=reference)
                row = contrast_row(study, "ancova_difference", estimate, *cells)
                yield study.common | place_of(outcome, time_point) | row


def ancova_of(
    study: ArmStudy,
    outcome: Outcome,
    time_point: str,
    *,
    arm: str,
    reference: str,
    without: Collection[str] = (),
) -> tuple[Estimate, tuple[Cell, Cell]]:
    """The adjusted difference, and the cells of those who are in it. Groups are clusters.

    `without`: people who are left out; none are in an analysis as allocated.
    """
    people = study.people
    scores = people.at(outcome, time_point)
    who = [each for each in scores if people.arms.get(each) in (arm, reference) and each not in without]
    adjusted = ancova(
        of(who, scores),
        of(who, people.at(outcome, outcome.time_points[0])),
        [people.arms[each] == arm for each in who],
        covariates=people.columns(study.arms.covariates, who).values,
        clusters=people.of_group(who),
        level=study.arms.level,
    )
    sizes = (adjusted.n_arm, adjusted.n_reference)
    cells = tuple(
        replace(study.cell(each, outcome, time_point), scores=Summary(n, None, None))
        for each, n in zip((arm, reference), sizes, strict=True)
    )
    return adjusted.difference, (cells[0], cells[1])


# --- How people changed -----------------------------------------------------------------------------------


_PAIRED = "people with a first and a last score"


def change_rows(study: ArmStudy, outcome: Outcome, changes: pd.DataFrame) -> Iterator[Row]:
    """Shares of each arm who recovered, improved, stayed or deteriorated from first to last score."""
    found = {
        row["arm"]: row
        for row in _of_study(changes, study)
        if tuple(row[each] for each in ("instrument", "instrument_version", "scale")) == _scale(outcome)
    }
    for arm in study.arms.arms:
        cell = study.cell(arm, outcome, outcome.time_points[0])
        for name, estimate, paired, inside in _shares(found.get(arm)):
            row = _share_row(cell, name, estimate, n=paired, inside=inside, unit=_PAIRED)
            why_not = study.keeps_change(outcome, arm)
            yield study.common | place_of(outcome, None) | row | {NOT_WATCHED: why_not}


def _shares(changed: Any) -> Iterator[tuple[str, Estimate, int, int | None]]:
    """Name, estimate, people with two scores, and those of them who are inside the share."""
    names = ("recovered", "reliably_improved", "unchanged", "reliably_deteriorated")
    if changed is None:
        for name in names:
            yield f"{name}_share", not_estimated("proportion", "nobody has a score"), 0, None
        return
    paired = int(changed["count_paired"])
    improved, deteriorated, recovered = (
        _whole(changed[f"count_{each}"]) for each in ("improved", "deteriorated", "recovered")
    )
    unchanged = None if improved is None or deteriorated is None else paired - improved - deteriorated
    for name, inside in zip(names, (recovered, improved, unchanged, deteriorated), strict=True):
        yield f"{name}_share", _share(name, inside, paired, changed), paired, inside


def _share(name: str, inside: int | None, paired: int, changed: Any) -> Estimate:
    told = [
        f"{word} {changed[value]:g} points ({changed[f'{value}_basis']})"
        for word, value in (("reliable change", "reliable_change"), ("cut-off", "cut_off"))
        if changed[f"{value}_basis"] is not None and (value == "reliable_change" or name == "recovered")
    ]
    if inside is None:
        what = "a cut-off and a reliable change" if name == "recovered" else "a reliable change"
        return not_estimated("proportion", f"the registry does not tell {what} of this scale")
    share = proportion(inside, paired)
    return replace(share, method="; ".join([share.method, *told]))


def recovery_rows(study: ArmStudy, recoveries: pd.DataFrame) -> Iterator[Row]:
    """By the rule of NHS Talking Therapies, of arms whose people have both questionnaires."""
    units = {"cases": "people who finished and were a case", "finished": "people who finished"}
    names = {
        "nhs_recovery_share": ("recovered", "cases"),
        "nhs_reliable_recovery_share": ("reliably_recovered", "cases"),
        "nhs_reliable_improvement_share": ("reliably_improved", "finished"),
        "nhs_reliable_deterioration_share": ("reliably_deteriorated", "finished"),
    }
    method = "rule of NHS Talking Therapies, PHQ-9 and GAD-7; finished: two sessions attended"
    for row in _of_study(recoveries, study):
        if row["arm"] not in study.arms.arms:
            continue
        cell = study.cell(row["arm"], study.arms.outcomes[0], study.arms.outcomes[0].time_points[0])
        out_of = {"cases": int(row["count_finished_cases"]), "finished": int(row["count_finished"])}
        for name, (inside, unit) in names.items():
            n = int(row[f"count_{inside}"])
            share = proportion(n, out_of[unit])
            estimate = replace(share, method=f"{share.method}; {method}")
            place = {"outcome": "recovery", "instrument": "phq-9, gad-7", "instrument_scale": "total"}
            place |= {NOT_WATCHED: GROWS}
            yield (
                study.common
                | place
                | _share_row(cell, name, estimate, n=out_of[unit], inside=n, unit=units[unit])
            )


def _share_row(cell: Cell, name: str, estimate: Estimate, *, n: int, inside: int | None, unit: str) -> Row:
    counted = replace(cell, scores=Summary(n, None, None))
    return (
        estimate_columns(estimate)
        | people_columns([counted])
        | {
            "estimate_name": name,
            "arm": cell.arm,
            "denominator_unit": unit,
            "period": None,
            # Inside and outside of the share.
            "parts": (n,) if inside is None else (n, inside, n - inside),
        }
    )


# --- What it cost -----------------------------------------------------------------------------------------


def cost_rows(study: ArmStudy, costs: pd.DataFrame) -> Iterator[Row]:
    """Mean cost of a person by arm and currency, of those for whom one was posted."""
    of_study = costs[(costs["tenant_id"] == study.tenant) & (costs["study_code"] == study.protocol.study)]
    outcome = study.arms.outcomes[0]
    for (arm, currency), found in of_study.groupby(["arm", "cost_currency"]):
        if arm not in study.arms.arms:
            continue
        amounts = summarise(found["cost_amount"])
        cell = replace(study.cell(str(arm), outcome, outcome.time_points[0]), scores=amounts)
        yield (
            study.common
            | estimate_columns(mean(amounts))
            | people_columns([cell])
            | {
                "outcome": "cost",
                "estimate_name": "mean_cost",
                NOT_WATCHED: GROWS,
                "arm": arm,
                "part": currency,
                "denominator_unit": "people for whom a cost was posted",
                "period": None,
            }
        )


# --- Small parts ------------------------------------------------------------------------------------------


def _scale(outcome: Outcome) -> tuple[str, str, str]:
    return outcome.instrument, outcome.instrument_version, outcome.scale


def _of_study(rows: pd.DataFrame, study: ArmStudy) -> list[Row]:
    is_of_it = (rows["tenant_id"] == study.tenant) & (rows["study_code"] == study.protocol.study)
    return _records(rows[is_of_it])


def _records(rows: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _spread(scores: Summary) -> Estimate:
    method = "standard deviation, n − 1"
    if scores.sd is None:
        return not_estimated(method, "fewer than two people have a value")
    return Estimate(scores.sd, None, None, None, method)


def _design(protocol: Study, studies: pd.DataFrame, tenant: str) -> Design:
    """The weaker of the protocol's design and the one that the partner registered.

    A study that its partner has not registered as randomised is not taken for one.
    """
    own = studies[(studies["tenant_id"] == tenant) & (studies["study_code"] == protocol.study)]
    registered = own["design"].iloc[0] if len(own) else None
    known = registered.replace("_", "-") if isinstance(registered, str) else "controlled"
    return next(each for each in STRENGTH if each in (protocol.design, known))


def _period(cells: Sequence[Cell]) -> str | None:
    first = [each.first for each in cells if each.first]
    last = [each.last for each in cells if each.last]
    return f"{min(first)}/{max(last)}" if first and last else None


def _whole(value: Any) -> int | None:
    """A count that may be missing, which frames have as NaN or NA."""
    import pandas as pd

    return None if pd.isna(value) else int(value)
