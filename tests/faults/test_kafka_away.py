"""Kafka dead and back: UNAVAILABLE meanwhile, nothing acknowledged is lost, everything returns by itself."""

from __future__ import annotations

import os
import signal

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.runtime import heartbeat
from tests.partners import Partner, attended, landed, new_partner, refusal, wait_until_quiet
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack


def test_a_dead_broker_is_unavailable_and_loses_nothing(stack: Stack) -> None:
    partner = new_partner(stack, "broker-away")
    partner.call([attended(person=f"before-{i}") for i in range(50)])
    pid = stack.pid("kafka")
    assert pid is not None
    # Stopped first, so that the supervisor cannot bring it back while we ask; then killed.
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: not is_serving(partner), "NOT_SERVING although nobody posts")
    code, words = refusal(partner, [attended(person="meanwhile")])
    assert code == grpc.StatusCode.UNAVAILABLE
    assert "repeat it unchanged" in words
    wait_until(lambda: "Kafka does not answer" in landing_alarms(stack), "landing's alarm")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: stack.pid("kafka") not in (None, pid), "a new broker")
    with partner.client(patience_seconds=120) as client:
        summary = client.post([attended(person=f"after-{i}") for i in range(50)])
    assert summary.count_acknowledged == 50
    wait_until(lambda: landed(partner.tenant_id) >= 100, "the rows of before and after")
    wait_until_quiet()
    assert stack.is_healthy("engagement") and stack.is_healthy("landing")
    assert landing_alarms(stack) == ""
    assert is_serving(partner)


def landing_alarms(stack: Stack) -> str:
    beat = heartbeat.read("landing", stack.home / "run")
    return "" if beat is None else " ".join(beat.alarms)


def is_serving(partner: Partner) -> bool:
    """By health, for a service and for all."""
    with grpc.insecure_channel(partner.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        states = {
            health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status
            for name in ("", "circles.outcomes.v1.OutcomeService")
        }
    (state,) = states
    return bool(state == health_pb2.HealthCheckResponse.SERVING)
