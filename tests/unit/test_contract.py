"""The contract of raw tables as quality reads it, against what landing makes of it."""

from __future__ import annotations

import duckdb
import pytest

from pipelines.quality.contract import columns_of
from pipelines.quality.schema import SCHEMA, check_schema
from pipelines.quality.suites import RAW_SUITES
from services.kafka.topics import Topic, landed_topics
from services.landing.raw_tables import raw_columns


@pytest.mark.parametrize("topic", [*landed_topics()], ids=lambda topic: topic.raw_table)
def test_quality_and_landing_read_the_same_contract(topic: Topic) -> None:
    assert columns_of(str(topic.raw_table)) == dict(raw_columns(topic))


@pytest.mark.parametrize("raw_table", RAW_SUITES)
def test_a_suite_looks_at_columns_of_the_contract(raw_table: str) -> None:
    read = {each.source for each in RAW_SUITES[raw_table].computed.values()}
    assert {*RAW_SUITES[raw_table].columns, *read} <= set(columns_of(raw_table))


def test_a_missing_column_and_one_of_another_type_are_named() -> None:
    stated = {"a": "BIGINT", "b": "VARCHAR", "items": "STRUCT(item BIGINT, value INTEGER)[]"}
    with duckdb.connect() as connection:
        connection.execute('CREATE TABLE t (a INTEGER, items STRUCT(item INT8, "value" INT4)[], more DATE)')
        rows = connection.execute("SELECT column_name, data_type FROM duckdb_columns()").fetchall()
    result = check_schema(stated, dict(rows), 7)
    assert (result.rule, result.passed, result.count_rows) == (SCHEMA.name, False, 7)
    assert result.problem == "a is INTEGER, not BIGINT; b is missing, not VARCHAR"
    assert check_schema({"items": stated["items"]}, dict(rows), 7).passed
