"""The live view's one statement: a figure replaces an earlier one, never a later one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC

from circles.common.v1.common_pb2 import DataClass
from circles.engagement.v1.group_engagement_pb2 import GroupEngagement
from psycopg2.extras import execute_values

from services.runtime.postgres import Connection

UPSERT = """
INSERT INTO live.group_engagement AS known (
  tenant_id, data_class, group_id, window_hours, as_of, count_by_kind, count_events,
  count_active_participants, count_replies, count_attendances, topic_id, kafka_partition, applied_offset
) VALUES %s
ON CONFLICT (tenant_id, group_id, window_hours) DO UPDATE SET
  data_class = excluded.data_class, as_of = excluded.as_of, count_by_kind = excluded.count_by_kind,
  count_events = excluded.count_events, count_active_participants = excluded.count_active_participants,
  count_replies = excluded.count_replies, count_attendances = excluded.count_attendances,
  topic_id = excluded.topic_id, kafka_partition = excluded.kafka_partition,
  applied_offset = excluded.applied_offset, updated_at = now()
WHERE known.topic_id <> excluded.topic_id OR known.applied_offset <= excluded.applied_offset
"""


def write(connection: Connection, figures: Iterable[GroupEngagement]) -> int:
    """Writes figures in one transaction; of several for one key the last wins. Returns how many."""
    newest = {(each.tenant_id, each.group_id, each.window_hours): each for each in figures}
    with connection, connection.cursor() as cursor:
        execute_values(cursor, UPSERT, [_row(each) for each in newest.values()], page_size=1000)
    return len(newest)


def _row(figure: GroupEngagement) -> tuple[object, ...]:
    return (
        figure.tenant_id,
        DataClass.Name(figure.data_class).removeprefix("DATA_CLASS_").lower(),
        figure.group_id,
        figure.window_hours,
        figure.as_of.ToDatetime(tzinfo=UTC),
        json.dumps(dict(figure.count_by_kind), sort_keys=True),
        sum(figure.count_by_kind.values()),
        figure.count_active_participants,
        figure.count_replies,
        figure.count_attendances,
        figure.topic_id,
        figure.kafka_partition,
        figure.applied_offset,
    )
