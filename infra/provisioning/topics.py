"""Kafka topics as the registry (`protos/topics`) wants them.

A topic is made or its configuration corrected; the number of its partitions is never changed, since
the key of an event would then lead to another partition than before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from infra.local.errors import StackError
from services.kafka.client import KafkaUnavailable, admin
from services.kafka.topics import Topic, topics
from services.runtime.settings import KafkaSettings


def provision() -> None:
    """Makes the topics that are missing and checks those that exist. Raises StackError."""
    settings = KafkaSettings.load()
    try:
        client = admin(settings)
    except KafkaUnavailable as error:
        raise StackError(
            str(error),
            "kafka-python says 'unable to bootstrap' for a wrong password and for no server alike.",
        ) from error
    try:
        existing = {each["name"]: each for each in client.describe_topics()}
        _check_partitions(existing)
        _make(client, [each for each in topics().values() if each.name not in existing], settings)
        _correct(client, [each for each in topics().values() if each.name in existing])
    finally:
        client.close()


def _check_partitions(existing: Mapping[str, Any]) -> None:
    for topic in topics().values():
        if topic.name not in existing:
            continue
        found = len(existing[topic.name]["partitions"])
        if found != topic.partitions:
            raise StackError(
                f"Topic {topic.name} has {found} partitions; {topic.partitions} are wanted.",
                "Events are found by their partition, so it cannot be changed in place. Take the number back "
                f"in protos/topics/{topic.name}.yaml, or move the events to a new topic.",
            )


def _make(client: KafkaAdminClient, missing: list[Topic], settings: KafkaSettings) -> None:
    if not missing:
        return
    wanted = {
        topic.name: {
            "num_partitions": topic.partitions,
            "replication_factor": settings.replication_factor,
            "configs": dict(topic.config),
        }
        for topic in missing
    }
    client.create_topics(wanted, wait_for_metadata=True)


def _correct(client: KafkaAdminClient, present: list[Topic]) -> None:
    resources = [ConfigResource(ConfigResourceType.TOPIC, each.name) for each in present]
    if not resources:
        return
    found = client.describe_configs(resources, config_filter="all")["topic"]
    changes = {each.name: differences(each, found[each.name]) for each in present}
    to_alter = [
        ConfigResource(ConfigResourceType.TOPIC, name, configs=change)
        for name, change in changes.items()
        if change
    ]
    if to_alter:
        client.alter_configs(to_alter)


def differences(topic: Topic, found: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Settings of `topic` that Kafka has otherwise; `found` is what it says of each."""
    return {
        key: value for key, value in topic.config.items() if str(found.get(key, {}).get("value")) != value
    }
