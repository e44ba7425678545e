"""Settings of kafka-python's clients, and the few calls that its interface makes awkward.

Which topics are read and written is decided by the services.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from services.kafka.topics import Topic
from services.runtime.settings import KafkaSettings


class KafkaUnavailable(Exception):
    """Kafka cannot be reached, or refuses the password (kafka-python tells the two apart badly)."""


def connection_options(settings: KafkaSettings) -> dict[str, Any]:
    """Arguments that every kafka-python client takes to reach the broker."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap.split(","),
        "security_protocol": settings.security_protocol,
        # The default waits up to 30 s after a broker is back.
        "reconnect_backoff_max_ms": 1000,
    }
    if settings.ca_file is not None:
        options["ssl_cafile"] = str(settings.ca_file)
    return options | sasl_options(settings)


def sasl_options(settings: KafkaSettings) -> dict[str, str]:
    """Who we are; the same arguments for kafka-python and aiokafka. Empty without SASL."""
    if not settings.security_protocol.startswith("SASL"):
        return {}
    return {
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.username,
        "sasl_plain_password": settings.password.get_secret_value(),
    }


def admin(settings: KafkaSettings, **options: Any) -> KafkaAdminClient:
    """An admin client. Raises KafkaUnavailable, after 10 s unless `bootstrap_timeout_ms` says otherwise."""
    patience: dict[str, Any] = {"request_timeout_ms": 10_000, "bootstrap_timeout_ms": 10_000}
    return _or_unavailable(KafkaAdminClient, settings, **(patience | options))


def consumer(settings: KafkaSettings, **options: Any) -> KafkaConsumer:
    """A consumer without group unless `group_id` is given. Raises KafkaUnavailable."""
    return _or_unavailable(KafkaConsumer, settings, **options)


def producer(settings: KafkaSettings, **options: Any) -> KafkaProducer:
    """An idempotent producer that waits for all in-sync replicas. Raises KafkaUnavailable."""
    return _or_unavailable(
        KafkaProducer, settings, acks="all", enable_idempotence=True, compression_type="lz4", **options
    )


def topic_ids(client: KafkaAdminClient, names: list[str]) -> dict[str, str]:
    """Kafka's own id of each topic that exists: a topic made anew under the same name has another."""
    return {each["name"]: str(each["topic_id"]) for each in client.describe_topics(names)}


def end_offsets(
    settings: KafkaSettings, topics: Iterable[Topic], **options: Any
) -> dict[tuple[str, int], int]:
    """Where each partition ends, by topic and partition. Raises KafkaUnavailable."""
    partitions = [TopicPartition(each.name, number) for each in topics for number in range(each.partitions)]
    with closing(consumer(settings, **options)) as reader:
        return {(each.topic, each.partition): end for each, end in reader.end_offsets(partitions).items()}


def _or_unavailable(make: Any, settings: KafkaSettings, **options: Any) -> Any:
    try:
        return make(**connection_options(settings), **options)
    except Exception as error:
        raise KafkaUnavailable(
            f"Kafka at {settings.bootstrap} does not answer as user {settings.username}: "
            "is it up, and is the password right? (`circles status` shows both)"
        ) from error
