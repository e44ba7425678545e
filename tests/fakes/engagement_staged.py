"""Told events as rows of staging, for SQL that runs in a DuckDB of its own, without dbt and lake."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from tests.fakes.engagement_oracle import Told

TEXTS = (
    "tenant_id", "group_id", "data_class", "event_id", "kind", "participant_id", "session_id", "thread_id",
    "act_id", "in_reply_to_act_id", "attendance_role", "moderation_action", "retracted_event_id", "topic_id",
)  # fmt: skip
NUMBERS = ("kafka_partition", "kafka_offset")
STAGED = pa.schema(
    [
        *((name, pa.string()) for name in TEXTS),
        ("occurred_at", pa.timestamp("us", "UTC")),
        *((name, pa.int64()) for name in NUMBERS),
    ]
)
"""Columns of stg_participation__events, as far as rolling engagement and its reconciliation read them."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Group:
    """A group of a tenant. Groups of one tenant may have people, threads and acts of the same names."""

    tenant: str
    name: str
    told: list[Told]
    withdrawn: Collection[str] = ()


def staged(groups: Iterable[Group]) -> pa.Table:
    """Each event of the groups once, as staging has it. Its offset is its place in the order of arrival."""
    return pa.Table.from_pylist([row for group in groups for row in _rows(group)], schema=STAGED)


def _rows(group: Group) -> Iterator[dict[str, Any]]:
    first: dict[str, tuple[int, Told]] = {}
    for offset, each in enumerate(group.told):
        first.setdefault(each.event_id, (offset, each))
    for offset, each in first.values():
        yield {
            "tenant_id": group.tenant,
            "group_id": group.name,
            "data_class": "synthetic",
            "event_id": f"{group.name}/{each.event_id}",
            "kind": each.kind,
            "participant_id": each.participant or None,
            "session_id": each.session or None,
            "thread_id": each.thread or None,
            "act_id": each.act or None,
            "in_reply_to_act_id": each.in_reply_to or None,
            "attendance_role": each.role or None,
            "moderation_action": each.action or None,
            "retracted_event_id": f"{group.name}/{each.retracted}" if each.retracted else None,
            "topic_id": "topic",
            # Figures are about whole seconds; partners' clocks are not.
            "occurred_at": EPOCH
            + timedelta(seconds=each.occurred_at, microseconds=offset * 333_333 % 1_000_000),
            "kafka_partition": 0,
            "kafka_offset": offset,
        }
