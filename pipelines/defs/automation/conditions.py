"""When assets are made without a schedule or a sensor that asks for a job: when what they rest on has moved.

A build makes marts, evidence and release in one run, and asks for nothing here. These conditions are for what
moves otherwise: marts that were computed again for earlier days, staging that live figures are held to.
"""

from __future__ import annotations

import dagster as dg

SECONDS = 30

_MOVED = dg.AutomationCondition.any_deps_updated().since_last_handled()
"""Not when the run that moved them makes this as well."""
_IN_NO_RUN = ~(dg.AutomationCondition.any_deps_in_progress() | dg.AutomationCondition.in_progress())
"""So that nothing piles up: neither while one waits or works nor while what it rests on is being made."""

WHEN_MOVED = (_MOVED & _IN_NO_RUN).with_label("what it rests on has moved")

_HOURLY: dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey] = dg.AutomationCondition.cron_tick_passed(
    "30 * * * *"
)
HOURLY_WHEN_MOVED = (_HOURLY.since_last_handled() & _MOVED & _IN_NO_RUN).with_label(
    "once an hour, if what it rests on has moved"
)

automation = dg.AutomationConditionSensorDefinition(
    name="automation",
    target=dg.AssetSelection.all(),
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Evidence anew when marts moved outside of a build; reconciliation hourly, if staging moved.",
)
