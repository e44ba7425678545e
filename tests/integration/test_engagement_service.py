"""A partner reads back the live figures of its own groups, and follows them over a broken connection."""

from __future__ import annotations

import itertools
import uuid
from contextlib import closing
from typing import Any

import grpc
import pytest
from circles.engagement.v1 import engagement_service_pb2 as pb
from circles.engagement.v1.engagement_service_pb2_grpc import EngagementServiceStub
from circles.outcomes.v1.outcome_event_pb2 import OutcomeEvent

from services.ingestion.keys import list_keys, revoke_key
from services.runtime.postgres import connect
from services.runtime.settings import PostgresSettings
from tests.kills import kill
from tests.live_figures import live_figures, recount
from tests.partners import Partner, attended, new_partner, published_rows
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack

AT = 1_780_000_000
LONGEST = -1
"""The last of a group's windows."""


def statement(person: str, kind: str, at: int) -> OutcomeEvent:
    event = OutcomeEvent(event_id=str(uuid.uuid4()), participant_ref=person)
    event.occurred_at.FromSeconds(at)
    getattr(event, kind).scope = 1
    return event


def post(partner: Partner, events: list[Any]) -> None:
    with partner.client() as client:
        client.post(events)


def active(partner: Partner, group: str) -> int | None:
    with partner.client() as client:
        found = client.group_engagement([group])
    return found[0].windows[LONGEST].count_active_participants if found else None


def wait_for_recount(partner: Partner, events: list[Any]) -> None:
    wait_until(lambda: live_figures(partner) == recount(partner, events), "the recount")


def test_a_partner_gets_its_own_groups_and_nobody_elses(stack: Stack) -> None:
    partner, other = new_partner(stack, "reader"), new_partner(stack, "other")
    events = [attended("g1", f"p{i}", AT + i) for i in range(3)]
    partner.call(events)
    wait_until(lambda: active(partner, "g1") == 3, "three people")
    with partner.client() as client:
        shown = client.group_engagement(["nothing-came", "g1"])
    assert [each.group_ref for each in shown] == ["g1"]
    assert [each.window_hours for each in shown[0].windows] == [1, 24, 168, 672]
    assert active(other, "g1") is None
    with pytest.raises(grpc.RpcError) as caught, partner.client() as client:
        client.group_engagement(["jane@example.org"])
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_tenants_figures_merge_its_groups_on_all_partitions(stack: Stack) -> None:
    """People of several groups count once; who withdraws does not; and nothing is lost with a new process."""
    partner = new_partner(stack, "merged")
    events: list[Any] = [attended(f"g{i % 20}", f"p{i % 7}", AT + i) for i in range(60)]
    partner.call(events)
    wait_until(lambda: tenant_row(partner) == (60, 60, 20, 7, 0.0), "merged figures")
    post(partner, [statement("p3", "consent_withdrawn", AT)])
    left = [event for event in events if event.participant_ref != "p3"]
    groups = len({event.group_ref for event in left})
    wait_until(lambda: tenant_row(partner) == (len(left), len(left), groups, 6, 0.0), "six people")
    kill(stack, "live")
    kill(stack, "engagement")
    partner.call([attended("g1", "p-new", AT)])
    expected = (len(left) + 1, len(left) + 1, groups, 7, 0.0)
    wait_until(lambda: tenant_row(partner) == expected, "figures after a restart")


def tenant_row(partner: Partner) -> tuple[Any, ...] | None:
    rows = published_rows(
        "SELECT count_events, count_attended, count_active_groups, count_active_participants, "
        "participants_relative_error FROM live.tenant_engagement WHERE tenant_id = %s AND window_hours = 24",
        partner.tenant_id,
    )
    return rows[0] if rows else None


def test_who_watches_gets_each_change_and_goes_on_after_the_gateway_was_killed(stack: Stack) -> None:
    partner = new_partner(stack, "watcher")
    partner.call([attended("g1", "p0", AT), attended("g2", "p0", AT)])
    with partner.client(patience_seconds=60) as client:
        watching = client.watch_group_engagement(["g1", "g2"])
        first = {each.group_ref: each for each in itertools.islice(watching, 2)}
        assert sorted(first) == ["g1", "g2"]
        partner.call([attended("g2", "p1", AT + 1)])
        assert next(watching).windows[LONGEST].count_active_participants == 2
        kill(stack, "ingestion")
        partner.call([attended("g1", "p1", AT + 1)])
        changed = next(watching)
        assert (changed.group_ref, changed.windows[LONGEST].count_active_participants) == ("g1", 2)
        watching.close()


def test_a_revoked_key_ends_the_watching(stack: Stack) -> None:
    partner = new_partner(stack, "revoked-watcher")
    partner.call([attended("g1", "p0", AT)])
    with grpc.insecure_channel(partner.address) as channel:
        request = pb.WatchGroupEngagementRequest(groups=[pb.WatchedGroup(group_ref="g1")])
        metadata = (("authorization", f"Bearer {partner.key}"),)
        stream: Any = EngagementServiceStub(channel).WatchGroupEngagement(request, metadata=metadata)
        next(stream)
        settings = PostgresSettings.load()
        with closing(connect(settings, settings.database_control)) as connection:
            [key_id] = [each.key_id for each in list_keys(connection) if each.tenant_id == partner.tenant_id]
            revoke_key(connection, key_id)
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_who_withdraws_leaves_the_figures_at_once_and_comes_back_with_a_new_consent(stack: Stack) -> None:
    partner = new_partner(stack, "consent")
    events: list[Any] = [attended("g1", f"p{i}", AT + i * 300) for i in range(4)]
    partner.call(events)
    wait_for_recount(partner, events)
    for told in (
        statement("p1", "consent_withdrawn", AT + 10),
        statement("p1", "consent_given", AT + 5),  # older than the withdrawal: changes nothing
        statement("p2", "consent_withdrawn", AT + 10),
        statement("p1", "consent_given", AT + 20),
    ):
        post(partner, [told])
        events.append(told)
        wait_for_recount(partner, events)
    kill(stack, "engagement")
    for told in (statement("p3", "consent_withdrawn", AT), attended("g1", "p2", AT + 1500)):
        post(partner, [told])
        events.append(told)
    wait_for_recount(partner, events)
    assert active(partner, "g1") == 2
