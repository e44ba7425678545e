"""Replay of failed events as a job: what `circles replay` does, from Dagster's page.

What can be replayed, and how, is ingestion's.
"""

from collections import Counter
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from pipelines.defs.resources import Lake
from services.runtime.settings import KafkaSettings

if TYPE_CHECKING:
    from services.ingestion.replay import Fate, Selection


class Reason(Enum):
    """Why events failed; only deferred ones can be used later."""

    DEFERRED = "deferred"
    CONFLICT = "conflict"
    INVALID_ENVELOPE = "invalid_envelope"
    UNREADABLE = "unreadable"


class ReplaySettings(dg.Config):
    """Which failed events. As it stands: all deferred ones, and nothing is sent."""

    reason: Reason = Field(
        default=Reason.DEFERRED, description="Why they failed. Only DEFERRED are replayed."
    )
    tenant: str = Field(default="", description="Only this tenant's. Empty: of all tenants.")
    since: str = Field(default="", description="Received then or later, in UTC, as 2026-05-01T12:30:00.")
    until: str = Field(default="", description="Received before that, in UTC, as 2026-05-01.")
    dry_run: bool = Field(default=True, description="Only say what would be replayed and what stays.")


@dg.op(description="Sends deferred events to where they belong, once their instrument is known.")
def replay(context: dg.OpExecutionContext, config: ReplaySettings, lake: Lake) -> dg.Output[None]:
    # Only here: it brings the gateway's compiled loops with it.
    from services.ingestion.replay import NOT_REPLAYED, deferred_events, sending
    from services.ingestion.replay import replay as replayed

    if why := NOT_REPLAYED.get(config.reason.value):
        raise dg.Failure(
            f"reason: failed events of reason {config.reason.value} are not replayed: {why}.",
            allow_retries=False,
        )
    with lake.open(read_only=True) as connection:
        events = deferred_events(connection, _selection(config))
        if config.dry_run:
            fates = replayed(events, None)
        else:
            with sending(KafkaSettings.load()) as send:
                fates = replayed(events, send)
    return dg.Output(None, metadata=_metadata(fates, is_dry_run=config.dry_run))


@dg.job(description="Sends deferred events to where they belong. Dry run unless told otherwise.")
def replay_failed_events() -> None:
    replay()


def _selection(config: ReplaySettings) -> "Selection":
    from services.ingestion.replay import Selection

    return Selection(config.tenant or None, _moment("since", config.since), _moment("until", config.until))


def _moment(field: str, value: str) -> datetime | None:
    """In UTC. Raises dagster.Failure naming field, value and rule."""
    try:
        return datetime.fromisoformat(value).replace(tzinfo=UTC) if value else None
    except ValueError as error:
        raise dg.Failure(
            f"{field}: {value!r} is not a time like 2026-05-01 or 2026-05-01T12:30:00. Nothing was replayed.",
            allow_retries=False,
        ) from error


def _metadata(fates: Counter["Fate"], *, is_dry_run: bool) -> dict[str, Any]:
    stay = sum(count for fate, count in fates.items() if fate.why_it_stays)
    rows: list[dict[str, str | int]] = [
        {
            "tenant": fate.tenant_id,
            "instrument": fate.instrument,
            "version": fate.version,
            "events": count,
            "stays because": fate.why_it_stays,
        }
        for fate, count in sorted(fates.items())
    ]
    done = "would_be_replayed" if is_dry_run else "replayed"
    return {
        done: dg.MetadataValue.int(fates.total() - stay),
        "stay": dg.MetadataValue.int(stay),
        # Dagster takes no table without rows.
        **({"events": dg.MetadataValue.table([dg.TableRecord(row) for row in rows])} if rows else {}),
    }
