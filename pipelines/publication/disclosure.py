"""Disclosure control: which rows are about too few people to be shown, and what is taken out of them.

A row keeps its place: it says that it is suppressed and why. Of most tables no totals are published, so no
suppressed cell can be had by subtracting its neighbours from one. A total over groups names their sizes: what
is left beside groups that are shown has to be enough people. Rows that count people in
several ways at once, as a survey's, name their cells; `subtraction` says which others go with a small one.
How rows are computed is `pipelines.evidence`'; how they are released, `release`'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.publication.subtraction import Cube, held_back

if TYPE_CHECKING:
    import pandas as pd

THRESHOLDS = {"live": 10, "public": 1, "synthetic": 1}
"""Fewest people that a cell may be about, by data class. An unknown class is treated as live."""

LITERATURE = "literature"
"""Where rows come from that are published already: they tell nothing that is not known."""

STUDIES = "studies"
"""The unit of rows that count registered studies: they tell of no person."""

SHOWN = {"suppressed": False, "suppression_reason": None}

REASON = "fewer than {threshold} people"

REASON_OF_CELLS = "fewer than {threshold} people, or such would follow from it by subtraction"
"""Of all rows that name their cells: which of them are small themselves is not told."""

ASIDE = ("parts", "cells", "cube", "missing", "groups")
"""Columns that rows come with and readers do not see."""

TAKEN_OUT = (
    "estimate",
    "se",
    "ci_low",
    "ci_high",
    "ci_level",
    "not_estimated_reason",
    "n",
    "n_arm",
    "n_reference",
    "n_cases",
    "denominator",
    "missing_share",
    "n_consented",
    "n_excluded",
    "anytime_low",
    "anytime_high",
    "looks",
    "anytime_reason",
    "period",
    "p_adjusted",
)
"""What a suppressed row does not tell."""


def threshold_of(data_class: str) -> int:
    return THRESHOLDS.get(data_class, THRESHOLDS["live"])


def control(candidate: pd.DataFrame) -> pd.DataFrame:
    """The candidate with small cells suppressed.

    Needs a column `parts` beside the published ones: the numbers of people that a row tells of (behind it,
    inside and outside a share, not in its denominator). A row may have `cells` and `cube` (see
    `subtraction`; rows of one cube share the object), `missing`: numbers of people who lack something, in
    place of those who consent and are not in the row, and `groups`: for each total over groups that follows
    from it, their sizes. These columns are dropped.
    """
    import pandas as pd

    published = [name for name in candidate.columns if name not in ASIDE]
    columns = [*dict.fromkeys([*published, "suppressed", "suppression_reason"])]
    records = candidate.to_dict("records")
    held = _held_back(records)
    rows = [_controlled(row, is_held=place in held) for place, row in enumerate(records)]
    return pd.DataFrame(
        [{name: row[name] for name in columns} for row in rows], columns=columns, dtype=object
    )


def _held_back(rows: Sequence[dict[Any, Any]]) -> set[int]:
    """Places of the rows from which a small cell would follow, cube by cube."""
    cubes: dict[int, tuple[Cube, int]] = {}
    places: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        cube = row.get("cube")
        if isinstance(cube, Mapping):
            cubes[id(cube)] = cube, threshold_of(row["data_class"])
            places.setdefault(id(cube), []).append(place)
    return {
        found[i]
        for key, found in places.items()
        for i in held_back([rows[place]["cells"] for place in found], *cubes[key])
    }


def _controlled(row: dict[Any, Any], is_held: bool) -> dict[Any, Any]:
    if row["source_kind"] == LITERATURE or row["denominator_unit"] == STUDIES:
        return row | SHOWN
    threshold = threshold_of(row["data_class"])
    # A number that is not told is as good as small.
    is_few = any(is_small(part, threshold) for part in row["parts"]) or is_too_few(row["n"] or 0, threshold)
    if is_few or is_held or any(is_small(_left_over(each, threshold), threshold) for each in _totals(row)):
        emptied = {name: None for name in TAKEN_OUT if name in row}
        reason = REASON_OF_CELLS if isinstance(row.get("cube"), Mapping) else REASON
        return row | emptied | {"suppressed": True, "suppression_reason": reason.format(threshold=threshold)}
    return row | _without_small_remainders(row, threshold) | SHOWN


def _left_over(sizes: Sequence[int], threshold: int) -> int:
    """People of the groups that are too small to be shown alone."""
    return sum(each for each in sizes if is_small(each, threshold))


def _totals(row: dict[Any, Any]) -> tuple[Sequence[int], ...]:
    told = row.get("groups")
    return told if isinstance(told, tuple) else ()


def is_small(people: int, threshold: int) -> bool:
    """Some, but fewer than the threshold. A part that is empty tells of nobody."""
    return 0 < people < threshold


def is_too_few(people: int, threshold: int) -> bool:
    """Too few to stand behind a row. Where single people may be shown, so may nobody."""
    return people < threshold and (people > 0 or threshold > 1)


def _without_small_remainders(row: dict[str, Any], threshold: int) -> dict[str, Any]:
    """Numbers of missing or excluded people are themselves cells: taken out where they are small."""
    taken_out: dict[str, Any] = {}
    if any(is_small(each, threshold) for each in _missing(row)):
        taken_out |= {"n_consented": None, "missing_share": None}
    if row["n_excluded"] is not None and is_small(row["n_excluded"], threshold):
        taken_out |= {"n_excluded": None}
    return taken_out


def _missing(row: dict[str, Any]) -> tuple[int, ...]:
    if isinstance(row.get("missing"), tuple):
        told: tuple[int, ...] = row["missing"]
        return told
    return () if row["n_consented"] is None else (row["n_consented"] - row["n"],)
