"""Raw tables. `services.landing` fills them outside Dagster, so they are told of, not made."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from pipelines.defs import freshness
from pipelines.defs.days import DAYS
from pipelines.defs.streaming.assets import service_key, topic_key
from services.kafka.topics import landed_topics

GROUP = "landing"


def raw_key(raw_table: str) -> dg.AssetKey:
    return dg.AssetKey(["raw", raw_table])


def specs() -> Iterator[dg.AssetSpec]:
    """The raw table of each topic that is landed, by day of landing as its files are."""
    for topic in landed_topics():
        yield dg.AssetSpec(
            raw_key(str(topic.raw_table)),
            deps=[topic_key(topic.name), service_key("landing")],
            description=f"Rows of {topic.name}, landed with their offsets in one transaction.",
            group_name=GROUP,
            kinds={"ducklake"},
            partitions_def=DAYS,
            freshness_policy=freshness.LANDED,
        )
