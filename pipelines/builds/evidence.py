"""Evidence from the marts to a candidate that may be released: computed at the snapshot that the marts have a
verdict for, suppressed where cells are small, written, and held against its rules where it was written.

The formulas are `evidence`'s, the rules `quality`'s, tables and release `publication`'s; whom a candidate
goes without is `door`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from pipelines.builds.door import Door
from pipelines.builds.looks import unless_void, what_is_looked_at
from pipelines.builds.one import building
from pipelines.builds.unchanged import fingerprints, only, prints
from pipelines.evidence.carers_controlled import carers_controlled
from pipelines.evidence.covid_change import covid_change
from pipelines.evidence.group_engagement import group_engagement
from pipelines.evidence.group_peer_support_meta import group_peer_support_meta
from pipelines.evidence.inputs import USES, Inputs, read_inputs
from pipelines.evidence.literature import TENANT as LITERATURE
from pipelines.evidence.literature import literature_rows, literature_studies
from pipelines.evidence.mens_groups import mens_groups
from pipelines.evidence.mutual_help import mutual_help
from pipelines.evidence.osg_prevalence import osg_prevalence
from pipelines.evidence.professional_moderation import professional_moderation
from pipelines.evidence.protocols import studies_of
from pipelines.evidence.rows import (
    CARERS_CONTROLLED,
    COVID_CHANGE,
    GROUP_ENGAGEMENT,
    GROUP_PEER_SUPPORT_META,
    MENS_GROUPS,
    MUTUAL_HELP,
    OSG_PREVALENCE,
    PROFESSIONAL_MODERATION,
    TABLES,
    YOUTH_ONLINE_PEER_SUPPORT,
    Table,
    frame,
)
from pipelines.evidence.unposted import unposted_rows
from pipelines.evidence.youth_online_peer_support import youth_online_peer_support
from pipelines.publication.candidate import approve, provenance, read_shown, write_candidate
from pipelines.publication.disclosure import control, threshold_of
from pipelines.publication.looks import Looked, read_looked
from pipelines.publication.shown import TakenOver, shown_studies
from pipelines.quality.expectations import RuleResult
from pipelines.quality.marts import Verdict, judge, verdict_of
from pipelines.quality.rules import Rule, Suite
from pipelines.quality.suites.evidence import USUAL, evidence_suite
from services.runtime.lake import current_snapshot, open_lake
from services.runtime.settings import LakeSettings, PostgresSettings

if TYPE_CHECKING:
    import pandas as pd

BUILDERS: Mapping[str, Callable[[Inputs], pd.DataFrame]] = {
    GROUP_ENGAGEMENT.name: group_engagement,
    YOUTH_ONLINE_PEER_SUPPORT.name: youth_online_peer_support,
    MUTUAL_HELP.name: mutual_help,
    GROUP_PEER_SUPPORT_META.name: group_peer_support_meta,
    CARERS_CONTROLLED.name: carers_controlled,
    PROFESSIONAL_MODERATION.name: professional_moderation,
    COVID_CHANGE.name: covid_change,
    OSG_PREVALENCE.name: osg_prevalence,
    MENS_GROUPS.name: mens_groups,
}


@dataclass(frozen=True)
class Candidate:
    """A candidate with the results of its rules, by table."""

    release_id: int
    lake_snapshot: int
    frames: Mapping[str, pd.DataFrame]
    """As they stand in PostgreSQL."""
    results: Mapping[str, list[RuleResult]]
    """Before anybody was kept out for a rule of evidence."""
    unchanged: Mapping[str, Collection[str]]
    """Tenants whose rows were taken over, as nothing that they are computed from has changed."""
    kept: frozenset[str]
    """Tenants who are in it as they are published, because a rule is broken of them."""
    has_passed: bool


def suite_of(table: Table) -> Suite:
    names = [column.name for column in table.columns]
    studies = [*studies_of(table.name), *literature_studies(table.name)]
    return evidence_suite(table.name, names, table.key, studies=studies, threshold_of=threshold_of)


def rules_of(table: Table) -> tuple[Rule, ...]:
    """All that a table is held against."""
    return (*suite_of(table).rules, *USUAL.rules)


def make_candidate(lake: LakeSettings, postgres: PostgresSettings, run_id: str) -> Candidate:
    """Computes, writes and checks the tables together; a candidate that has passed is approved.

    A run that has not judged the marts yet judges them now. Raises NotJudged.
    """
    with building(postgres):
        verdict = verdict_of(postgres, run_id) or judge_marts(lake, postgres, run_id)
        # What lands meanwhile does not move the ground: all tables are read at one snapshot.
        with open_lake(lake, postgres, snapshot=verdict.lake_snapshot) as connection:
            inputs = read_inputs(connection)
    data = prints(inputs)
    marks = {name: fingerprints(each) for name, each in data.items()}
    known = read_looked(postgres)
    taken = taken_over(postgres, marks, known)
    frames = {name: _made_of_others(table, inputs, taken) for name, table in TABLES.items()}
    source = provenance(verdict.lake_snapshot)
    looked = what_is_looked_at(
        inputs, frames, known, prints=data, unchanged=taken.tenants, now=source.computed_at
    )
    frames = {name: unless_void(name, each, looked.voids) for name, each in frames.items()}
    tables = [*TABLES.values()]
    release_id = write_candidate(
        postgres, tables, frames, source, fingerprints=marks, looked=looked, taken_over=taken
    )
    door = Door(postgres, run_id, release_id, {name: suite_of(table) for name, table in TABLES.items()})
    door.let_in(verdict.held)
    if door.is_open:
        approve(postgres, release_id)
    return Candidate(
        release_id,
        verdict.lake_snapshot,
        door.rows,
        door.first,
        taken.tenants,
        frozenset(door.kept),
        door.is_open,
    )


def judge_marts(lake: LakeSettings, postgres: PostgresSettings, run_id: str) -> Verdict:
    """Judges the marts as they are now. Raises NotJudged."""
    with open_lake(lake, postgres, read_only=True) as connection:
        snapshot = current_snapshot(connection)
    with open_lake(lake, postgres, snapshot=snapshot) as connection:
        judge(connection, snapshot, postgres, run_id)
    verdict = verdict_of(postgres, run_id)
    assert verdict is not None  # noqa: S101  # it was recorded just now
    return verdict


def taken_over(
    postgres: PostgresSettings, marks: Mapping[str, Mapping[str, str]], known: Looked
) -> TakenOver:
    """Whose rows need not be computed. `marks`: everybody's fingerprints.

    Who shows a sequence that is void by now is computed again: an earlier release may have come back.
    """
    shown = read_shown(postgres)
    tenants, tables = {}, set()
    for name, table in TABLES.items():
        before = shown.fingerprints.get(name, {})
        same = {tenant for tenant, each in marks[name].items() if before.get(tenant) == each}
        studies = shown_studies(postgres, shown, table, same)
        wrong = {
            each.tenant for each, has_sequence in studies.items() if has_sequence and each in known.voids
        }
        tenants[name] = frozenset(same - wrong)
        if any(each.tenant not in wrong for each in studies):
            tables.add(name)
    return TakenOver(shown, tenants, tables)


def _made_of_others(table: Table, inputs: Inputs, taken: TakenOver) -> pd.DataFrame:
    """The rows of all who are not taken over."""
    made = _made(table, only(inputs, table.name, taken.tenants[table.name]))
    return made if table.name in taken.tables else _never_empty(table, made)


def computed(
    lake: duckdb.DuckDBPyConnection, tables: Collection[Table] = TABLES.values()
) -> dict[str, pd.DataFrame]:
    """The tables as they may be shown, from the marts of this lake."""
    inputs = read_inputs(lake, {frame for table in tables for frame in USES[table.name]})
    return {table.name: _never_empty(table, _made(table, inputs)) for table in tables}


def _made(table: Table, inputs: Inputs) -> pd.DataFrame:
    """What is computed, and what is printed beside it, after disclosure control."""
    import pandas as pd

    own = BUILDERS[table.name](inputs)
    printed = frame(literature_rows(table.name), table, extra=("parts",))
    return control(pd.concat([own, printed], ignore_index=True) if len(printed) else own)


def _never_empty(table: Table, rows: pd.DataFrame) -> pd.DataFrame:
    """With a row for each protocol, and its reason, where no partner has posted anything for any of them."""
    import pandas as pd

    if (rows["tenant"] != LITERATURE).any():
        return rows
    reasons = control(frame(unposted_rows(table.name), table, extra=("parts",)))
    return pd.concat([rows, reasons], ignore_index=True) if len(reasons) else rows
