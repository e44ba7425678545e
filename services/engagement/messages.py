"""Figures to the messages that are sent. Pure; state is `state`, what is read is `reading`."""

from __future__ import annotations

import numpy as np
from circles.engagement.v1.group_engagement_pb2 import GroupEngagement, WindowEngagement

from services.engagement import kernels
from services.engagement.layout import WINDOWS_HOURS
from services.engagement.partitions import GroupFigures

COUNTS = [
    "count_events", "count_posts", "count_replies", "count_reads", "count_reactions",
    "count_active_participants", "count_newcomers", "count_returning", "count_dropouts", "count_sessions",
    "count_places", "count_attendances", "count_threads", "count_threads_answered",
    "count_threads_followed_1h", "count_threads_answered_1h", "count_threads_followed_24h",
    "count_threads_answered_24h", "count_threads_moderated", "count_dyads", "count_dyads_reciprocal",
    "count_contributors", "count_posts_of_top",
]  # fmt: skip
"""Fields of WindowEngagement in the order of the columns of `kernels`."""


def figures_record(each: GroupFigures, topic_id: str, partition: int, offset: int) -> tuple[bytes, bytes]:
    """Key and value for `engagement-metrics`."""
    tenant_id, group_id = each.group.key
    value = group_engagement(each, topic_id, partition, offset).SerializeToString()
    return f"{tenant_id}\0{group_id}".encode(), value


def group_engagement(each: GroupFigures, topic_id: str, partition: int, offset: int) -> GroupEngagement:
    group, figures = each
    message = GroupEngagement(
        tenant_id=group.key.tenant_id,
        data_class=group.data_class,  # type: ignore[arg-type]
        group_id=group.key.group_id,
        topic_id=topic_id,
        kafka_partition=partition,
        applied_offset=offset,
        windows=map(
            _window, WINDOWS_HOURS, figures.counts.tolist(), figures.medians.tolist(), figures.gini.tolist()
        ),
    )
    message.as_of.FromSeconds(figures.as_of)
    return message


def _window(hours: int, counts: list[int], medians: list[int], gini: float) -> WindowEngagement:
    # Most figures of most windows are zero, and what is not set takes no time.
    fields: dict[str, int | float] = {
        name: count for name, count in zip(COUNTS, counts, strict=True) if count
    }
    if medians[0] != kernels.NONE:
        fields["first_reply_median_seconds"] = medians[0]
    if medians[1] != kernels.NONE:
        fields["moderator_reply_median_seconds"] = medians[1]
    if not np.isnan(gini):
        fields["contribution_gini"] = gini
    return WindowEngagement(window_hours=hours, **fields)  # type: ignore[arg-type]
