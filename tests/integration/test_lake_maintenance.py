"""The lake's upkeep on real files and a real catalog: figures stay, files become few, nothing of use is lost.

Each test has a lake of its own on the session's PostgreSQL server.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest
from circles.common.v1.common_pb2 import DATA_CLASS_SYNTHETIC

from infra.cli import maintain as command
from infra.cli import sql
from infra.local.errors import StackError
from infra.provisioning.databases import provision
from pipelines.evidence.rows import TABLES
from pipelines.maintenance.maintenance import STEPS, AlreadyUnderWay, LiveFileTaken, Step, maintain, measure
from pipelines.publication.candidate import approve, provenance, write_candidate
from pipelines.publication.release import publish
from services.landing.raw_tables import ensure_raw_tables
from services.runtime.lake import current_snapshot, open_lake, snapshots
from services.runtime.layout import METADATA
from services.runtime.settings import LakeSettings, PostgresSettings, RetentionSettings
from tests.fakes.histories import attended_group
from tests.fakes.raw_lake import RawLake
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack

_numbers = itertools.count()
AT_ONCE = RetentionSettings(snapshot_hours=0, release_days=0, old_file_hours=0, orphan_hours=0)
EVENTS = "raw.participation_events"
FIGURES = f"SELECT count(*), count(DISTINCT event_id), sum(hash(event_id)), max(landed_seq) FROM {EVENTS}"
SECOND = 1 / 3600


@pytest.fixture
def data_path(stack: Stack, tmp_path: Path) -> Iterator[Path]:
    """The folder of an empty lake, to which the settings of this process point."""
    number = uuid.uuid4().hex[:8]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIRCLES_POSTGRES_DATABASE_LAKE", f"maintained_lake_{number}")
        patch.setenv("CIRCLES_POSTGRES_DATABASE_PUBLISHED", f"maintained_published_{number}")
        patch.setenv("CIRCLES_LAKE_DATA_PATH", str(tmp_path / "lake"))
        provision()
        yield tmp_path / "lake"


@pytest.fixture
def raw(data_path: Path) -> Iterator[RawLake]:
    with closing(open_lake()) as connection:
        yield RawLake(connection)


@pytest.fixture
def lake(raw: RawLake) -> duckdb.DuckDBPyConnection:
    return raw.lake


def maintained(retention: RetentionSettings = AT_ONCE, *, is_dry_run: bool = False) -> dict[str, Step]:
    steps = maintain(LakeSettings.load(), PostgresSettings.load(), retention, is_dry_run=is_dry_run)
    return {step.name: step for step in steps}


def land(raw: RawLake, times: int = 1, people: int = 30) -> None:
    """414 rows each time, which is a file; with 2 people, 50 rows, which stay in the catalog."""
    for _ in range(times):
        events = [*attended_group(people, 24, 12 * people, group=f"g{next(_numbers)}")]
        raw.land("participation_events", events, tenant="t", data_class=DATA_CLASS_SYNTHETIC)


def live_files(lake: duckdb.DuckDBPyConnection, table: str = "participation_events") -> set[Path]:
    rows = lake.execute(f"SELECT data_file FROM ducklake_list_files('lake', '{table}', schema => 'raw')")
    return {Path(row[0]) for row in rows.fetchall()}


def files_on_disk(data_path: Path) -> set[Path]:
    return set(data_path.rglob("*.parquet"))


# --- Layout -----------------------------------------------------------------------------------------------


def land_many_groups(lake: duckdb.DuckDBPyConnection, day: int) -> None:
    """A landing of 2000 events of 100 groups of 4 tenants, on a day of May."""
    lake.execute(
        f"INSERT INTO {EVENTS} BY NAME "
        "SELECT 't' || (i % 4)::INT AS tenant_id, 'g' || (random() * 24)::INT AS group_ref, "
        "uuid()::VARCHAR AS event_id, 1 AS body_hash, 'session_attended' AS kind, "
        "TIMESTAMPTZ '2026-01-01' + INTERVAL (i) MINUTE AS occurred_at, "
        f"TIMESTAMPTZ '2026-05-{day:02} 10:00' + INTERVAL (random() * 600) MINUTE AS landed_at, "
        f"DATE '2026-05-{day:02}' AS landed_on "
        "FROM range(2000) AS rows(i)"
    )


HISTORY = f"FROM {EVENTS} WHERE tenant_id = 't1' AND group_ref = 'g7'"


def files_read(lake: duckdb.DuckDBPyConnection) -> int:
    plan = lake.execute(f"EXPLAIN ANALYZE SELECT * {HISTORY}").fetchall()[0][1]
    found = re.search(r"Total Files Read: (\d+)", plan)
    assert found is not None
    return int(found[1])


def row_groups_read(lake: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Parts of files that may hold rows of the group, by the statistics that DuckDB goes by; all parts."""
    lake.execute("SET VARIABLE files = " + str([str(each) for each in live_files(lake)]))
    rows = lake.execute(
        "SELECT bool_and(CASE path_in_schema WHEN 'tenant_id' THEN 't1' ELSE 'g7' END "
        "BETWEEN stats_min_value AND stats_max_value) FROM parquet_metadata(getvariable('files')) "
        "WHERE path_in_schema IN ('tenant_id', 'group_ref') GROUP BY file_name, row_group_id"
    ).fetchall()
    return sum(row[0] for row in rows), len(rows)


def test_a_groups_history_is_in_few_parts_of_few_files(lake: duckdb.DuckDBPyConnection) -> None:
    # A part of a file has 122 880 rows; so that the test has some parts, fewer.
    lake.execute("CALL lake.set_option('parquet_row_group_size', '2048')")
    for day in (1, 2, 3):
        for _ in range(10):
            land_many_groups(lake, day)
    figures, history = (
        lake.execute(FIGURES).fetchall(),
        lake.execute(f"SELECT count(*), sum(hash(event_id)) {HISTORY}").fetchall(),
    )
    assert history[0][0] > 0 and files_read(lake) == 30
    merged = maintained()["merge"]
    assert merged.count == 30 and not merged.left
    assert files_read(lake) == 3  # one a day
    read, there = row_groups_read(lake)
    assert there >= 27 and read <= 6
    assert lake.execute(FIGURES).fetchall() == figures
    assert lake.execute(f"SELECT count(*), sum(hash(event_id)) {HISTORY}").fetchall() == history
    assert {path.parent.name for path in live_files(lake)} == {
        f"landed_on=2026-05-0{day}" for day in (1, 2, 3)
    }


def test_a_lake_of_an_earlier_version_gets_the_layout_once(
    raw: RawLake, lake: duckdb.DuckDBPyConnection
) -> None:
    lake.execute(f"ALTER TABLE {EVENTS} RESET PARTITIONED BY")
    lake.execute(f"ALTER TABLE {EVENTS} RESET SORTED BY")
    land_many_groups(lake, 1)
    land_many_groups(lake, 1)
    assert not any("landed_on=" in str(path) for path in live_files(lake))
    figures = lake.execute(FIGURES).fetchall()
    ensure_raw_tables(lake)
    assert lake.execute(FIGURES).fetchall() == figures
    snapshot = current_snapshot(lake)
    ensure_raw_tables(lake)
    assert current_snapshot(lake) == snapshot  # a change each time would keep files from being merged
    land_many_groups(lake, 1)
    land_many_groups(lake, 1)
    maintained()
    (laid_out,) = [path for path in live_files(lake) if "landed_on=" in str(path)]
    assert len(live_files(lake)) == 2
    compressions = lake.execute("SELECT DISTINCT compression FROM parquet_metadata(?)", [str(laid_out)])
    assert compressions.fetchall() == [("LZ4_RAW",)]


def test_failed_events_are_few_and_by_month(raw: RawLake, lake: duckdb.DuckDBPyConnection) -> None:
    for day in (1, 2, 3):
        lake.execute(
            "INSERT INTO raw.failed_events BY NAME SELECT 'landing' AS stage, 'garbage' AS reason, "
            f"TIMESTAMPTZ '2026-05-{day:02} 10:00' AS landed_at FROM range(300)"
        )
    maintained()
    found = lake.execute(
        "SELECT data_file FROM ducklake_list_files('lake', 'failed_events', schema => 'raw')"
    )
    (only,) = found.fetchall()
    assert Path(only[0]).parent.name == "month=5"


def test_the_range_of_a_column_is_found_by_an_index(raw: RawLake, lake: duckdb.DuckDBPyConnection) -> None:
    def in_catalog(statement: str) -> list[tuple[Any, ...]]:
        return lake.execute(f"FROM postgres_query('{METADATA}', ?)", [statement]).fetchall()

    def indexed_looks() -> int:
        counts = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname LIKE '%_stats_by_column'"
        ((count,),) = in_catalog(counts)
        return int(count)

    for day in range(1, 21):
        land_many_groups(lake, day)
    lake.execute("CALL postgres_execute(?, 'ANALYZE ducklake_file_column_stats')", [METADATA])
    before = indexed_looks()
    assert files_read(lake) == 20
    wait_until(lambda: indexed_looks() > before, "PostgreSQL counts a look by the index")


def test_stagings_events_are_ordered_too(raw: RawLake, lake: duckdb.DuckDBPyConnection) -> None:
    land(raw, 3)
    lake.execute("CREATE SCHEMA staging")
    lake.execute(
        "CREATE TABLE staging.stg_participation__events AS SELECT tenant_id, group_ref AS group_id, "
        f"occurred_at, event_id, body_hash FROM {EVENTS} ORDER BY random()"
    )
    lake.execute(
        "INSERT INTO staging.stg_participation__events FROM staging.stg_participation__events LIMIT 900"
    )
    maintained()
    maintained()
    found = lake.execute(
        "SELECT data_file FROM ducklake_list_files('lake', 'stg_participation__events', schema => 'staging')"
    ).fetchall()
    assert len(found) == 1
    rows = lake.execute(f"SELECT tenant_id, group_id, occurred_at FROM '{found[0][0]}'").fetchall()
    assert rows == sorted(rows) and len(rows) > 900


# --- Beside others ----------------------------------------------------------------------------------------


class Beside(threading.Thread):
    """Does something again and again on a connection of its own, until it is stopped. Its error is kept."""

    def __init__(self, work: Callable[[duckdb.DuckDBPyConnection], None], pause: float) -> None:
        super().__init__()
        self.work, self.pause = work, pause
        self.stopped = threading.Event()
        self.count = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with closing(open_lake()) as lake:
                while not self.stopped.is_set():
                    self.work(lake)
                    self.count += 1
                    self.stopped.wait(self.pause)
        except BaseException as error:
            self.error = error

    def stop(self) -> int:
        self.stopped.set()
        self.join()
        if self.error is not None:
            raise self.error
        return self.count


def test_it_stops_neither_landing_nor_builds_nor_readers(
    raw: RawLake, lake: duckdb.DuckDBPyConnection
) -> None:
    landed: list[int] = []

    def write(own: duckdb.DuckDBPyConnection) -> None:
        raw.lake = own
        own.begin()
        land(raw, people=random.choice([2, 30]))
        own.commit()
        landed.append(int(own.execute(f"SELECT count(*) FROM {EVENTS}").fetchall()[0][0]))

    def read(own: duckdb.DuckDBPyConnection) -> None:
        least = landed[-1] if landed else 0
        rows = own.execute(f"SELECT count(*), count(DISTINCT event_id) FROM {EVENTS}").fetchall()
        count, distinct = rows[0]
        assert count == distinct >= least

    def build(own: duckdb.DuckDBPyConnection) -> None:
        own.execute(
            f"CREATE OR REPLACE TABLE marts.groups AS SELECT group_ref, count(*) FROM {EVENTS} GROUP BY 1"
        )

    lake.execute("CREATE SCHEMA marts")
    others = [Beside(write, 0.2), Beside(read, 0.05), Beside(build, 1.0)]
    for each in others:
        each.start()
    # A file goes seconds after nothing names it: longer than any query here.
    retention = AT_ONCE.model_copy(
        update={"snapshot_hours": 3 * SECOND, "old_file_hours": 8 * SECOND, "orphan_hours": 60 * SECOND}
    )
    count: Counter[str] = Counter()
    while len(landed) < 12 or not (count["merge"] and count["clean"] and count["expire"]):
        if any(each.error for each in others):
            break
        count.update({name: step.count for name, step in maintained(retention).items()})
    assert [each.stop() > 0 for each in others] == [True, True, True]
    last = maintained()
    assert lake.execute(f"SELECT count(*), count(DISTINCT event_id) FROM {EVENTS}").fetchall() == [
        (landed[-1], landed[-1])
    ]
    assert len(live_files(lake)) == 1
    assert last["delete orphans"].after.count_on_disk == last["delete orphans"].after.count_files


def test_one_at_a_time(lake: duckdb.DuckDBPyConnection) -> None:
    first = maintain(LakeSettings.load(), PostgresSettings.load(), AT_ONCE)
    next(first)
    with pytest.raises(AlreadyUnderWay):
        maintained()
    with pytest.raises(StackError, match="Another process maintains"):
        command.run(is_dry_run=False)
    first.close()
    assert set(maintained()) == set(STEPS)


def test_who_has_read_the_schema_before_a_flush_goes_on_reading(
    raw: RawLake, lake: duckdb.DuckDBPyConnection
) -> None:
    land(raw, people=2)
    lake.execute(f"ALTER TABLE {EVENTS} ADD COLUMN of_a_later_contract VARCHAR")
    land(raw, people=2)
    figures = lake.execute(FIGURES).fetchall()
    assert maintained()["flush"].count == 102  # the two landings, and a row each of their offsets
    assert lake.execute(FIGURES).fetchall() == figures
    assert lake.execute("SELECT count(*) FROM duckdb_views() WHERE schema_name = 'raw'").fetchall() == [(0,)]


# --- Killed processes -------------------------------------------------------------------------------------


def process(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    inherited = os.environ  # noqa: TID251  # a child process needs PATH and the like
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.lake_writer", *arguments],
        env={**inherited, **environment},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_files_of_a_killed_writer_go_and_those_of_an_open_transaction_stay(
    raw: RawLake, lake: duckdb.DuckDBPyConnection, data_path: Path
) -> None:
    land(raw, 2)
    maintained()
    before, figures = files_on_disk(data_path), lake.execute(FIGURES).fetchall()
    with process("open-transaction") as writer:
        try:
            assert writer.stdout is not None and writer.stdout.readline() == "written\n"
            written = files_on_disk(data_path) - before
            assert written
            a_day = AT_ONCE.model_copy(update={"orphan_hours": 24.0})
            assert maintained(a_day)["delete orphans"].count == 0
            assert files_on_disk(data_path) == before | written
        finally:
            writer.kill()
    assert maintained(is_dry_run=True)["delete orphans"].count == len(written)
    assert maintained()["delete orphans"].count == len(written)
    assert files_on_disk(data_path) == before
    assert lake.execute(FIGURES).fetchall() == figures


def test_a_file_that_the_catalog_names_is_never_an_orphan(
    raw: RawLake, lake: duckdb.DuckDBPyConnection, data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(raw, 2)
    from pipelines.maintenance import maintenance

    # DuckLake's list is replaced by what it would be if it took a path for another: every file there is.
    everything = f"SELECT file FROM glob('{data_path}/**/*.parquet')"
    monkeypatch.setattr(maintenance, "_deletion", lambda work, function, is_dry_run: everything)
    with pytest.raises(LiveFileTaken, match="none was deleted"):
        maintained()
    assert live_files(lake) <= files_on_disk(data_path)


def test_killed_in_any_step_it_leaves_a_right_lake_and_the_next_run_finishes(
    raw: RawLake, lake: duckdb.DuckDBPyConnection, data_path: Path
) -> None:
    at_once = {f"CIRCLES_RETENTION_{name.upper()}": f"{value}" for name, value in AT_ONCE if value == 0}
    killed = 0
    for step in STEPS:
        land(raw, 3)
        land(raw, people=2)
        lake.execute(f"DELETE FROM {EVENTS} WHERE group_ref IN (SELECT min(group_ref) FROM {EVENTS})")
        figures = lake.execute(FIGURES).fetchall()
        with process("maintain", step, str(random.uniform(0, 60)), **at_once) as maintenance:
            killed += maintenance.wait() == -signal.SIGKILL
        assert lake.execute(FIGURES).fetchall() == figures
    assert killed > len(STEPS) // 2
    last = maintained_when_free()["delete orphans"].after
    assert lake.execute(FIGURES).fetchall() == figures
    # A file of which a few rows are deleted is neither written anew nor merged.
    assert len(live_files(lake)) <= 2 and last.count_snapshots <= 2
    assert files_on_disk(data_path) >= live_files(lake) and last.count_on_disk == last.count_files


def maintained_when_free() -> dict[str, Step]:
    """PostgreSQL frees the lock of a killed process when it notices that its connection is gone."""
    steps: dict[str, Step] = {}

    def finishes() -> bool:
        with contextlib.suppress(AlreadyUnderWay):
            steps.update(maintained())
        return bool(steps)

    wait_until(finishes, "the lock of a killed maintenance is free")
    return steps


# --- What may be forgotten --------------------------------------------------------------------------------


def release_from(snapshot: int) -> int:
    postgres = PostgresSettings.load()
    frames = {
        name: pd.DataFrame(columns=[each.name for each in table.columns]) for name, table in TABLES.items()
    }
    number = write_candidate(postgres, [*TABLES.values()], frames, provenance(snapshot))
    approve(postgres, number)
    publish(postgres, [*TABLES.values()], number)
    return number


def as_of(when: str, statement: str = FIGURES) -> list[tuple[Any, ...]]:
    with closing(sql.open_lake(when)) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(statement).fetchall()
        return rows


def test_snapshots_expire_but_those_of_releases(
    raw: RawLake, lake: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    land(raw, 2)
    land(raw, people=2)
    released, figures = current_snapshot(lake), lake.execute(FIGURES).fetchall()
    number = release_from(released)
    land(raw, 2)
    forgotten = current_snapshot(lake)
    lake.execute(f"DELETE FROM {EVENTS} WHERE landed_seq < 3")
    land(raw)
    before = len(snapshots(lake))
    assert maintained(RetentionSettings())["expire"].count == 0
    assert maintained(is_dry_run=True)["expire"].count == len(snapshots(lake)) - 2
    assert len(snapshots(lake)) >= before
    step = maintained()["expire"]
    assert step.count > 5 and not step.left
    assert {each.number for each in snapshots(lake)} == {released, current_snapshot(lake)}
    assert as_of(str(released)) == figures
    assert lake.execute(FIGURES).fetchall() != figures
    with pytest.raises(StackError, match=f"Snapshot {forgotten} has expired. There are 2"):
        as_of(str(forgotten))
    with pytest.raises(StackError, match=r"no snapshot any more"):
        as_of("2020-01-01")
    assert as_of("2200-01-01T00:00:00") == lake.execute(FIGURES).fetchall()
    sql.show_snapshots(as_csv=True)
    assert re.search(rf"^{released},[\dT:-]+,{number}\r?$", capsys.readouterr().out, re.MULTILINE)


def test_without_the_word_of_postgres_on_releases_nothing_expires(
    raw: RawLake, lake: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(raw, 2)
    count = len(snapshots(lake))
    monkeypatch.setenv("CIRCLES_POSTGRES_DATABASE_PUBLISHED", "there_is_no_such_database")
    with pytest.raises(Exception, match="there_is_no_such_database"):
        maintained()
    assert len(snapshots(lake)) >= count


def test_raw_rows_go_by_age_and_only_when_they_are_staged(
    raw: RawLake, lake: duckdb.DuckDBPyConnection
) -> None:
    land(raw, 4)
    lake.execute("CREATE SCHEMA staging")
    lake.execute(
        "CREATE TABLE staging.stg_participation__events AS "
        f"SELECT tenant_id, group_ref AS group_id, occurred_at, event_id, body_hash FROM {EVENTS} "
        "WHERE landed_seq IN (1, 2)"
    )
    lake.execute(f"UPDATE {EVENTS} SET landed_at = landed_at - INTERVAL 10 DAY WHERE landed_seq IN (1, 3)")
    staged_and_old = lake.execute(f"SELECT count(*) FROM {EVENTS} WHERE landed_seq = 1").fetchall()[0][0]
    retention = AT_ONCE.model_copy(update={"raw_days": "participation_events=5,outcome_events=5"})
    assert maintained(retention, is_dry_run=True)["delete raw rows"].count == staged_and_old > 0
    assert maintained()["delete raw rows"].count == 0  # for ever, unless the operator says so
    assert lake.execute(f"SELECT DISTINCT landed_seq FROM {EVENTS} ORDER BY 1").fetchall() == [
        (1,), (2,), (3,), (4,)
    ]  # fmt: skip
    assert maintained(retention)["delete raw rows"].count == staged_and_old
    assert lake.execute(f"SELECT DISTINCT landed_seq FROM {EVENTS} ORDER BY 1").fetchall() == [
        (2,), (3,), (4,)
    ]  # fmt: skip
    assert maintained(retention)["delete raw rows"].count == 0


# --- As a job and as a command ----------------------------------------------------------------------------


def test_dagsters_job_tells_what_it_did(raw: RawLake, lake: duckdb.DuckDBPyConnection) -> None:
    from pipelines.definitions import defs

    land(raw, 3)
    job = defs.resolve_job_def("maintain_lake")
    result = job.execute_in_process(instance=dg.DagsterInstance.ephemeral())
    (materialization,) = result.asset_materializations_for_node("maintenance__lake")
    metadata: dict[str, Any] = {name: entry.value for name, entry in materialization.metadata.items()}
    assert metadata["merge (files merged)"] == 3 and metadata["left_for_next_run"] == 0
    assert metadata["files"] == measure(lake, LakeSettings.load().data_path).count_files
    assert [record.data["step"] for record in metadata["steps"].records] == list(STEPS)


def test_dagsters_job_does_the_steps_that_are_asked_for(
    raw: RawLake, lake: duckdb.DuckDBPyConnection
) -> None:
    from pipelines.definitions import defs

    land(raw, 3)
    job = defs.resolve_job_def("maintain_lake")

    def run(**settings: Any) -> dg.ExecuteInProcessResult:
        return job.execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            run_config={"ops": {"maintenance__lake": {"config": settings}}},
            raise_on_error=False,
        )

    assert run(dry_run=True).success and len(live_files(lake)) == 3
    assert run(steps=["clean"]).success and len(live_files(lake)) == 3
    assert not run(steps=["vacuum"]).success and len(live_files(lake)) == 3
    (made,) = run(steps=["merge"]).asset_materializations_for_node("maintenance__lake")
    assert len(live_files(lake)) == 1
    assert isinstance(made.metadata["steps"], dg.TableMetadataValue)
    assert [each.data["step"] for each in made.metadata["steps"].records] == ["merge"]


def test_other_periods_are_tried_before_they_delete_anything(
    raw: RawLake, lake: duckdb.DuckDBPyConnection
) -> None:
    from pipelines.definitions import defs

    land(raw, 2)
    lake.execute(f"UPDATE {EVENTS} SET landed_at = landed_at - INTERVAL 10 DAY WHERE landed_seq = 1")
    lake.execute("CREATE SCHEMA staging")
    lake.execute(
        "CREATE TABLE staging.stg_participation__events AS "
        f"SELECT tenant_id, group_ref AS group_id, occurred_at, event_id, body_hash FROM {EVENTS}"
    )
    old, snapshots_before = count_of(lake, "landed_seq = 1"), len(snapshots(lake))
    job = defs.resolve_job_def("retention")

    def run(**settings: Any) -> dict[str, Any]:
        config = {"ops": {"forget": {"config": settings}}}
        result = job.execute_in_process(run_config=config, raise_on_error=False)
        (step,) = [
            each for each in result.all_node_events if each.is_step_failure or each.is_successful_output
        ]
        data: Any = step.event_specific_data
        if step.is_step_failure:
            return {"error": data.error.message}
        return {name: entry.value for name, entry in data.metadata.items()}

    assert run()["delete raw rows (would_go)"] == 0
    assert run(raw_days="participation_events=5")["delete raw rows (would_go)"] == old > 0
    assert run(snapshot_hours=0)["expire (would_go)"] > 0
    assert "raw_days: " in run(raw_days="participation_events=soon", dry_run=False)["error"]
    assert count_of(lake, "landed_seq = 1") == old and len(snapshots(lake)) >= snapshots_before
    assert run(raw_days="participation_events=5", dry_run=False)["delete raw rows (gone)"] == old
    assert count_of(lake, "landed_seq = 1") == 0 < count_of(lake, "landed_seq = 2")


def count_of(lake: duckdb.DuckDBPyConnection, condition: str) -> int:
    ((count,),) = lake.execute(f"SELECT count(*) FROM {EVENTS} WHERE {condition}").fetchall()
    return int(count)


def test_the_command_shows_each_step(
    raw: RawLake, lake: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    land(raw, 3)
    command.run(is_dry_run=True)
    assert "Nothing was changed" in capsys.readouterr().out and len(live_files(lake)) == 3
    started = time.monotonic()
    command.run(is_dry_run=False)
    shown = capsys.readouterr()
    assert all(step in shown.out and f"{step}: done" in shown.err for step in STEPS), (
        time.monotonic() - started
    )
    assert len(live_files(lake)) == 1
