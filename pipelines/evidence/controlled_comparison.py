"""The table `controlled_comparison`: a study's arms at each time point, and each arm against the reference.

The formulas stand in `estimates`, means and deviations come from the mart, what is asked for from the
protocol. Whether a row may be shown is decided by publication.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from pipelines.evidence.estimates import (
    Estimate,
    Summary,
    count,
    hedges_g,
    mean,
    mean_difference,
    not_estimated,
)
from pipelines.evidence.inputs import Inputs
from pipelines.evidence.protocols import STRENGTH, Comparison, Outcome, protocols
from pipelines.evidence.rows import CONTROLLED_COMPARISON, estimate_columns, frame

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cell:
    """One arm at one time point. People allocated, those of them who consent, and the scores of those."""

    arm: str
    scores: Summary
    allocated: int
    consented: int
    first: date | None
    last: date | None


def controlled_comparison(inputs: Inputs) -> pd.DataFrame:
    """One row per protocol, tenant, arm, time point and estimate. Studies without data have no rows."""
    rows = [
        row
        for protocol in protocols(Comparison)
        for tenant, arms in inputs.arms[inputs.arms["study_code"] == protocol.study].groupby("tenant_id")
        for row in _rows(protocol, arms, _design(protocol, inputs.studies, str(tenant)))
    ]
    return frame(rows, CONTROLLED_COMPARISON, extra=("parts",))


def _rows(protocol: Comparison, arms: pd.DataFrame, design: str) -> Iterator[dict[str, Any]]:
    first_data = min(arms["first_allocated_at"]).date()
    common = {
        "system": protocol.system,
        "study": protocol.study,
        "protocol_version": protocol.version,
        "post_hoc": protocol.is_post_hoc(first_data),
        "tenant": arms["tenant_id"].iloc[0],
        "data_class": min(arms["data_class"]),
        "source_kind": "own",
        "population": protocol.population,
        "design": design,
    }
    for outcome in protocol.outcomes:
        for time_point in outcome.time_points:
            place = {"outcome": outcome.outcome, "instrument": outcome.instrument, "time_point": time_point}
            cells = {arm: _cell(arms, arm, outcome, time_point) for arm in protocol.arms}
            for row in _rows_of_time_point(protocol, cells, design):
                yield common | place | row


def _rows_of_time_point(
    protocol: Comparison, cells: dict[str, Cell], design: str
) -> Iterator[dict[str, Any]]:
    for cell in cells.values():
        yield from _arm_rows(cell)
    reference = cells.get(protocol.reference_arm)
    for cell in cells.values():
        if reference is not None and cell is not reference:
            yield from _contrast_rows(cell, reference, design)


def _arm_rows(cell: Cell) -> Iterator[dict[str, Any]]:
    """Size, mean and spread of one arm."""
    estimates = {"n": count(cell.scores.n), "mean": mean(cell.scores), "sd": _spread(cell.scores)}
    for name, estimate in estimates.items():
        yield estimate_columns(estimate) | _people(cell) | {"estimate_name": name, "arm": cell.arm}


def _contrast_rows(cell: Cell, reference: Cell, design: str) -> Iterator[dict[str, Any]]:
    """The arm against the reference arm, in the score's unit and standardised."""
    estimates = {
        "mean_difference": mean_difference(cell.scores, reference.scores),
        "hedges_g": hedges_g(cell.scores, reference.scores),
    }
    for name, estimate in estimates.items():
        yield (
            estimate_columns(estimate)
            | _people(cell, reference)
            | {
                "estimate_name": name,
                "arm": cell.arm,
                "reference_arm": reference.arm,
                "contrast": _contrast(cell.arm, reference.arm, design),
            }
        )


def _people(cell: Cell, reference: Cell | None = None) -> dict[str, Any]:
    """Who stands behind a row: the arm's people, in a contrast with those of the reference arm."""
    cells = [cell] if reference is None else [cell, reference]
    n = sum(each.scores.n for each in cells)
    consented = sum(each.consented for each in cells)
    return {
        "n": n,
        "n_arm": cell.scores.n,
        "n_reference": None if reference is None else reference.scores.n,
        "denominator": n,
        "denominator_unit": "people with a score",
        "missing_share": 1 - n / consented if consented else None,
        "n_consented": consented,
        "n_excluded": sum(each.allocated for each in cells) - consented,
        "period": _period(cells),
        "parts": tuple(each.scores.n for each in cells),
    }


def _cell(arms: pd.DataFrame, arm: str, outcome: Outcome, time_point: str) -> Cell:
    of_arm = arms[arms["arm"] == arm]
    found = of_arm[
        (of_arm["instrument"] == outcome.instrument)
        & (of_arm["instrument_version"] == outcome.instrument_version)
        & (of_arm["time_point"] == time_point)
    ]
    # An arm's people stand in each of its rows, also where nobody answered at this time point.
    allocated = int(of_arm["count_allocated"].max()) if len(of_arm) else 0
    consented = int(of_arm["count_consented"].max()) if len(of_arm) else 0
    if not len(found):
        return Cell(arm, Summary(0, None, None), allocated, consented, None, None)
    row = found.iloc[0]
    n = int(row["count_scored"])
    scores = Summary(n, float(row["mean"]) if n else None, float(row["sd"]) if n > 1 else None)
    return Cell(
        arm, scores, allocated, consented, row["first_answered_at"].date(), row["last_answered_at"].date()
    )


def _spread(scores: Summary) -> Estimate:
    method = "standard deviation, n − 1"
    if scores.sd is None:
        return not_estimated(method, "fewer than two people have a value")
    return Estimate(scores.sd, None, None, None, method)


def _design(protocol: Comparison, studies: pd.DataFrame, tenant: str) -> str:
    """The weaker of the protocol's design and the one that the partner registered.

    A study that its partner has not registered as randomised is not taken for one.
    """
    own = studies[(studies["tenant_id"] == tenant) & (studies["study_code"] == protocol.study)]
    registered = own["design"].iloc[0] if len(own) else None
    known = registered.replace("_", "-") if isinstance(registered, str) else "controlled"
    return min(protocol.design, known, key=STRENGTH.index)


def _contrast(arm: str, reference: str, design: str) -> str:
    if design == "randomised":
        return f"{arm} − {reference}: difference between arms as randomised"
    return f"{arm} − {reference}: associated with the arm, not an effect of it"


def _period(cells: list[Cell]) -> str | None:
    first = [each.first for each in cells if each.first]
    last = [each.last for each in cells if each.last]
    return f"{min(first)}/{max(last)}" if first and last else None
