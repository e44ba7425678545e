"""Open cases outlive workers: killed between breach and delivery, stopped for a while, two at a time."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from circles.participation.v1.participation_event_pb2 import RISK_KIND_ABUSE
from circles.safeguarding.v1 import safeguarding_alert_pb2 as contract

from tests.fakes.receiver import Receiver, receiver
from tests.guards import (
    QUICK,
    QUICK_SECONDS,
    answered,
    case_ref,
    guard,
    raised,
    row,
    stack_unguarded,
    topic_alerts,
    wait_for_row,
)
from tests.partners import Partner, new_partner
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack

SESSION_SECONDS = 10
"""For so long Kafka takes a worker that says nothing for a living one."""


@pytest.fixture(scope="module")
def unguarded(stack: Stack) -> Iterator[Stack]:
    with stack_unguarded(stack):
        yield stack


@pytest.fixture
def partner(unguarded: Stack) -> Partner:
    return new_partner(unguarded, "duty-faults", "live")


@pytest.fixture
def desk() -> Iterator[Receiver]:
    with receiver() as ours:
        yield ours


def test_killed_between_breach_and_delivery(partner: Partner, desk: Receiver, tmp_path: Path) -> None:
    """What was tried in vain is escalated, and is delivered by the next worker under the same id.

    Of two cases whose clocks run out while nobody is there, the one that is answered meanwhile is none.
    """
    breached, left, in_time = case_ref(), case_ref(), case_ref()
    clocks = {"answer_minutes_by_kind": f"other={QUICK_SECONDS / 60},abuse={5 / 60}"}
    desk.status = 503
    with receiver() as other:
        escalation = {"escalation_url": other.url, "escalate_minutes": 1 / 60, "contact": "Duty desk [1]"}
        escalation["escalation_secret_file"] = partner.stack.home / "secrets" / "quarantine.key"
        with guard(partner.stack, tmp_path, desk, **clocks, **escalation) as first:
            partner.call([raised(breached, QUICK)])
            wait_until(lambda: bool(desk.taken(case_ref=breached, level="breached")), "an attempt")
            wait_until(lambda: len(other.taken(case_ref=breached)) == 2, "escalations of both alerts")
            assert {each["contact"] for each in other.taken(case_ref=breached)} == {"Duty desk [1]"}
            wait_until(
                lambda: row(partner, breached, "escalation_contact") == ("Duty desk [1]",), "the contact"
            )
            partner.call([raised(left, RISK_KIND_ABUSE), raised(in_time, RISK_KIND_ABUSE)])
            wait_for_row(partner, in_time, state="open")
            first.kill()
            told = first.log.read_text()
    assert "call Duty desk [1]" in told and "ERROR" in told
    assert not any(secret in told for secret in (breached, desk.url, partner.tenant_id))
    partner.call([answered(in_time)])
    time.sleep(5)
    tried = desk.taken(case_ref=breached, level="breached")
    desk.status = 204
    desk.received.clear()
    with guard(partner.stack, tmp_path, desk, **clocks):
        wait_for_row(partner, breached, state="open", count_undelivered=0, escalated_at=None)
        wait_for_row(partner, left, alert_level="breached", count_undelivered=0)
        wait_for_row(partner, in_time, state="closed", breached_at=None)
    again = desk.taken(case_ref=breached, level="breached")
    assert {each["alert_id"] for each in [*tried, *again]} == {tried[0]["alert_id"]}
    assert not desk.taken(case_ref=in_time, level="breached")


def test_two_workers_of_which_one_is_stopped_and_comes_back(
    partner: Partner, desk: Receiver, tmp_path: Path
) -> None:
    """The one that comes back still believes that it has its partitions: it must do no harm."""
    stack = partner.stack
    with guard(stack, tmp_path, desk) as first, guard(stack, tmp_path, desk) as second:
        wait_until(lambda: first.is_ready and second.is_ready, "two workers")
        told = post_cases(partner, 15)
        wait_for_levels(desk, told, 1)
        os.kill(first.process.pid, signal.SIGSTOP)
        partner.call([answered(case, group) for case, group in told])
        meanwhile = post_cases(partner, 15)
        wait_for_levels(desk, meanwhile, 2)
        wait_until(lambda: all_closed(partner, told), "answers")
        os.kill(first.process.pid, signal.SIGCONT)
        later = post_cases(partner, 15)
        wait_for_levels(desk, later, 2)
    assert all_closed(partner, told)
    assert not any(desk.taken(case_ref=case, level="breached") for case, _ in told)
    for case, _ in [*told, *meanwhile, *later]:
        ids = {(each["level"], each["alert_id"]) for each in desk.taken(case_ref=case)}
        assert max(Counter(level for level, _ in ids).values()) == 1
    alerts = topic_alerts([case for case, _ in told])
    closed = {each.case_ref for each in alerts if each.level == contract.ALERT_LEVEL_CLOSED}
    assert closed == {case for case, _ in told}


Cases = list[tuple[str, str]]
"""Case and group: the groups are on all partitions."""


def post_cases(partner: Partner, count: int) -> Cases:
    cases = [(case_ref(), f"group-{i}") for i in range(count)]
    partner.call([raised(case, QUICK, group) for case, group in cases])
    return cases


def wait_for_levels(desk: Receiver, cases: Cases, count: int) -> None:
    def levels(case: str) -> int:
        return len({each["level"] for each in desk.taken(case_ref=case)})

    wait_until(lambda: all(levels(case) >= count for case, _ in cases), f"{count} alerts of each case")


def all_closed(partner: Partner, cases: Cases) -> bool:
    return all(row(partner, case, "state") == ("closed",) for case, _ in cases)
