"""The lake's upkeep as an asset, so that files, bytes and snapshots are drawn over time.

What is done, and in which order, stands in `pipelines.maintenance`.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.defs import freshness
from pipelines.defs.resources import Database, Lake
from pipelines.maintenance.maintenance import STEPS, UNITS, AlreadyUnderWay, Step, maintain
from services.runtime.lake import current_snapshot
from services.runtime.settings import RetentionSettings

GROUP = "maintenance"
MAINTENANCE = dg.AssetKey(["maintenance", "lake"])


class Upkeep(dg.Config):
    """As it stands: all steps, as every hour."""

    steps: list[str] = Field(default=[], description=f"Only these of: {', '.join(STEPS)}. None: all of them.")
    dry_run: bool = Field(default=False, description="Only count what would be deleted or expire.")


@dg.asset(
    key=MAINTENANCE,
    group_name=GROUP,
    kinds={"ducklake"},
    freshness_policy=freshness.KEPT_IN_ORDER,
    description="The lake with small files merged, old snapshots expired, and what nothing names deleted.",
)
def lake_maintenance(
    context: dg.AssetExecutionContext, config: Upkeep, lake: Lake, database: Database
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    steps = []
    try:
        for step in maintain(
            lake.settings,
            database.settings,
            RetentionSettings.load(),
            is_dry_run=config.dry_run,
            steps=config.steps,
        ):
            context.log.info("%s: %d %s, %.1f s", step.name, step.count, UNITS[step.name], step.seconds)
            steps.append(step)
    except AlreadyUnderWay:
        # Somebody runs `circles maintain`: what there was to do, that does.
        return dg.MaterializeResult(metadata={"skipped": "another maintenance is under way"})
    except ValueError as error:
        raise dg.Failure(f"{error}. Nothing was done.", allow_retries=False) from error
    with lake.open(read_only=True) as connection:
        snapshot = current_snapshot(connection)
    return dg.MaterializeResult(
        metadata={**_metadata(steps), "lake_snapshot": snapshot, "dry_run": config.dry_run}
    )


def _metadata(steps: Sequence[Step]) -> dict[str, Any]:
    first, last = steps[0].before, steps[-1].after
    return {
        "files_before": first.count_files,
        "files": last.count_files,
        "megabytes": round(last.bytes_of_files / 1e6, 3),
        "files_on_disk": last.count_on_disk,
        "megabytes_on_disk": round(last.bytes_on_disk / 1e6, 3),
        "snapshots": last.count_snapshots,
        "seconds": round(sum(step.seconds for step in steps), 2),
        "left_for_next_run": sum(len(step.left) for step in steps),
        **{f"{step.name} ({UNITS[step.name]})": step.count for step in steps},
        "steps": dg.MetadataValue.table(records(steps)),
    }


def records(steps: Sequence[Step]) -> list[dg.TableRecord]:
    """A row for each step."""
    return [_record(step) for step in steps]


def _record(step: Step) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "step": step.name,
            "count": step.count,
            "of": UNITS[step.name],
            "files_before": step.before.count_files,
            "files": step.after.count_files,
            "megabytes_on_disk_before": round(step.before.bytes_on_disk / 1e6, 3),
            "megabytes_on_disk": round(step.after.bytes_on_disk / 1e6, 3),
            "seconds": round(step.seconds, 2),
            "left": "; ".join(step.left),
        }
    )
