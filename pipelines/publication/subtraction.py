"""What can be had by subtraction: of figures about people who are counted in several ways at once.

A cell is a set of people who share values, as women, or women who are a case; the cell without values is
everybody. Where cells that have one value more are all there, they add up to a cell: so who knows a total and
all of its parts but one knows that one. Here it is decided which further rows are held back, so that no small
cell follows from those that are shown. A row is taken to tell the exact number of people in its cells, also
where it gives a weighted share. What people may know from elsewhere, or from another release, is not here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Cell = frozenset[tuple[str, Hashable]]
"""Values by dimension, as {("gender", "woman"), ("case", True)}."""
Cube = Mapping[Cell, int]
"""People in each cell, also in those that no row tells of."""
Sum = tuple[Cell, tuple[Cell, ...]]
"""A whole and its parts."""

_ROUNDING = 1e-9


def cell(**values: Hashable) -> Cell:
    return frozenset(values.items())


def held_back(told: Sequence[Collection[Cell]], cube: Cube, threshold: int) -> set[int]:
    """Places of the rows that may not be shown, where row i tells of the cells `told[i]`.

    Rows of small cells first. As long as a small cell follows from what is left, or small cells together are
    what a shown whole has beside its shown parts, the rows of the smallest cell that it follows from go as
    well. Empty cells are taken as known: that nobody is there may follow from what is asked.
    """
    small = {each for each, people in cube.items() if 0 < people < threshold}
    held = {i for i, cells in enumerate(told) if not small.isdisjoint(cells)}
    sums = [*sums_of(cube)] if small else []
    empty = {each for each, people in cube.items() if people == 0}
    while small:
        known = empty | {each for i, cells in enumerate(told) if i not in held for each in cells}
        next_one = _left_over(sums, cube, known, threshold) or _determined(sums, cube, known, small)
        if next_one is None:
            break
        held |= {i for i, cells in enumerate(told) if next_one in cells}
    return held


def sums_of(cube: Cube) -> Iterator[Sum]:
    """Each whole with the parts that it is split into by one more dimension.

    Parts of a dimension have to be there for all of its values, an answer that is missing being one.
    """
    parts: dict[tuple[Cell, str], list[Cell]] = defaultdict(list)
    for each in cube:
        # In an order of their own: that of a set is another in each process.
        for value in sorted(each, key=repr):
            whole = each - {value}
            if whole in cube:
                parts[whole, value[0]].append(each)
    return ((whole, tuple(found)) for (whole, _), found in parts.items())


def _left_over(sums: Sequence[Sum], cube: Cube, known: set[Cell], threshold: int) -> Cell | None:
    """The smallest part that is shown of a whole that is shown, where too few people are left beside them."""
    for whole, parts in sums:
        left = sum(cube[each] for each in parts if each not in known)
        if whole in known and 0 < left < threshold:
            return _smallest(_people(parts, cube, known) or [whole], cube)
    return None


def _determined(sums: Sequence[Sum], cube: Cube, known: set[Cell], small: set[Cell]) -> Cell | None:
    """The smallest cell that is shown of those that a small cell follows from, by whatever sums and
    differences; None: no small cell follows.

    The sums are equations of cells that are not known. One cell follows where its unit vector is among the
    combinations of the equations.
    """
    unknown = [each for each in cube if each not in known]
    place = {each: i for i, each in enumerate(unknown)}
    equations = np.zeros((len(sums), len(unknown)))
    for row, (whole, parts) in zip(equations, sums, strict=True):
        for each, factor in ((whole, 1.0), *((part, -1.0) for part in parts)):
            if each in place:
                row[place[each]] = factor
    if not equations.size:
        return None
    left, sizes, right = np.linalg.svd(equations, full_matrices=False)
    is_there = sizes > _ROUNDING * max(1.0, float(sizes.max()))
    left, sizes, right = left[:, is_there], sizes[is_there], right[is_there]
    follows = (right**2).sum(axis=0) > 1 - _ROUNDING
    found = [each for each in unknown if each in small and follows[place[each]]]
    if not found:
        return None
    first = _smallest(found, cube)
    used = _used(left @ (right[:, place[first]] / sizes))
    cells = {each for i in used for each in (sums[i][0], *sums[i][1])}
    return _smallest(_people(cells, cube, known), cube)


def _used(factors: npt.NDArray[np.float64]) -> list[int]:
    return [int(i) for i in np.flatnonzero(np.abs(factors) > _ROUNDING)]


def _smallest(cells: Collection[Cell], cube: Cube) -> Cell:
    return min(cells, key=lambda each: (cube[each], sorted(map(repr, each))))


def _people(cells: Collection[Cell], cube: Cube, known: set[Cell]) -> list[Cell]:
    """Those that are shown and hold somebody."""
    return [each for each in cells if each in known and cube[each] > 0]
