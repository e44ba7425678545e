"""The statements of the live view: a figure replaces an earlier one, never a later one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC

from circles.common.v1.common_pb2 import DataClass
from circles.engagement.v1.group_engagement_pb2 import GroupEngagement, WindowEngagement
from psycopg2.extras import execute_values

from services.live.tenants import TenantFigures
from services.runtime.postgres import Connection

FIGURES = [(field.name, field.has_presence) for field in WindowEngagement.DESCRIPTOR.fields]
"""Columns of the same names, `window_hours` first; NULL where one that may be absent is."""

KEY = ("tenant_id", "group_id", "window_hours")
COLUMNS = (
    "tenant_id", "data_class", "group_id", "as_of", "stickiness",
    "topic_id", "kafka_partition", "applied_offset", *(name for name, _ in FIGURES),
)  # fmt: skip

UPSERT = f"""
INSERT INTO live.group_engagement AS known ({", ".join(COLUMNS)}) VALUES %s
ON CONFLICT ({", ".join(KEY)}) DO UPDATE SET
  {", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in KEY)}, updated_at = now()
WHERE known.topic_id <> excluded.topic_id OR known.applied_offset <= excluded.applied_offset
"""  # noqa: S608


def write(connection: Connection, figures: Iterable[GroupEngagement]) -> int:
    """Writes figures in one transaction; of several of a group the last wins. Returns of how many groups."""
    newest = {(each.tenant_id, each.group_id): each for each in figures}
    with connection, connection.cursor() as cursor:
        rows = [row for each in newest.values() for row in _rows(each)]
        execute_values(cursor, UPSERT, rows, page_size=1000)
    return len(newest)


TENANT_KEY = ("tenant_id", "window_hours")
UPSERT_TENANTS = f"""
INSERT INTO live.tenant_engagement ({", ".join(TenantFigures._fields)}) VALUES %s
ON CONFLICT ({", ".join(TENANT_KEY)}) DO UPDATE SET
  {", ".join(f"{name} = excluded.{name}" for name in TenantFigures._fields if name not in TENANT_KEY)},
  updated_at = now()
"""  # noqa: S608


def write_tenants(connection: Connection, figures: Sequence[TenantFigures]) -> None:
    """Writes all windows of the tenants that changed, in one transaction."""
    with connection, connection.cursor() as cursor:
        execute_values(cursor, UPSERT_TENANTS, figures, page_size=1000)


def _rows(group: GroupEngagement) -> Iterator[tuple[object, ...]]:
    data_class = DataClass.Name(group.data_class).removeprefix("DATA_CLASS_").lower()
    as_of = group.as_of.ToDatetime(tzinfo=UTC)
    active = {each.window_hours: each.count_active_participants for each in group.windows}
    stickiness = active[24] / active[672] if active.get(672) else None
    for window in group.windows:
        yield (
            group.tenant_id, data_class, group.group_id, as_of, stickiness,
            group.topic_id, group.kafka_partition, group.applied_offset,
            *(_value(window, name, may_be_absent) for name, may_be_absent in FIGURES),
        )  # fmt: skip


def _value(window: WindowEngagement, name: str, may_be_absent: bool) -> object:
    if may_be_absent and not window.HasField(name):  # type: ignore[arg-type]
        return None
    return getattr(window, name)
