"""Tells the operator's webhook of each failed run, until it has taken it.

A sensor of Dagster's own for failed runs goes on after a post that failed; this one keeps its place.
"""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from services.runtime.settings import DagsterSettings, StackSettings
from services.runtime.webhook import Address, Undelivered, address, post, session

SECONDS = 30
AT_ONCE = 20
MAX_LETTERS = 200
_QUOTED = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`""")


@dg.sensor(
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Posts each failed run to CIRCLES_DAGSTER_WEBHOOK_URL. Off when it is not set.",
)
def failure_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    settings = DagsterSettings.load()
    target = address("CIRCLES_DAGSTER_WEBHOOK", settings.webhook_url, settings.webhook_secret_file)
    if target is None or context.cursor is None:
        # Whoever is named later is not told of the past.
        context.update_cursor(str(_newest(context.instance)))
        return dg.SkipReason(
            "Nobody is to be told." if target is None else "From now on failed runs are told."
        )
    count = 0
    for place, run in _failed_after(context.instance, int(context.cursor)):
        try:
            asyncio.run(
                _post(target, run.run_id, body(context.instance, run), settings.webhook_timeout_seconds)
            )
        except Undelivered as reason:
            if not count:
                # A tick that fails is red, and its cursor stays.
                raise
            return dg.SkipReason(f"{count} failed runs were told; the next was not taken: {reason}.")
        context.update_cursor(str(place))
        count += 1
    return dg.SkipReason(f"{count} failed runs were told.")


def body(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bytes:
    """What is posted of a failed run, as JSON."""
    step, kind, line = _failure(instance, run.run_id)
    page = DagsterSettings.load().page_url or f"http://127.0.0.1:{StackSettings.load().dagster_port}"
    told = {
        "type": "run_failed",
        "job": run.job_name,
        "run_id": run.run_id,
        "step": step,
        "error": kind,
        "message": line,
        "url": f"{page.rstrip('/')}/runs/{run.run_id}",
        "told_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return json.dumps(told).encode()


def first_line(message: str) -> str:
    """The first line without what stands in quotes, which may be a partner's value."""
    lines = message.strip().splitlines()
    return _QUOTED.sub("…", lines[0])[:MAX_LETTERS] if lines else ""


def _failure(instance: dg.DagsterInstance, run_id: str) -> tuple[str | None, str | None, str]:
    """Step, class and first line of the innermost error; of a run that was lost only what Dagster says."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        data: Any = entry.dagster_event.event_specific_data if entry.dagster_event else None
        error = getattr(data, "error", None)
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            # Its message begins with its class.
            words = error.message.removeprefix(f"{error.cls_name}: ")
            return entry.step_key, error.cls_name, first_line(words)
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE):
        return None, None, first_line((entry.dagster_event and entry.dagster_event.message) or "")
    return None, None, ""


def _newest(instance: dg.DagsterInstance) -> int:
    found = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1).records
    return found[0].storage_id if found else 0


def _failed_after(instance: dg.DagsterInstance, place: int) -> list[tuple[int, dg.DagsterRun]]:
    wanted = dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, after_storage_id=place)
    records = instance.fetch_run_status_changes(wanted, limit=AT_ONCE, ascending=True).records
    runs = [(each.storage_id, instance.get_run_by_id(each.event_log_entry.run_id)) for each in records]
    return [(place, run) for place, run in runs if run is not None]


async def _post(target: Address, run_id: str, told: bytes, timeout_seconds: float) -> None:
    async with session(timeout_seconds) as http:
        await post(http, target, run_id, told)
