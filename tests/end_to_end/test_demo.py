"""From RPC to published table: the demo and some difficult partners, one build by Dagster's own sensor.

The trial is computed once more from its CSV with other code; attendance has known totals. Dagster, the
gateway and all between are the real ones; `circles demo` is called as a user calls it.
"""

from __future__ import annotations

import csv
import math
import statistics
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from circles.outcomes.v1 import outcome_event_pb2

from infra.demo import builds
from pipelines.quality.admission import newest_pending
from services.ingestion.pseudonyms import Pseudonymiser
from services.kafka.client import producer
from services.kafka.topics import topic
from services.runtime.lake import open_lake
from services.runtime.settings import IngestionSettings, KafkaSettings, PostgresSettings, ReaderSettings
from services.simulator.community import Community
from tests.fakes.bad_input import bad_events, good_events
from tests.fakes.envelopes import envelopes_of
from tests.kills import post_while_killing
from tests.live_figures import live_figures, recount
from tests.partners import Partner, attended, lake_rows, new_partner, published_rows
from tests.stacks import Stack, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.dagster, pytest.mark.timeout(900)]

BTHEB = Path(__file__).parents[2] / "infra" / "demo" / "data" / "btheb.csv"
COUNT_EVENTS = 20_000
WAVES = {
    "baseline": "bdi.pre",
    "month-2": "bdi.2m",
    "month-3": "bdi.3m",
    "month-5": "bdi.5m",
    "month-8": "bdi.8m",
}
ARMS = {"btheb": "BtheB", "tau": "TAU"}

STAGED = " UNION ALL ".join(
    f"SELECT tenant_id, event_id FROM staging.stg_{each}__events"
    for each in ("participation", "outcomes", "groups", "studies")
)


@dataclass(frozen=True)
class Partners:
    """Tenants whose data are difficult in one way each."""

    nine_people: Partner
    half_consenting: Partner
    careless: Partner
    killed: Partner
    careful: Partner
    foreign: str
    printed: str


@pytest.fixture(scope="module")
def built(stack: Stack) -> Iterator[Partners]:
    """Everything posted, built and released; the demo's own words in `printed`."""
    nine = new_partner(stack, "nine-people", "live")
    _post_group(nine, people=9, consenting=9)
    half = new_partner(stack, "half-consenting", "live")
    _post_group(half, people=40, consenting=25)
    careless = new_partner(stack, "careless", "synthetic")
    _post_conflict_and_retraction(careless)
    foreign = f"foreign-{uuid.uuid4().hex[:6]}"
    _write_past_the_gateway(foreign)
    careful = new_partner(stack, "careful")
    _post_good_among_bad(careful)
    killed = new_partner(stack, "killed")
    post_while_killing(killed, killed_events(), ["ingestion", "engagement", "landing"])
    result = stack.circles("demo", "--keep", "--events", str(COUNT_EVENTS))
    if result.returncode != 0:
        pytest.fail(f"circles demo failed:\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}", pytrace=False)
    yield Partners(nine, half, careless, killed, careful, foreign, result.stdout)


def test_every_good_event_among_bad_ones_is_staged_once(built: Partners) -> None:
    count = len(list(bad_events()))
    (staged,) = lake_rows(
        f"SELECT count(*), count(DISTINCT event_id) FROM ({STAGED}) WHERE tenant_id = ?",
        built.careful.tenant_id,
    )
    assert staged == (count, count)


def test_the_trial_equals_an_independent_computation(built: Partners) -> None:
    found = {
        (arm, time_point, name): (estimate, low, high)
        for arm, time_point, name, estimate, low, high in published_rows(
            "SELECT arm, time_point, estimate_name, estimate, ci_low, ci_high "
            "FROM evidence.controlled_comparison WHERE tenant = 'beat-the-blues'"
        )
    }
    for time_point, column in WAVES.items():
        scores = {arm: _scores(column, treatment) for arm, treatment in ARMS.items()}
        for arm, values in scores.items():
            assert found[arm, time_point, "n"][0] == len(values)
            assert found[arm, time_point, "mean"][0] == pytest.approx(statistics.mean(values), rel=1e-12)
            assert found[arm, time_point, "sd"][0] == pytest.approx(statistics.stdev(values), rel=1e-12)
        expected = _hedges_g(scores["btheb"], scores["tau"])
        assert found["btheb", time_point, "hedges_g"] == pytest.approx(expected, rel=1e-9)


def _scores(column: str, treatment: str) -> list[float]:
    with BTHEB.open() as table:
        return [
            float(row[column])
            for row in csv.DictReader(table)
            if row["treatment"] == treatment and row[column]
        ]


def _hedges_g(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """g with exact J, and its 95 % interval by the normal approximation, written out once more."""
    n1, n2 = len(first), len(second)
    df = n1 + n2 - 2
    pooled = math.sqrt(((n1 - 1) * statistics.variance(first) + (n2 - 1) * statistics.variance(second)) / df)
    correction = math.gamma(df / 2) / (math.sqrt(df / 2) * math.gamma((df - 1) / 2))
    g = correction * (statistics.mean(first) - statistics.mean(second)) / pooled
    se = math.sqrt(1 / n1 + 1 / n2 + g * g / (2 * (n1 + n2)))
    z = statistics.NormalDist().inv_cdf(0.975)
    return g, g - z * se, g + z * se


def test_attendance_has_its_known_totals(built: Partners) -> None:
    rows = published_rows(
        "SELECT estimate_name, estimate, denominator FROM evidence.group_engagement "
        "WHERE tenant = 'southern-women'"
    )
    found = {name: (estimate, denominator) for name, estimate, denominator in rows}
    assert found["participants"][0] == 18
    assert found["sessions_held"][0] == 14
    assert found["attendances"][0] == 89
    assert found["attendance_rate"] == (pytest.approx(89 / 252), 252)


def test_what_the_demo_prints(built: Partners) -> None:
    assert "Not a support group" in built.printed
    assert "about nobody" in built.printed
    assert "-0.446" in built.printed  # Hedges g at two months
    assert "http://127.0.0.1:" in built.printed


def test_every_row_names_its_class_and_synthetic_rows_say_so(built: Partners) -> None:
    for table in ("group_engagement", "controlled_comparison"):
        rows = published_rows(f"SELECT DISTINCT tenant, data_class FROM evidence.{table}")
        classes = dict(rows)
        assert len(classes) == len(rows)
        assert {
            tenant
            for tenant, each in classes.items()
            if tenant == "synthetic-community" and each != "synthetic"
        } == set()
        assert None not in classes.values()


def test_nine_people_are_suppressed_and_it_says_so(built: Partners) -> None:
    rows = published_rows(
        "SELECT suppressed, suppression_reason, estimate, n, denominator, ci_low "
        "FROM evidence.group_engagement WHERE tenant = %s",
        built.nine_people.tenant_id,
    )
    assert rows and set(rows) == {(True, "fewer than 10 people", None, None, None, None)}


def test_no_recorded_consent_means_excluded(built: Partners) -> None:
    rows = published_rows(
        "SELECT estimate, n_consented, n_excluded FROM evidence.group_engagement "
        "WHERE tenant = %s AND estimate_name = 'participants'",
        built.half_consenting.tenant_id,
    )
    assert rows == [(25, 25, 15)]


def test_a_conflict_is_a_failed_event_and_a_retraction_takes_back(built: Partners) -> None:
    tenant = built.careless.tenant_id
    staged = lake_rows(
        "SELECT kind, count(*) FROM staging.stg_participation__events "
        "WHERE tenant_id = ? GROUP BY ALL ORDER BY 1",
        tenant,
    )
    assert staged == [("event_retracted", 1), ("session_attended", 3)]
    failed = lake_rows(
        "SELECT stage, reason, count(*) FROM staging.stg_failures__failed_events "
        "WHERE tenant_id = ? GROUP BY ALL",
        tenant,
    )
    assert failed == [("staging", "conflict", 1)]
    assert lake_rows("SELECT count(*) FROM marts.fct_participation WHERE tenant_id = ?", tenant) == [(2,)]


def test_a_bad_slice_is_blocked_and_the_others_go_on(built: Partners) -> None:
    verdicts = lake_rows("SELECT verdict, reason FROM admission.slices WHERE tenant_id = ?", built.foreign)
    ((verdict, reason),) = verdicts
    assert verdict == "blocked" and "minutes" in reason
    assert lake_rows(
        "SELECT count(*) FROM staging.stg_participation__events WHERE tenant_id = ?", built.foreign
    ) == [(0,)]


def test_every_acknowledged_event_is_in_staging_once(built: Partners) -> None:
    union = " UNION ALL ".join(
        f"SELECT tenant_id, event_id FROM staging.stg_{each}__events"
        for each in ("participation", "outcomes", "groups", "studies")
    )
    rows = lake_rows(
        f"SELECT tenant_id, count(*), count(DISTINCT event_id) FROM ({union}) GROUP BY tenant_id"
    )
    counts = {tenant: (count, distinct) for tenant, count, distinct in rows}
    assert counts["synthetic-community"] == (COUNT_EVENTS, COUNT_EVENTS)
    assert counts["beat-the-blues"] == (681, 681)
    assert counts["southern-women"] == (122, 122)


def killed_events() -> list[Any]:
    return list(Community(5, COUNT_EVENTS).events())


def test_counts_are_exact_although_services_were_killed_meanwhile(built: Partners) -> None:
    """kill -9 of gateway, worker and landing in the middle of a community: staging and live are exact."""
    events = killed_events()
    rows = lake_rows(f"SELECT event_id FROM ({STAGED}) WHERE tenant_id = ?", built.killed.tenant_id)
    assert sorted(row[0] for row in rows) == sorted(event.event_id for event in events)
    assert live_figures(built.killed) == recount(built.killed, events)


def test_an_analyst_reads_evidence_and_nothing_else(built: Partners) -> None:
    postgres, reader = PostgresSettings.load(), ReaderSettings.load()
    password = reader.analyst_password.get_secret_value()
    access = (
        f"host={postgres.host} port={postgres.port} user={reader.analyst_user} password={password} dbname="
    )
    with closing(psycopg2.connect(access + postgres.database_published)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM evidence.group_engagement")
        for forbidden in (
            "SELECT * FROM live.group_engagement",
            "CREATE TABLE evidence.mine (x int)",
            "CREATE TABLE public.mine (x int)",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(forbidden)
    for database in (postgres.database_lake, postgres.database_control, postgres.database_dagster):
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(access + database)


def test_every_published_column_is_documented(built: Partners) -> None:
    rows = published_rows(
        "SELECT table_name, column_name FROM evidence.data_dictionary WHERE coalesce(description, '') = ''"
    )
    assert rows == []


def test_after_down_and_up_what_is_new_comes_in_by_the_sensor_and_no_other_figure_changes(
    built: Partners, stack: Stack
) -> None:
    """New people of one partner, and the whole demo once more: the same events under the same ids, which land
    again and count once. Nobody asks for a build: it comes by itself."""
    grown = built.half_consenting.tenant_id
    before = _figures(but=grown)
    _post_group(built.half_consenting, people=10, consenting=10, first=100)
    assert stack.down().returncode == 0
    result = stack.circles("demo", "--keep", "--events", str(COUNT_EVENTS))
    assert result.returncode == 0, result.stderr[-3000:]
    wait_until(lambda: not _is_building(stack), "the end of the build", seconds=300)
    participants = published_rows(
        "SELECT estimate FROM evidence.group_engagement WHERE tenant = %s AND estimate_name = 'participants'",
        grown,
    )
    assert participants == [(35,)]
    assert _figures(but=grown) == before


def _figures(*, but: str) -> list[tuple[Any, ...]]:
    """Everything that is published of other tenants."""
    rows = []
    for table, also in (("group_engagement", "group_id"), ("controlled_comparison", "arm || time_point")):
        rows += published_rows(
            f"SELECT '{table}', tenant, study, {also}, estimate_name, n, "
            f"to_char(estimate, '9.99999999999EEEE'), to_char(ci_low, '9.99999999999EEEE') "
            f"FROM evidence.{table} WHERE tenant <> %s ORDER BY 1, 2, 3, 4, 5",
            but,
        )
    return rows


def _is_building(stack: Stack) -> bool:
    run = builds.newest_run(stack.ports["dagster"])
    with closing(open_lake()) as lake:
        return newest_pending(lake) is not None or (run is not None and run.is_unfinished)


def _post_group(partner: Partner, *, people: int, consenting: int, first: int = 0) -> None:
    events: list[Any] = []
    for i in range(first, first + people):
        events.append(attended(group="the-group", person=f"person-{i}", at=1_780_000_000 + i))
        joined = attended(group="the-group", person=f"person-{i}", at=1_779_000_000 + i)
        joined.member_joined.SetInParent()
        events.append(joined)
    for i in range(first, first + consenting):
        given = outcome_event_pb2.OutcomeEvent(event_id=str(uuid.uuid4()), participant_ref=f"person-{i}")
        given.occurred_at.FromSeconds(1_779_000_000)
        given.consent_given.scope = outcome_event_pb2.CONSENT_SCOPE_RESEARCH
        events.append(given)
    with partner.client() as client:
        assert client.post(events).refused == []


def _post_conflict_and_retraction(partner: Partner) -> None:
    """The second body is in the same call as the first, which the gateway cannot know yet."""
    kept, taken_back, doubled, another_body = (attended(person=f"p{i}") for i in range(4))
    another_body.event_id = doubled.event_id
    partner.call([kept, taken_back, doubled, another_body])
    retraction = attended(person="")
    retraction.event_retracted.retracted_event_id = taken_back.event_id
    partner.call([kept, retraction])


def _post_good_among_bad(partner: Partner) -> None:
    """Every kind of bad input, a good event after each, and each good one twice."""
    events = [each for bad in bad_events() for each in (bad.event, *good_events()[:1])]
    with partner.client() as client:
        for _ in range(2):
            summary = client.post(events)
            assert summary.count_acknowledged == len(summary.refused) == len(events) // 2


def _write_past_the_gateway(tenant_id: str) -> None:
    """An envelope as the gateway would write it, with a value that it would refuse."""
    source = topic("participation-events")
    event = attended()
    event.session_attended.minutes = 90_000
    Pseudonymiser.from_file(IngestionSettings.load().pseudonym_key_file).replace(
        tenant_id, event, "session_attended"
    )
    (envelope,) = envelopes_of(source, tenant_id, [event])
    with closing(producer(KafkaSettings.load())) as sink:
        sink.send(source.name, envelope.value, key=envelope.key, partition=envelope.partition).get(timeout=30)
