"""Which events Kafka has had lately: the gateway's memory for DUPLICATE and CONFLICT.

Best effort and bounded: an event that is forgotten, or was posted to another process, is accepted again
and counts once by its identity. An event enters only when Kafka has acknowledged it.
"""

from __future__ import annotations

from collections.abc import Mapping

_NOTHING: Mapping[bytes, int] = {}


class Recent:
    """Body hash by event_id, tenant by tenant; at most `capacity` in all, the newest half for sure."""

    def __init__(self, capacity: int) -> None:
        self._half = max(1, capacity // 2)
        self._count_newer = 0
        self._newer: dict[str, dict[bytes, int]] = {}
        self._older: dict[str, dict[bytes, int]] = {}

    def of(self, tenant_id: str) -> tuple[Mapping[bytes, int], Mapping[bytes, int]]:
        """The tenant's newer and older events. For one batch: the next one asks again."""
        return self._newer.get(tenant_id, _NOTHING), self._older.get(tenant_id, _NOTHING)

    def add(self, tenant_id: str, events: Mapping[bytes, int]) -> None:
        """The newest of a tenant's events, which Kafka has."""
        self._newer.setdefault(tenant_id, {}).update(events)
        self._count_newer += len(events)
        if self._count_newer >= self._half:
            self._older, self._newer, self._count_newer = self._newer, {}, 0
