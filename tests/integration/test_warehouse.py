"""From raw rows to released evidence on a real lake and a real PostgreSQL: two builds, one after the other.

The raw rows are landed by hand; the stack lends its PostgreSQL server, on which the warehouse has
databases of its own.
"""

from __future__ import annotations

import csv
import math
import shutil
import statistics
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import psycopg2
import psycopg2.extras
import pytest
import yaml
from circles.common.v1.common_pb2 import (
    DATA_CLASS_LIVE,
    DATA_CLASS_PUBLIC,
    DATA_CLASS_SYNTHETIC,
    EventRetracted,
)
from circles.failures.v1 import failed_event_pb2
from circles.outcomes.v1.outcome_event_pb2 import (
    AGE_BAND_18_25,
    CONSENT_SCOPE_RESEARCH,
    COST_CATEGORY_GROUP,
)
from circles.participation.v1.participation_event_pb2 import ParticipationEvent
from circles.studies.v1.study_event_pb2 import STUDY_DESIGN_CONTROLLED
from click.testing import CliRunner
from scipy import stats

from infra.cli.main import cli
from infra.demo import bcg_trials
from infra.provisioning.databases import provision
from pipelines.builds import evidence
from pipelines.builds.evidence import computed
from pipelines.builds.one import BUILD_LOCK, building
from pipelines.defs.days import today
from pipelines.defs.transformation import project
from pipelines.evidence import protocols
from pipelines.evidence.rows import CARERS_CONTROLLED, TABLES
from pipelines.evidence.sequences import VOID, VOIDS
from pipelines.publication import release as releasing
from pipelines.publication.candidate import approve, provenance, read_candidate, write_candidate
from pipelines.publication.disclosure import control
from pipelines.publication.looks import Looked, Watched
from pipelines.publication.release import (
    NotApproved,
    StillRead,
    mark_inputs_erased,
    named_snapshots,
    publish,
)
from pipelines.publication.shown import Shown
from pipelines.quality.admission import UnknownSlice, blocked_slices, reject
from pipelines.quality.expectations import RuleResult
from pipelines.quality.marts import NotJudged, verdict_of
from pipelines.quality.reconciliation import LIVE
from pipelines.quality.results import Checked, record
from pipelines.quality.suites import raw_rules
from pipelines.quality.suites.marts import MARTS
from services.client.events import study_registered
from services.runtime.instruments import instruments
from services.runtime.lake import open_lake
from services.runtime.postgres import connect
from services.runtime.settings import PostgresSettings, ReaderSettings
from tests.fakes.histories import (
    BTHEB_CSV,
    BTHEB_WAVES,
    anything,
    attended_group,
    beat_the_blues,
    consent,
    event_id,
    outcome,
    participation,
    registered,
    retraction_of,
)
from tests.fakes.raw_lake import RawLake, deferred
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack

START = datetime(2020, 1, 1, tzinfo=UTC)
GOOD = [*attended_group(12, 4, 30, group="good-g")]
BAD = participation(
    "bad", "long", at=START, group="bad-g", participant="bad-p",
    session_attended={"session_ref": "bad-s", "minutes": 5000},
)  # fmt: skip


def _answer(name: str, total: float) -> Any:
    answered = {"instrument": "our-own-scale", "instrument_version": "1", "total": total}
    return outcome(name, at=START, participant="surveyed", questionnaire_answered=answered)


REJECTED = [
    participation(
        "worse", name, at=START, group="worse-g", participant="worse-p",
        session_attended={"session_ref": "worse-s", "minutes": minutes},
    )
    for name, minutes in (("once", 5000), ("twice", 20), ("copied", 20))
]  # fmt: skip
"""Of a slice that an operator rejects; the last one comes in by another slice as well."""


DEFERRED = [_answer(f"deferred-{i}", total=i) for i in range(1, 4)]


WATCHED = """
study: watched
system: carers_controlled
version: "1"
dated: 2019-12-31
population: Nobody
estimand: Mean distress of people allocated to the group.
design: cohort
arms: {group: a group, others: none}
reference_arm: others
outcomes:
  - outcome: distress
    instrument: k10
    instrument_version: "1"
    direction: lower_is_better
    time_points: [once]
"""
"""A protocol that is older than its data, whose mean may be watched from a hundred people on."""


def nothing_known(_: PostgresSettings) -> Shown:
    """Of what published rows were computed from, as where the code has changed."""
    return Shown()


PROMISE = "every_acknowledged_event_is_in_one_place"
REGRETS = {
    "participation_events": (
        "participation",
        "SELECT substr(participant_id, 3) FROM marts.fct_participation WHERE tenant_id = 'regrets'",
    ),
    "outcome_events": (
        "outcomes",
        "SELECT participant_id FROM marts.fct_outcome WHERE tenant_id = 'regrets'",
    ),
    "group_events": (
        "groups",
        "SELECT group_id FROM marts.dim_group WHERE tenant_id = 'regrets' AND is_registered",
    ),
    "study_events": ("studies", "SELECT study_code FROM marts.dim_study WHERE tenant_id = 'regrets'"),
}
"""By raw table: source in staging, and what the domain's mart tells of a tenant that takes back all but
the event `kept`."""


@dataclass(frozen=True)
class Warehouse:
    """The warehouse under test and the doors to it."""

    postgres: PostgresSettings

    def build(self, day: str = "") -> dg.ExecuteInProcessResult:
        from pipelines.definitions import defs

        job = defs.resolve_job_def("build_warehouse")
        return job.execute_in_process(instance=dg.DagsterInstance.ephemeral(), partition_key=day or today())

    def lake(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(open_lake(read_only=True)) as lake:
            return lake.execute(statement).fetchall()

    def published(self, statement: str, *arguments: object) -> list[dict[str, Any]]:
        """Rows as an analyst sees them."""
        readers = ReaderSettings.load()
        return rows_for(self.postgres, readers.analyst_user, readers.analyst_password, statement, arguments)

    def analyst(self) -> Any:
        """A connection of theirs."""
        readers = ReaderSettings.load()
        role = {"user": readers.analyst_user, "password": readers.analyst_password}
        return psycopg2.connect(self.postgres.model_copy(update=role).dsn(self.postgres.database_published))


def rows_for(
    postgres: PostgresSettings, user: str, password: Any, statement: str, arguments: Sequence[object] = ()
) -> list[dict[str, Any]]:
    as_user = postgres.model_copy(update={"user": user, "password": password})
    dsn = as_user.dsn(postgres.database_published)
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.fixture(scope="module")
def warehouse(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """An empty warehouse. Settings of this process point to it while the module runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIRCLES_POSTGRES_DATABASE_LAKE", "warehouse_test_lake")
        patch.setenv("CIRCLES_POSTGRES_DATABASE_PUBLISHED", "warehouse_test_published")
        patch.setenv("CIRCLES_LAKE_DATA_PATH", str(tmp_path_factory.mktemp("lake")))
        # What dbt needs is put into this process's environment; it is taken out again with the rest.
        for name, value in project.environment().items():
            patch.setenv(name, value)
        folder = tmp_path_factory.mktemp("evidence") / "protocols"
        shutil.copytree(protocols.FOLDER, folder)
        (folder / "watched.yaml").write_text(WATCHED)
        patch.setattr(protocols, "FOLDER", folder)
        protocols._all.cache_clear()
        postgres = PostgresSettings.load()
        provision()
        yield Warehouse(postgres)
    protocols._all.cache_clear()


@pytest.fixture(scope="module")
def first(warehouse: Warehouse) -> dg.ExecuteInProcessResult:
    """The first build: two published data sets, live and synthetic partners, one of them with bad rows."""
    with closing(open_lake()) as lake:
        raw = RawLake(lake)
        _land_public(raw)
        _land_clinic(raw, "clinic-small", people=9, without_consent=0)
        _land_clinic(raw, "clinic-large", people=24, without_consent=2)
        raw.land("participation_events", GOOD, tenant="good", data_class=DATA_CLASS_SYNTHETIC)
        # The same again, and one of them with another body: somebody repeats calls and reuses an id.
        again = [*GOOD[:10], _with_another_body(GOOD[3])]
        raw.land("participation_events", again, tenant="good", data_class=DATA_CLASS_SYNTHETIC)
        raw.land("participation_events", [BAD], tenant="bad", data_class=DATA_CLASS_SYNTHETIC)
        raw.land("participation_events", REJECTED, tenant="worse", data_class=DATA_CLASS_SYNTHETIC)
        _land_regrets(raw)
        _land_answers(raw)
        for tenant in ("growing", "backfilled", "corrected", "withdrawing"):
            _land_watched(raw, tenant, range(104), at=START)
            data_class = DATA_CLASS_LIVE if tenant == "withdrawing" else DATA_CLASS_PUBLIC
            raw.land("study_events", [registered("watched")], tenant=tenant, data_class=data_class)
        raw.land_failures([_set_aside(7), _set_aside(7), _set_aside(8)])
        # A partner repeats a deferred event; another one is in conflict with an event that came in.
        raw.land_failures([_deferred(each) for each in (*DEFERRED, DEFERRED[0])])
        other_body = _answer("deferred-2", total=3)
        raw.land("outcome_events", [other_body], tenant="surveyor", data_class=DATA_CLASS_SYNTHETIC)
    return warehouse.build()


@dataclass(frozen=True)
class Before:
    """What stood there after the first build, and what came after it."""

    release: dict[str, Any]
    staged: int
    second: list[dg.ExecuteInProcessResult] = field(default_factory=list)


@pytest.fixture(scope="module")
def second(warehouse: Warehouse, first: dg.ExecuteInProcessResult) -> Before:
    """The second build: copies, a retraction, a withdrawn consent; of two bad slices one is let through."""
    before = Before(
        warehouse.published("SELECT * FROM evidence.releases")[-1],
        int(warehouse.lake("SELECT count(*) FROM staging.stg_participation__events")[0][0]),
    )
    with closing(open_lake()) as lake:
        raw = RawLake(lake)
        attended = next(each for each in GOOD if each.WhichOneof("kind") == "session_attended")
        taken_back = participation(
            "good", "retraction", at=START, group="good-g",
            event_retracted=EventRetracted(retracted_event_id=attended.event_id),
        )  # fmt: skip
        # The first two deferred events are replayed; the second is in conflict with what came in before.
        replayed = [*DEFERRED[:2], DEFERRED[0]]
        raw.land("outcome_events", replayed, tenant="surveyor", data_class=DATA_CLASS_SYNTHETIC)
        withdrawn = outcome(
            "withdrawn", at=START + timedelta(days=30), participant="clinic-large-p0",
            consent_withdrawn={"scope": CONSENT_SCOPE_RESEARCH},
        )  # fmt: skip
        events = [*GOOD, taken_back]
        raw.land("participation_events", events, tenant="good", data_class=DATA_CLASS_SYNTHETIC)
        raw.land("outcome_events", [withdrawn], tenant="clinic-large", data_class=DATA_CLASS_LIVE)
        raw.land("participation_events", REJECTED[2:], tenant="worse", data_class=DATA_CLASS_SYNTHETIC)
        # A field that is new in the contract: landing makes the column, staging need not know it.
        lake.execute("ALTER TABLE raw.participation_events ADD COLUMN new_in_the_contract VARCHAR")
        number = {each.tenant_id: each.slice_id for each in blocked_slices(lake)}
        _land_watched(raw, "growing", range(104, 110), at=datetime.now(UTC))
        _land_watched(raw, "backfilled", range(104, 110), at=START)
        # Of two answers at a time point the later one counts.
        corrected = _answer_of("corrected", 1, START + timedelta(hours=1), of=0)
        raw.land("outcome_events", [corrected], tenant="corrected", data_class=DATA_CLASS_PUBLIC)
        left = outcome(
            "left", at=START + timedelta(days=30), participant="withdrawing-0",
            consent_withdrawn={"scope": CONSENT_SCOPE_RESEARCH},
        )  # fmt: skip
        raw.land("outcome_events", [left], tenant="withdrawing", data_class=DATA_CLASS_LIVE)
    _circles("slices", "release", str(number["bad"]), "--yes", "--note", "a session that went on for days")
    _circles("slices", "reject", str(number["worse"]), "--yes", "--note", "the partner posts it again")
    before.second.append(warehouse.build())
    return before


def _circles(*arguments: str) -> str:
    """What the command says, with the settings of this process."""
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def _land_public(raw: RawLake) -> None:
    raw.land("study_events", [registered("beat-the-blues")], tenant="trial", data_class=DATA_CLASS_PUBLIC)
    raw.land("outcome_events", [*beat_the_blues()], tenant="trial", data_class=DATA_CLASS_PUBLIC)
    raw.land("study_events", [*bcg_trials.events()], tenant="bcg", data_class=DATA_CLASS_PUBLIC)
    women = [*attended_group(18, 14, 89, group="women")]
    raw.land("participation_events", women, tenant="women", data_class=DATA_CLASS_PUBLIC)


def _land_answers(raw: RawLake) -> None:
    """By items: all of DASS-21's, and of PHQ-9 all, all but two, all but three. And one person of a study who
    gets better on both questionnaires of the NHS' rule."""
    answers = [("dass-21", 21), ("phq-9", 9), ("phq-9", 7), ("phq-9", 6)]
    events = [
        outcome(
            "scored", place, at=START, participant=f"scored-{place}",
            questionnaire_answered={
                "instrument": instrument, "instrument_version": "1",
                "items": [{"item": item, "value": item % 4} for item in range(1, count + 1)],
            },
        )
        for place, (instrument, count) in enumerate(answers)
    ]  # fmt: skip
    study = {"study_code": "talking"}
    told: list[dict[str, Any]] = [
        {"consent_given": {"scope": CONSENT_SCOPE_RESEARCH}},
        {"arm_allocated": study | {"arm": "group"}},
        {"attribute_stated": {"age_band": AGE_BAND_18_25}},
        {"covariate_stated": study | {"covariate": "drug", "value": "no"}},
        {"cost_recorded": study | {"category": COST_CATEGORY_GROUP, "currency": "GBP", "amount": 12.5}},
        {"theme_coded": study | {"theme": "safe-space", "coder_ref": "coder", "is_present": True}},
        {
            "survey_answered": {
                "survey_code": "household",
                "weight": 1.5,
                "stratum": "east",
                "cluster": "block-1",
                "answers": [{"question": "online-group", "answer": "yes"}],
            }
        },
        *(
            {
                "questionnaire_answered": study
                | {"instrument": instrument, "instrument_version": "1", "total": total, "time_point": when}
            }
            for instrument, totals in (("phq-9", (15.0, 9.0)), ("gad-7", (9.0, 7.0)))
            for when, total in zip(("before", "after"), totals, strict=True)
        ),
    ]
    events += [
        outcome("told", place, at=START + timedelta(days=place), participant="recovered", **each)
        for place, each in enumerate(told)
    ]
    raw.land("outcome_events", events, tenant="scored", data_class=DATA_CLASS_SYNTHETIC)
    kind = study_registered(
        study="talking", design=STUDY_DESIGN_CONTROLLED, attributes={"modality": "face-to-face"}, at=START
    )
    raw.land("study_events", [kind], tenant="scored", data_class=DATA_CLASS_SYNTHETIC)
    talked = [
        participation("talked", 0, at=START, group="talk", participant="recovered", **_started("a")),
        participation(
            "talked", 1, at=START + timedelta(hours=1), group="talk", participant="told", **_replied("b", "a")
        ),
    ]
    raw.land("participation_events", talked, tenant="scored", data_class=DATA_CLASS_SYNTHETIC)
    raw.land("participation_events", [*_measured()], tenant="scored", data_class=DATA_CLASS_SYNTHETIC)
    agreed = [consent(f"writer-{number}", START) for number in range(WRITERS)]
    raw.land("outcome_events", agreed, tenant="scored", data_class=DATA_CLASS_SYNTHETIC)


WRITERS = 100
"""As many authors as the protocol of `covid_change` asks of a community."""


def _started(act: str) -> dict[str, Any]:
    return {"thread_started": {"thread_ref": "thread", "act_ref": act}}


def _replied(act: str, to: str) -> dict[str, Any]:
    return {"reply_posted": {"thread_ref": "thread", "act_ref": act, "in_reply_to_act_ref": to}}


def _measured() -> Iterator[ParticipationEvent]:
    """Posts in the window of a study of what is written, measured with its dictionary."""
    for number in range(WRITERS):
        act, at = f"act-{number}", datetime(2020, 1, 5, tzinfo=UTC) + timedelta(days=number)
        features = [{"code": "n_words", "value": 100}, {"code": "home", "value": number % 2}]
        kinds: list[dict[str, Any]] = [
            {"thread_started": {"thread_ref": act, "act_ref": act}},
            {"text_features_measured": {"act_ref": act, "dictionary": "low-2020", "features": features}},
        ]
        for place, kind in enumerate(kinds):
            yield participation(
                "measured", number, place, at=at, group="writers", participant=f"writer-{number}", **kind
            )


def _land_clinic(raw: RawLake, tenant: str, people: int, without_consent: int) -> None:
    events = [*attended_group(people, 5, people * 3, group=tenant)]
    consents = [consent(f"{tenant}-p{i}", START) for i in range(people - without_consent)]
    raw.land("participation_events", events, tenant=tenant, data_class=DATA_CLASS_LIVE)
    raw.land("outcome_events", consents, tenant=tenant, data_class=DATA_CLASS_LIVE)


def _land_watched(raw: RawLake, tenant: str, people: range, at: datetime) -> None:
    """People of the protocol `watched`, with an answer each."""
    is_live = tenant == "withdrawing"
    allocated = {"study_code": "watched", "arm": "group"}
    events = [
        event
        for each in people
        for event in (
            *([consent(f"{tenant}-{each}", at)] if is_live else []),
            outcome(tenant, each, "arm", at=at, participant=f"{tenant}-{each}", arm_allocated=allocated),
            _answer_of(tenant, each, at),
        )
    ]
    data_class = DATA_CLASS_LIVE if is_live else DATA_CLASS_PUBLIC
    raw.land("outcome_events", events, tenant=tenant, data_class=data_class)


def _answer_of(tenant: str, person: int, at: datetime, of: int | None = None) -> Any:
    """`of`: whose answer it is, in place of that person's."""
    who = person if of is None else of
    answered = {
        "instrument": "k10", "instrument_version": "1", "total": 10.0 + 7 * person % 40,
        "study_code": "watched", "time_point": "once",
    }  # fmt: skip
    return outcome(
        tenant, person, who, "answer", at=at, participant=f"{tenant}-{who}", questionnaire_answered=answered
    )


def _land_regrets(raw: RawLake) -> None:
    for table in REGRETS:
        before, after, kept = (anything(table, name) for name in ("before", "after", "kept"))
        first = retraction_of(before)
        for events in ([first, after, kept], [before, retraction_of(after)], [retraction_of(first)]):
            raw.land(table, events, tenant="regrets", data_class=DATA_CLASS_SYNTHETIC, received_at=START)


def _deferred(event: Any) -> failed_event_pb2.FailedEvent:
    return deferred("outcome_events", event, "surveyor", DATA_CLASS_SYNTHETIC)


def _with_another_body(event: ParticipationEvent) -> ParticipationEvent:
    changed = ParticipationEvent()
    changed.CopyFrom(event)
    changed.participant_ref = "somebody-else"
    return changed


def _set_aside(offset: int) -> failed_event_pb2.FailedEvent:
    made = failed_event_pb2.FailedEvent(
        stage=failed_event_pb2.FAILURE_STAGE_LANDING,
        reason=failed_event_pb2.FAILURE_REASON_UNREADABLE,
        detail="not an envelope",
        topic="some-topic",
        topic_id="some-id",
        kafka_partition=0,
        kafka_offset=offset,
    )
    made.failed_at.FromDatetime(START)
    return made


class TestFirstBuild:
    def test_pooled_trials_are_those_of_the_books(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        rows = warehouse.published(
            "SELECT part, estimate, ci_low FROM evidence.group_peer_support_meta "
            "WHERE tenant = 'bcg' AND part IN ('DL; Wald', 'latitude') "
            "AND estimate_name IN ('pooled_alternative', 'r2') ORDER BY part"
        )
        found = [(row["part"], round(row["estimate"], 2), row["ci_low"]) for row in rows]
        assert found == [("DL; Wald", -0.71, pytest.approx(-1.0644, abs=5e-5)), ("latitude", 75.63, None)]

    def test_every_event_is_staged_once(self, warehouse: Warehouse, first: dg.ExecuteInProcessResult) -> None:
        staged = warehouse.lake(
            "SELECT count(*), count(DISTINCT event_id) FROM staging.stg_participation__events "
            "WHERE tenant_id = 'good'"
        )
        assert staged == [(len(GOOD), len(GOOD))]

    def test_an_event_that_came_late_says_so(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        for mart in ("fct_participation", "fct_outcome"):
            late = warehouse.lake(
                f"SELECT DISTINCT tenant_id, is_late FROM marts.{mart} "
                "WHERE tenant_id IN ('good', 'trial', 'regrets') ORDER BY tenant_id"
            )
            of_old = "good" if mart == "fct_participation" else "trial"
            assert sorted(late) == sorted([(of_old, True), ("regrets", False)])

    @pytest.mark.parametrize("raw_table", REGRETS)
    def test_a_retraction_takes_its_event_out_whichever_comes_first(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult, raw_table: str
    ) -> None:
        """Two events of a domain are taken back, one before it landed; taking that back changes nothing."""
        source, told_by_the_mart = REGRETS[raw_table]
        staged = warehouse.lake(
            f"SELECT count(*) FROM staging.stg_{source}__events WHERE tenant_id = 'regrets'"
        )
        assert staged == [(6,)]
        assert warehouse.lake(told_by_the_mart) == [("kept",)]

    def test_a_retraction_reaches_evidence(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        rows = warehouse.published(
            "SELECT n_consented + n_excluded AS people FROM evidence.group_engagement "
            "WHERE tenant = 'regrets' AND estimate_name = 'participants'"
        )
        assert rows == [{"people": 1}]

    def test_a_conflict_is_among_the_failed_events_once(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        conflicts = warehouse.lake(
            "SELECT stage, tenant_id, event_id FROM staging.stg_failures__failed_events "
            "WHERE reason = 'conflict'"
        )
        assert conflicts == [("staging", "good", GOOD[3].event_id)]

    def test_the_first_body_is_the_event(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        kept = warehouse.lake(
            f"SELECT participant_id FROM staging.stg_participation__events "
            f"WHERE event_id = '{GOOD[3].event_id}'"
        )
        assert kept == [(GOOD[3].participant_ref,)]

    def test_a_record_that_was_set_aside_twice_counts_once(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        found = warehouse.lake(
            "SELECT kafka_offset FROM staging.stg_failures__failed_events "
            "WHERE reason = 'unreadable' ORDER BY kafka_offset"
        )
        assert found == [(7,), (8,)]

    def test_a_deferred_event_that_was_repeated_is_failed_once(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        assert _failed_of_surveyor(warehouse) == [
            (0, "deferred", "synthetic", True),
            (1, "deferred", "synthetic", True),
            (2, "deferred", "synthetic", True),
        ]

    def test_a_bad_slice_is_blocked_with_its_reason_and_stops_nobody_else(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        verdicts = warehouse.lake(
            "SELECT tenant_id, reason FROM admission.slices WHERE verdict = 'blocked' ORDER BY tenant_id"
        )
        assert verdicts == [
            ("bad", "session_attended__minutes_is_in_range: 1 of 1 rows"),
            ("worse", "session_attended__minutes_is_in_range: 1 of 3 rows"),
        ]

    def test_what_blocks_is_an_error_at_its_rule_and_what_warns_a_warning(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        """An answer to an instrument that nobody knows has come in by another way than the gateway."""
        broken = [each for each in first.get_asset_check_evaluations() if not each.passed]
        assert {(each.check_name, each.severity.value) for each in broken} == {
            ("session_attended__minutes_is_in_range", "ERROR"),
            ("instrument_is_known", "WARN"),
        }
        verdicts = warehouse.lake("SELECT verdict, reason FROM admission.slices WHERE tenant_id = 'surveyor'")
        assert set(verdicts) == {("passed", None)}

    def test_known_totals_of_attendance(self, warehouse: Warehouse, first: dg.ExecuteInProcessResult) -> None:
        rows = warehouse.published("SELECT * FROM evidence.group_engagement WHERE tenant = 'women'")
        found = {row["estimate_name"]: row for row in rows}
        totals = {name: found[name]["estimate"] for name in ("participants", "sessions_held", "attendances")}
        assert totals == {"participants": 18, "sessions_held": 14, "attendances": 89}
        assert found["attendance_rate"]["estimate"] == pytest.approx(89 / 252, rel=1e-12)
        assert found["attendance_rate"]["denominator"] == 252
        assert found["attendance_rate"]["post_hoc"] is True

    def test_known_totals_of_rolling_engagement(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        """18 women, 14 sessions, one a day: all within 28 days, the last one within the last hour."""
        rows = warehouse.lake(
            "SELECT window_hours, count_sessions, count_places, count_attendances, attendance_rate "
            "FROM marts.fct_group_engagement_rolling WHERE tenant_id = 'women' ORDER BY window_hours"
        )
        assert rows[-1] == (672, 14, 252, 89, 89 / 252)
        assert [row[:3] for row in rows[:-1]] == [(1, 1, 18), (24, 1, 18), (168, 7, 126)]

    def test_doses_add_up_to_the_attendances(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        rows = warehouse.lake(
            "SELECT count(*), sum(count_sessions_attended), bool_and(has_research_consent) "
            "FROM marts.fct_participant_dose WHERE tenant_id = 'women'"
        )
        assert rows == [(18, 89, True)]

    @pytest.mark.parametrize("time_point", BTHEB_WAVES)
    def test_the_trial_equals_an_independent_computation(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult, time_point: str
    ) -> None:
        arms = _scores_in_csv(BTHEB_WAVES[time_point][0])
        rows = warehouse.published(
            "SELECT * FROM evidence.carers_controlled WHERE tenant = 'trial' AND time_point = %s",
            time_point,
        )
        found = {(row["arm"], row["estimate_name"]): row for row in rows}
        for arm, scores in arms.items():
            assert found[arm, "n"]["estimate"] == len(scores)
            assert found[arm, "mean"]["estimate"] == pytest.approx(statistics.fmean(scores), rel=1e-12)
            assert found[arm, "sd"]["estimate"] == pytest.approx(statistics.stdev(scores), rel=1e-12)
        g, se = _hedges_g_by_hand(arms["btheb"], arms["tau"])
        effect = found["btheb", "hedges_g"]
        assert (effect["estimate"], effect["se"]) == pytest.approx((g, se), rel=1e-12)
        welch: Any = stats.ttest_ind(arms["btheb"], arms["tau"], equal_var=False)
        interval = welch.confidence_interval(0.95)
        difference = found["btheb", "mean_difference"]
        assert (difference["ci_low"], difference["ci_high"]) == pytest.approx(
            (interval.low, interval.high), rel=1e-10
        )
        assert (effect["design"], effect["n_excluded"], effect["data_class"]) == ("randomised", 0, "public")

    def test_printed_figures_stand_beside_ours(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        rows = warehouse.published(
            "SELECT study, suppressed FROM evidence.mutual_help WHERE source_kind = 'literature'"
        )
        assert {row["study"] for row in rows} >= {"pistrang-2008"} and not any(r["suppressed"] for r in rows)

    def test_nine_live_people_are_suppressed(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        rows = warehouse.published("SELECT * FROM evidence.group_engagement WHERE tenant = 'clinic-small'")
        assert rows
        assert {(row["suppressed"], row["suppression_reason"]) for row in rows} == {
            (True, "fewer than 10 people")
        }
        emptied = ("estimate", "se", "ci_low", "ci_high", "n", "denominator", "n_excluded", "period")
        assert {row[name] for row in rows for name in emptied} == {None}

    def test_people_without_recorded_consent_are_left_out_and_few_of_them_not_told(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        owner = warehouse.postgres
        (row,) = rows_for(
            owner,
            owner.user,
            owner.password,
            "SELECT * FROM release_1.group_engagement "
            "WHERE tenant = 'clinic-large' AND estimate_name = 'participants'",
        )
        assert (row["estimate"], row["n_consented"], row["n_excluded"]) == (22, 22, None)

    def test_every_table_of_the_lineage_was_made(self, first: dg.ExecuteInProcessResult) -> None:
        made = {
            event.asset_key.path[0] for event in first.get_asset_materialization_events() if event.asset_key
        }
        assert made == {"admission", "staging", "intermediate", "marts", "evidence", "publication"}


class TestSecondBuild:
    def test_only_what_is_new_is_staged(self, warehouse: Warehouse, second: Before) -> None:
        staged = warehouse.lake("SELECT count(*) FROM staging.stg_participation__events")[0][0]
        retraction_released_event_and_copy = 3
        assert staged == second.staged + retraction_released_event_and_copy

    def test_a_retracted_event_is_in_staging_and_in_no_mart(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        counts = warehouse.lake(
            "SELECT (SELECT count(*) FROM staging.stg_participation__events WHERE tenant_id = 'good'), "
            "(SELECT count(*) FROM marts.fct_participation WHERE tenant_id = 'good')"
        )
        assert counts == [(len(GOOD) + 1, len(GOOD) - 1)]

    def test_a_released_slice_is_staged(self, warehouse: Warehouse, second: Before) -> None:
        staged = warehouse.lake(
            "SELECT attended_minutes FROM staging.stg_participation__events WHERE tenant_id = 'bad'"
        )
        assert staged == [(5000,)]

    def test_a_rejected_slice_stays_out_and_its_events_count_as_failed(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        """But for the event of which another slice had a copy."""
        staged = warehouse.lake(
            "SELECT event_id FROM staging.stg_participation__events WHERE tenant_id = 'worse'"
        )
        assert staged == [(REJECTED[2].event_id,)]
        failed = warehouse.lake(
            "SELECT event_id, stage, reason, detail FROM staging.stg_failures__failed_events "
            "WHERE tenant_id = 'worse'"
        )
        why = ("admission", "rejected", "session_attended__minutes_is_in_range: 1 of 3 rows")
        assert sorted(failed) == sorted((each.event_id, *why) for each in REJECTED[:2])

    def test_what_an_operator_decided_is_in_the_ledger_and_decided_once(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        with closing(open_lake()) as lake:
            decided = {each.tenant_id: each for each in blocked_slices(lake, decided=True)}
            assert blocked_slices(lake) == []
            for tenant, state in (("bad", "released"), ("worse", "rejected")):
                assert decided[tenant].state == state
                with pytest.raises(UnknownSlice, match=f"is {state} already"):
                    reject(lake, warehouse.postgres, decided[tenant].slice_id, "")
        nothing = CliRunner().invoke(cli, ["slices", "release", "10000", "--yes"])
        assert nothing.exit_code == 1
        assert "There is no blocked slice 10000." in nothing.output
        assert _circles("slices") == "No slice is blocked.\n"
        assert "worse" in _circles("slices", "--all")
        assert decided["bad"].note == "a session that went on for days"
        assert decided["bad"].since > START

    def test_the_same_copies_make_no_new_conflicts(self, warehouse: Warehouse, second: Before) -> None:
        count = warehouse.lake(
            "SELECT count(*) FROM staging.stg_failures__failed_events "
            "WHERE reason = 'conflict' AND tenant_id = 'good'"
        )
        assert count == [(1,)]

    def test_a_deferred_event_that_came_in_is_no_longer_failed(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        """The one that conflicts is failed for that reason now, and still once."""
        assert _failed_of_surveyor(warehouse) == [
            (1, "conflict", None, False),
            (2, "deferred", "synthetic", True),
        ]
        staged = warehouse.lake(
            "SELECT event_id, total FROM staging.stg_outcomes__events WHERE tenant_id = 'surveyor' ORDER BY 2"
        )
        assert staged == [(DEFERRED[0].event_id, 1.0), (DEFERRED[1].event_id, 3.0)]

    def test_withdrawn_consent_takes_a_person_out(self, warehouse: Warehouse, second: Before) -> None:
        (row,) = warehouse.published(
            "SELECT estimate, n_consented, n_excluded FROM evidence.group_engagement "
            "WHERE tenant = 'clinic-large' AND estimate_name = 'participants'"
        )
        assert row == {"estimate": 21, "n_consented": 21, "n_excluded": None}

    def test_rows_of_tenants_with_nothing_new_are_taken_over(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        """They stand for the new snapshot: recomputed from it, they are the same."""
        (made,) = second.second[0].asset_materializations_for_node("evidence")[:1]
        unchanged: Any = made.metadata["unchanged_tenants"].value
        assert {"women", "clinic-small"} <= set(unchanged)
        assert "clinic-large" not in unchanged

    def test_readers_see_the_new_release_and_the_old_one_is_kept(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        releases = warehouse.published("SELECT * FROM evidence.releases ORDER BY release_id")
        assert [each["release_id"] for each in releases] == [1, 2]
        assert releases[0] == {**second.release, "is_shown": False}
        shown = warehouse.published("SELECT DISTINCT release_id FROM evidence.carers_controlled")
        assert shown == [{"release_id": 2}]
        owner = warehouse.postgres
        old = rows_for(owner, owner.user, owner.password, "SELECT count(*) FROM release_1.group_engagement")
        assert old[0]["count"] > 0

    def test_a_published_table_is_computed_again_from_its_snapshot(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        for name in TABLES:
            rows = warehouse.published(f"SELECT * FROM evidence.{name}")
            said = _circles("evidence", "recompute", name)
            assert said.startswith(
                f"{len(rows)} rows of release 2, snapshot {rows[0]['lake_snapshot']}: equal"
            )
        assert "equal" in _circles("evidence", "recompute", "group_engagement", "--release", "1")
        key = "good/group-engagement/good-g/participants"
        assert key in _circles("evidence", "rows", "group_engagement")
        assert _circles("evidence", "recompute", "group_engagement", "--row", key).startswith("1 rows")

    def test_a_row_that_comes_out_otherwise_is_told(
        self, warehouse: Warehouse, second: Before, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def a_little_more(candidate: pd.DataFrame) -> pd.DataFrame:
            rows = control(candidate)
            return rows.assign(estimate=rows["estimate"].map(lambda each: each and each * (1 + 1e-11)))

        monkeypatch.setattr(evidence, "control", a_little_more)
        key = "good/group-engagement/good-g/attendance_rate"
        result = CliRunner().invoke(cli, ["evidence", "recompute", "group_engagement", "--row", key])
        assert result.exit_code == 1
        assert "1 of 1 rows" in result.output and "estimate" in result.output

    def test_what_was_erased_or_has_expired_is_not_computed_again(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        with closing(_owner(warehouse.postgres)) as owner, owner, owner.cursor() as cursor:
            cursor.execute("SELECT lake_snapshot FROM evidence.releases WHERE release_id = 1")
            ((snapshot,),) = cursor.fetchall()
            for change, why in (
                ("inputs_erased = true", "inputs_erased"),
                ("inputs_erased = false, lake_snapshot = 999999", "has not been made yet"),
            ):
                cursor.execute(f"UPDATE evidence.releases SET {change} WHERE release_id = 1")
                owner.commit()
                arguments = ["evidence", "recompute", "group_engagement", "--release", "1"]
                result = CliRunner().invoke(cli, arguments)
                assert result.exit_code == 1 and why in result.output
            cursor.execute(
                "UPDATE evidence.releases SET lake_snapshot = %s WHERE release_id = 1", (snapshot,)
            )
        mark_inputs_erased(warehouse.postgres)
        erased = warehouse.published("SELECT DISTINCT inputs_erased FROM evidence.releases")
        assert erased == [{"inputs_erased": True}]
        assert "something of it was erased" in _circles("evidence")
        with closing(_owner(warehouse.postgres)) as owner, owner, owner.cursor() as cursor:
            cursor.execute("UPDATE evidence.releases SET inputs_erased = false")


class TestRebuild:
    def test_everything_anew_is_everything_as_it_was_and_a_dry_run_changes_nothing(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        """Two builds made it step by step, a rebuild twice. Floats count to 12 significant digits."""
        from pipelines.definitions import defs

        before = _everything(warehouse)
        assert "Nothing was changed" in _circles("rebuild", "--dry-run")
        defs.resolve_job_def("rebuild").execute_in_process(instance=dg.DagsterInstance.ephemeral())
        assert _everything(warehouse) == before
        for start in ("raw", "kafka"):  # Kafka has no record of these rows: they stay
            _circles("rebuild", "--from", start)
            after = _everything(warehouse)
            assert [name for name in before if before[name] != after.get(name)] == []
            assert after.keys() == before.keys()
        releases = warehouse.published("SELECT release_id FROM evidence.releases")
        assert len(releases) >= 4

    def test_beside_another_build_it_is_refused(self, warehouse: Warehouse, second: Before) -> None:
        with building(warehouse.postgres):
            result = CliRunner().invoke(cli, ["rebuild"])
        assert result.exit_code == 1
        assert "Another build is under way" in result.output

    def test_dbt_waits_until_nobody_else_builds(
        self, warehouse: Warehouse, second: Before, tmp_path: Path
    ) -> None:
        """As one whose run was killed may go on beside that of the run that is tried again."""
        with ThreadPoolExecutor(1) as pool:
            with building(warehouse.postgres):
                asked = pool.submit(_ask_dbt, PROMISE, tmp_path)
                wait_until(lambda: _waiting_for_the_lock(warehouse) == 1, "a dbt that waits")
                assert not asked.done()
            assert asked.result().returncode == 0


class TestBlockingChecks:
    def test_a_bad_table_is_never_released(
        self, warehouse: Warehouse, second: Before, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pipelines.definitions import defs

        def with_an_impossible_interval(candidate: pd.DataFrame) -> pd.DataFrame:
            rows = control(candidate)
            return rows.assign(ci_low=rows["estimate"].map(lambda each: None if each is None else each + 1))

        monkeypatch.setattr(evidence, "control", with_an_impossible_interval)
        monkeypatch.setattr(evidence, "read_shown", nothing_known)
        before = warehouse.published("SELECT * FROM evidence.releases")
        tables = [dg.AssetKey(["evidence", name]) for name in TABLES]
        result = defs.resolve_job_def("build_warehouse").execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=[*tables, dg.AssetKey(["publication", "release"])],
            raise_on_error=False,
        )
        assert not result.success
        broken = {each.check_name for each in result.get_asset_check_evaluations() if not each.passed}
        assert broken == {"interval_contains_estimate"}
        assert warehouse.published("SELECT * FROM evidence.releases") == before

    def test_a_table_whose_check_breaks_is_never_released(
        self, warehouse: Warehouse, second: Before, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pipelines.builds import door
        from pipelines.definitions import defs

        def breaks(*_: Any) -> list[RuleResult]:
            raise RuntimeError("words with a value in them")

        monkeypatch.setattr(door, "check", breaks)
        before = warehouse.published("SELECT * FROM evidence.releases")
        result = defs.resolve_job_def("build_warehouse").execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=[
                *(dg.AssetKey(["evidence", name]) for name in TABLES),
                dg.AssetKey(["publication", "release"]),
            ],
            raise_on_error=False,
        )
        assert not result.success
        assert not any(each.passed for each in result.get_asset_check_evaluations())
        assert warehouse.published("SELECT * FROM evidence.releases") == before
        rows = warehouse.published(
            "SELECT sum(count_checked) = sum(count_failed) AS is_all_failed, min(severity) AS severity "
            "FROM quality.expectation_summary WHERE run_id = %s AND stage = 'evidence'",
            result.run_id,
        )
        assert rows == [{"is_all_failed": True, "severity": "block"}]

    def test_of_a_tenant_with_a_bad_row_what_is_published_stays(
        self, warehouse: Warehouse, second: Before, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pipelines.definitions import defs

        def with_a_bad_tenant(candidate: pd.DataFrame) -> pd.DataFrame:
            rows = control(candidate)
            return rows.assign(se=rows["se"].where(rows["tenant"] != "women", -1.0))

        monkeypatch.setattr(evidence, "control", with_a_bad_tenant)
        monkeypatch.setattr(evidence, "read_shown", nothing_known)
        before = _published_of(warehouse, "women")
        result = defs.resolve_job_def("build_warehouse").execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=[
                *(dg.AssetKey(["evidence", name]) for name in TABLES),
                dg.AssetKey(["publication", "release"]),
            ],
        )
        assert {
            (each.check_name, each.severity.value)
            for each in result.get_asset_check_evaluations()
            if not each.passed
        } == {("se_is_not_negative", "WARN")}
        assert _published_of(warehouse, "women") == before
        assert min(_releases_of(warehouse, "good")) > max(_releases_of(warehouse, "women"))


def _published_of(warehouse: Warehouse, tenant: str) -> list[dict[str, Any]]:
    return warehouse.published(
        "SELECT * FROM evidence.group_engagement WHERE tenant = %s ORDER BY group_id, estimate_name", tenant
    )


def _releases_of(warehouse: Warehouse, tenant: str) -> set[int]:
    """Releases that the tenant's published rows come from."""
    return {row["release_id"] for row in _published_of(warehouse, tenant)}


class TestMarts:
    """A mart that is wrong for one tenant, and one that is wrong for all, on the way to a release."""

    def test_items_are_scored_by_the_registry(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        scores = warehouse.lake(
            "SELECT instrument, count_items, scale, score, scoring, not_scored_reason FROM marts.fct_outcome "
            "WHERE tenant_id = 'scored' AND study_code IS NULL ORDER BY ALL"
        )
        items = {"depression": (3, 5, 10, 13, 16, 17, 21), "anxiety": (2, 4, 7, 9, 15, 19, 20)}
        sums = {scale: 2.0 * sum(item % 4 for item in numbers) for scale, numbers in items.items()}
        total = 2.0 * sum(item % 4 for item in range(1, 22))
        stress = total - sum(sums.values())
        assert scores == [
            ("dass-21", 7, "anxiety", sums["anxiety"], "sum_of_items", None),
            ("dass-21", 7, "depression", sums["depression"], "sum_of_items", None),
            ("dass-21", 7, "stress", stress, "sum_of_items", None),
            ("dass-21", 21, "total", total, "sum_of_items", None),
            ("phq-9", 6, "total", None, None, "3 of 9 items missing, allowed are 2"),
            ("phq-9", 7, "total", (1 + 2 + 3 + 0 + 1 + 2 + 3) * 9 / 7, "prorated", None),
            ("phq-9", 9, "total", 1 + 2 + 3 + 0 + 1 + 2 + 3 + 0 + 1, "sum_of_items", None),
        ]

    def test_a_person_who_got_better_is_counted_by_both_rules(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        """By the NHS' out of those who came twice: nobody did."""
        changed = warehouse.lake(
            "SELECT instrument, count_paired, count_improved, count_cases, count_crossed, count_recovered "
            "FROM marts.fct_study_arm_change WHERE tenant_id = 'scored' ORDER BY 1"
        )
        assert changed == [("gad-7", 1, 0, 1, 1, 0), ("phq-9", 1, 1, 1, 1, 1)]
        recovered = warehouse.lake(
            "SELECT count_paired, count_finished FROM marts.fct_study_arm_recovery WHERE tenant_id = 'scored'"
        )
        assert recovered == [(1, 0)]

    def test_the_registry_is_a_table(self, warehouse: Warehouse, first: dg.ExecuteInProcessResult) -> None:
        found = warehouse.lake(
            "SELECT instrument, scale, count_items, times, least_total, most_total, case_at, reliable_change "
            "FROM marts.dim_instrument ORDER BY ALL"
        )
        assert found == sorted(
            (
                each.code, name, len(items), scale.times, scale.total.least, scale.total.most,
                scale.case_at and scale.case_at.value, scale.reliable_change and scale.reliable_change.value,
            )
            for each in instruments().values() for name, scale, items in each.all_scales()
        )  # fmt: skip

    def test_a_tenant_whose_mart_is_wrong_is_kept_out_of_the_release_and_nobody_else(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        before = _published_of(warehouse, "good")
        change = (
            "UPDATE marts.fct_group_engagement SET count_active = count_active {} WHERE tenant_id = 'good'"
        )
        with _changed(change.format("+ 100"), change.format("- 100")):
            result = self.judged_and_released()
        assert result.success
        # What an operator has let in only warns.
        assert {
            (each.asset_key.path[-1], each.check_name, each.severity.value)
            for each in result.get_asset_check_evaluations()
            if not each.passed
        } == {
            ("fct_group_engagement", "parts_fit_their_wholes", "ERROR"),
            ("fct_participation", "minutes_are_in_range", "WARN"),
        }
        assert _published_of(warehouse, "good") == before
        assert _releases_of(warehouse, "women") == {
            warehouse.published("SELECT max(release_id) AS newest FROM evidence.releases")[0]["newest"]
        }
        self.is_told_to_operators(warehouse, result.run_id)
        # Rows that stayed are computed again from the snapshot that they name, not from that of the release.
        assert "equal" in _circles("evidence", "recompute", "group_engagement")
        # Their snapshots are kept, however many releases come.
        kept = {each.release_id for each in named_snapshots(warehouse.postgres) if each.has_shown_rows}
        assert kept == _releases_of(warehouse, "good") | _releases_of(warehouse, "women")

    def is_told_to_operators(self, warehouse: Warehouse, run_id: str) -> None:
        rows = TestResults().seen_by_operators(warehouse, run_id)
        of_marts = [row for row in rows if row["stage"] == "marts" and not row["success"]]
        (broken,) = [row for row in of_marts if row["severity"] == "block"]
        assert {row["tenant_id"] for row in of_marts if row["severity"] == "warn"} == {"bad"}
        assert (broken["suite"], broken["tenant_id"], broken["severity"], broken["count_unexpected"]) == (
            "marts.fct_group_engagement", "good", "block", 1,
        )  # fmt: skip
        assert "count_active <= count_consented: not in 1 rows" in broken["observed_value"]
        others = [row for row in rows if row["suite"] == broken["suite"] and row["tenant_id"] is None]
        assert {row["expectation"] for row in others} == {
            rule.name for rule in MARTS["fct_group_engagement"].rules
        }
        runs = TestResults().seen_by_operators(warehouse, run_id, "quality.suite_runs")
        assert {row["suite"] for row in runs if row["stage"] == "marts"} == {
            f"marts.{each}" for each in MARTS
        }
        assert all(0 < row["seconds_in_expectations"] <= row["seconds"] for row in runs)
        days = TestResults().seen_by_operators(warehouse, None, "quality.mart_days")
        assert {row["mart"] for row in days} == {*MARTS}

    def test_without_a_verdict_nothing_is_released(self, warehouse: Warehouse, second: Before) -> None:
        before = warehouse.published("SELECT * FROM evidence.releases")
        with _changed(
            "ALTER TABLE marts.dim_study RENAME COLUMN doi TO renamed",
            "ALTER TABLE marts.dim_study RENAME COLUMN renamed TO doi",
        ):
            result = self.judged_and_released(raise_on_error=False)
        assert not result.success
        broken = {each.check_name for each in result.get_asset_check_evaluations() if not each.passed}
        assert {"has_a_verdict", "columns_are_as_the_contract_says"} <= broken
        assert warehouse.published("SELECT * FROM evidence.releases") == before
        with pytest.raises(NotJudged, match="see their red checks"):
            verdict_of(warehouse.postgres, result.run_id)

    def judged_and_released(self, *, raise_on_error: bool = True) -> dg.ExecuteInProcessResult:
        """What build_warehouse does after dbt."""
        from pipelines.definitions import defs
        from pipelines.defs.evidence.assets import evidence_key
        from pipelines.defs.marts.checks import checks

        after_dbt = dg.AssetSelection.assets(
            *(evidence_key(name) for name in TABLES), dg.AssetKey(["publication", "release"])
        )
        job = dg.define_asset_job("after_dbt", dg.AssetSelection.checks(checks) | after_dbt)
        merged = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
        return merged.resolve_job_def("after_dbt").execute_in_process(
            instance=dg.DagsterInstance.ephemeral(), raise_on_error=raise_on_error
        )


@contextmanager
def _changed(statement: str, undone: str) -> Iterator[None]:
    _change_lake(statement)
    try:
        yield
    finally:
        _change_lake(undone)


class TestSensor:
    def test_it_starts_the_build_once_per_landing(self, warehouse: Warehouse, second: Before) -> None:
        from pipelines.defs.automation.sensors import new_data_sensor
        from pipelines.defs.resources import Lake

        def look(cursor: str | None) -> tuple[object, str | None]:
            context = dg.build_sensor_context(
                instance=dg.DagsterInstance.ephemeral(), cursor=cursor, resources={"lake": Lake()}
            )
            return new_data_sensor(context), context.cursor

        nothing, _ = look(None)
        assert isinstance(nothing, dg.SkipReason)
        with closing(open_lake()) as lake:
            raw = RawLake(lake)
            number = raw.land("participation_events", [BAD], tenant="bad", data_class=DATA_CLASS_SYNTHETIC)
        request, cursor = look(None)
        assert isinstance(request, dg.RunRequest)
        assert cursor == str(number)
        again, _ = look(cursor)
        assert isinstance(again, dg.SkipReason)
        assert request.partition_key == today()


class TestDays:
    def test_earlier_days_are_one_run_with_rows_seconds_and_snapshot_of_each_table(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        from pipelines.definitions import defs

        days = [f"dagster/asset_partition_range_{end}" for end in ("start", "end")]
        builds = warehouse.lake("FROM marts.fct_build ORDER BY ALL")
        result = defs.resolve_job_def("build_warehouse").execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=[
                dg.AssetKey(["staging", "stg_groups__events"]),
                dg.AssetKey(["marts", "fct_build"]),
            ],
            tags=dict(zip(days, ("2026-05-01", "2026-05-03"), strict=True)),
        )
        made = result.asset_materializations_for_node("dbt")
        assert [each.partition for each in made] == ["2026-05-01", "2026-05-02", "2026-05-03"]
        # A build of some models is not taken for one of all.
        assert builds and warehouse.lake("FROM marts.fct_build ORDER BY ALL") == builds
        rows = warehouse.lake("SELECT count(*) FROM staging.stg_groups__events")[0][0]
        for each in made:
            assert each.metadata["dagster/row_count"].value == rows
            assert float(str(each.metadata["seconds"].value)) > 0
            assert int(str(each.metadata["lake_snapshot"].value)) > 0


class TestPublishingByHand:
    def test_a_dry_run_tells_what_would_change_and_an_earlier_release_comes_back(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        from pipelines.definitions import defs

        def run(**settings: Any) -> dg.ExecuteInProcessResult:
            config = {"ops": {"let_readers_see": {"config": settings}}}
            return defs.resolve_job_def("publish").execute_in_process(run_config=config, raise_on_error=False)

        def changes(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
            (output,) = [each for each in result.all_node_events if each.is_successful_output]
            table = output.step_output_data.metadata["changes"]
            assert isinstance(table, dg.TableMetadataValue)
            return {str(each.data["table"]): dict(each.data) for each in table.records}

        def seen() -> list[dict[str, Any]]:
            return warehouse.published("SELECT DISTINCT release_id FROM evidence.group_engagement ORDER BY 1")

        newest = seen()
        nothing = changes(run())
        assert set(nothing) == set(TABLES)
        assert {each[name] for each in nothing.values() for name in ("added", "removed", "changed")} == {0}
        counts = warehouse.published(
            "SELECT count(*) AS rows_now, count(*) FILTER (WHERE suppressed) AS suppressed_now "
            "FROM evidence.group_engagement"
        )
        assert counts == [
            {name: nothing["group_engagement"][name] for name in ("rows_now", "suppressed_now")}
        ]
        # The second build left a partner's group out for want of consent, and let another in.
        earlier = second.release["release_id"]
        would = changes(run(release_id=earlier))["group_engagement"]
        assert would["changed"] > 0 and would["removed"] > 0 and seen() == newest
        back = run(release_id=earlier, dry_run=False)
        (made,) = [each for each in back.all_node_events if each.is_step_materialization]
        assert made.asset_key == dg.AssetKey(["publication", "release"])
        assert seen() == [{"release_id": earlier}]
        assert run(release_id=newest_release(warehouse), dry_run=False).success and seen() == newest
        assert not run(release_id=999, dry_run=False).success and seen() == newest


class TestReconciliation:
    """Live figures are put there by hand, as the stream would have left them after all that is staged."""

    @pytest.fixture(scope="class")
    def live(self, warehouse: Warehouse, second: Before) -> PostgresSettings:
        columns = ", ".join(LIVE.names)
        rows = warehouse.lake(
            f"""
            SELECT {columns} FROM marts.fct_group_engagement_rolling
            JOIN (
                SELECT tenant_id, group_id, any_value(topic_id) AS topic_id, 0 AS kafka_partition,
                       max(kafka_offset) AS applied_offset
                FROM staging.stg_participation__events GROUP BY ALL
            ) USING (tenant_id, group_id)
            """
        )
        with closing(_owner(warehouse.postgres)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM live.group_engagement")
            psycopg2.extras.execute_values(
                cursor, f"INSERT INTO live.group_engagement ({columns}) VALUES %s", rows
            )
        return warehouse.postgres

    def test_right_figures_pass(self, warehouse: Warehouse, live: PostgresSettings) -> None:
        result, rows = self.reconciled(live)
        (check,) = result.get_asset_check_evaluations()
        assert check.passed
        found = {row["tenant_id"]: row for row in rows}
        assert set(found) >= {"good", "women", "regrets", "clinic-small", "clinic-large"}
        assert {row["count_unexplained"] + row["count_explained"] for row in rows} == {0}
        assert found["women"]["count_figures_compared"] == 4 * 27
        assert found["women"]["data_class"] == "public"

    def test_a_wrong_figure_is_red_and_an_example_of_itself(
        self, warehouse: Warehouse, live: PostgresSettings
    ) -> None:
        with closing(_owner(live)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(
                "UPDATE live.group_engagement SET count_attendances = 90 "
                "WHERE tenant_id = 'women' AND window_hours = 672"
            )
        result, rows = self.reconciled(live)
        (check,) = result.get_asset_check_evaluations()
        assert not check.passed
        example: Any = check.metadata["example"].value
        assert (example["group_id"], example["window_hours"], example["figure"]) == (
            "women", 672, "count_attendances"
        )  # fmt: skip
        assert (example["live"], example["recomputed"]) == (90, 89)
        assert {row["tenant_id"]: row["count_unexplained"] for row in rows}["women"] == 1

    def reconciled(self, live: PostgresSettings) -> tuple[dg.ExecuteInProcessResult, list[dict[str, Any]]]:
        """A run of the job, and the rows of it as an operator sees them."""
        from pipelines.definitions import defs

        job = defs.resolve_job_def("reconcile_live")
        result = job.execute_in_process(instance=dg.DagsterInstance.ephemeral())
        readers = ReaderSettings.load()
        rows = rows_for(
            live,
            readers.operator_user,
            readers.operator_password,
            "SELECT * FROM live.reconciliation WHERE run_id = %s",
            (result.run_id,),
        )
        return result, rows


def _owner(postgres: PostgresSettings) -> Any:
    return psycopg2.connect(postgres.dsn(postgres.database_published))


class TestResults:
    """The rows of `quality`, as operators and analysts see them."""

    def test_every_expectation_of_every_slice_and_table_is_a_row(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        rows = self.seen_by_operators(warehouse, first.run_id)
        slices = warehouse.lake("SELECT count(*) FROM admission.slices WHERE raw_table = 'study_events'")
        of_studies = [row for row in rows if row["suite"] == "study_events"]
        assert len(of_studies) == slices[0][0] * len(raw_rules("study_events"))
        assert {row["suite"] for row in rows if row["stage"] == "evidence"} == {
            f"evidence.{name}" for name in TABLES
        }
        (broken,) = [row for row in rows if not row["success"] and row["tenant_id"] == "bad"]
        assert (broken["expectation"], broken["severity"]) == (
            "session_attended__minutes_is_in_range", "block",
        )  # fmt: skip
        assert (broken["count_rows"], broken["count_unexpected"], broken["observed_value"]) == (1, 1, "5000")
        verdicts = warehouse.lake(
            f"SELECT verdict FROM admission.slices WHERE slice_id = {broken['slice_id']}"
        )
        assert verdicts == [("blocked",)]

    def test_no_row_holds_an_identifier(self, warehouse: Warehouse, second: Before) -> None:
        rows = self.seen_by_operators(warehouse)
        text = repr([{**row, "run_id": ""} for row in rows])
        events = [*GOOD, *REJECTED, BAD]
        known = {each.event_id for each in events} | {each.participant_ref for each in events}
        assert not [each for each in known if each and each in text]

    def test_an_analyst_sees_counts_without_tenants(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        (row,) = warehouse.published(
            "SELECT * FROM quality.expectation_summary WHERE run_id = %s AND suite = 'participation_events' "
            "AND expectation = 'session_attended__minutes_is_in_range'",
            first.run_id,
        )
        assert row["count_failed"] == 2
        assert row["count_checked"] > 2
        assert "tenant_id" not in row
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            warehouse.published("SELECT * FROM quality.expectation_results")

    def test_a_check_that_breaks_is_a_row_and_a_failed_check_and_no_verdict(
        self, warehouse: Warehouse, second: Before, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pipelines.definitions import defs
        from pipelines.quality import admission

        def breaks(*_: Any) -> pd.DataFrame:
            raise RuntimeError("words with a value in them")

        with closing(open_lake()) as lake:
            raw = RawLake(lake)
            raw.land("group_events", [anything("group_events", "x")], tenant="t", data_class=DATA_CLASS_LIVE)
        monkeypatch.setattr(admission, "_read", breaks)
        result = defs.resolve_job_def("build_warehouse").execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=[dg.AssetKey(["admission", "group_events"])],
            partition_key=today(),
        )
        checks = result.get_asset_check_evaluations()
        assert checks
        assert {(each.passed, each.severity.value) for each in checks} == {(False, "ERROR")}
        (row,) = self.seen_by_operators(warehouse, result.run_id)
        assert (row["expectation"], row["success"], row["severity"]) == ("check_can_be_run", False, "block")
        assert row["problem"] == "the check broke: RuntimeError"
        assert row["slice_id"] is None
        assert warehouse.lake("SELECT count(*) FROM admission.slices WHERE tenant_id = 't'") == [(0,)]

    def test_what_is_old_is_forgotten(self, warehouse: Warehouse, second: Before) -> None:
        postgres = warehouse.postgres
        passed, failed = RuleResult("passed", True, 1), RuleResult("failed", False, 1, 1)
        for run_id in ("old", "older", "new"):
            record(postgres, run_id, [Checked("health", "of-a-test", [passed, failed])])
            days = {"old": 8, "older": 91, "new": 0}[run_id]
            with closing(_owner(postgres)) as connection, connection, connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE quality.expectation_results SET checked_at = now() - %s * interval '1 day' "
                    "WHERE run_id = %s",
                    (days, run_id),
                )
        record(postgres, "newer", [Checked("health", "of-a-test", [passed])])
        kept = [
            (row["run_id"], row["expectation"])
            for row in self.seen_by_operators(warehouse)
            if row["suite"] == "of-a-test"
        ]
        assert sorted(kept) == [("new", "failed"), ("new", "passed"), ("newer", "passed"), ("old", "failed")]

    def seen_by_operators(
        self, warehouse: Warehouse, run_id: str | None = None, table: str = "quality.expectation_results"
    ) -> list[dict[str, Any]]:
        readers = ReaderSettings.load()
        return rows_for(
            warehouse.postgres,
            readers.operator_user,
            readers.operator_password,
            f"SELECT * FROM {table}" + (" WHERE run_id = %s" if run_id else ""),
            (run_id,),
        )


class TestHealth:
    def test_lag_failed_events_and_clocks_are_checked(self, warehouse: Warehouse, second: Before) -> None:
        from pipelines.definitions import defs
        from pipelines.defs.health.checks import CHECKS

        ahead = outcome(
            "ahead", at=datetime.now(UTC) + timedelta(minutes=2), participant="fast",
            consent_withdrawn={"scope": CONSENT_SCOPE_RESEARCH},
        )  # fmt: skip
        with closing(open_lake()) as lake:
            RawLake(lake).land("outcome_events", [ahead], tenant="fast-clock", data_class=DATA_CLASS_LIVE)
        result = defs.resolve_job_def("check_health").execute_in_process(
            instance=dg.DagsterInstance.ephemeral()
        )
        found = {each.asset_key: each for each in result.get_asset_check_evaluations()}
        assert set(found) == set(CHECKS)
        red = {key.path[-1]: each for key, each in found.items() if not each.passed}
        assert set(red) == {"outcome_events", "failed_events"}
        assert {each.severity.value for each in red.values()} == {"WARN"}
        clocks: Any = red["outcome_events"].metadata["tenants"].value
        fast = {each["tenant_id"]: each for each in clocks}["fast-clock"]
        assert (fast["count_events"], fast["count_from_future"]) == (1, 1)
        assert fast["median_seconds"] < 0
        failed: Any = red["failed_events"].metadata["tenants"].value
        counts = {each["tenant_id"]: (each["count_failed"], each["count_events"]) for each in failed}
        # Of three deferred events one came in, one conflicts with the fourth, one waits.
        assert counts["surveyor"] == (2, 4)
        assert counts["worse"] == (2, 3)

    def test_a_check_that_cannot_ask_kafka_has_failed(
        self, warehouse: Warehouse, second: Before, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pipelines.definitions import defs
        from pipelines.defs.health.checks import LANDING

        monkeypatch.setenv("CIRCLES_KAFKA_BOOTSTRAP", "127.0.0.1:9")
        result = defs.resolve_job_def("check_health").execute_in_process(
            instance=dg.DagsterInstance.ephemeral()
        )
        of_landing = [each for each in result.get_asset_check_evaluations() if each.check_name == LANDING]
        assert {(each.passed, each.severity.value) for each in of_landing} == {(False, "ERROR")}


class TestReaders:
    def test_an_analyst_reads_evidence_and_nothing_else(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        assert warehouse.published("SELECT count(*) FROM evidence.group_engagement")[0]["count"] > 0
        for statement in (
            "SELECT * FROM release_1.group_engagement",
            "SELECT * FROM live.group_engagement",
            "CREATE TABLE evidence.mine (a int)",
            "DELETE FROM evidence.releases",
            "SELECT * FROM looks.looks_seen",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                warehouse.published(statement)

    def test_an_analyst_cannot_connect_to_the_lake(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        readers, postgres = ReaderSettings.load(), warehouse.postgres
        analyst = postgres.model_copy(
            update={"user": readers.analyst_user, "password": readers.analyst_password}
        )
        with pytest.raises(psycopg2.OperationalError, match="permission denied"):
            psycopg2.connect(analyst.dsn(postgres.database_lake))

    def test_every_published_column_has_a_meaning(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        rows = warehouse.published("SELECT * FROM evidence.data_dictionary")
        tables = {row["table_name"] for row in rows}
        assert tables == {*TABLES, "releases", "looks", "data_dictionary"}
        assert [row for row in rows if not row["description"]] == []

    def test_a_candidate_that_has_not_passed_its_checks_is_never_released(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        with closing(open_lake(read_only=True)) as lake:
            frames = computed(lake)
        tables = [*TABLES.values()]
        candidate = write_candidate(warehouse.postgres, tables, frames, provenance(1))
        with pytest.raises(NotApproved):
            publish(warehouse.postgres, tables, candidate)

    def test_a_transaction_that_has_read_one_table_reads_all_of_the_same_release(
        self, warehouse: Warehouse, second: Before, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whichever is read first: the release waits for the reader, and never the reader for the release."""
        postgres, tables = warehouse.postgres, [*TABLES.values()]
        newest = newest_release(warehouse)
        with closing(warehouse.analyst()) as reader, reader.cursor() as cursor, ThreadPoolExecutor(1) as pool:
            cursor.execute("SELECT count(*) FROM evidence.carers_controlled")
            with monkeypatch.context() as patch, pytest.raises(StillRead):
                patch.setattr(releasing, "LOCK_SECONDS", 0.1)
                publish(postgres, tables, newest)
            publishing = pool.submit(publish, postgres, tables, newest)
            for name in ("group_engagement", "releases"):
                cursor.execute(f"SELECT count(*) FROM evidence.{name}")
            assert not publishing.done()
            reader.rollback()
            assert publishing.result().release_id == newest

    def test_a_transaction_that_began_before_a_release_reads_the_one_of_then(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        postgres, newest = warehouse.postgres, newest_release(warehouse)
        with closing(warehouse.analyst()) as reader, reader.cursor() as cursor:
            reader.set_session(isolation_level="REPEATABLE READ")
            cursor.execute("SELECT count(*) FROM quality.expectation_summary")
            frames = {name: read_candidate(postgres, newest, table) for name, table in TABLES.items()}
            snapshot = frames["group_engagement"]["lake_snapshot"][0]
            candidate = write_candidate(postgres, [*TABLES.values()], frames, provenance(snapshot))
            approve(postgres, candidate)
            publish(postgres, [*TABLES.values()], candidate)
            # Rows of a tenant that was kept as it was published name the release that brought them.
            before = {name: Counter(frame["release_id"]) for name, frame in frames.items()}
            after = {name: Counter({candidate: len(frame)}) for name, frame in frames.items()}
            for expected in (before, after):
                for name in frames:
                    cursor.execute(f"SELECT release_id, count(*) FROM evidence.{name} GROUP BY 1")
                    assert dict(cursor.fetchall()) == expected[name]
                reader.rollback()


class TestLooks:
    """After all the builds of this module, of which two had changed data; some were never released."""

    def test_a_release_is_a_look_where_data_have_changed(self, warehouse: Warehouse, second: Before) -> None:
        shown = "SELECT tenant, looks FROM evidence.group_engagement WHERE estimate IS NOT NULL"
        found = self.looks_of(warehouse, shown)
        # What was taken back in the good group was of people whose events are in no figure.
        assert (found["women"], found["clinic-large"], found["good"]) == ({1}, {2}, {1})
        printed = "SELECT source_kind AS tenant, looks FROM evidence.mutual_help WHERE tenant = 'literature'"
        assert self.looks_of(warehouse, printed) == {"literature": {None}}

    def looks_of(self, warehouse: Warehouse, statement: str) -> dict[str, set[int | None]]:
        found: dict[str, set[int | None]] = {}
        for row in warehouse.published(statement):
            found.setdefault(row["tenant"], set()).add(row["looks"])
        return found

    def test_a_sequence_goes_on_while_people_are_added_and_is_void_for_good_when_they_are_not(
        self, warehouse: Warehouse, second: Before
    ) -> None:
        rows = {each["tenant"]: each for each in self.means(warehouse)}
        reasons = {tenant: row["anytime_reason"] for tenant, row in rows.items()}
        assert reasons == {
            "growing": None,
            "backfilled": f"{VOID}: {VOIDS['backfill']}",
            "corrected": f"{VOID}: {VOIDS['revision']}",
            "withdrawing": f"{VOID}: {VOIDS['erasure']}",
        }
        assert {tenant: (row["n"], row["looks"]) for tenant, row in rows.items()} == {
            "growing": (110, 2), "backfilled": (110, 2), "corrected": (104, 2), "withdrawing": (103, 2),
        }  # fmt: skip
        row = rows["growing"]
        assert row["anytime_low"] < row["ci_low"] < row["ci_high"] < row["anytime_high"]
        assert {each["anytime_low"] for each in rows.values() if each["tenant"] != "growing"} == {None}

    def means(self, warehouse: Warehouse) -> list[dict[str, Any]]:
        return warehouse.published(
            "SELECT * FROM evidence.carers_controlled "
            "WHERE study = 'watched' AND arm = 'group' AND estimate_name = 'mean'"
        )

    def test_who_shows_a_sequence_that_is_void_by_now_is_computed_again(
        self, warehouse: Warehouse, second: Before, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As when an earlier release has come back, and data are as they were then."""
        tenants, table = ("growing", "backfilled", "corrected"), CARERS_CONTROLLED.name
        marks = {name: dict.fromkeys(tenants, "as it was") for name in TABLES}
        monkeypatch.setattr(evidence, "read_shown", lambda _: Shown(2, marks))
        (version,) = {row["protocol_version"] for row in self.means(warehouse)}
        void = Looked(voids={Watched(table, "growing", "watched", version): {"backfill"}})
        before, after = (
            evidence.taken_over(warehouse.postgres, marks, known).tenants[table] for known in (Looked(), void)
        )
        assert (set(before), set(after)) == ({*tenants}, {"backfilled", "corrected"})

    def test_every_look_is_listed_once(self, warehouse: Warehouse, second: Before) -> None:
        looks = "SELECT tenant, looks, n, row_key FROM evidence.looks ORDER BY tenant, looks"
        before = warehouse.published(looks)
        assert [(each["tenant"], each["looks"], each["n"]) for each in before] == [
            ("backfilled", 1, 104), ("corrected", 1, 104), ("growing", 1, 104), ("growing", 2, 110),
            ("withdrawing", 1, 104),
        ]  # fmt: skip
        assert before[2]["row_key"] in _circles("evidence", "rows", "carers_controlled")
        publish(warehouse.postgres, [*TABLES.values()], newest_release(warehouse))
        assert warehouse.published(looks) == before

    def test_what_is_remembered_of_people_is_kept_once(self, warehouse: Warehouse, second: Before) -> None:
        owner = warehouse.postgres
        kept = "SELECT count(*) FROM {}.looks_seen WHERE units IS NOT NULL"
        counts = [
            rows_for(owner, owner.user, owner.password, kept.format(schema))[0]["count"]
            for schema in ("looks", "release_1", "release_2")
        ]
        assert counts == [4, 0, 0]


def newest_release(warehouse: Warehouse) -> int:
    rows = warehouse.published("SELECT max(release_id) AS newest FROM evidence.releases")
    return int(rows[0]["newest"])


class TestModels:
    def test_the_unit_tests_of_the_models_pass(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult, tmp_path: Path
    ) -> None:
        done = _ask_dbt("test_type:unit", tmp_path)
        assert done.returncode == 0, done.stdout[-4000:]

    def test_the_promise_to_partners_is_a_check_of_every_build(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult, second: Before, tmp_path: Path
    ) -> None:
        """An event that is nowhere, or in two places, is found."""
        assert PROMISE in {each.check_name for each in first.get_asset_check_evaluations()}
        failed = "staging.stg_failures__failed_events"
        only = f"{failed} WHERE event_id = '{DEFERRED[2].event_id}'"
        _change_lake(f"CREATE TABLE staging.kept AS SELECT * FROM {only}; DELETE FROM {only}")
        lost = _ask_dbt(PROMISE, tmp_path)
        _change_lake(f"INSERT INTO {failed} FROM staging.kept; INSERT INTO {failed} FROM staging.kept")
        doubled = _ask_dbt(PROMISE, tmp_path)
        _change_lake(f"DELETE FROM {only}; INSERT INTO {failed} FROM staging.kept; DROP TABLE staging.kept")
        kept = _ask_dbt(PROMISE, tmp_path)
        assert (lost.returncode, doubled.returncode, kept.returncode) == (1, 1, 0)
        assert "Got 1 result" in lost.stdout and "Got 1 result" in doubled.stdout

    def test_the_described_columns_are_the_columns(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        rows = warehouse.lake(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'lake' "
            "AND schema_name IN ('staging', 'intermediate', 'marts') ORDER BY table_name, column_index"
        )
        actual: dict[str, list[str]] = {}
        for table, column in rows:
            actual.setdefault(table, []).append(column)
        described = {
            model["name"]: [column["name"] for column in model["columns"]]
            for path in (project.PROJECT / "models").rglob("*__models.yml")
            for model in yaml.safe_load(path.read_text())["models"]
            if model["name"] not in project_steps()
        }
        assert described == actual

    def test_dbts_logs_do_not_hold_the_password(
        self, warehouse: Warehouse, first: dg.ExecuteInProcessResult
    ) -> None:
        password = warehouse.postgres.password.get_secret_value()
        logs = [path for path in project.target().rglob("*.log") if path.is_file()]
        assert [path for path in logs if password in path.read_text(errors="replace")] == []


def project_steps() -> set[str]:
    """Models that are part of those that take them, and no relations."""
    folder = project.PROJECT / "models" / "intermediate"
    return {path.stem for path in folder.glob("*.sql") if "materialized=" not in path.read_text()}


def _waiting_for_the_lock(warehouse: Warehouse) -> int:
    database = warehouse.postgres.database_lake
    with closing(connect(warehouse.postgres, database)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
            "WHERE datname = %s AND locktype = 'advisory' AND objid = %s AND NOT granted",
            (database, BUILD_LOCK),
        )
        ((count,),) = cursor.fetchall()
    return int(count)


def _everything(warehouse: Warehouse) -> dict[str, list[str]]:
    """Rows of all tables that a rebuild makes, in no order; of evidence without where it comes from."""
    with closing(open_lake(read_only=True)) as lake:
        names = lake.execute(
            "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = 'lake' "
            "AND schema_name IN ('raw', 'admission', 'staging', 'marts') "
            "AND table_name NOT IN ('landing_fence', 'fct_build')"
        ).fetchall()
        tables = {name: lake.execute(f"SELECT * FROM {name}").fetchall() for (name,) in names}
    source = ("release_id", "lake_snapshot", "code_version", "computed_at")
    for name in TABLES:
        found = warehouse.published(f"SELECT * FROM evidence.{name}")
        tables[name] = [tuple(v for k, v in row.items() if k not in source) for row in found]
    return {name: sorted(map(_as_text, rows)) for name, rows in tables.items()}


def _as_text(row: tuple[Any, ...]) -> str:
    return str([f"{value:.11e}" if isinstance(value, float) else value for value in row])


def _change_lake(statements: str) -> None:
    with closing(open_lake()) as lake:
        lake.execute(statements)


def _ask_dbt(tests: str, target: Path) -> subprocess.CompletedProcess[str]:
    command = [str(project.DBT), "test", "--select", tests, "--target-path", str(project.parsed(target))]
    return subprocess.run(command, cwd=project.PROJECT, capture_output=True, text=True, check=False)


def _failed_of_surveyor(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    rows = warehouse.lake(
        "SELECT event_id, reason, data_class, has_event_bytes FROM staging.stg_failures__failed_events "
        "WHERE tenant_id = 'surveyor'"
    )
    number = {each.event_id: i for i, each in enumerate(DEFERRED)}
    return sorted((number[event_id], *others) for event_id, *others in rows)


def _scores_in_csv(column: str) -> dict[str, list[float]]:
    with BTHEB_CSV.open() as file:
        rows = [*csv.DictReader(file)]
    return {
        arm.lower(): [float(row[column]) for row in rows if row["treatment"] == arm and row[column]]
        for arm in ("BtheB", "TAU")
    }


def _hedges_g_by_hand(a: list[float], b: list[float]) -> tuple[float, float]:
    m = len(a) + len(b) - 2
    pooled = ((len(a) - 1) * statistics.variance(a) + (len(b) - 1) * statistics.variance(b)) / m
    correction = math.gamma(m / 2) / (math.sqrt(m / 2) * math.gamma((m - 1) / 2))
    g = correction * (statistics.fmean(a) - statistics.fmean(b)) / math.sqrt(pooled)
    return g, math.sqrt(1 / len(a) + 1 / len(b) + g * g / (2 * (len(a) + len(b))))


def test_event_ids_of_these_histories_are_their_own() -> None:
    assert len({each.event_id for each in GOOD}) == len(GOOD)
    assert event_id("a") == event_id("a")
