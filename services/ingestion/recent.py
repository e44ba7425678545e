"""Which events Kafka has had lately: the gateway's memory for DUPLICATE and CONFLICT.

Best effort and bounded: an event that is forgotten, or was posted to another process, is accepted again
and counts once by its identity. An event enters only when Kafka has acknowledged it.
"""

from __future__ import annotations

from collections.abc import Mapping


class Recent:
    """Body hash by tenant and event_id, of at least the newest `capacity` / 2 and at most `capacity`."""

    def __init__(self, capacity: int) -> None:
        self._half = max(1, capacity // 2)
        self._newer: dict[tuple[str, str], int] = {}
        self._older: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def body_hash(self, key: tuple[str, str]) -> int | None:
        """The hash of the body that is known under (tenant_id, event_id)."""
        found = self._newer.get(key)
        return found if found is not None else self._older.get(key)

    def add(self, events: Mapping[tuple[str, str], int]) -> None:
        self._newer.update(events)
        if len(self._newer) >= self._half:
            self._older, self._newer = self._newer, {}
