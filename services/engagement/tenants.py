"""What the groups of a tenant on one partition contribute to the tenant's figures. Pure.

Sums by hour of event time, each active group's newest hour, and an even sample of people with the hours of
their activities. All change by what comes, is hidden or comes back, so that nothing is counted anew.
`services.live` merges the contributions of all partitions.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from circles.engagement.v1.tenant_contribution_pb2 import TenantContribution
from numpy.typing import NDArray

from services.engagement.layout import (
    ATTENDED,
    LOG_SECONDS,
    MEMBER_ROLES,
    REACTED,
    READ,
    REPLIED,
    STARTED,
    Events,
)
from services.engagement.people import is_active

HOUR = 3600
LOG_HOURS = LOG_SECONDS // HOUR
MAX_SAMPLED = 1024
"""People of one tenant and partition. Of more, those with the lowest pseudonyms stand for all: these are
random, so that the sample is even, and the same people are in the samples of all partitions."""

FIGURES = ("count_events", "count_posts", "count_replies", "count_reads", "count_reactions", "count_attended")
"""What adds up, in the order of the sums."""


class Contribution:
    """Of one tenant."""

    def __init__(self, tenant_id: str, data_class: int) -> None:
        self.tenant_id = tenant_id
        self.data_class = data_class
        self._sums: dict[int, NDArray[np.int64]] = {}
        self._groups: dict[str, int] = {}
        self._newest_hour: int | None = None
        """Of any event, also of one that does not count: it never goes back, as the groups' `as_of`."""
        self._threshold = 0
        """Sampled are people with a lower number; 0: all."""
        self._sampled: dict[int, Counter[int]] = defaultdict(Counter)
        """Activities by hour."""

    def change(self, events: Events, sign: int) -> None:
        """Adds events that count from now on, or takes out those that do not any more."""
        if len(events) == 0:
            return
        hours, place = np.unique(events["at"] // HOUR, return_inverse=True)
        kind = events["kind"]
        columns = (
            np.ones(len(events), np.bool_),
            (kind == STARTED) | (kind == REPLIED),
            kind == REPLIED,
            kind == READ,
            kind == REACTED,
            (kind == ATTENDED) & np.isin(events["role"], MEMBER_ROLES),
        )
        sums = np.stack([np.bincount(place, column, len(hours)) for column in columns], axis=1)
        for hour, each in zip(hours.tolist(), sums.astype(np.int64), strict=True):
            self._sums[hour] = self._sums.get(hour, 0) + sign * each
        self._sample(events[is_active(events)], sign)

    def set_group(self, group_id: str, as_of: int, newest_active_at: int | None) -> None:
        """How far a group with events has come, and when it was active last, within its log."""
        newest_hour = (as_of - 1) // HOUR
        known = newest_hour if self._newest_hour is None else self._newest_hour
        self._newest_hour = max(newest_hour, known)
        if newest_active_at is None:
            self._groups.pop(group_id, None)
        else:
            self._groups[group_id] = newest_active_at // HOUR

    def record(self, topic_id: str, partition: int, applied_offset: int) -> tuple[bytes, bytes]:
        """Key and value for `engagement-contributions`."""
        self._forget()
        hours = sorted(hour for hour, sums in self._sums.items() if sums[0] > 0)
        people = [(person, max(hours)) for person, hours in self._sampled.items() if hours]
        message = TenantContribution(
            tenant_id=self.tenant_id,
            data_class=self.data_class,  # type: ignore[arg-type]
            figures=FIGURES,
            hours=hours,
            sums=np.concatenate([self._sums[hour] for hour in hours]).tolist() if hours else [],
            newest_hour=self._newest_hour,
            active_group_hours=self._groups.values(),
            sample_threshold=self._threshold,
            sampled_participants=[person for person, _ in people],
            sampled_hours=[hour for _, hour in people],
            topic_id=topic_id,
            kafka_partition=partition,
            applied_offset=applied_offset,
        )
        return self.tenant_id.encode(), message.SerializeToString()

    def _sample(self, events: Events, sign: int) -> None:
        if self._threshold:
            events = events[events["person"] < np.uint64(self._threshold)]
        for person, hour in zip(events["person"].tolist(), (events["at"] // HOUR).tolist(), strict=True):
            hours = self._sampled[person]
            hours[hour] += sign
            if hours[hour] == 0:
                del hours[hour]
                if not hours:
                    del self._sampled[person]
        if len(self._sampled) > MAX_SAMPLED:
            kept = sorted(self._sampled)
            self._threshold = kept[MAX_SAMPLED // 2]
            for person in kept[MAX_SAMPLED // 2 :]:
                del self._sampled[person]

    def _forget(self) -> None:
        """What has left the 28 days up to the tenant's newest hour here."""
        if self._newest_hour is None:
            return
        oldest = self._newest_hour - LOG_HOURS
        for hour in [hour for hour, sums in self._sums.items() if hour <= oldest or not sums.any()]:
            del self._sums[hour]
        for group_id in [group_id for group_id, hour in self._groups.items() if hour <= oldest]:
            del self._groups[group_id]
        for person, hours in list(self._sampled.items()):
            for hour in [hour for hour in hours if hour <= oldest]:
                del hours[hour]
            if not hours:
                del self._sampled[person]
