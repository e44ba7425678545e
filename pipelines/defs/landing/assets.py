"""Topics and raw tables. `services.landing` fills them outside Dagster, so they are observed, not made."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from services.kafka.topics import landed_topics

GROUP = "landing"


def topic_key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["topic", name])


def raw_key(raw_table: str) -> dg.AssetKey:
    return dg.AssetKey(["raw", raw_table])


def specs() -> Iterator[dg.AssetSpec]:
    """A topic and its raw table, for each topic that is landed."""
    for topic in landed_topics():
        yield dg.AssetSpec(
            topic_key(topic.name), description=topic.description, group_name=GROUP, kinds={"kafka"}
        )
        yield dg.AssetSpec(
            raw_key(str(topic.raw_table)),
            deps=[topic_key(topic.name)],
            description=f"Rows of {topic.name}, landed with their offsets in one transaction.",
            group_name=GROUP,
            kinds={"ducklake"},
        )
