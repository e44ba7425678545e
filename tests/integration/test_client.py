"""The SDK against the real gateway: streams, a gateway killed under them, a spool while there is none."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from circles.client import Client, Event, GatewayAway, NotAuthenticated, Spool

from infra.local.supervision import Supervisor
from services.simulator.community import Community
from tests.kills import landed_ids
from tests.partners import Partner, attended, lake_rows, new_partner, wait_until_quiet
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack


def ids(events: list[Event]) -> list[str]:
    return [event.event_id for event in events]


def landed_in_order(partner: Partner) -> list[str]:
    """Ids of one group's events in the order in which Kafka got them first."""
    rows = lake_rows(
        "SELECT event_id, kafka_partition FROM raw.participation_events WHERE tenant_id = ? "
        "ORDER BY kafka_offset, event_index",
        partner.tenant_id,
    )
    assert len({partition for _, partition in rows}) == 1
    return list(dict.fromkeys(event_id for event_id, _ in rows))


@pytest.mark.parametrize("streaming", [True, False], ids=["streams", "calls"])
def test_a_community_of_all_four_services_is_posted(stack: Stack, streaming: bool) -> None:
    partner = new_partner(stack, "sdk")
    events = list(Community(3, 6_000).events())
    counts: list[int] = []
    with Client(partner.address, partner.key, streaming=streaming) as client:
        assert client.post(events, counts.append).count_acknowledged == sum(counts) == len(events)
        assert client.post(events).count_acknowledged == len(events)
    wait_until_quiet()
    assert landed_ids(partner) == sorted(ids(events))


def test_a_stream_survives_its_gateway_and_keeps_the_order(stack: Stack) -> None:
    partner = new_partner(stack, "sdk-killed")
    events = [attended() for _ in range(20_000)]
    killed: list[int] = []
    answered = 0

    def kill_twice(count: int) -> None:
        nonlocal answered
        answered += count
        pid = stack.pid("ingestion")
        if pid and pid not in killed and answered > (4_000, 12_000, len(events))[len(killed)]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    with partner.client(patience_seconds=120) as client:
        summary = client.post(events, kill_twice)
    assert len(killed) == 2
    assert summary.count_acknowledged == len(events)
    assert not summary.refused
    wait_until_quiet()
    assert landed_in_order(partner) == ids(events)


def test_a_spool_waits_until_the_gateway_is_there(stack: Stack, tmp_path: Path) -> None:
    partner = new_partner(stack, "sdk-spool")
    events = [attended() for _ in range(3_000)]
    supervisor = Supervisor(stack.home)
    supervisor.stop_processes(["ingestion"])
    try:
        with spooling(partner, tmp_path) as client:
            client.enqueue(events[:2_000])
            with pytest.raises(GatewayAway):
                client.flush()
    finally:
        supervisor.start_process("ingestion")
    wait_until(lambda: stack.is_healthy("ingestion"), "the gateway")
    with spooling(partner, tmp_path) as client:
        client.enqueue(events[2_000:])
        assert client.flush().count_acknowledged == len(events)
        assert client.flush().count_acknowledged == 0
    wait_until_quiet()
    assert landed_in_order(partner) == ids(events)


def test_what_the_gateway_refuses_leaves_the_spool_without_its_value(stack: Stack, tmp_path: Path) -> None:
    partner = new_partner(stack, "sdk-refused")
    wrong = attended(person="jane.doe@example.org")
    with spooling(partner, tmp_path) as client:
        client.enqueue([attended(), wrong, attended()])
        assert client.flush().count_accepted == 2
    line = (tmp_path / "refused.jsonl").read_text()
    assert wrong.event_id in line and "participant_ref" in line
    assert not [path for path in tmp_path.iterdir() if b"jane.doe" in path.read_bytes()]


def test_a_wrong_key_says_what_to_do(stack: Stack) -> None:
    partner = new_partner(stack, "sdk-key")
    with Client(partner.address, "ck_00000000_wrong") as client, pytest.raises(NotAuthenticated) as caught:
        client.post([attended() for _ in range(501)])
    assert "Ask the operator" in str(caught.value)


def spooling(partner: Partner, folder: Path) -> Client:
    spool = Spool(folder, max_bytes=10_000_000)
    return Client(partner.address, partner.key, spool=spool, patience_seconds=2)
