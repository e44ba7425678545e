"""What is usual for a tenant, on raw tables of an in-memory DuckDB: the query is the lake's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.quality.admission import LEDGER
from pipelines.quality.contract import columns_of
from pipelines.quality.expectations import RuleResult
from pipelines.quality.rules import WARN
from pipelines.quality.trailing import MAX_INDEX, MIN_ROWS, against_weeks_before, stability_index

DAYS_BEFORE = 10
SLICE = {"t": (100, 100)}


@pytest.fixture
def lake() -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(duckdb.connect()) as connection:
        connection.execute("SET TimeZone = 'UTC'; CREATE SCHEMA admission; CREATE SCHEMA raw")
        connection.execute(LEDGER)
        for table in ("participation_events", "outcome_events"):
            columns = ", ".join(f"{name} {kind}" for name, kind in columns_of(table).items())
            connection.execute(f"CREATE TABLE raw.{table} ({columns})")
        yield connection


def land(lake: duckdb.DuckDBPyConnection, days_before: int, rows: int, **columns: str) -> None:
    """Rows of tenant t, received so many days before noon of 1 May; those of day 0 are landing 100."""
    table = "outcome_events" if "total" in columns else "participation_events"
    total = f", {columns.pop('total')} AS questionnaire_answered__total" if "total" in columns else ""
    others = "".join(f", '{value}' AS {name}" for name, value in columns.items())
    lake.execute(
        f"""
        INSERT INTO raw.{table} BY NAME
        SELECT 't' AS tenant_id, {100 - days_before} AS landed_seq{others}{total},
               received_at + INTERVAL 1 MINUTE AS landed_at, received_at
        FROM (
          SELECT i, TIMESTAMPTZ '2026-05-01 12:00:00+00' - INTERVAL {days_before} DAY
                    - i * INTERVAL 1 SECOND AS received_at
          FROM range({rows}) AS made(i)
        )
        """
    )


def found(lake: duckdb.DuckDBPyConnection, table: str = "participation_events") -> dict[str, RuleResult]:
    results = against_weeks_before(lake, table, SLICE)["t"]
    assert {each.severity for each in results} == {WARN}
    return {each.rule: each for each in results}


@pytest.mark.parametrize(
    ("rows", "passed", "words"),
    [
        (1000, True, "1000 rows in 24 hours, 900 to 900 a day before"),
        (2701, False, "2701 rows in 24 hours, 900 to 900 a day before"),
        (299, False, "299 rows in 24 hours, 900 to 900 a day before"),
        (301, True, "301 rows in 24 hours, 900 to 900 a day before"),
    ],
)
def test_volume_is_held_against_the_days_before(
    lake: duckdb.DuckDBPyConnection, rows: int, passed: bool, words: str
) -> None:
    for day in range(1, DAYS_BEFORE + 1):
        land(lake, day, 900, kind="thread_read")
    land(lake, 0, rows, kind="thread_read")
    volume = found(lake)["volume_is_usual"]
    assert (volume.passed, volume.sample, volume.count_rows) == (passed, (words,), rows)
    assert volume.count_unexpected == (0 if passed else rows)


def test_other_kinds_than_usual_are_told_and_the_same_are_not(lake: duckdb.DuckDBPyConnection) -> None:
    for day in range(1, DAYS_BEFORE + 1):
        land(lake, day, 400, kind="thread_read")
        land(lake, day, 100, kind="reply_posted")
    land(lake, 0, 400, kind="thread_read")
    land(lake, 0, 90, kind="reply_posted")
    usual = found(lake)["kinds_are_distributed_as_usual"]
    assert usual.passed and usual.sample == ("index 0.00",)
    land(lake, 0, 400, kind="reply_posted")
    assert not found(lake)["kinds_are_distributed_as_usual"].passed


def test_scores_of_an_instrument_that_moved_are_told(lake: duckdb.DuckDBPyConnection) -> None:
    for day in range(1, DAYS_BEFORE + 1):
        land(lake, day, 300, questionnaire_answered__instrument="phq-9", total="i % 28")
        land(lake, day, 300, questionnaire_answered__instrument="gad-7", total="i % 22")
    land(lake, 0, 300, questionnaire_answered__instrument="gad-7", total="i % 22")
    land(lake, 0, 300, questionnaire_answered__instrument="phq-9", total="i % 28")
    assert found(lake, "outcome_events")["scores_are_distributed_as_usual"].passed
    land(lake, 0, 300, questionnaire_answered__instrument="phq-9", total="27")
    scores = found(lake, "outcome_events")["scores_are_distributed_as_usual"]
    assert not scores.passed
    assert scores.sample[0].startswith("phq-9: index ")


def test_without_history_it_is_said_that_nothing_was_judged(lake: duckdb.DuckDBPyConnection) -> None:
    land(lake, 0, 5000, kind="thread_read")
    for day in range(1, 7):
        land(lake, day, 10, kind="thread_read")
    for result in found(lake).values():
        assert (result.passed, result.sample) == (True, ())
        assert result.problem == "not judged: 6 of 7 days before have rows"


def test_few_rows_are_not_judged(lake: duckdb.DuckDBPyConnection) -> None:
    for day in range(1, DAYS_BEFORE + 1):
        land(lake, day, 10, kind="thread_read")
    land(lake, 0, MIN_ROWS - 1, kind="reply_posted")
    results = found(lake)
    assert results["volume_is_usual"].problem == "not judged: fewer than 200 rows a day"
    assert results["kinds_are_distributed_as_usual"].problem == (
        "not judged: 199 rows of the day and 100 before, of 200 of the day and 1000 before"
    )


def test_what_was_kept_out_is_not_usual(lake: duckdb.DuckDBPyConnection) -> None:
    for day in range(1, DAYS_BEFORE + 1):
        land(lake, day, 900, kind="thread_read")
    land(lake, 5, 50_000, kind="thread_read")
    land(lake, 0, 5000, kind="thread_read")
    assert found(lake)["volume_is_usual"].passed
    lake.execute(
        "INSERT INTO admission.slices BY NAME SELECT 1 AS slice_id, 'participation_events' AS raw_table, "
        "'t' AS tenant_id, 95 AS first_landed_seq, 95 AS last_landed_seq, 'blocked' AS verdict"
    )
    assert not found(lake)["volume_is_usual"].passed
    lake.execute(
        "INSERT INTO admission.slices "
        "SELECT * REPLACE (2 AS slice_id, 'passed' AS verdict) FROM admission.slices"
    )
    assert found(lake)["volume_is_usual"].passed


SHARES = st.lists(st.integers(0, 1000), min_size=2, max_size=12)


@given(SHARES, st.integers(1, 50))
def test_the_index_of_the_same_shares_is_nothing_and_it_is_symmetric(counts: list[int], times: int) -> None:
    other = counts[::-1]
    assert stability_index(counts, counts) == 0
    assert stability_index(counts, other) == pytest.approx(stability_index(other, counts))
    assert stability_index(counts, other) >= -1e-12


def test_the_index_by_hand() -> None:
    """Of 50 and 50 against 80 and 20: 0.3 ln(0.5/0.8) the one way, 0.3 ln(0.5/0.2) the other."""
    by_hand = -0.3 * math.log(0.5 / 0.8) + 0.3 * math.log(0.5 / 0.2)
    assert stability_index([50_000, 50_000], [80_000, 20_000]) == pytest.approx(by_hand, rel=1e-3)
    assert by_hand > MAX_INDEX
