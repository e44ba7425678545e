"""What follows by subtraction, against an attacker who solves the equations of all kinds of people."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.publication.disclosure import control
from pipelines.publication.subtraction import Cell, Cube, cell, held_back, sums_of
from tests.unit.test_disclosure import full_row

Table = Sequence[Sequence[int]]


def one_way(*counts: int) -> Cube:
    """Everybody, and strata by place."""
    return {cell(): sum(counts)} | {cell(stratum=i): people for i, people in enumerate(counts)}


def two_way(table: Table) -> Cube:
    counts = np.array(table)
    found = {cell(): int(counts.sum())}
    found |= {cell(row=i): int(each) for i, each in enumerate(counts.sum(axis=1))}
    found |= {cell(column=j): int(each) for j, each in enumerate(counts.sum(axis=0))}
    return found | {cell(row=i, column=j): int(each) for (i, j), each in np.ndenumerate(counts)}


def shown(cube: Cube, held: set[int]) -> list[Cell]:
    """Where each cell has a row of its own, in the order of the cube."""
    return [each for place, each in enumerate(cube) if place not in held]


def of_its_own(cube: Cube) -> list[list[Cell]]:
    return [[each] for each in cube]


class TestOneWay:
    def test_nothing_small_holds_nothing_back(self) -> None:
        assert held_back(of_its_own(one_way(20, 30, 10)), one_way(20, 30, 10), 10) == set()

    def test_a_small_stratum_takes_the_smallest_other_with_it(self) -> None:
        cube = one_way(40, 5, 12, 30)
        assert held_back(of_its_own(cube), cube, 10) == {2, 3}

    def test_two_small_strata_that_are_few_together_take_another(self) -> None:
        cube = one_way(40, 3, 4, 12)
        assert held_back(of_its_own(cube), cube, 10) == {2, 3, 4}
        enough = one_way(40, 6, 7, 12)
        assert held_back(of_its_own(enough), enough, 10) == {2, 3}

    def test_without_a_total_a_small_stratum_goes_alone(self) -> None:
        cube = one_way(40, 5, 12)
        assert held_back(of_its_own(cube)[1:], cube, 10) == {1}

    def test_beside_one_other_stratum_both_go(self) -> None:
        cube = one_way(40, 5)
        assert held_back(of_its_own(cube), cube, 10) == {1, 2}

    def test_an_empty_stratum_hides_nobody(self) -> None:
        cube = one_way(40, 5, 0, 25)
        assert held_back(of_its_own(cube), cube, 10) == {2, 4}

    def test_a_row_goes_with_any_of_its_cells(self) -> None:
        cube = one_way(40, 5, 12)
        told = [[cell()], [cell(stratum=0), cell(stratum=1)], [cell(stratum=2)], [cell(stratum=0)]]
        assert held_back(told, cube, 10) == {1, 2}

    def test_where_single_people_may_be_shown_nothing_is_held_back(self) -> None:
        cube = one_way(1, 2, 3)
        assert held_back(of_its_own(cube), cube, 1) == set()


def test_wholes_have_parts_by_each_dimension_that_splits_them() -> None:
    found = {(whole, len(parts)) for whole, parts in sums_of(two_way([[1, 2, 3], [4, 5, 6]]))}
    everybody = {(cell(), 2), (cell(), 3)}
    rows, columns = {(cell(row=i), 3) for i in range(2)}, {(cell(column=j), 2) for j in range(3)}
    assert found == everybody | rows | columns


@given(st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3), min_size=2, max_size=4))
@settings(max_examples=150, deadline=None)
def test_of_crossed_strata_no_small_cell_follows(table: Table) -> None:
    cube = two_way(table)
    left = shown(cube, held_back(of_its_own(cube), cube, 10))
    vectors = {each: _vector(each, table) for each in cube}
    counts = np.array(table, float).ravel()
    known = [vectors[each] for each in cube if each in left or cube[each] == 0]
    rank = np.linalg.matrix_rank(np.array(known)) if known else 0
    assert all(cube[each] == 0 or cube[each] >= 10 for each in left)
    for each, people in cube.items():
        if 0 < people < 10:
            assert np.linalg.matrix_rank(np.array([*known, vectors[each]])) == rank + 1
    for whole, parts in sums_of(cube):
        if whole in left:
            rest = counts @ (vectors[whole] - sum(vectors[each] for each in parts if each in left))
            assert rest == 0 or rest >= 10


def _vector(each: Cell, table: Table) -> np.ndarray:
    """Which kinds of people, one for each row and column, are in a cell."""
    wanted = dict(each)
    places: Iterator[tuple[int, int]] = itertools.product(range(len(table)), range(len(table[0])))
    return np.array([wanted.get("row", i) == i and wanted.get("column", j) == j for i, j in places], float)


def test_control_holds_back_rows_of_one_cube_and_does_not_say_which_are_small() -> None:
    cube, other = one_way(40, 5, 12), one_way(40, 30, 12)
    rows = [
        full_row(n=people, parts=(people,), cells=(each,), cube=each_cube, n_consented=None)
        for each_cube in (cube, other)
        for each, people in each_cube.items()
    ]
    found = control(pd.DataFrame(rows, dtype=object))
    assert found["suppressed"].tolist() == [False, False, True, True, *[False] * 4]
    assert found["suppression_reason"].dropna().nunique() == 1
    assert not {"cells", "cube", "missing"} & {*found.columns}
