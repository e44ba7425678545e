"""Marts after updates are what a build of everything gives: late, copied, corrected and retracted events,
consents given and withdrawn, sessions cancelled, groups changed, in communities at random.

dbt alone, on a lake of its own; the stack lends its PostgreSQL server. Slices pass without being judged.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import pytest
from circles.common.v1.common_pb2 import DATA_CLASS_LIVE, DATA_CLASS_SYNTHETIC
from circles.outcomes.v1.outcome_event_pb2 import (
    AGE_BAND_16_17,
    AGE_BAND_18_25,
    CONSENT_SCOPE_RESEARCH,
    CONSENT_SCOPE_SERVICE,
    COST_CATEGORY_GROUP,
)
from circles.studies.v1.study_event_pb2 import STUDY_DESIGN_RANDOMISED
from google.protobuf.message import Message

from infra.provisioning.databases import provision
from pipelines.defs.transformation import project
from pipelines.quality.admission import ensure_ledger, pending_slices
from services.client.events import arm_summarised, study_registered
from services.runtime.lake import open_lake
from tests.fakes.histories import group, outcome, participation, retraction_of
from tests.fakes.raw_lake import RawLake
from tests.stacks import Stack

pytestmark = pytest.mark.stack

START = datetime(2024, 1, 1, tzinfo=UTC)
TENANTS = {"north": DATA_CLASS_LIVE, "south": DATA_CLASS_SYNTHETIC}
RAW_TABLES = ("participation_events", "outcome_events", "group_events", "study_events")
STUDIES = json.dumps([json.loads(project.text_studies())[0] | {"min_authors": 2}])
UNTOUCHED = "group-of-nobody-new"
WRONG = 999
Event = tuple[str, str, Any]
"""Tenant, raw table, event."""
Marts = dict[str, Counter[tuple[Any, ...]]]


class Community:
    """What two partners post, at random; it remembers, so that it can repeat, correct and take back."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.count = 0
        self.posted: list[Event] = []

    def events(self, count: int) -> Iterator[Event]:
        for _ in range(count):
            made = self._again() if self.posted and self.rng.random() < 0.2 else self._new()
            self.posted.append(made)
            yield made

    def _again(self) -> Event:
        tenant, raw_table, event = self.rng.choice(self.posted)
        match self.rng.randrange(3):
            case 0:
                return tenant, raw_table, event
            case 1:
                other = type(event)()
                other.CopyFrom(event)
                other.occurred_at.seconds += 60
                return tenant, raw_table, other
            case _:
                return tenant, raw_table, retraction_of(event)

    def _new(self) -> Event:
        tenant = self.rng.choice([*TENANTS])
        match self.rng.randrange(10):
            case 0:
                return tenant, "group_events", self._group()
            case 1:
                return tenant, "study_events", self._study()
            case 2 | 3 | 4 | 5:
                return tenant, "outcome_events", self._outcome()
            case _:
                return tenant, "participation_events", self._participation()

    def _at(self) -> datetime:
        return START + timedelta(seconds=self.rng.randrange(60 * 86400))

    def _name(self) -> str:
        self.count += 1
        return f"event-{self.count}"

    def _event_id(self) -> str:
        return str(participation(self._name(), at=START, group="g").event_id)

    def _group(self) -> Message:
        made = group(f"group-{self.rng.randrange(6)}", self._at())
        made.event_id = self._event_id()
        made.group_registered.facts.capacity = self.rng.randrange(5, 50)
        return made

    def _study(self) -> Message:
        told: dict[str, Any] = {
            "study": f"study-{self.rng.randrange(3)}",
            "at": self._at(),
            "event_id": self._event_id(),
        }
        if self.rng.randrange(2):
            age = {"mean_age": float(self.rng.randrange(20, 60))}
            kind = {
                "condition": self.rng.sample(["anxiety", "depression", "psychosis"], self.rng.randrange(3))
            }
            return study_registered(**told, design=STUDY_DESIGN_RANDOMISED, covariates=age, attributes=kind)
        arm, mean = self.rng.choice(["group", "usual"]), float(self.rng.randrange(28))
        return arm_summarised(**told, arm=arm, outcome="recovery", n=40, mean=mean, sd=2.0)

    def _outcome(self) -> Message:
        study, scope = (
            f"study-{self.rng.choice([0, 0, 0, 1, 2])}",
            self.rng.choice([CONSENT_SCOPE_RESEARCH, CONSENT_SCOPE_SERVICE]),
        )
        asked = {
            "instrument_version": "1", "study_code": study,
            "time_point": self.rng.choice(["baseline", "month-2"]),
        }  # fmt: skip
        depression = asked | {"instrument": "phq-9", "total": float(self.rng.randrange(28))}
        items = [{"item": each, "value": self.rng.randrange(4)} for each in range(1, 8)]
        anxiety = asked | {
            "instrument": "gad-7",
            "items": self.rng.sample(items, self.rng.choice([7, 7, 5, 3])),
        }
        kinds: list[dict[str, Any]] = [
            *2 * [{"questionnaire_answered": depression}],
            *2 * [{"questionnaire_answered": anxiety}],
            {"consent_given": {"scope": CONSENT_SCOPE_RESEARCH}},
            {"attribute_stated": {"age_band": self.rng.choice([AGE_BAND_16_17, AGE_BAND_18_25])}},
            {
                "covariate_stated": {
                    "study_code": study,
                    "covariate": "drug",
                    "value": self.rng.choice(["yes", "no"]),
                }
            },
            {
                "cost_recorded": {
                    "category": COST_CATEGORY_GROUP,
                    "currency": "GBP",
                    "amount": 10.0,
                    "study_code": study,
                }
            },
            {"consent_given": {"scope": scope}},
            {"consent_withdrawn": {"scope": scope}},
            {"arm_allocated": {"study_code": study, "arm": self.rng.choice(["group", "usual"])}},
            {
                "survey_answered": {
                    "survey_code": "household",
                    "weight": self.rng.choice([0.5, 2.0]),
                    "stratum": self.rng.choice(["east", "west"]),
                    "answers": [
                        {"question": each, "answer": self.rng.choice(["yes", "no"])}
                        for each in self.rng.sample(["online-group", "mdd", "ocd"], 2)
                    ],
                }
            },
            {
                "theme_coded": {
                    "study_code": study,
                    "theme": self.rng.choice(["safe-space", "purpose"]),
                    "coder_ref": self.rng.choice(["coder-1", "coder-2"]),
                    "is_present": self.rng.random() < 0.5,
                }
            },
        ]
        return outcome(self._name(), at=self._at(), participant=self._person(), **self.rng.choice(kinds))

    def _person(self) -> str:
        return f"person-{self.rng.randrange(8)}"

    def _participation(self) -> Message:
        session, thread = (
            {"session_ref": f"session-{self.rng.randrange(8)}"},
            f"thread-{self.rng.randrange(8)}",
        )
        act, other = f"act-{self.rng.randrange(40)}", f"act-{self.rng.randrange(40)}"
        kinds: list[dict[str, Any]] = [
            {"member_joined": {}},
            {"member_left": {}},
            {"session_held": session},
            {"session_cancelled": session},
            {"session_attended": {**session, "minutes": 30}},
            {"thread_started": {"thread_ref": thread, "act_ref": act}},
            {"reply_posted": {"thread_ref": thread, "act_ref": act, "in_reply_to_act_ref": other}},
            {"thread_read": {"thread_ref": thread}},
        ]
        kind = self.rng.choice(kinds)
        is_of_nobody = "session_held" in kind or "session_cancelled" in kind
        return participation(
            self._name(), at=self._at(), group=f"group-{self.rng.randrange(6)}",
            participant="" if is_of_nobody else self._person(), **kind,
        )  # fmt: skip


class Writers(Community):
    """The same people, who write posts that are measured."""

    def _new(self) -> Event:
        return self.rng.choice([*TENANTS]), "participation_events", self._written()

    def _name(self) -> str:
        return f"written-{super()._name()}"

    def _written(self) -> Message:
        """Of a post in a window of `synthetic-covid`, this year's or an earlier: itself, or its numbers."""
        act = f"post-{self.rng.randrange(60)}"
        at = datetime(self.rng.choice([2020, 2020, 2019]), 1, 1, tzinfo=UTC) + timedelta(
            hours=self.rng.randrange(115 * 24)
        )
        # Means of these are the same in whatever order they are added up.
        features = {"n_words": 2.0 ** self.rng.randrange(3, 6), "home": float(self.rng.randrange(2))}
        kinds: list[dict[str, Any]] = [
            {"thread_started": {"thread_ref": act, "act_ref": act}},
            *2
            * [
                {
                    "text_features_measured": {
                        "act_ref": act,
                        "dictionary": "low-2020",
                        "features": [{"code": code, "value": value} for code, value in features.items()],
                    }
                }
            ],
        ]
        return participation(
            self._name(), at=at, group=f"group-{self.rng.randrange(6)}", participant=self._person(),
            **self.rng.choice(kinds),
        )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _own_lake(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIRCLES_POSTGRES_DATABASE_LAKE", "updates_test_lake")
        patch.setenv("CIRCLES_POSTGRES_DATABASE_PUBLISHED", "updates_test_published")
        patch.setenv("CIRCLES_LAKE_DATA_PATH", str(tmp_path_factory.mktemp("lake")))
        # Eight people are enough of a community.
        patch.setattr(project, "text_studies", lambda: STUDIES)
        provision()
        project.prepare()
        yield


def _land(events: Iterator[Event]) -> None:
    by_place: dict[tuple[str, str], list[Message]] = {}
    for tenant, raw_table, event in events:
        by_place.setdefault((tenant, raw_table), []).append(event)
    with closing(open_lake()) as lake:
        raw = RawLake(lake)
        for (tenant, raw_table), some in by_place.items():
            raw.land(raw_table, some, tenant=tenant, data_class=TENANTS[tenant])
        _pass_all(lake)


def _pass_all(lake: Any) -> None:
    ensure_ledger(lake)
    found = [each for raw_table in RAW_TABLES for each in pending_slices(lake, raw_table)]
    (last,) = lake.execute("SELECT coalesce(max(slice_id), 0) FROM admission.slices").fetchone()
    for number, each in enumerate(found, last + 1):
        lake.execute(
            "INSERT INTO admission.slices VALUES (?, ?, ?, ?, ?, ?, 'passed', NULL, 'none', now(), NULL)",
            [
                number,
                each.raw_table,
                each.tenant_id,
                each.first_landed_seq,
                each.last_landed_seq,
                each.count_rows,
            ],
        )


def _build(*arguments: str, definition: str = "") -> None:
    inherited = os.environ  # noqa: TID251  # a child process needs PATH and the like
    environment = {**inherited, **project.environment()}
    if definition:
        environment["CIRCLES_DBT_DEFINITION"] = definition
    command = [str(project.DBT), "run", *arguments]
    done = subprocess.run(
        command, cwd=project.PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]


def _marts() -> Marts:
    """Rows of each mart, and of each step that is kept; floating-point numbers to 12 significant digits."""
    models = project.PROJECT / "models"
    steps = (models / "intermediate").glob("*.sql")
    kept = [path for path in steps if "materialized='incremental'" in path.read_text()]
    assert kept
    with closing(open_lake(read_only=True)) as lake:
        names = sorted(
            f"{path.parent.name}.{path.stem}" for path in [*(models / "marts").glob("*.sql"), *kept]
        )
        return {
            name: Counter(
                tuple(float(f"{value:.11e}") if isinstance(value, float) else value for value in row)
                for row in lake.execute(f"SELECT * FROM {name}").fetchall()
            )
            for name in names
            if name != "marts.fct_build"
        }


def _lake(statement: str) -> list[tuple[Any, ...]]:
    with closing(open_lake()) as lake:
        return lake.execute(statement).fetchall()


def _recovered() -> Iterator[Event]:
    """A person with both questionnaires of the NHS' rule at both times: chance rarely makes one."""
    told: list[dict[str, Any]] = [
        {"consent_given": {"scope": CONSENT_SCOPE_RESEARCH}},
        {"arm_allocated": {"study_code": "study-0", "arm": "group"}},
        *(
            {
                "questionnaire_answered": {
                    "instrument": instrument,
                    "instrument_version": "1",
                    "total": 12.0,
                    "study_code": "study-0",
                    "time_point": time_point,
                }
            }
            for instrument in ("phq-9", "gad-7")
            for time_point in ("baseline", "month-2")
        ),
    ]
    for place, each in enumerate(told):
        at = START + timedelta(days=place)
        yield "north", "outcome_events", outcome(f"recovered-{place}", at=at, participant="recovered", **each)


@pytest.fixture(scope="module")
def updated() -> Marts:
    """Marts after a first build, an update that was broken off before its end, and another."""
    community, writers = Community(seed=20261128), Writers(seed=20261130)
    _land(chain(community.events(600), writers.events(150)))
    joined = participation("quiet", at=START, group=UNTOUCHED, participant="quiet", member_joined={})
    _land(iter([("north", "participation_events", joined), *_recovered()]))
    _build()
    _land(chain(community.events(40), writers.events(15)))
    _build("--exclude", "fct_build", "fct_group_membership+")
    _land(chain(community.events(40), writers.events(15)))
    _build()
    return _marts()


def test_updates_give_what_a_build_of_everything_gives(updated: Marts) -> None:
    assert [name for name, rows in updated.items() if not rows] == []
    # As a release of the models with other columns left it.
    _spoil()
    _lake("ALTER TABLE marts.dim_group ADD COLUMN of_old_days INTEGER")
    _build(definition="another")
    for name, rows in _marts().items():
        assert (updated[name] - rows, rows - updated[name]) == (Counter(), Counter()), name


def test_an_update_looks_at_what_is_new_or_asked_for(updated: Marts) -> None:
    """Of one mart and what it is made from; the record of how far that has read is the last build's."""
    of_mart = ("--select", "+fct_group_engagement_daily")
    _land(Community(seed=1).events(5))
    _spoil()
    _build(*of_mart, definition="another")
    untouched = (
        f"SELECT DISTINCT count_events FROM marts.fct_group_engagement_daily WHERE group_id = '{UNTOUCHED}'"
    )
    assert _lake(untouched) == [(WRONG,)]
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    days = f'{{"recompute_landed_from": "{today}", "recompute_landed_to": "{today}"}}'
    _build(*of_mart, "--vars", days, definition="another")
    assert _lake("SELECT count(*) FROM marts.fct_group_engagement_daily WHERE count_events = 999") == [(0,)]


def _spoil() -> None:
    _lake(f"UPDATE marts.fct_group_engagement_daily SET count_events = {WRONG}")
