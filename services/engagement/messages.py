"""Figures to the messages that are sent. Pure; state is `state`, what is read is `reading`."""

from __future__ import annotations

import numpy as np
from circles.engagement.v1.group_engagement_pb2 import GroupEngagement

from services.engagement import kernels
from services.engagement.partitions import GroupFigures


def figures_record(each: GroupFigures, topic_id: str, partition: int, offset: int) -> tuple[bytes, bytes]:
    """Key and value for `engagement-metrics`: a GroupEngagement, whose windows `kernels` writes."""
    group, figures = each
    message = GroupEngagement(
        tenant_id=group.key.tenant_id,
        data_class=group.data_class,  # type: ignore[arg-type]
        group_id=group.key.group_id,
        topic_id=topic_id,
        kafka_partition=partition,
        applied_offset=offset,
    )
    message.as_of.FromSeconds(figures.as_of)
    windows = np.empty(kernels.MAX_ENCODED_BYTES, np.uint8)
    size = kernels.encode(figures.counts, figures.medians, figures.gini.view(np.uint8), windows)
    return "\0".join(group.key).encode(), message.SerializeToString() + windows[:size].tobytes()
