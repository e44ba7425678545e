"""From the RPC of a risk to an alert on the topic, a row and a signed webhook; and what closes a case."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import statistics
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from circles.client import events
from circles.failures.v1.failed_event_pb2 import FAILURE_STAGE_SAFEGUARDING, FailedEvent
from circles.outcomes.v1.outcome_event_pb2 import CONSENT_SCOPE_RESEARCH
from circles.safeguarding.v1 import safeguarding_alert_pb2 as contract

from services.kafka.client import consumer, producer
from services.runtime.settings import KafkaSettings
from tests.fakes.receiver import SECRET, Receiver, receiver
from tests.guards import (
    QUICK,
    QUICK_SECONDS,
    Guard,
    answered,
    case_ref,
    guard,
    raised,
    retracted,
    row,
    stack_unguarded,
    topic_alerts,
    wait_for_row,
)
from tests.partners import Partner, end_offsets, new_partner
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def desk() -> Iterator[Receiver]:
    with receiver() as ours:
        yield ours


@pytest.fixture(scope="module")
def guarded(stack: Stack, desk: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    with (
        stack_unguarded(stack),
        guard(stack, tmp_path_factory.mktemp("guards"), desk, contact="Duty desk") as ours,
    ):
        yield ours


@pytest.fixture
def partner(stack: Stack, guarded: Guard) -> Partner:
    return new_partner(stack, "duty", "live")


def test_a_risk_reaches_topic_table_and_webhook(partner: Partner, desk: Receiver) -> None:
    case = case_ref()
    partner.call([raised(case)])
    wait_for_row(partner, case, state="open", alert_level="opened", count_undelivered=0)
    (alert,) = topic_alerts([case])
    assert (alert.level, alert.state) == (contract.ALERT_LEVEL_OPENED, contract.CASE_STATE_OPEN)
    assert alert.due_at.seconds - alert.opened_at.seconds == 3600
    (posted,) = [each for each in desk.received if each.alert.get("case_ref") == case]
    assert posted.alert["alert_id"] == alert.alert_id == posted.headers["Idempotency-Key"]
    assert (posted.alert["tenant_id"], posted.alert["risk_kind"]) == (partner.tenant_id, "self_harm")
    signed = posted.headers["Circles-Timestamp"].encode() + b"." + posted.body
    digest = hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
    assert posted.headers["Circles-Signature"] == f"v1={digest}"
    for secret in ("p1", "g1", alert.group_id):
        assert secret.encode() not in posted.body.replace(case.encode(), b"")
    partner.call([answered(case)])
    wait_for_row(partner, case, state="closed", answer="contacted", alert_level="closed", breached_at=None)
    wait_until(lambda: bool(desk.taken(case_ref=case, level="closed")), "the desk to know")


def test_from_the_rpc_to_the_alert_it_takes_a_moment(partner: Partner, desk: Receiver) -> None:
    taken = []
    for _ in range(15):
        case, begun = case_ref(), time.time()
        partner.call([raised(case)])
        wait_for_row(partner, case, state="open")
        in_table = time.time() - begun
        taken.append((in_table, _posted_at(desk, case) - begun))
    for name, seconds in zip(("table", "webhook"), zip(*taken, strict=True), strict=True):
        p95 = statistics.quantiles(seconds, n=20)[-1]
        print(f"RPC to {name}: median {statistics.median(seconds):.3f} s, p95 {p95:.3f} s")
        assert p95 < 10


def _posted_at(desk: Receiver, case: str) -> float:
    wait_until(lambda: bool(desk.taken(case_ref=case)), "the webhook", seconds=30)
    return next(each.at for each in desk.received if each.alert.get("case_ref") == case)


def test_a_clock_that_runs_out_is_a_breach(partner: Partner, desk: Receiver) -> None:
    """Counted from the arrival: a partner's clock that is hours wrong changes nothing."""
    case = case_ref()
    partner.call([raised(case, QUICK, at=datetime.now(UTC) - timedelta(hours=5))])
    wait_for_row(partner, case, state="open", alert_level="breached", count_undelivered=0)
    opened, breached = topic_alerts([case])
    assert breached.level == contract.ALERT_LEVEL_BREACHED
    assert breached.issued_at.ToNanoseconds() >= opened.opened_at.ToNanoseconds() + QUICK_SECONDS * 10**9
    assert row(partner, case, "breached_at") == row(partner, case, "due_at")
    partner.call([answered(case, group="another-group")])
    wait_for_row(partner, case, state="closed", count_undelivered=0)
    levels = [each["level"] for each in desk.taken(case_ref=case)]
    assert levels == ["opened", "breached", "closed"]


def test_a_withdrawn_consent_closes_nothing_and_an_answer_in_advance_does(partner: Partner) -> None:
    case, early = case_ref(), case_ref()
    now = datetime.now(UTC)
    partner.call([raised(case), answered(early)])
    with partner.client() as client:
        client.post(
            [
                events.consent_given(participant="p1", scope=CONSENT_SCOPE_RESEARCH, at=now),
                events.consent_withdrawn(participant="p1", scope=CONSENT_SCOPE_RESEARCH, at=now),
            ]
        )
    partner.call([raised(early)])
    wait_for_row(partner, early, state="closed")
    wait_for_row(partner, case, state="open", erasable_after=None)


def test_what_is_taken_back_never_happened(partner: Partner, desk: Receiver) -> None:
    """The only risk of a case; an answer; and a risk before it comes."""
    mistaken, hasty, never = case_ref(), case_ref(), case_ref()
    first, answer, late = raised(mistaken), answered(hasty), raised(never)
    partner.call([first, raised(hasty), answer])
    wait_for_row(partner, hasty, state="closed")
    wait_for_row(partner, mistaken, state="open")
    partner.call([retracted(first), retracted(answer), retracted(late)])
    wait_for_row(partner, mistaken, state="retracted", alert_level="closed")
    wait_for_row(partner, hasty, state="open", answer=None, closed_at=None, count_undelivered=0)
    partner.call([late])
    wait_for_row(partner, never, state="retracted")
    assert [each["level"] for each in desk.taken(case_ref=hasty)][-2:] == ["closed", "opened"]
    partner.call([raised(mistaken)])
    wait_for_row(partner, mistaken, state="open")


def test_a_record_that_cannot_be_read_is_set_aside_and_stops_nothing(partner: Partner) -> None:
    garbage, case = b"\xff\xfe" + uuid.uuid4().bytes, case_ref()
    partitions = len(end_offsets("participation-events"))
    with closing(producer(KafkaSettings.load())) as sink:
        for partition in range(partitions):
            sink.send("participation-events", garbage, partition=partition).get(timeout=30)
    partner.call([raised(case)])
    wait_for_row(partner, case, state="open")
    with closing(
        consumer(KafkaSettings.load(), auto_offset_reset="earliest", consumer_timeout_ms=3000)
    ) as reader:
        reader.subscribe(["failed-events"])
        failed = [FailedEvent.FromString(record.value) for record in reader]
    digest = hashlib.sha256(garbage).digest()
    ours = [each for each in failed if each.record_sha256 == digest]
    stages = [each.stage for each in ours if each.stage == FAILURE_STAGE_SAFEGUARDING]
    assert len(stages) == partitions


def test_a_heartbeat_comes_on_the_topic_and_by_webhook(guarded: Guard, desk: Receiver) -> None:
    wait_until(lambda: len(desk.taken(level="heartbeat")) > 1, "heartbeats")
    assert desk.taken(level="heartbeat")[-1]["partitions"] == list(range(8))
    beats = [each for each in topic_alerts() if each.level == contract.ALERT_LEVEL_HEARTBEAT]
    assert {each.kafka_partition for each in beats} == set(range(8))
    assert not any(each.tenant_id for each in beats)
    assert time.time() - guarded.figures["heartbeat_at"] < 60


def test_the_command_shows_cases_and_heartbeats(stack: Stack, partner: Partner) -> None:
    case = case_ref()
    partner.call([raised(case)])
    wait_for_row(partner, case, state="open")
    result = stack.circles("safeguarding", "--json")
    assert result.returncode == 0, result.stderr
    page = json.loads(result.stdout)
    (found,) = [each for each in page["cases"] if each["case_ref"] == case]
    assert (found["state"], found["risk_kind"]) == ("open", "self_harm")
    assert [each["partition"] for each in page["heartbeats"]] == list(range(8))
    shown = stack.circles("safeguarding").stdout
    assert case in shown and "The path lives" in shown


def test_the_operator_can_try_the_webhook(stack: Stack, guarded: Guard, desk: Receiver) -> None:
    settings = {
        "CIRCLES_SAFEGUARDING_WEBHOOK_URL": desk.url,
        "CIRCLES_SAFEGUARDING_WEBHOOK_SECRET_FILE": str(guarded.home / "secrets" / "webhook.secret"),
    }
    result = stack.circles("safeguarding", "test-webhook", **settings)
    assert (result.returncode, "taken with status 204" in result.stdout) == (0, True)
    assert len(desk.taken(level="test")) == 1
    with receiver() as refusing:
        refusing.status = 301
        elsewhere = settings | {"CIRCLES_SAFEGUARDING_WEBHOOK_URL": refusing.url}
        result = stack.circles("safeguarding", "test-webhook", **elsewhere)
    assert (result.returncode, "redirect 301" in result.stderr) == (1, True)
    result = stack.circles("safeguarding", "test-webhook")
    assert (result.returncode, "WEBHOOK_URL is not set" in result.stderr) == (1, True)


def test_without_postgres_alerts_go_on_and_rows_follow(
    stack: Stack, partner: Partner, desk: Receiver
) -> None:
    case = case_ref()
    pid = stack.pid("postgres")
    assert pid is not None
    partner.call([raised(case_ref())])
    # Stopped, so that the supervisor does not bring it back; its other processes wait for it.
    os.kill(pid, signal.SIGSTOP)
    try:
        _stop_sessions(pid, signal.SIGSTOP)
        partner.call([raised(case)])
        wait_until(lambda: bool(desk.taken(case_ref=case, level="opened")), "the webhook")
        assert topic_alerts([case])
    finally:
        _stop_sessions(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGCONT)
    wait_for_row(partner, case, state="open", count_undelivered=0)


def _stop_sessions(postmaster: int, number: signal.Signals) -> None:
    import psutil

    for each in psutil.Process(postmaster).children():
        each.send_signal(number)
