"""What evidence may see, of marts in an in-memory DuckDB with the columns of dbt's contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import duckdb
import pytest

from pipelines.builds.evidence import BUILDERS
from pipelines.evidence.inputs import read_inputs
from pipelines.quality.suites.marts import contracts

SURVEY, STUDY = "roystonn-2020", "synthetic-mens-groups"


@pytest.fixture
def lake() -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(duckdb.connect()) as connection:
        connection.execute("SET TimeZone = 'UTC'; ATTACH ':memory:' AS lake; USE lake; CREATE SCHEMA marts")
        for mart, columns in contracts().items():
            listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            connection.execute(f"CREATE TABLE marts.{mart} ({listed})")
        yield connection


def insert(lake: duckdb.DuckDBPyConnection, mart: str, **row: Any) -> None:
    named = {"tenant_id": "t", "data_class": "synthetic"} | row
    places = ", ".join("?" * len(named))
    lake.execute(f"INSERT INTO marts.{mart} ({', '.join(named)}) VALUES ({places})", [*named.values()])


def answer(lake: duckdb.DuckDBPyConnection, person: str, *, consents: bool, survey: str = SURVEY) -> None:
    insert(
        lake, "fct_survey_answer", survey_code=survey, participant_id=person, question="online-group",
        answer="yes", has_research_consent=consents, survey_weight=1.5, answered_at="2026-03-01",
    )  # fmt: skip


def test_without_rows_every_table_is_empty_but_has_its_columns(lake: duckdb.DuckDBPyConnection) -> None:
    inputs = read_inputs(lake)
    for name, build in BUILDERS.items():
        assert len(build(inputs)) == 0, name


class TestSurveys:
    def test_answers_of_people_without_consent_are_counted_and_not_seen(
        self, lake: duckdb.DuckDBPyConnection
    ) -> None:
        for i in range(3):
            answer(lake, f"p{i}", consents=i > 0)
        inputs = read_inputs(lake)
        assert set(inputs.survey_answers["participant_id"]) == {"p1", "p2"}
        (survey,) = inputs.surveys.to_dict("records")
        assert (survey["count_respondents"], survey["count_consented"]) == (3, 2)
        rows = BUILDERS["osg_prevalence"](inputs)
        assert set(rows["n_excluded"]) == {1} and set(rows["study"]) == {SURVEY}

    def test_a_survey_that_no_protocol_asks_of_is_not_read(self, lake: duckdb.DuckDBPyConnection) -> None:
        answer(lake, "p", consents=True, survey="another")
        inputs = read_inputs(lake)
        assert len(inputs.surveys) == len(inputs.survey_answers) == 0


class TestMembersOfGroups:
    def coded(self, lake: duckdb.DuckDBPyConnection, person: str, tenant: str, *, consents: bool) -> None:
        told = {"tenant_id": tenant, "participant_id": person}
        insert(lake, "dim_participant", **told, has_research_consent=consents, gender="man")
        insert(
            lake, "fct_theme_coding", **told, study_code=STUDY, theme="coping", coder_id="c", is_present=True,
            has_research_consent=consents, coded_at="2026-03-01",
        )  # fmt: skip
        insert(
            lake, "fct_group_membership", **told, group_id="g", has_research_consent=consents,
            count_sessions_open=4, count_sessions_attended=3, count_posts=1,
        )  # fmt: skip

    def test_what_of_them_is_seen(self, lake: duckdb.DuckDBPyConnection) -> None:
        insert(lake, "dim_group", group_id="g", population="men")
        self.coded(lake, "p1", "t", consents=True)
        self.coded(lake, "p2", "t", consents=False)
        insert(lake, "dim_participant", participant_id="p3", has_research_consent=True, gender="woman")
        for consents, one, other in ((True, "p1", "p3"), (True, "p3", "p1"), (False, "p1", "p2")):
            insert(
                lake, "fct_reply_edge", group_id="g", from_participant_id=one, to_participant_id=other,
                has_research_consent=consents,
            )  # fmt: skip
        inputs = read_inputs(lake)
        assert inputs.themes["participant_id"].tolist() == ["p1"]
        seen = inputs.group_people[["participant_id", "population", "gender", "has_replied"]]
        assert seen.to_numpy().tolist() == [["p1", "men", "man", True]]
        dyads = inputs.dyads[["one_id", "other_id", "is_mutual", "one_gender", "other_gender", "population"]]
        assert dyads.to_numpy().tolist() == [["p1", "p3", True, "man", "woman", "men"]]
        sizes = inputs.coded_studies.set_index("source")[["count_people", "count_consented"]]
        assert sizes.to_dict("index") == {
            "interviews": {"count_people": 2, "count_consented": 1},
            "members": {"count_people": 2, "count_consented": 1},
        }
        rows = BUILDERS["mens_groups"](inputs)
        attended = rows[(rows["estimate_name"] == "attendance_rate") & (rows["part"] == "groups for men")]
        assert attended["estimate"].tolist() == [0.75]

    def test_members_of_a_tenant_who_takes_no_part_are_not_read(
        self, lake: duckdb.DuckDBPyConnection
    ) -> None:
        insert(lake, "dim_group", group_id="g", population="men")
        insert(lake, "dim_participant", participant_id="p", has_research_consent=True)
        insert(lake, "fct_group_membership", group_id="g", participant_id="p", has_research_consent=True)
        assert len(read_inputs(lake).group_people) == 0
