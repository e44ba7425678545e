"""How much a tenant may post: events and bytes per second, streams at once. Pure but for the clock that
it is given.

A bucket may be overdrawn by one batch, so that no batch is too large for a small limit; what is owed is
waited for. What happens to a call over its limit is decided by `servicers`.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator

from services.ingestion.keys import Limits, Tenant

BURST_SECONDS = 2.0
"""A tenant that was quiet may post so many seconds' worth at once."""

HOLD_SECONDS = 0.25
"""A call over its limit is answered so much later: whoever repeats at once, and does not wait as told, would
else keep the gateway busy with refusals, at the cost of others. What the limit allows meanwhile is not lost.
"""

MAX_HELD_BYTES = 4 * 1024 * 1024
"""Of one tenant's calls that wait for their refusal; those beyond are refused at once."""


class Bucket:
    """A token bucket. Time is in seconds, of any clock that only goes forward."""

    def __init__(self, per_second: float, now: float) -> None:
        self.per_second = per_second
        self._tokens = per_second * BURST_SECONDS
        self._at = now

    def owed_seconds(self, now: float) -> float:
        """How long until something may be taken. 0: now."""
        self._tokens = min(self.per_second * BURST_SECONDS, self._tokens + (now - self._at) * self.per_second)
        self._at = now
        return max(0.0, -self._tokens / self.per_second)

    def take(self, amount: float) -> None:
        self._tokens -= amount


class TenantLimits:
    """The limits of all tenants in this process."""

    def __init__(self, defaults: Limits, share: float, clock: Callable[[], float]) -> None:
        """`share`: this process's part of each limit, 1 when it is the only one."""
        self._defaults = defaults
        self._share = share
        self._clock = clock
        self._buckets: dict[str, tuple[Limits, Bucket, Bucket]] = {}
        self._streams: Counter[str] = Counter()
        self._held_bytes: Counter[str] = Counter()

    def owed_seconds(self, tenant: Tenant) -> float:
        """How long the tenant must wait before its next batch. 0: not at all."""
        events, octets = self._of(tenant)
        now = self._clock()
        return max(events.owed_seconds(now), octets.owed_seconds(now))

    def take(self, tenant: Tenant, count_events: int, count_bytes: int) -> None:
        events, octets = self._of(tenant)
        events.take(count_events)
        octets.take(count_bytes)

    @contextlib.contextmanager
    def held(self, tenant: Tenant, size: int) -> Iterator[float]:
        """For how many seconds a refusal of so many bytes waits; what waits counts for the block."""
        held = self._held_bytes[tenant.tenant_id]
        if held + size > MAX_HELD_BYTES:
            yield 0.0
            return
        self._held_bytes[tenant.tenant_id] += size
        try:
            yield HOLD_SECONDS
        finally:
            self._held_bytes[tenant.tenant_id] -= size

    def open_stream(self, tenant: Tenant) -> bool:
        """Whether the tenant may have one more stream; if so it counts until `close_stream`."""
        most = self._value(tenant.limits.streams, self._defaults.streams)
        if self._streams[tenant.tenant_id] >= max(1, most * self._share):
            return False
        self._streams[tenant.tenant_id] += 1
        return True

    def close_stream(self, tenant: Tenant) -> None:
        self._streams[tenant.tenant_id] -= 1
        self._streams += Counter()  # drops tenants without streams

    def _of(self, tenant: Tenant) -> tuple[Bucket, Bucket]:
        known = self._buckets.get(tenant.tenant_id)
        if known is None or known[0] != tenant.limits:
            now = self._clock()
            own, default = tenant.limits, self._defaults
            events = self._value(own.events_per_second, default.events_per_second) * self._share
            octets = self._value(own.bytes_per_second, default.bytes_per_second) * self._share
            known = (own, Bucket(events, now), Bucket(octets, now))
            self._buckets[tenant.tenant_id] = known
        return known[1], known[2]

    @staticmethod
    def _value(own: float | None, default: float | None) -> float:
        value = own if own is not None else default
        return value if value is not None else float("inf")
