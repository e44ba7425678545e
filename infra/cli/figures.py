"""The figures of `circles status`: messages per topic, lag per consumer, rows per table.

A server that is away gives no figures; nothing here raises.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from services.kafka.topics import Topic, topics
from services.runtime.settings import KafkaSettings, PostgresSettings

Offsets = Mapping[tuple[str, int], int]

_CONSUMER_GROUPS = {f"services/{name}": name for name in ("engagement", "live", "safeguarding")}
"""Consumers whose position is in Kafka. Landing's is in the lake."""

_PATIENCE_MS = 3000
"""A page about what is down must not wait for it."""


def gather() -> dict[str, list[dict[str, Any]]]:
    """Figures under `topics` and `counts`; both empty when no server answers.

    A topic that a service keeps for itself, as its state, has no lag.
    """
    lake = _or_empty(_lake) or {"stands": {}, "counts": []}
    kafka = _or_empty(_kafka) or {"ends": {}, "groups": {}, "ids": {}}
    counts = [*lake["counts"], *(_or_empty(_published_counts) or [])]
    positions = {"services/landing": landed(lake["stands"], kafka["ids"]), **kafka["groups"]}
    lines = [
        _topic_line(topic, consumer, kafka["ends"], positions[consumer])
        for topic in topics().values()
        for consumer in topic.consumers
        if consumer in positions and consumer not in topic.producers and kafka["ends"]
    ]
    return {"topics": lines, "counts": counts}


def _topic_line(topic: Topic, consumer: str, ends: Offsets, position: Offsets) -> dict[str, Any]:
    partitions = [(topic.name, number) for number in range(topic.partitions)]
    return {
        "topic": topic.name,
        "messages": sum(ends.get(each, 0) for each in partitions),
        "consumer": consumer.rpartition("/")[2],
        "lag": lag(partitions, ends, position),
    }


def lag(partitions: list[tuple[str, int]], ends: Offsets, position: Offsets) -> int:
    """Messages that `position` has not reached. A partition never read counts whole."""
    return sum(max(0, ends.get(each, 0) - position.get(each, 0)) for each in partitions)


def _kafka() -> dict[str, Any]:
    from services.kafka.client import admin, end_offsets
    from services.kafka.logs import present_topics

    settings = KafkaSettings.load()
    connect(settings.bootstrap.split(",")[0])
    ends = end_offsets(settings, topics().values(), bootstrap_timeout_ms=_PATIENCE_MS)
    with closing(admin(settings, bootstrap_timeout_ms=_PATIENCE_MS)) as client:
        groups = {name: _committed(client, group) for name, group in _CONSUMER_GROUPS.items()}
        ids = present_topics(client, topics())
    return {"ends": ends, "groups": groups, "ids": ids}


def connect(server: str) -> None:
    """Raises OSError at once where nothing listens; kafka-python would go on trying."""
    host, _, port = server.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_MS / 1000).close()


def _committed(client: Any, group: str) -> Offsets:
    try:
        offsets = client.list_group_offsets(group)
    except Exception:  # kafka-python has several kinds for a group that never was
        return {}
    offsets = offsets.get(group, offsets)
    return {(each.topic, each.partition): value.offset for each, value in offsets.items()}


def _lake() -> dict[str, Any]:
    from services.landing.gaps import read_stands
    from services.landing.raw_tables import OWN_TABLES
    from services.runtime.lake import open_lake

    with closing(open_lake(read_only=True)) as lake:
        tables = lake.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_catalog = 'lake' AND table_schema = 'raw' ORDER BY 1"
        ).fetchall()
        names = {name for (name,) in tables}
        counts = [
            {"table": f"raw.{name}", "rows": _count(lake, name)} for name in sorted(names - OWN_TABLES.keys())
        ]
        return {"stands": read_stands(lake) if OWN_TABLES.keys() <= names else {}, "counts": counts}


def _count(lake: Any, table: str) -> int:
    # The name comes from the catalog, so that quoting it is enough.
    ((count,),) = lake.execute(f'SELECT count(*) FROM raw."{table}"').fetchall()  # noqa: S608
    return int(count)


def landed(stands: Mapping[tuple[str, int], Any], ids: Mapping[str, str]) -> Offsets:
    """Of a topic that was made anew nothing has landed, whatever has of the earlier one."""
    return {
        place: stand.next_offset for place, stand in stands.items() if stand.topic_id == ids.get(place[0])
    }


def _published_counts() -> list[dict[str, Any]]:
    import psycopg2
    from psycopg2 import sql

    settings = PostgresSettings.load()
    with (
        closing(psycopg2.connect(settings.dsn(settings.database_published))) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE table_schema IN ('live', 'evidence') ORDER BY 1, 2"
        )
        counts = []
        for schema, table in cursor.fetchall():
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table)))
            ((count,),) = cursor.fetchall()
            counts.append({"table": f"{schema}.{table}", "rows": count})
        return counts


def _or_empty(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception:  # whatever it is, `status` must still show the rest
        return None
