"""Landing writes many rows into files of its own, which the lake takes over: as if they had been inserted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass

from pipelines.maintenance.maintenance import maintain
from services.kafka.topics import Topic, event_topics
from services.landing.decode import Record, decode
from services.landing.fence import Fenced
from services.landing.raw_tables import SORTED_BY, ensure_raw_tables
from services.landing.writing import Landing, Writer
from services.runtime.lake import INLINED_ROWS
from services.runtime.settings import LakeSettings, PostgresSettings, RetentionSettings
from tests.fakes.envelopes import envelopes_of
from tests.landings import Interrupted, OwnLake, Session, landed_offsets, own_lake, own_topics, post_records
from tests.stacks import Stack

pytestmark = pytest.mark.stack

EXAMPLES = Path(__file__).parents[2] / "protos" / "examples"
FIRST = Landing(1, datetime(2026, 5, 1, tzinfo=UTC))
SECOND = Landing(2, datetime(2026, 5, 1, 23, 59, 59, 999_999, UTC))
THIRD = Landing(3, datetime(2026, 5, 2, tzinfo=UTC))
COUNT = 300
"""Records: more rows than the catalog keeps."""


@pytest.fixture
def lake(stack: Stack, tmp_path: Path) -> Iterator[OwnLake]:
    with own_lake(tmp_path) as made:
        yield made


def rows_of(topic: Topic) -> pa.Table:
    """Events of every kind, each of them often."""
    examples = json.loads((EXAMPLES / f"{topic.name}.json").read_text())
    events = [ParseDict(each, GetMessageClass(topic.event)()) for each in examples]
    made = envelopes_of(topic, "a-tenant", events * (INLINED_ROWS // len(events) + 1))
    records = [Record(each.partition, i, each.key, each.value) for i, each in enumerate(made)]
    rows = decode(topic, records).rows
    return rows.append_column("topic", pa.repeat(topic.name, rows.num_rows))


def named_files(lake: OwnLake, table: str = "participation_events") -> set[Path]:
    rows = lake.rows(f"SELECT data_file FROM ducklake_list_files('lake', '{table}', schema => 'raw')")
    return {Path(row[0]) for row in rows}


def files_on_disk(lake: OwnLake) -> set[Path]:
    return set((lake.folder / "raw" / "participation_events").rglob("*.parquet"))


def maintained(lake: OwnLake) -> None:
    at_once = RetentionSettings(snapshot_hours=0, release_days=0, old_file_hours=0, orphan_hours=0)
    settings = LakeSettings.load(data_path=lake.folder), PostgresSettings.load(database_lake=lake.database)
    assert not [step.left for step in maintain(*settings, at_once) if step.left]
    lake.disconnect()


def differs(lake: OwnLake, table: str) -> bool:
    """From the rows that were inserted into a table of DuckDB's own."""
    there, wanted = f"SELECT * FROM raw.{table}", "SELECT * FROM inserted"
    return bool(lake.rows(f"({there} EXCEPT ALL {wanted}) UNION ALL ({wanted} EXCEPT ALL {there})"))


@pytest.mark.parametrize("topic", list(event_topics()), ids=lambda each: each.name)
def test_a_file_holds_what_an_insert_would_and_is_merged_in_order(lake: OwnLake, topic: Topic) -> None:
    table, rows = str(topic.raw_table), rows_of(topic)
    ensure_raw_tables(lake.connection)
    lake.rows(f"CREATE TEMP TABLE inserted AS FROM raw.{table} LIMIT 0")
    writer = Writer(lake.connection)
    for landing in (FIRST, SECOND):
        writer.write(table, rows, landing)
        writer.committed()
        marked = landing.mark(table, rows)
        lake.connection.register("rows", marked)
        lake.rows("INSERT INTO inserted BY NAME SELECT * FROM rows")
    assert {each.parent.name for each in named_files(lake, table)} == {"landed_on=2026-05-01"}
    assert len(named_files(lake, table)) == 2 and not differs(lake, table)
    before = lake.rows("FROM inserted ORDER BY ALL")
    maintained(lake)
    (merged,) = named_files(lake, table)
    key = ", ".join(SORTED_BY[table])
    in_file = lake.rows(f"SELECT ({key}) FROM read_parquet(?, file_row_number => true)", str(merged))
    assert in_file == sorted(in_file)
    assert lake.rows(f"FROM raw.{table} ORDER BY ALL") == before
    assert set((lake.folder / "raw" / table).rglob("*.parquet")) == {merged}


def test_a_field_that_came_later_is_empty_in_earlier_files(lake: OwnLake) -> None:
    topic = next(event_topics())
    table, rows = str(topic.raw_table), rows_of(topic)
    ensure_raw_tables(lake.connection)
    writer = Writer(lake.connection)
    writer.write(table, rows, FIRST)
    lake.rows(f"ALTER TABLE raw.{table} ADD COLUMN new_field VARCHAR")
    writer.write(table, rows.append_column("new_field", pa.repeat("x", rows.num_rows)), SECOND)
    writer.write(table, rows, THIRD)  # by a landing of before
    found = lake.rows(f"SELECT landed_seq, count(new_field), count(*) FROM raw.{table} GROUP BY 1 ORDER BY 1")
    count = rows.num_rows
    assert found == [(1, 0, count), (2, count, count), (3, 0, count)]


def test_a_commit_that_is_tried_again_leaves_no_file_behind(lake: OwnLake) -> None:
    with own_topics(1, partitions=1) as topics, Session(lake, topics, Interrupted) as session:
        post_records(topics[0], COUNT)
        assert isinstance(session.loader, Interrupted)
        session.loader.meanwhile = lambda: lake.rows(
            "ALTER TABLE raw.participation_events ADD COLUMN of_another VARCHAR"
        )
        assert session.land(COUNT)
        assert session.loader.meanwhile is None
        assert landed_offsets(lake, topics[0]) == {0: [*range(COUNT)]}
        assert files_on_disk(lake) == named_files(lake)


def test_what_a_landing_left_that_was_overtaken_is_deleted_by_maintenance(lake: OwnLake) -> None:
    """It cannot know whether its commit came about. A landing that was killed leaves the same."""
    with own_topics(1, partitions=1) as topics, Session(lake, topics, Interrupted) as old:
        post_records(topics[0], COUNT)

        def overtake() -> None:
            with Session(lake, topics) as new:
                assert new.land(COUNT)

        assert isinstance(old.loader, Interrupted)
        old.loader.meanwhile = overtake
        with pytest.raises(Fenced):
            old.land()
        assert named_files(lake) < files_on_disk(lake)
        maintained(lake)
        assert named_files(lake) == files_on_disk(lake)
        assert landed_offsets(lake, topics[0]) == {0: [*range(COUNT)]}


def test_a_file_that_cannot_be_written_leaves_nothing(lake: OwnLake) -> None:
    with own_topics(1, partitions=1) as topics:
        with Session(lake, topics) as session:
            folder = lake.folder / "raw" / "participation_events"
            folder.parent.mkdir(exist_ok=True)  # its own books may have files by now
            folder.touch()  # where the folder must be
            post_records(topics[0], COUNT)
            with pytest.raises(OSError):
                session.land()
            folder.unlink()
            assert not files_on_disk(lake) and landed_offsets(lake, topics[0]) == {}
        with Session(lake, topics) as session:
            assert session.land(COUNT)
