"""`circles simulate` on the running stack, in disorder: what was posted is landed, under a key of its own."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from services.ingestion.keys import list_keys
from services.runtime.postgres import connect
from services.runtime.settings import PostgresSettings
from services.simulator.catalogue import COMMUNITIES
from services.simulator.disorder import Disorder, disordered
from tests.fakes.retracting import counted
from tests.partners import lake_rows, new_partner, wait_until_quiet
from tests.stacks import Stack

pytestmark = pytest.mark.stack

TENANT = "synthetic-mens-groups-n40"
COMMAND = ("simulate", "mens-groups", "--people", "40")
SHARES = "--late 0.3 --duplicated 0.1 --retracted 0.1 --withdrawn 0.2 --unconsenting 0.2"
TABLES = ("participation_events", "outcome_events", "group_events", "study_events")


def landed(tenant_id: str) -> dict[str, str]:
    """The kind of each event, by its id."""
    tables = " UNION ALL ".join(
        f"SELECT tenant_id, event_id, kind, data_class FROM raw.{each}" for each in TABLES
    )
    rows = lake_rows(
        f"SELECT DISTINCT event_id, kind, data_class FROM ({tables}) WHERE tenant_id = ?", tenant_id
    )
    assert {data_class for _, _, data_class in rows} == {"synthetic"}
    kinds = {event_id: kind for event_id, kind, _ in rows}
    assert len(kinds) == len(rows)
    return kinds


def keys_of(tenant_id: str) -> list[bool]:
    """Whether each of the tenant's keys is revoked."""
    settings = PostgresSettings.load()
    with closing(connect(settings, settings.database_control)) as connection:
        return [each.revoked_at is not None for each in list_keys(connection) if each.tenant_id == tenant_id]


def test_a_community_in_disorder_is_landed_with_its_truth(stack: Stack, tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    first = stack.circles(*COMMAND, *SHARES.split(), "--rate", "4000", "--truth", str(truth))
    assert first.returncode == 0, first.stdout + first.stderr
    again = stack.circles(*COMMAND)
    assert again.returncode == 0 and "        0  refused" in again.stdout, again.stdout + again.stderr
    wait_until_quiet("landing")

    community = COMMUNITIES["mens-groups"].simulated(size=40)
    events = list(community.events())
    told = disordered(events, Disorder(0.3, 0.1, 0.1, 0.2, 0.2), 1)
    kinds = landed(TENANT)
    assert kinds == {event.event_id: event.WhichOneof("kind") for event in told}
    assert Counter(event.event_id for event in counted(told)) == Counter(event.event_id for event in events)
    assert "consent_withdrawn" in kinds.values() and "event_retracted" in kinds.values()
    assert json.loads(truth.read_text())["parameters"]["kappa"] == 0.7
    assert keys_of(TENANT) == [True, True]


def test_a_tenant_of_another_class_is_refused(stack: Stack) -> None:
    partner = new_partner(stack, "living", "live")
    for options, environment in (
        (("--tenant", partner.tenant_id), {}),
        ((), {"CIRCLES_PARTNER_KEY": partner.key}),
    ):
        result = stack.circles(*COMMAND, *options, **environment)
        assert result.returncode == 1 and "Nothing was posted" in result.stderr, result.stderr
        assert partner.key not in result.stdout + result.stderr
    unknown = stack.circles(*COMMAND, CIRCLES_PARTNER_KEY="ck_00000000_x")
    assert unknown.returncode == 1 and "does not know the key" in unknown.stderr
    assert keys_of(partner.tenant_id) == [False]


def test_a_key_that_was_given_is_used_and_stays(stack: Stack) -> None:
    partner = new_partner(stack, "simulating")
    result = stack.circles(*COMMAND, CIRCLES_PARTNER_KEY=partner.key)
    assert result.returncode == 0 and f"Posting as {partner.tenant_id}" in result.stdout, result.stderr
    wait_until_quiet("landing")
    assert len(landed(partner.tenant_id)) == len(list(COMMUNITIES["mens-groups"].simulated(size=40).events()))
    assert keys_of(partner.tenant_id) == [False]
