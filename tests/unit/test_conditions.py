"""What is made because something moved: once, and never beside a build that makes it anyway."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from pipelines.defs.automation.conditions import HOURLY_WHEN_MOVED, WHEN_MOVED
from pipelines.defs.days import DAYS, today


@dg.asset(partitions_def=DAYS)
def mart() -> None: ...


@dg.asset(deps=[mart], automation_condition=WHEN_MOVED)
def evidence() -> None: ...


@dg.asset(deps=[evidence], automation_condition=WHEN_MOVED)
def release() -> None: ...


@dg.asset(deps=[mart], automation_condition=HOURLY_WHEN_MOVED)
def reconciliation() -> None: ...


class Daemon:
    """Dagster's daemon over these assets: what it would start at each look."""

    def __init__(self) -> None:
        self.defs = dg.Definitions([mart, evidence, release, reconciliation])
        self.instance = dg.DagsterInstance.ephemeral()
        self.now = datetime.now(UTC)
        self.cursor: Any = None

    def looks(self, minutes: int = 1) -> set[str]:
        self.now += timedelta(minutes=minutes)
        result = dg.evaluate_automation_conditions(
            self.defs, self.instance, cursor=self.cursor, evaluation_time=self.now
        )
        self.cursor = result.cursor
        return {each.key.path[0] for each in result.results if each.true_subset.size}

    def is_told(self, made: dg.AssetsDefinition, day: str | None = None) -> None:
        self.instance.report_runless_asset_event(dg.AssetMaterialization(made.key, partition=day))


@pytest.fixture
def daemon() -> Daemon:
    found = Daemon()
    assert found.looks() == set()
    return found


@pytest.mark.parametrize("day", ["2026-04-01", today()])
def test_marts_that_moved_alone_make_evidence_and_release_once(daemon: Daemon, day: str) -> None:
    daemon.is_told(mart, day)
    assert daemon.looks() == {"evidence", "release"}
    assert daemon.looks() == set()


def test_a_build_asks_for_nothing_more(daemon: Daemon) -> None:
    dg.materialize([mart, evidence, release], instance=daemon.instance, partition_key=today())
    assert daemon.looks() == set()


def test_reconciliation_comes_once_an_hour_and_only_when_something_moved(daemon: Daemon) -> None:
    assert "reconciliation" not in daemon.looks(60)
    daemon.is_told(mart, today())
    assert "reconciliation" in daemon.looks()
    daemon.is_told(reconciliation)
    assert daemon.looks() == set()
    daemon.is_told(mart, today())
    assert "reconciliation" not in daemon.looks()
    assert "reconciliation" in daemon.looks(60)
    daemon.is_told(reconciliation)
    assert "reconciliation" not in daemon.looks(60)


def test_while_one_works_nothing_is_asked_for_again(daemon: Daemon) -> None:
    at_work = planned_run(daemon.instance, evidence.key)
    daemon.is_told(mart, today())
    assert daemon.looks() == set()
    daemon.instance.delete_run(at_work)


def planned_run(instance: dg.DagsterInstance, key: dg.AssetKey) -> str:
    """A run that is to make the asset. Returns its id."""
    from dagster._core.events import AssetMaterializationPlannedData
    from dagster._core.test_utils import create_run_for_test

    run: dg.DagsterRun = create_run_for_test(
        instance, "works", status=dg.DagsterRunStatus.STARTED, asset_selection=frozenset({key})
    )
    event = dg.DagsterEvent.build_asset_materialization_planned_event(
        "works", "evidence", AssetMaterializationPlannedData(key)
    )
    instance.report_dagster_event(event, run.run_id)
    return run.run_id
