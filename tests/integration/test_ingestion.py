"""The gateway over the wire: what it accepts, what it refuses and in which words, and what it never tells."""

from __future__ import annotations

import contextlib
from pathlib import Path

import grpc
import pytest
from circles.common.v1 import common_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.ingestion.keys import list_keys, revoke_key
from services.runtime.postgres import connect
from services.runtime.settings import PostgresSettings
from tests.partners import attended, lake_rows, landed, new_partner, refusal, wait_until_quiet
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack


def test_one_wrong_event_of_a_hundred_stops_no_other(stack: Stack) -> None:
    partner = new_partner(stack, "one-wrong")
    events = [attended(person=f"p{i}") for i in range(100)]
    events[41].participant_ref = "jane.doe@example.org\n" + "x" * 100
    results = partner.call(events).results
    assert [result.index for result in results] == list(range(100))
    refused = [result for result in results if result.status == common_pb2.EVENT_STATUS_REFUSED]
    (result,) = refused
    assert (result.index, result.event_id) == (41, events[41].event_id)
    (violation,) = result.violations
    assert violation.field == "participant_ref"
    assert violation.value.startswith("jane.doe@example.org\\n") and len(violation.value) == 64
    assert "opaque reference" in violation.rule
    wait_until(lambda: landed(partner.tenant_id) == 99, "99 rows")
    logs = "".join(path.read_text(errors="replace") for path in (stack.home / "logs").iterdir())
    assert "jane.doe" not in logs


def test_references_are_pseudonyms_before_kafka(stack: Stack) -> None:
    partner = new_partner(stack, "pseudonyms")
    partner.call([attended(group="tell-tale-group", person="tell-tale-person")])
    wait_until(lambda: landed(partner.tenant_id) == 1, "the row")
    ((group, person, session),) = lake_rows(
        "SELECT group_ref, participant_ref, session_attended__session_ref "
        "FROM raw.participation_events WHERE tenant_id = ?",
        partner.tenant_id,
    )
    assert (group[:4], person[:4], session[:4]) == ("grp_", "prt_", "ses_")
    assert not [path for path in stack.home.rglob("*") if path.is_file() and b"tell-tale" in content(path)]


def content(path: Path) -> bytes:
    """Nothing of a file that its server has just deleted."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


@pytest.mark.parametrize("key", ["", "ck_00000000_wrong"])
def test_a_wrong_key_is_unauthenticated(stack: Stack, key: str) -> None:
    partner = new_partner(stack, "wrong-key")
    code, words = refusal(partner, [attended()], key=key)
    assert code == grpc.StatusCode.UNAUTHENTICATED
    assert "circles keys add" in words


def test_a_revoked_key_ends_within_seconds(stack: Stack) -> None:
    partner = new_partner(stack, "revoked")
    partner.call([attended()])
    settings = PostgresSettings.load()
    connection = connect(settings, settings.database_control)
    (key_id,) = [each.key_id for each in list_keys(connection) if each.tenant_id == partner.tenant_id]
    assert revoke_key(connection, key_id)
    connection.close()
    wait_until(lambda: partner.is_refused([attended()]), "the refusal")


@pytest.mark.parametrize("count", [0, 501])
def test_a_batch_of_a_wrong_size_names_the_limit(stack: Stack, count: int) -> None:
    partner = new_partner(stack, "batch-size")
    code, words = refusal(partner, [attended() for _ in range(count)])
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert f"{count} in the batch" in words
    assert "500" in words


def test_an_oversize_message_names_the_limit(stack: Stack) -> None:
    partner = new_partner(stack, "oversize")
    event = attended()
    event.text_features_measured.dictionary = "x" * 5_000_000
    code, words = refusal(partner, [event])
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(4 * 1024 * 1024) in words


def test_health_is_served_without_a_key(stack: Stack) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{stack.ports['ingestion']}") as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=""))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_same_event_twice_is_a_duplicate_and_another_body_a_conflict(stack: Stack) -> None:
    partner = new_partner(stack, "twice")
    event = attended()
    statuses = [partner.call([event]).results[0].status for _ in range(2)]
    event.session_attended.minutes = 17
    statuses += [partner.call([event]).results[0].status]
    assert statuses == [
        common_pb2.EVENT_STATUS_ACCEPTED,
        common_pb2.EVENT_STATUS_DUPLICATE,
        common_pb2.EVENT_STATUS_CONFLICT,
    ]
    wait_until_quiet()
    assert landed(partner.tenant_id) == 1


def test_the_tenant_comes_from_the_key_and_never_from_a_message(stack: Stack) -> None:
    """Two tenants post the same references: their pseudonyms have nothing in common."""
    first, second = new_partner(stack, "tenant-a"), new_partner(stack, "tenant-b")
    for partner in (first, second):
        partner.call([attended(group="same", person="same")])
    wait_until(lambda: landed(first.tenant_id) + landed(second.tenant_id) == 2, "both rows")
    rows = lake_rows(
        "SELECT DISTINCT group_ref FROM raw.participation_events WHERE tenant_id IN (?, ?)",
        first.tenant_id,
        second.tenant_id,
    )
    assert len(rows) == 2
