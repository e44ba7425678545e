"""Ten questions as operators and analysts ask them, through the doors that they have.

Each is the command `circles` itself, run in this process: opening the door and printing the answer are
measured, starting Python is not. What is asked is a lake that has been built, and a release of it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from infra.cli.main import cli
from pipelines.builds.evidence import computed
from pipelines.evidence.rows import TABLES
from pipelines.publication.candidate import approve, provenance, write_candidate
from pipelines.publication.release import publish
from services.runtime.lake import current_snapshot, open_lake
from services.runtime.settings import LakeSettings, PostgresSettings
from tests.benchmarks.warehouse.worlds import STUDY, TENANTS
from tests.landings import OwnLake

OPERATOR, ANALYST = "operator", "analyst"


class QuestionFailed(Exception):
    """A command ended badly. Its words are for a person."""


@dataclass(frozen=True)
class Question:
    """`command` is what comes after `circles`."""

    who: str
    what: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Answered:
    """How long each asking took, and how many lines came back."""

    question: Question
    seconds: tuple[float, ...]
    lines: int

    @property
    def p50(self) -> float:
        return percentile(self.seconds, 50)

    @property
    def p95(self) -> float:
        return percentile(self.seconds, 95)


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all are not above."""
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]


def questions(lake: OwnLake) -> list[Question]:
    """About the last days that the lake knows, and the group of the largest tenant that is busiest then."""
    ((end, newest_landing),) = lake.rows(
        "SELECT (SELECT max(occurred_at) FROM marts.fct_participation)::VARCHAR, "
        "(SELECT max(landed_at) FROM raw.participation_events "
        "WHERE landed_at < now() - INTERVAL 1 DAY)::VARCHAR"
    )
    tenant = TENANTS[0]
    ((group,),) = lake.rows(
        "SELECT group_id FROM marts.fct_group_engagement_daily "
        "WHERE tenant_id = ? AND occurred_on > ?::TIMESTAMPTZ::DATE - 28 "
        "GROUP BY group_id ORDER BY sum(count_events) DESC LIMIT 1",
        tenant,
        end,
    )

    def since(column: str, moment: str, days: int) -> str:
        return f"{column} > TIMESTAMPTZ '{moment}' - INTERVAL {days} DAY"

    of_lake = {
        "a group's last 28 days": (
            "SELECT occurred_on, kind, count(*), count(DISTINCT participant_id) FROM marts.fct_participation "
            f"WHERE tenant_id = '{tenant}' AND group_id = '{group}' AND {since('occurred_at', end, 28)} "
            "GROUP BY ALL ORDER BY ALL"
        ),
        "failed events of a week, by reason": (
            "SELECT reason, tenant_id, count(*) FROM staging.stg_failures__failed_events "
            f"WHERE {since('failed_at', newest_landing, 7)} GROUP BY ALL ORDER BY ALL"
        ),
        "a tenant's volume, by day of 28": (
            "SELECT landed_at::DATE, count(*) FROM raw.participation_events "
            f"WHERE tenant_id = '{tenant}' AND {since('landed_at', newest_landing, 28)} "
            "GROUP BY ALL ORDER BY ALL"
        ),
        "lag of a day, by tenant": (
            "SELECT tenant_id, median(epoch(landed_at) - epoch(received_at)), "
            "quantile_cont(epoch(received_at) - epoch(occurred_at), 0.95) "
            f"FROM raw.participation_events WHERE {since('landed_at', newest_landing, 1)} "
            "GROUP BY ALL ORDER BY ALL"
        ),
    }
    published = {
        "a study's comparison": (
            "SELECT arm, time_point, estimate_name, estimate, ci_low, ci_high, n "
            f"FROM evidence.carers_controlled WHERE study = '{STUDY}' ORDER BY tenant, time_point, arm"
        ),
        "groups with the best attendance": (
            "SELECT group_id, estimate, ci_low, ci_high, n FROM evidence.group_engagement "
            f"WHERE tenant = '{tenant}' AND estimate_name = 'attendance_rate' AND NOT suppressed "
            "ORDER BY estimate DESC NULLS LAST LIMIT 50"
        ),
        "how an estimate is spread over groups": (
            "SELECT estimate_name, data_class, count(estimate), percentile_cont(array[0.1, 0.5, 0.9]) "
            "WITHIN GROUP (ORDER BY estimate) FROM evidence.group_engagement GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        "what is suppressed, and why": (
            "SELECT tenant, estimate_name, suppression_reason, count(*) FROM evidence.group_engagement "
            "WHERE suppressed GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ),
        "releases and what their columns mean": (
            "SELECT table_name, column_name, description, (SELECT max(release_id) FROM evidence.releases) "
            "FROM evidence.data_dictionary ORDER BY 1, 2"
        ),
    }
    return [
        *(Question(OPERATOR, what, ("sql", each)) for what, each in of_lake.items()),
        Question(OPERATOR, "blocked slices", ("slices",)),
        *(Question(ANALYST, what, ("sql", "--published", each)) for what, each in published.items()),
    ]


def ask(question: Question, lake: OwnLake, times: int) -> Answered:
    """Raises QuestionFailed."""
    environment = {
        "CIRCLES_POSTGRES_DATABASE_LAKE": lake.database,
        "CIRCLES_LAKE_DATA_PATH": str(lake.folder),
    }
    seconds, lines = [], 0
    for _ in range(times):
        begun = time.monotonic()
        result = CliRunner().invoke(cli, list(question.command), env=environment)
        seconds.append(time.monotonic() - begun)
        if result.exit_code != 0:
            raise QuestionFailed(f"{question.what}: {result.output} {result.exception!r}")
        lines = len(result.output.splitlines())
    return Answered(question, tuple(seconds), lines)


def release(lake: OwnLake) -> Mapping[str, int]:
    """Evidence of the lake, under disclosure control, as analysts read it. Returns rows by table.

    Without the checks of Great Expectations, which change nothing in it.
    """
    postgres = PostgresSettings.load()
    with closing(_opened(lake)) as connection:
        snapshot, frames = current_snapshot(connection), computed(connection)
    number = write_candidate(postgres, [*TABLES.values()], frames, provenance(snapshot))
    approve(postgres, number)
    return publish(postgres, [*TABLES.values()], number).row_counts


def _opened(lake: OwnLake) -> Any:
    return open_lake(
        LakeSettings.load(data_path=lake.folder),
        PostgresSettings.load(database_lake=lake.database),
        read_only=True,
    )
