"""The table `professional_moderation`: how people write, answer and stay in groups, by who moderates them.

For the groups and the period that a protocol asks for: each kind of moderation, all kinds together where
there are several, each group where the protocol says so. Kinds are compared as they are; nobody draws lots
for them, so nothing here is an effect. Figures are `moderation_figures`'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.evidence.estimates import difference, not_estimated
from pipelines.evidence.inputs import Inputs
from pipelines.evidence.linear import NOT_SEPARABLE
from pipelines.evidence.moderation_figures import (
    SOON,
    Figure,
    Unit,
    codes_of,
    figures,
    held_together,
    hour_part,
    people_among,
)
from pipelines.evidence.protocols import ModeratedGroups, protocols
from pipelines.evidence.rows import PROFESSIONAL_MODERATION, estimate_columns, frame, protocol_columns

if TYPE_CHECKING:
    import pandas as pd

COMPARED = ("messages_per_member_week", "unanswered_mean_hours", "replied_share", "dropout_share")
"""What kinds of moderation are compared by; replied shares as far as a reply is soon."""

Row = dict[str, Any]


def professional_moderation(inputs: Inputs) -> pd.DataFrame:
    """One row per protocol, kind of moderation or group, figure and part."""
    rows = [row for each in protocols(ModeratedGroups) for row in _of_protocol(inputs, each)]
    return frame(rows, PROFESSIONAL_MODERATION, extra=("parts",))


def _of_protocol(inputs: Inputs, protocol: ModeratedGroups) -> Iterator[Row]:
    units = inputs.moderated_units
    for tenant, told in units[units["study"] == protocol.study].groupby("tenant_id"):
        yield from _of_tenant(protocol, told, _frames(inputs, protocol.study, str(tenant)))


def _frames(inputs: Inputs, study: str, tenant: str) -> Mapping[str, pd.DataFrame]:
    """What the protocol looks at, with a number for each person and each group: there are many rows."""
    all_of = {name: getattr(inputs, f"moderated_{name}") for name in ("members", "threads", "networks")}
    found = {
        name: each[(each["study"] == study) & (each["tenant_id"] == tenant)] for name, each in all_of.items()
    }
    for number, name in (("person", "participant_id"), ("group", "group_id")):
        # A network is of a group, and of no person.
        having = [each for each, rows in found.items() if name in rows.columns]
        codes = codes_of(np.concatenate([found[each][name].to_numpy(object) for each in having]))
        ends = np.cumsum([len(found[each]) for each in having])[:-1]
        for each, its in zip(having, np.split(codes, ends), strict=True):
            found[each] = found[each].assign(**{number: its})
    return found


def _of_tenant(
    protocol: ModeratedGroups, told: pd.DataFrame, frames: Mapping[str, pd.DataFrame]
) -> Iterator[Row]:
    is_whole = told["moderation"].isna()
    of_kinds, of_groups = told[~is_whole & told["group_id"].isna()], told[told["group_id"].notna()]
    if len(of_kinds) > 1:
        (whole,) = told[is_whole].itertuples()
        unit = Unit(whole, **frames)
        yield from (_row(protocol, unit, each) for each in _figures(protocol, unit))
    kinds = _units(of_kinds, frames, "moderation")
    yield from _level(protocol, kinds, is_brief=False)
    if len(of_groups) > 1:
        yield from _level(protocol, _units(of_groups, frames, "group_id"), is_brief=True)


def _units(told: pd.DataFrame, frames: Mapping[str, pd.DataFrame], by: str) -> list[Unit]:
    split = {name: dict(list(each.groupby(by))) for name, each in frames.items()}
    return [
        Unit(row, **{name: split[name].get(getattr(row, by), each.iloc[:0]) for name, each in frames.items()})
        for row in told.itertuples()
    ]


def _figures(protocol: ModeratedGroups, unit: Unit, is_brief: bool = False) -> list[Figure]:
    return list(figures(unit, protocol.hours, protocol.days, protocol.cohorts, is_brief=is_brief))


def _level(protocol: ModeratedGroups, units: Sequence[Unit], *, is_brief: bool) -> Iterator[Row]:
    """Rows of units that add up to a whole, and of kinds against the reference."""
    found = [_figures(protocol, each, is_brief) for each in units]
    if len(units) > 1:
        found = _held(found)
    for unit, its in zip(units, found, strict=True):
        yield from (_row(protocol, unit, each) for each in its)
    if is_brief or protocol.reference_moderation is None:
        return
    by_kind = {each.told.moderation: (each, its) for each, its in zip(units, found, strict=True)}
    if protocol.reference_moderation in by_kind:
        reference = by_kind.pop(protocol.reference_moderation)
        for unit, its in by_kind.values():
            yield from _compared(protocol, unit, its, *reference)


def _held(found: Sequence[Sequence[Figure]]) -> list[list[Figure]]:
    """What units tell of one thing is held together."""
    places: dict[tuple[str, str | None], list[Figure]] = {}
    for its in found:
        for each in its:
            places.setdefault((each.name, each.part), []).append(each)
    held = {place: held_together(cells) for place, cells in places.items()}
    return [[next(held[each.name, each.part]) for each in its] for its in found]


def _compared(
    protocol: ModeratedGroups, unit: Unit, its: Sequence[Figure], reference: Unit, others: Sequence[Figure]
) -> Iterator[Row]:
    known = {(each.name, each.part): each for each in others}
    for each in its:
        if not _is_compared(each):
            continue
        other = known[each.name, each.part]
        yield _row(protocol, unit, _difference(each, other, min(unit.groups, reference.groups))) | {
            "reference_moderation": reference.told.moderation,
            "contrast": f"{unit.told.moderation} − {reference.told.moderation}: associated with the kind of "
            "moderation, not an effect of it",
            "n_arm": each.n,
            "n_reference": other.n,
            "n_consented": None,
            "n_excluded": None,
            "missing_share": None,
            "k": unit.groups + reference.groups,
        }


def _is_compared(figure: Figure) -> bool:
    is_soon = figure.part in [hour_part(each) for each in SOON]
    return figure.name in COMPARED and (figure.name != "replied_share" or is_soon)


def _difference(one: Figure, other: Figure, groups: int) -> Figure:
    found = difference(one.estimate, other.estimate)
    if groups < 2:
        found = not_estimated(found.method, NOT_SEPARABLE)
    both = [each.about for each in (one, other) if each.about is not None]
    return replace(
        one,
        name=f"{one.name}_difference",
        estimate=found,
        n=people_among(np.concatenate(both)),
        denominator=one.denominator + other.denominator,
        parts=(*one.parts, *other.parts),
    )


def _row(protocol: ModeratedGroups, unit: Unit, figure: Figure) -> Row:
    told = unit.told
    first, last = told.from_at.date(), told.until_at.date()
    return (
        protocol_columns(protocol, told.tenant_id, told.data_class, first)
        | estimate_columns(figure.estimate)
        | {
            "source_kind": "own",
            "group_id": _or_none(told.group_id),
            "moderation": _or_none(told.moderation),
            "part": figure.part,
            "estimate_name": figure.name,
            "n": figure.n,
            "denominator": figure.denominator,
            "denominator_unit": figure.unit,
            "missing_share": 0.0,
            "n_consented": unit.people,
            "n_excluded": int(told.count_members) - unit.people,
            "k": unit.groups,
            "design": protocol.design,
            "period": f"{first}/{last}",
            "parts": figure.parts,
        }
    )


def _or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None
