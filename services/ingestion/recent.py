"""Which events Kafka has had lately: the gateway's memory for DUPLICATE and CONFLICT.

Best effort and bounded: an event that is forgotten, or was posted to another process, is accepted again
and counts once by its identity. An event enters only when Kafka has acknowledged it.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping


class Recent:
    """Body hash by event_id, tenant by tenant; at most `capacity` in all, the newest half for sure."""

    def __init__(self, capacity: int) -> None:
        self._half = max(1, capacity // 2)
        self._count_newer = 0
        self._newer: dict[str, dict[str, int]] = {}
        self._older: dict[str, dict[str, int]] = {}

    def of(self, tenant_id: str) -> Mapping[str, int]:
        """The tenant's events as they are known now. For one batch: the next one asks again."""
        newer, older = self._newer.get(tenant_id), self._older.get(tenant_id)
        if newer is None or older is None:
            return newer or older or {}
        return ChainMap(newer, older)

    def add(self, tenant_id: str, events: Mapping[str, int]) -> None:
        """The newest of a tenant's events, which Kafka has."""
        self._newer.setdefault(tenant_id, {}).update(events)
        self._count_newer += len(events)
        if self._count_newer >= self._half:
            self._older, self._newer, self._count_newer = self._newer, {}, 0
