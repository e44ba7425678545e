"""The demo and some partners whose data are difficult in one way each, posted once for all end-to-end tests.

What becomes of it is the tests' business.
"""

from __future__ import annotations

import re
import uuid
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from circles.outcomes.v1 import outcome_event_pb2

from services.ingestion.pseudonyms import Pseudonymiser
from services.kafka.client import producer
from services.kafka.topics import topic
from services.runtime.settings import IngestionSettings, KafkaSettings
from services.simulator.community import Community
from tests.fakes.bad_input import bad_events, good_events
from tests.fakes.envelopes import envelopes_of
from tests.kills import post_while_killing
from tests.partners import Partner, attended, new_partner
from tests.stacks import Stack

COUNT_EVENTS = 20_000


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


def post_all(stack: Stack) -> Partners:
    """Everything posted, built and released; the demo's own words in `printed`."""
    nine = new_partner(stack, "nine-people", "live")
    post_group(nine, people=9, consenting=9)
    half = new_partner(stack, "half-consenting", "live")
    post_group(half, people=40, consenting=25)
    careless = new_partner(stack, "careless", "synthetic")
    _post_conflict_and_retraction(careless)
    foreign = f"foreign-{uuid.uuid4().hex[:6]}"
    _write_past_the_gateway(foreign)
    careful = new_partner(stack, "careful")
    _post_good_among_bad(careful)
    killed = new_partner(stack, "killed")
    post_while_killing(killed, killed_events(), ["ingestion", "engagement", "landing"])
    _made_days_ago(stack)
    result = stack.circles("demo", "--keep", "--events", str(COUNT_EVENTS))
    if result.returncode != 0:
        pytest.fail(f"circles demo failed:\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}", pytrace=False)
    return Partners(nine, half, careless, killed, careful, foreign, result.stdout)


def _made_days_ago(stack: Stack) -> None:
    """Dagster has days from the first one of its stack on: here there are some to compute again."""
    settings = stack.home / "stack.env"
    first = f"{datetime.now(UTC) - timedelta(days=5):%Y-%m-%d}"
    settings.write_text(re.sub(r"(?<=DAGSTER_FIRST_DAY=).*", f"'{first}'", settings.read_text()))
    assert stack.recorded("CIRCLES_DAGSTER_FIRST_DAY") == first


def killed_events() -> list[Any]:
    return list(Community(5, COUNT_EVENTS).events())


def post_group(partner: Partner, *, people: int, consenting: int, first: int = 0) -> None:
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
