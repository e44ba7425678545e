"""A tenant's figures from the contributions of all partitions: sums, and distinct people from samples.

Pure, but that records come as Kafka's client gives them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from circles.common.v1.common_pb2 import DataClass
from circles.engagement.v1.tenant_contribution_pb2 import TenantContribution
from google.protobuf.message import DecodeError

HOUR = 3600
WINDOWS_HOURS = (1, 24, 168, 672)
ALL = 1 << 64
"""A threshold below which everybody is."""


class TenantFigures(NamedTuple):
    """One window, in the order of the columns of `live.tenant_engagement`."""

    tenant_id: str
    data_class: str
    window_hours: int
    as_of: datetime
    count_events: int
    count_posts: int
    count_replies: int
    count_reads: int
    count_reactions: int
    count_attended: int
    count_active_groups: int
    count_active_participants: int
    participants_relative_error: float
    """Relative standard error of the estimate; 0: counted."""


class Tenants:
    """The newest contribution of each partition to each tenant, and whose changed."""

    def __init__(self) -> None:
        self._newest: dict[str, dict[int, TenantContribution]] = defaultdict(dict)
        self._changed: set[str] = set()

    def take(self, records: Iterable[Any]) -> None:
        """Takes in records of `engagement-contributions`; what nobody of us wrote says nothing."""
        for record in records:
            try:
                each = TenantContribution.FromString(record.value or b"")
            except DecodeError:
                continue
            known = self._newest[each.tenant_id].get(each.kafka_partition)
            is_newer = (
                known is None
                or known.topic_id != each.topic_id
                or known.applied_offset <= each.applied_offset
            )
            if each.topic_id and is_newer:
                self._newest[each.tenant_id][each.kafka_partition] = each
                self._changed.add(each.tenant_id)

    def changed(self) -> list[TenantFigures]:
        """Figures of the tenants that changed since the last time."""
        changed, self._changed = self._changed, set()
        return [row for tenant in changed for row in tenant_figures(self._newest[tenant].values())]


def tenant_figures(contributions: Iterable[TenantContribution]) -> Iterator[TenantFigures]:
    """Of one tenant, from the newest contribution of each partition. None before anything has come."""
    contributions = [each for each in contributions if each.HasField("newest_hour")]
    if not contributions:
        return
    first = contributions[0]
    data_class = DataClass.Name(first.data_class).removeprefix("DATA_CLASS_").lower()
    newest = max(each.newest_hour for each in contributions)
    as_of = datetime.fromtimestamp((newest + 1) * HOUR, UTC)
    for window in WINDOWS_HOURS:
        oldest = newest + 1 - window
        groups = sum(hour >= oldest for each in contributions for hour in each.active_group_hours)
        sums = map(sum, zip(*(_sums(each, oldest) for each in contributions), strict=True))
        people = _people(contributions, oldest)
        yield TenantFigures._make((first.tenant_id, data_class, window, as_of, *sums, groups, *people))


def _sums(each: TenantContribution, oldest: int) -> list[int]:
    """Over the hours from `oldest` on."""
    begin = sum(hour < oldest for hour in each.hours) * len(each.figures)
    return [sum(each.sums[begin + i :: len(each.figures)]) for i in range(len(each.figures))]


def _people(contributions: list[TenantContribution], oldest: int) -> tuple[int, float]:
    """Distinct people active since the hour `oldest`: those below every sample's threshold stand for all."""
    threshold = min(each.sample_threshold or ALL for each in contributions)
    sampled = {
        person
        for each in contributions
        for person, hour in zip(each.sampled_participants, each.sampled_hours, strict=True)
        if hour >= oldest and person < threshold
    }
    share = threshold / ALL
    if share == 1 or not sampled:
        return len(sampled), 0.0
    return round(len(sampled) / share), math.sqrt((1 - share) / len(sampled))
