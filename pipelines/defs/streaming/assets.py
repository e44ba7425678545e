"""Services, topics and live tables, as assets that Dagster shows and never makes.

Who writes and reads which topic stands in the registry, `protos/topics`. How they are doing is told by
`state`.
"""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from services.kafka.positions import outside_consumers
from services.kafka.topics import Topic, topics

GROUP = "streaming"

SERVICES = {
    "ingestion": (
        "The gateway: checks events, replaces references by pseudonyms, and answers when Kafka has them.",
        {"python", "grpc"},
    ),
    "engagement": ("Rolling figures of each group, by a Faust worker.", {"python", "kafka"}),
    "live": ("Writes rolling figures to PostgreSQL, for operators.", {"python", "postgres"}),
    "safeguarding": ("Risks to cases and alerts, by a Faust worker of its own.", {"python", "kafka"}),
    "landing": ("Kafka to lake: rows and offsets in one transaction.", {"python", "ducklake"}),
}
"""Processes of `circles status`, in the order of the flow: what each does, and its kinds."""

LIVE = dg.AssetKey(["live", "group_engagement"])
CASES = dg.AssetKey(["live", "safeguarding"])


def topic_key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["topic", name])


def service_key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["service", name])


def specs() -> Iterator[dg.AssetSpec]:
    for topic in topics().values():
        yield dg.AssetSpec(
            topic_key(topic.name),
            deps=[service_key(name) for name in _services(topic.producers)],
            description=topic.description,
            group_name=GROUP,
            kinds={"kafka"},
            metadata={"partitions": topic.partitions, **topic.config},
        )
    for name, (description, kinds) in SERVICES.items():
        yield dg.AssetSpec(
            service_key(name),
            deps=[topic_key(topic.name) for topic in read_by(name)],
            description=f"{description} services/{name}.",
            group_name=GROUP,
            kinds=kinds,
        )
    yield dg.AssetSpec(
        LIVE,
        deps=[service_key("live")],
        description="Rolling figures of each group, seconds old. For operators: no disclosure control.",
        group_name=GROUP,
        kinds={"postgres"},
    )
    yield dg.AssetSpec(
        CASES,
        deps=[service_key("safeguarding")],
        description="Safeguarding cases and their alerts. For operators, confidential.",
        group_name=GROUP,
        kinds={"postgres"},
    )


def read_by(service: str) -> list[Topic]:
    """Topics that a service reads and others write: what it keeps for itself would be a circle."""
    return [topic for topic in topics().values() if f"services/{service}" in outside_consumers(topic)]


def _services(names: tuple[str, ...]) -> Iterator[str]:
    """What of `names` is a service, as `services/live`."""
    for each in names:
        folder, _, name = each.partition("/")
        if folder == "services":
            yield name
