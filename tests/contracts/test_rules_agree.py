"""One set of rules, three readers: protovalidate itself, `rules` with its words, and the compiled functions.

The corpus is generated from the contract, so that a new kind or field is in it by itself.
"""

from __future__ import annotations

import random
import time

import protovalidate
import pytest
from circles.groups.v1 import group_event_pb2

from services.ingestion.compiled import admitters
from services.ingestion.pseudonyms import THINGS, Pseudonymiser
from services.ingestion.rules import violations
from services.kafka.topics import Topic, event_topics
from tests.fakes.random_events import random_event

CORPUS = 1500
EVENT_TOPICS = list(event_topics())
PSEUDONYMISER = Pseudonymiser(bytes(32))
OURS = [PSEUDONYMISER.names("a-tenant")[kind] for kind in THINGS]


@pytest.mark.parametrize("topic", EVENT_TOPICS, ids=lambda topic: topic.name)
def test_protovalidate_and_both_of_ours_agree(topic: Topic) -> None:
    rng = random.Random(topic.name)
    compiled = admitters(topic.event, topic.partitioned_by[1])
    verdicts, kinds = set(), set()
    for i in range(CORPUS):
        event = random_event(topic.event, rng, rng.choice([0.0, 0.02, 0.1, 0.5]))
        before, kind = event.SerializeToString(deterministic=True), event.WhichOneof("kind")
        theirs, ours = protovalidate.collect_violations(event), violations(event)
        # Whether a time zone exists is the one rule that the contract cannot say.
        stated = [each for each in ours if not each.field.endswith(".time_zone") or theirs]
        assert bool(theirs) == bool(stated), (i, event, theirs, ours)
        admitted = compiled[kind](event, OURS, time.time() + 300) if kind else None
        assert (admitted is None) == bool(ours), (i, event, ours)
        if admitted is None:
            assert event.SerializeToString(deterministic=True) == before, "a refused event was changed"
        verdicts.add(bool(ours))
        kinds.add((kind, bool(ours)))
    assert verdicts == {True, False}
    missing = {(field.name, False) for field in topic.event.oneofs_by_name["kind"].fields} - kinds
    assert not missing, "kinds that no good event of the corpus had"


@pytest.mark.parametrize("topic", EVENT_TOPICS, ids=lambda topic: topic.name)
def test_the_compiled_function_puts_the_pseudonyms_in_their_places(topic: Topic) -> None:
    rng = random.Random(7)
    compiled = admitters(topic.event, topic.partitioned_by[1])
    for _ in range(300):
        event = random_event(topic.event, rng, 0.0)
        kind = event.WhichOneof("kind")
        expected = type(event).FromString(event.SerializeToString())
        PSEUDONYMISER.replace("a-tenant", expected, kind)
        admitted = compiled[kind](event, OURS, time.time() + 300)
        if admitted is None:
            assert violations(event)
            continue
        assert event == expected
        assert admitted == (
            event.event_id,
            event.occurred_at.seconds,
            getattr(event, topic.partitioned_by[1]),
        )


def test_a_time_zone_must_exist_as_well() -> None:
    event = group_event_pb2.GroupEvent(event_id="0" * 8 + "-0000-4000-8000-" + "0" * 12, group_ref="g")
    event.occurred_at.FromSeconds(1_700_000_000)
    event.group_registered.facts.time_zone = "Europe/Atlantis"
    assert not protovalidate.collect_violations(event)
    assert [each.field for each in violations(event)] == ["group_registered.facts.time_zone"]
