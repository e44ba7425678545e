"""The tables from which a group's figures are made: their memory, and when they can be kept.

A small group's figures are made anew at every flush, in tables that all share. A large group has tables of
its own, into which only what is new is put while its `as_of` stands. What is in them is `kernels`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.engagement import kernels
from services.engagement.layout import Events, People

KEPT_FROM_EVENTS = 4096
"""Groups with as many events in the log keep their tables; to make those of others takes a millisecond."""

MAX_KEPT_BYTES = 256 * 1024 * 1024
"""Of one worker; the tables of the group that was quiet for longest go first. They can be made again."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a group: rows are windows, from the shortest."""

    as_of: int
    counts: NDArray[np.int64]
    """[4, kernels.TOP_POSTS + 1]"""
    medians: NDArray[np.int64]
    """Seconds [4, 2]: first reply, moderator's reply; kernels.NONE for none."""
    gini: NDArray[np.float64]
    """[4], NaN for none."""


class Tables:
    """Tables with room for `sizes` rows, in the order of kernels.ROWS."""

    def __init__(self, sizes: list[int]) -> None:
        self.rows = [np.empty(size, row) for size, row in zip(sizes, kernels.ROWS, strict=True)]
        self.slots = [np.empty(_twice(size), np.int32) for size in sizes[: kernels.KEYED]]
        self.counts = np.zeros(len(sizes), np.int64)
        self.counted = np.zeros((4, kernels.COUNTED), np.int64)
        self.as_of = 0

    @property
    def size_bytes(self) -> int:
        return sum(each.nbytes for each in (*self.rows, *self.slots))

    def begin(self, people: People, as_of: int) -> None:
        self.as_of = as_of
        persons = self.rows[kernels.PERSONS]
        kernels.begin(people, persons, *self.slots, self.counts, self.counted)  # type: ignore[call-arg]

    def add(self, events: Events) -> int:
        """kernels.ADDED, TOO_LATE or FULL."""
        tables = (*self.rows, *self.slots, self.counts, self.counted)
        answer: int = kernels.add(events, self.as_of, *tables)
        return answer

    def larger(self) -> Tables:
        """Empty ones, with twice the room where there was none left."""
        full = [
            count + kernels.KEYS_PER_EVENT > len(rows)
            for count, rows in zip(self.counts, self.rows, strict=True)
        ]
        return Tables(
            [len(rows) * (2 if is_full else 1) for rows, is_full in zip(self.rows, full, strict=True)]
        )

    def figures(self) -> Figures:
        figures = _no_figures(self.as_of)
        persons, threads, _, answers, pairs, marks = self.rows
        kernels.finish(
            self.as_of, persons, threads, answers, pairs, marks, self.slots[kernels.ANSWERS],
            self.counts, self.counted, figures.counts, figures.medians, figures.gini,
        )  # fmt: skip
        return figures

    def figures_of(self, events: Events, people: People, as_of: int) -> Figures:
        """Of these alone, for whom there is room."""
        figures = _no_figures(as_of)
        tables = (*self.rows, *self.slots, self.counts, self.counted)
        filled = (figures.counts, figures.medians, figures.gini)
        kernels.anew(events, people, as_of, *tables, *filled)  # type: ignore[call-arg]
        return figures


def _no_figures(as_of: int) -> Figures:
    counts = np.empty((4, kernels.TOP_POSTS + 1), np.int64)
    return Figures(as_of, counts, np.empty((4, 2), np.int64), np.empty(4, np.float64))


class Tabulator:
    """Makes figures; keeps the tables of large groups by their keys."""

    def __init__(
        self, kept_from_events: int = KEPT_FROM_EVENTS, max_kept_bytes: int = MAX_KEPT_BYTES
    ) -> None:
        self._kept_from_events = kept_from_events
        self._max_kept_bytes = max_kept_bytes
        self._shared: dict[int, Tables] = {}
        self._kept: OrderedDict[object, Tables] = OrderedDict()

    def figures(
        self, key: object, events: Events, people: People, as_of: int, news: Events | None
    ) -> Figures:
        """Of the group `key` with all its `events` in the log. `news`: those of them that came since the last
        time, where nothing else changed; None where something did.
        """
        tables = self._kept.pop(key, None)
        if len(events) < self._kept_from_events:
            return self._small(len(events) + len(people)).figures_of(events, people, as_of)
        if tables is None or news is None or tables.as_of != as_of or tables.add(news) != kernels.ADDED:
            tables = self._anew(tables, events, people, as_of)
        self._keep(key, tables)
        return tables.figures()

    def forget(self, key: object) -> None:
        self._kept.pop(key, None)

    def _anew(self, tables: Tables | None, events: Events, people: People, as_of: int) -> Tables:
        if tables is None or len(people) >= len(tables.rows[kernels.PERSONS]):
            few = max(64, len(events) // 4)
            tables = Tables([len(people) + few, few, few, 64, few, few])
        tables.begin(people, as_of)
        while tables.add(events) != kernels.ADDED:
            tables = tables.larger()
            tables.begin(people, as_of)
        return tables

    def _small(self, count: int) -> Tables:
        """With room for so many events and people."""
        size = _twice(count)
        if size not in self._shared:
            self._shared[size] = Tables([kernels.KEYS_PER_EVENT * size] * len(kernels.ROWS))
        return self._shared[size]

    def _keep(self, key: object, tables: Tables) -> None:
        self._kept[key] = tables
        while (
            len(self._kept) > 1
            and sum(each.size_bytes for each in self._kept.values()) > self._max_kept_bytes
        ):
            self._kept.popitem(last=False)


def _twice(count: int) -> int:
    """The smallest power of two that is at least twice as many."""
    return 1 << max(3, (2 * count - 1).bit_length())
