"""The contract holds together: registry, protos, examples and rules tell the same story."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass

from services.ingestion.pseudonyms import KINDS
from services.ingestion.rules import rule_of, violations
from services.kafka.topics import Topic, event_topics, topics

ROOT = Path(__file__).parents[2]
EVENT_TOPICS = list(event_topics())
ALL_TOPICS = list(topics().values())


def _name(topic: Topic) -> str:
    return topic.name


def _fields(message: Descriptor) -> Iterator[FieldDescriptor]:
    for field in message.fields:
        yield field
        if field.message_type is not None and field.message_type.full_name != "google.protobuf.Timestamp":
            yield from _fields(field.message_type)


@pytest.mark.parametrize("topic", ALL_TOPICS, ids=_name)
def test_a_topic_names_messages_and_folders_that_exist(topic: Topic) -> None:
    assert topic.message_class().IsInitialized()
    for folder in (topic.owner, *topic.producers, *topic.consumers):
        assert (ROOT / folder).is_dir(), folder
    assert topic.producers and topic.consumers
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", topic.name)
    assert topic.config["message.timestamp.type"] == "LogAppendTime"


@pytest.mark.parametrize("topic", ALL_TOPICS, ids=_name)
def test_whoever_is_named_speaks_of_the_topic(topic: Topic) -> None:
    """A producer or consumer reads the topic's name, or walks the registry."""
    for folder in {*topic.producers, *topic.consumers}:
        code = "".join(path.read_text() for path in (ROOT / folder).rglob("*.py"))
        assert f'"{topic.name}"' in code or re.search(r"(landed|event)_topics\(\)", code), folder


def test_a_topic_name_is_written_once_per_service() -> None:
    for path in [*(ROOT / "services").rglob("*.py"), *(ROOT / "pipelines").rglob("*.py")]:
        for topic in ALL_TOPICS:
            assert path.read_text().count(f'"{topic.name}"') <= 1, path


@pytest.mark.parametrize("topic", EVENT_TOPICS, ids=_name)
def test_an_envelope_is_partitioned_by_fields_that_it_has(topic: Topic) -> None:
    tenant, reference = topic.partitioned_by
    assert tenant in topic.message.fields_by_name
    assert reference in topic.event.fields_by_name
    accepted = topic.message.fields_by_name["events"]
    assert accepted.message_type is not None
    assert accepted.message_type.fields_by_name["event"].message_type is topic.event


def test_an_envelope_of_one_domain_holds_no_events_in_another() -> None:
    numbers = {topic.message.fields_by_name["events"].number for topic in EVENT_TOPICS}
    assert len(numbers) == len(EVENT_TOPICS)


@pytest.mark.parametrize("topic", EVENT_TOPICS, ids=_name)
def test_every_kind_has_an_example_and_every_example_is_accepted(topic: Topic) -> None:
    examples = json.loads((ROOT / "protos" / "examples" / f"{topic.name}.json").read_text())
    seen = set()
    for example in examples:
        event = ParseDict(example, GetMessageClass(topic.event)())
        assert violations(event) == []
        seen.add(event.WhichOneof("kind"))
    assert seen == {field.name for field in topic.event.oneofs_by_name["kind"].fields}


@pytest.mark.parametrize("topic", EVENT_TOPICS, ids=_name)
def test_every_field_has_a_rule(topic: Topic) -> None:
    """Above all every string: text does not exist in the contract."""
    for field in _fields(topic.event):
        if field.message_type is None or field.is_repeated:
            assert rule_of(field).words, field.full_name


@pytest.mark.parametrize("topic", EVENT_TOPICS, ids=_name)
def test_every_reference_is_replaced(topic: Topic) -> None:
    references = {field.name for field in _fields(topic.event) if field.name.endswith("_ref")}
    assert references - {"case_ref"} <= KINDS.keys()


def test_state_has_the_partitions_of_its_input() -> None:
    counts = {
        topics()[name].partitions
        for name in ("participation-events", "engagement-state", "engagement-metrics")
    }
    assert len(counts) == 1


def test_a_fact_is_on_the_partition_of_its_event() -> None:
    counts = {
        topics()[name].partitions
        for name in ("participation-events", "safeguarding-cases", "safeguarding-alerts")
    }
    assert len(counts) == 1
