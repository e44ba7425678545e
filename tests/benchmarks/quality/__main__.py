"""`make bench-quality`, or `python -m tests.benchmarks.quality`: what each suite of the marts costs on a lake
of files with so many events. Prints a table. Exit code 1: Great Expectations took longer than the limit.

The marts are filled with rows that break no rule; their numbers mean nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb

from pipelines.quality.expectations import load
from pipelines.quality.marts import MartChecked, look_at
from pipelines.quality.suites.marts import MARTS, contracts
from services.runtime.lake import install_extensions
from tests.benchmarks.tables import aligned

MAX_SECONDS = 2.0
"""In Great Expectations, per suite, once it is imported."""

TENANTS, EVENTS_OF_A_PERSON, PEOPLE_OF_A_GROUP = 50, 100, 20

VALUES = {
    "tenant_id": f"'tenant-' || i % {TENANTS}",
    "data_class": "'synthetic'",
    "event_id": "uuid()",
    "group_id": "'grp_' || i % {groups}",
    "participant_id": "'prt_' || i % {people}",
    "from_participant_id": "'prt_' || i % {people}",
    "starter_participant_id": "'prt_' || i % {people}",
    "gap_at": "TIMESTAMPTZ '2026-01-31 12:00:00+00'",
    "returned_at": "NULL",
    "to_participant_id": "'prt_' || i % {people}",
    "study_code": "'study-' || i % {studies}",
    "consent_basis": "'recorded'",
    "kind": "'thread_read'",
    "instrument": "'phq-9'",
    "scoring": "'total'",
    "score": "i % 28",
    "window_hours": "24",
    "mean": "NULL",
    "sd": "NULL",
    "estimate": "NULL",
    "standard_error": "NULL",
    "survey_weight": "1",
    "count_active_days": "1",
    "occurred_on": "DATE '2026-01-01'",
    "step_days": "7",
    "slope": "NULL",
    "r_squared": "NULL",
    "slope_times_r_squared": "NULL",
}
"""A column of one of these types has, unless it is named above:"""

OF_TYPE = {
    "boolean": "false",
    "date": "DATE '2026-01-01'",
    "timestamp with time zone": "TIMESTAMPTZ '2026-01-01 12:00:00+00'",
    "varchar": "NULL",
}

NULLS = ("registered_at", "closed_at", "first_reply_at")


def main() -> int:
    options = _options()
    started = time.monotonic()
    load()
    imported = time.monotonic() - started
    with tempfile.TemporaryDirectory() as folder, _lake(Path(folder)) as lake:
        for name in MARTS:
            _fill(lake, name, options.events)
        # As a build has it: one after the other, in one process.
        checked = [look_at(lake, mart, {}) for mart in MARTS.values()]
    print(f"Import of Great Expectations, once per process: {imported:.1f} s. {TENANTS} tenants.\n")
    print("\n".join(_table(checked)))
    slow = [each.mart for each in checked if each.seconds_in_expectations > options.limit]
    broken = {each.mart for each in checked for result in each.results if not result.passed}
    if slow or broken:
        print(
            f"\nSlower than {options.limit} s: {slow}. Rules broken, so not measured: {sorted(broken)}.",
            file=sys.stderr,
        )
    return 1 if slow or broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.quality")
    parser.add_argument("--events", type=int, default=10_000_000, help="rows of fct_participation")
    parser.add_argument("--limit", type=float, default=MAX_SECONDS, help="seconds in Great Expectations")
    return parser.parse_args()


@contextmanager
def _lake(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckLake with its catalog in a file: the rows are in Parquet files as they are in a stack."""
    install_extensions(folder / "extensions")
    with closing(duckdb.connect()) as connection:
        connection.execute(f"SET extension_directory = '{folder}/extensions'; SET TimeZone = 'UTC'")
        connection.execute("SET autoinstall_known_extensions = false; LOAD ducklake")
        connection.execute(
            f"ATTACH 'ducklake:{folder}/catalog.ducklake' AS lake (DATA_PATH '{folder}/rows/')"
        )
        connection.execute("USE lake; CREATE SCHEMA marts")
        yield connection


def _fill(lake: duckdb.DuckDBPyConnection, mart: str, events: int) -> None:
    people = max(events // EVENTS_OF_A_PERSON // TENANTS, 1) * TENANTS
    groups = max(people // PEOPLE_OF_A_GROUP // TENANTS, 1) * TENANTS
    rows = {
        "fct_participation": events,
        "fct_outcome": events // 10,
        "dim_study": TENANTS,
        "dim_group": groups,
    }
    count = rows.get(mart, people if "participant_id" in contracts()[mart] else groups)
    columns = ", ".join(
        f"CAST({_value(name, kind)} AS {kind}) AS {name}" for name, kind in contracts()[mart].items()
    )
    sized = columns.format(groups=groups, people=people, studies=TENANTS)
    lake.execute(f"CREATE TABLE marts.{mart} AS SELECT {sized} FROM range({count}) AS made(i)")


def _value(name: str, kind: str) -> str:
    if name in NULLS:
        return "NULL"
    return VALUES.get(name, OF_TYPE.get(kind, "0"))


def _table(checked: list[MartChecked]) -> list[str]:
    headings = ("suite", "rules", "rows", "seconds", "in Great Expectations")
    cells = [
        (
            f"marts.{each.mart}",
            str(len(each.results)),
            f"{sum(rows for rows, _ in each.measured.values()):,}",
            f"{each.seconds:.2f}",
            f"{each.seconds_in_expectations:.2f}",
        )
        for each in checked
    ]
    return aligned(headings, cells, ("suite",))


if __name__ == "__main__":
    sys.exit(main())
