"""Which events Kafka has had lately: the gateway's memory for DUPLICATE and CONFLICT.

Best effort and bounded: an event that is forgotten, or was posted to another process, is accepted again
and counts once by its identity. An event enters only when Kafka has acknowledged it. The tables are
searched by `kernels`, a batch at a time.
"""

from __future__ import annotations

import secrets
import uuid

import numpy as np

from services.ingestion import kernels
from services.ingestion.kernels import EVENT_COLUMNS, HASH, WHO

Known = tuple[int, np.ndarray, np.ndarray]
"""A tenant's secret number, and the tables of newer and older events of all tenants."""

NO_EVENTS = np.zeros((0, EVENT_COLUMNS), np.uint64)


def event_row(index: int, event_id: str, body_hash: int) -> tuple[int, int, int, int]:
    """An event as it is kept, in the order of the columns: where it stood in its request, its id's halves and
    its body's hash.
    """
    return index, *halves(event_id), body_hash


def halves(event_id: str) -> tuple[int, int]:
    """Of a UUID."""
    number = uuid.UUID(event_id).int
    return number >> 64, number & (1 << 64) - 1


class Recent:
    """Body hash by event_id, tenant by tenant; at most `capacity` in all, the newest half for sure."""

    def __init__(self, capacity: int) -> None:
        self._half = max(1, capacity // 2)
        self._newer, self._older = self._table(), self._table()
        self._count_newer = 0
        self._numbers: dict[str, int] = {}

    def known(self, tenant_id: str) -> Known:
        """What `kernels` needs to tell which events are known. For one batch: the next one asks again."""
        return self._number(tenant_id), self._newer, self._older

    def body_hash(self, tenant_id: str, event_id: str) -> int | None:
        """Of an event, whose id is a UUID. None: not known."""
        who = np.uint64(self._number(tenant_id))
        high, low = map(np.uint64, halves(event_id))
        for table in (self._newer, self._older):
            row = table[kernels.place_of(table, who, high, low)]
            if row[WHO]:
                return int(row[HASH])
        return None

    def add(self, tenant_id: str, events: np.ndarray) -> None:
        """The newest of a tenant's events, which Kafka has, as `event_row` makes them."""
        who = np.uint64(self._number(tenant_id))
        while len(events):
            room = self._half - self._count_newer
            self._count_newer += kernels.remember(self._newer, who, events[:room])
            events = events[room:]
            if self._count_newer >= self._half:
                self._older, self._newer, self._count_newer = self._newer, self._older, 0
                self._newer.fill(0)

    def _number(self, tenant_id: str) -> int:
        """Above 0."""
        known = self._numbers.get(tenant_id)
        if known is None:
            known = self._numbers[tenant_id] = 1 + secrets.randbits(62)
        return known

    def _table(self) -> np.ndarray:
        """Twice as many rows as events at least, and a power of two of them."""
        return np.zeros((2 << self._half.bit_length(), EVENT_COLUMNS), np.uint64)
