"""A deferred event on the running stack: kept, replayed once its instrument is known, and counted once."""

from __future__ import annotations

import time
import uuid
from contextlib import closing
from typing import Any

import grpc
import pytest
from circles.common.v1 import common_pb2 as common
from circles.outcomes.v1 import outcome_service_pb2 as messages
from circles.outcomes.v1.outcome_event_pb2 import OutcomeEvent
from circles.outcomes.v1.outcome_service_pb2_grpc import OutcomeServiceStub

from pipelines.defs.resources import Lake
from services.ingestion.pseudonyms import Pseudonymiser
from services.kafka.client import producer
from services.runtime.instruments import instruments
from services.runtime.settings import IngestionSettings, KafkaSettings
from tests.fakes.raw_lake import deferred
from tests.partners import Partner, lake_rows, landed, new_partner, wait_until_quiet
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack

INSTRUMENT = """
name: A scale of our own
versions: ["1"]
items: {count: 2, least: 0, most: 3}
total: {least: 0, most: 6}
licence: open
"""

BESIDE = (
    "tenant_id, data_class, received_at, body_hash, is_late, sealed_event, event_id, participant_ref, "
    "questionnaire_answered__total"
)


def answered(instrument: str, person: str = "p1", total: float = 4) -> Any:
    event = OutcomeEvent(event_id=str(uuid.uuid4()), participant_ref=person)
    event.occurred_at.FromSeconds(int(time.time()) - 60)
    event.questionnaire_answered.instrument = instrument
    event.questionnaire_answered.instrument_version = "1"
    event.questionnaire_answered.total = total
    return event


def post(partner: Partner, *events: Any) -> list[int]:
    with grpc.insecure_channel(partner.address) as channel:
        answer = OutcomeServiceStub(channel).PostOutcomeEvents(
            messages.PostOutcomeEventsRequest(events=events),
            metadata=(("authorization", f"Bearer {partner.key}"),),
            timeout=60,
        )
    return [each.status for each in answer.results]


def replayed(stack: Stack, partner: Partner, *options: str) -> str:
    done = stack.circles("replay", "--tenant", partner.tenant_id, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_known(stack: Stack, instrument: str) -> None:
    folder = stack.home / "instruments"
    folder.mkdir(exist_ok=True)
    (folder / f"{instrument}.yaml").write_text(INSTRUMENT)


def outcomes_in_raw(partner: Partner) -> list[tuple[Any, ...]]:
    statement = f"SELECT {BESIDE} FROM raw.outcome_events WHERE tenant_id = ? ORDER BY ALL"
    return lake_rows(statement, partner.tenant_id)


def test_a_deferred_event_comes_in_when_its_instrument_is_known(stack: Stack) -> None:
    """Posted to the gateway, one of them twice before Kafka has it and once after, and replayed twice."""
    partner, scale = new_partner(stack, "replay"), f"scale-{uuid.uuid4().hex[:8]}"
    events = [answered(scale, f"p{i}") for i in range(3)]
    wrong = answered(scale, "p9", total=7)
    assert post(partner, events[0], *events, wrong) == [common.EVENT_STATUS_DEFERRED] * 5
    assert post(partner, events[0]) == [common.EVENT_STATUS_DUPLICATE]
    wait_until(lambda: landed(partner.tenant_id, "failed_events") == 5, "the deferred events")
    assert "0 replayed, 4 stay." in (unknown := replayed(stack, partner))
    assert "its instrument is still unknown" in unknown and scale in unknown
    make_known(stack, scale)
    assert "3 would be replayed, 1 stay." in replayed(stack, partner, "--dry-run")
    assert landed(partner.tenant_id, "outcome_events") == 0
    assert "3 replayed, 1 stay." in (known := replayed(stack, partner))
    assert "it breaks the rules of its instrument" in known
    wait_until(lambda: landed(partner.tenant_id, "outcome_events") == 3, "the replayed events")
    assert "0 replayed, 1 stay." in replayed(stack, partner)
    wait_until_quiet()
    rows = outcomes_in_raw(partner)
    assert sorted(row[6] for row in rows) == sorted(each.event_id for each in events)
    kept = lake_rows(
        "SELECT DISTINCT event_id, body_hash FROM raw.failed_events WHERE tenant_id = ?", partner.tenant_id
    )
    assert {(row[6], row[3]) for row in rows} == {each for each in kept if each[0] != wrong.event_id}


def test_what_the_gateway_said_of_an_event_is_kept(stack: Stack) -> None:
    """Class, time of arrival, hash, lateness and sealed bytes are those of the first day; so is the place."""
    partner, scale = new_partner(stack, "replay-marks"), f"scale-{uuid.uuid4().hex[:8]}"
    event = answered(scale)
    names = Pseudonymiser.from_file(IngestionSettings.load().pseudonym_key_file)
    event.participant_ref = names.pseudonym(partner.tenant_id, "prt", "p1")
    failed = deferred("outcome_events", event, partner.tenant_id, common.DATA_CLASS_SYNTHETIC)
    failed.received_at.FromSeconds(1_790_000_000)
    failed.is_late, failed.sealed_event, failed.body_hash = True, b"under a key", -42
    with closing(producer(KafkaSettings.load())) as sink:
        sink.send("failed-events", failed.SerializeToString(), key=b"").get(timeout=30)
    wait_until(lambda: landed(partner.tenant_id, "failed_events") == 1, "the deferred event")
    make_known(stack, scale)
    assert "1 replayed, 0 stay." in replayed(stack, partner)
    wait_until(lambda: landed(partner.tenant_id, "outcome_events") == 1, "the replayed event")
    ((*beside, total),) = outcomes_in_raw(partner)
    assert [each.timestamp() if hasattr(each, "timestamp") else each for each in beside] == [
        partner.tenant_id, "synthetic", 1_790_000_000, -42, True, b"under a key", event.event_id,
        event.participant_ref,
    ]  # fmt: skip
    assert total == 4
    # The gateway puts a further event of the same person on the same partition.
    assert post(partner, answered("phq-9")) == [common.EVENT_STATUS_ACCEPTED]
    wait_until(lambda: landed(partner.tenant_id, "outcome_events") == 2, "the further event")
    places = lake_rows(
        "SELECT DISTINCT kafka_partition, participant_ref FROM raw.outcome_events WHERE tenant_id = ?",
        partner.tenant_id,
    )
    assert len(places) == 1


def test_dagsters_job_sends_nothing_unless_it_is_told_to(stack: Stack) -> None:
    from pipelines.defs.operations.replay import replay_failed_events

    def run(**settings: Any) -> Any:
        instruments.cache_clear()  # a run is a process of its own
        config = {"ops": {"replay": {"config": {"tenant": partner.tenant_id, **settings}}}}
        result = replay_failed_events.execute_in_process(
            run_config=config, resources={"lake": Lake()}, raise_on_error=False
        )
        (step,) = [
            each for each in result.all_node_events if each.is_step_failure or each.is_successful_output
        ]
        return step.event_specific_data

    partner, scale = new_partner(stack, "replay-job"), f"scale-{uuid.uuid4().hex[:8]}"
    assert post(partner, answered(scale)) == [common.EVENT_STATUS_DEFERRED]
    wait_until(lambda: landed(partner.tenant_id, "failed_events") == 1, "the deferred event")
    make_known(stack, scale)
    assert run().metadata["would_be_replayed"].value == 1
    assert run(until="2026-01-01").metadata["would_be_replayed"].value == 0
    assert "since: 'May' is not a time" in run(since="May").error.message
    assert "the first body" in run(reason="CONFLICT", dry_run=False).error.message
    wait_until_quiet()
    assert landed(partner.tenant_id, "outcome_events") == 0
    assert run(dry_run=False).metadata["replayed"].value == 1
    wait_until(lambda: landed(partner.tenant_id, "outcome_events") == 1, "the replayed event")


def test_other_reasons_are_refused_with_the_reason_why(stack: Stack) -> None:
    for reason, words in (("conflict", "the first body"), ("unreadable", "no event")):
        done = stack.circles("replay", "--reason", reason)
        assert done.returncode == 1
        assert words in done.stderr


def test_a_time_is_chosen(stack: Stack) -> None:
    partner, scale = new_partner(stack, "replay-time"), f"scale-{uuid.uuid4().hex[:8]}"
    assert post(partner, answered(scale)) == [common.EVENT_STATUS_DEFERRED]
    wait_until(lambda: landed(partner.tenant_id, "failed_events") == 1, "the deferred event")
    assert "0 would be replayed, 1 stay." in replayed(stack, partner, "--dry-run", "--since", "2026-01-01")
    assert "0 would be replayed, 0 stay." in replayed(stack, partner, "--dry-run", "--until", "2026-01-01")
