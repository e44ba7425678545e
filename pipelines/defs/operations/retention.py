"""Retention by hand: what shorter or longer periods would delete, and then does.

The hourly upkeep of the lake obeys the settings; here an operator tries others once. What may be forgotten
is decided in `pipelines.maintenance.policy`.
"""

from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.defs.maintenance.assets import records
from pipelines.defs.resources import Database, Lake
from pipelines.maintenance.maintenance import AlreadyUnderWay, maintain
from services.runtime.settings import RetentionSettings

STEPS = ("delete raw rows", "expire", "clean")


class Periods(dg.Config):
    """As it stands: the settings of CIRCLES_RETENTION_…, and nothing is deleted."""

    raw_days: str = Field(
        default="",
        description="Days of landing that raw tables keep, as participation_events=730,outcome_events=730. "
        "Only staged rows go. Empty: as set.",
    )
    snapshot_hours: float = Field(
        default=-1, ge=-1, description="How long the lake can be read as it was. -1: as set."
    )
    release_days: int = Field(
        default=-1, ge=-1, description="How long the snapshot of each day's last release is kept. -1: as set."
    )
    dry_run: bool = Field(default=True, description="Only count what would be deleted or expire.")


@dg.op(description="Deletes what is older than the periods, and files that nothing names any more.")
def forget(
    context: dg.OpExecutionContext, config: Periods, lake: Lake, database: Database
) -> dg.Output[None]:
    try:
        steps = list(
            maintain(
                lake.settings, database.settings, _retention(config), is_dry_run=config.dry_run, steps=STEPS
            )
        )
    except AlreadyUnderWay as error:
        raise dg.Failure(f"{error}: run this again when it has ended.") from error
    except ValueError as error:
        raise dg.Failure(f"raw_days: {error}. Nothing was deleted.", allow_retries=False) from error
    word = "would_go" if config.dry_run else "gone"
    return dg.Output(
        None,
        metadata={
            **{f"{step.name} ({word})": step.count for step in steps},
            "steps": dg.MetadataValue.table(records(steps)),
        },
    )


@dg.job(description="Deletes raw rows and expires snapshots by periods that may be tried. Dry run first.")
def retention() -> None:
    forget()


def _retention(config: Periods) -> RetentionSettings:
    wanted: dict[str, Any] = {"raw_days": config.raw_days or None}
    wanted |= {
        name: value
        for name, value in (("snapshot_hours", config.snapshot_hours), ("release_days", config.release_days))
        if value >= 0
    }
    return RetentionSettings.load(**{name: value for name, value in wanted.items() if value is not None})
