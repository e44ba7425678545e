"""The release: the newest candidate, if its checks have passed, becomes what readers see."""

import time
from typing import Any

import dagster as dg

from pipelines.defs import freshness
from pipelines.defs.automation.conditions import WHEN_MOVED
from pipelines.defs.evidence.assets import evidence_key
from pipelines.defs.resources import Database
from pipelines.evidence.rows import TABLES
from pipelines.publication.release import Release, newest_candidate, publish

GROUP = "publication"
RELEASE = dg.AssetKey(["publication", "release"])


@dg.asset(
    key=RELEASE,
    deps=[evidence_key(name) for name in TABLES],
    group_name=GROUP,
    kinds={"postgres"},
    automation_condition=WHEN_MOVED,
    freshness_policy=freshness.BUILT,
    description="What analysts read in the schema evidence, swapped in one transaction behind stable views.",
)
def release(database: Database) -> dg.MaterializeResult:  # type: ignore[type-arg]
    started = time.monotonic()
    candidate = newest_candidate(database.settings)
    if candidate is None:
        raise dg.Failure("There is no candidate yet: materialise the evidence tables first.")
    published = publish(database.settings, [*TABLES.values()], candidate)
    return dg.MaterializeResult(metadata=told(published, time.monotonic() - started))


def told(published: Release, seconds: float) -> dict[str, Any]:
    """What the page of the release shows."""
    return {
        "release_id": published.release_id,
        "lake_snapshot": published.lake_snapshot,
        "code_version": published.code_version,
        "dagster/row_count": sum(published.row_counts.values()),
        "row_counts": dg.MetadataValue.json(published.row_counts),
        "seconds": round(seconds, 2),
    }
