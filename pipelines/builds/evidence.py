"""Evidence from the marts to a candidate that may be released: computed at one snapshot, suppressed where
cells are small, written, and held against its rules where it was written.

The formulas are `evidence`'s, the rules `quality`'s, tables and release `publication`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from pipelines.builds.one import building
from pipelines.evidence.controlled_comparison import controlled_comparison
from pipelines.evidence.group_engagement import group_engagement
from pipelines.evidence.inputs import Inputs, read_inputs
from pipelines.evidence.rows import CONTROLLED_COMPARISON, GROUP_ENGAGEMENT, TABLES, Table
from pipelines.publication.candidate import approve, provenance, read_candidate, write_candidate
from pipelines.publication.disclosure import control, threshold_of
from pipelines.quality.expectations import RuleResult, check
from pipelines.quality.results import Checked, crashed, record
from pipelines.quality.rules import Suite
from pipelines.quality.suites.evidence import evidence_suite
from services.runtime.lake import current_snapshot, open_lake
from services.runtime.settings import LakeSettings, PostgresSettings

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

BUILDERS: Mapping[str, Callable[[Inputs], pd.DataFrame]] = {
    GROUP_ENGAGEMENT.name: group_engagement,
    CONTROLLED_COMPARISON.name: controlled_comparison,
}


@dataclass(frozen=True)
class Candidate:
    """A candidate with the results of its rules, by table."""

    release_id: int
    lake_snapshot: int
    frames: Mapping[str, pd.DataFrame]
    results: Mapping[str, list[RuleResult]]

    @property
    def has_passed(self) -> bool:
        return all(each.passed for found in self.results.values() for each in found)


def suite_of(table: Table) -> Suite:
    names = [column.name for column in table.columns]
    return evidence_suite(table.name, names, table.key, threshold_of)


def make_candidate(lake: LakeSettings, postgres: PostgresSettings, run_id: str) -> Candidate:
    """Computes, writes and checks the tables together; a candidate that has passed is approved."""
    with building(postgres):
        with open_lake(lake, postgres, read_only=True) as connection:
            snapshot = current_snapshot(connection)
        # What lands meanwhile does not move the ground: all tables are read at one snapshot.
        with open_lake(lake, postgres, snapshot=snapshot) as connection:
            frames = computed(connection)
    release_id = write_candidate(postgres, [*TABLES.values()], frames, provenance(snapshot))
    made = Candidate(
        release_id, snapshot, frames, {name: _checked(postgres, release_id, name) for name in TABLES}
    )
    record(
        postgres,
        run_id,
        [
            Checked("evidence", suite_of(TABLES[name]).name, found, release_id=release_id)
            for name, found in made.results.items()
        ],
    )
    if made.has_passed:
        approve(postgres, release_id)
    return made


def computed(lake: duckdb.DuckDBPyConnection) -> dict[str, pd.DataFrame]:
    """The tables as they may be shown, from the marts of this lake."""
    inputs = read_inputs(lake)
    return {name: control(BUILDERS[name](inputs)) for name in TABLES}


def _checked(postgres: PostgresSettings, release_id: int, name: str) -> list[RuleResult]:
    """The checks look at what is in PostgreSQL, not at what was meant to be written."""
    rows = read_candidate(postgres, release_id, TABLES[name])
    suite = suite_of(TABLES[name])
    try:
        return check(suite.derive(rows), suite)
    except Exception as error:
        # Whatever broke, no rule has been seen to hold.
        log.exception("the check of %s broke", name)
        return [crashed(rule.name, error, len(rows)) for rule in suite.rules]
