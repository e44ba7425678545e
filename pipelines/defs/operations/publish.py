"""Publication by hand: a candidate, or an earlier release again. What it would change is said first."""

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.defs.publication.assets import RELEASE, told
from pipelines.defs.resources import Database
from pipelines.evidence.rows import TABLES
from pipelines.publication.candidate import UnknownCandidate
from pipelines.publication.preview import changes
from pipelines.publication.release import NotApproved, newest_candidate, publish


class PublishSettings(dg.Config):
    """As it stands: the newest candidate, and nothing is published."""

    release_id: int = Field(
        default=0,
        ge=0,
        description="Number of a candidate, or of an earlier release to return to. 0: the newest candidate.",
    )
    dry_run: bool = Field(default=True, description="Only say which rows readers would see otherwise.")


@dg.op(description="Lets readers see a candidate whose checks have passed, or an earlier release again.")
def let_readers_see(
    context: dg.OpExecutionContext, config: PublishSettings, database: Database
) -> Iterator[Any]:
    started = time.monotonic()
    wanted = config.release_id or newest_candidate(database.settings)
    if wanted is None:
        raise dg.Failure("There is no candidate yet: run build_warehouse first.", allow_retries=False)
    tables = [*TABLES.values()]
    try:
        found = changes(database.settings, tables, wanted)
        if not config.dry_run:
            published = publish(database.settings, tables, wanted)
            yield dg.AssetMaterialization(RELEASE, metadata=told(published, time.monotonic() - started))
    except (UnknownCandidate, NotApproved) as error:
        raise dg.Failure(f"release_id: {error}. Nothing was published.", allow_retries=False) from error
    rows = [dg.TableRecord(each._asdict()) for each in found]
    yield dg.Output(None, metadata={"release_id": wanted, "changes": dg.MetadataValue.table(rows)})


@dg.job(name="publish", description="Publishes a candidate, or an earlier release again. Dry run first.")
def publish_by_hand() -> None:
    let_readers_see()
