"""Kafka as the benchmark uses it: topics made anew, records written as they are, a group's progress read.

Through librdkafka, which needs little of the cores that are being measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from services.runtime.settings import KafkaSettings
from tests.benchmarks.engagement.records import Record

PATIENCE_SECONDS, LOOK_SECONDS = 60.0, 5.0

Offsets = Mapping[int, int]
"""The next offset by partition."""


class Broker:
    """A client of the run's own Kafka."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.options: dict[str, str | int | float | bool] = {
            "bootstrap.servers": settings.bootstrap,
            "security.protocol": settings.security_protocol,
            "sasl.mechanism": settings.sasl_mechanism,
            "sasl.username": settings.username,
            "sasl.password": settings.password.get_secret_value(),
            "log_level": 0,  # what goes wrong is raised
        }
        self._admin = AdminClient(self.options)

    def make(self, topic: str, partitions: int) -> None:
        self._settle(self._admin.create_topics([NewTopic(topic, partitions, 1)]))

    def delete(self, topics: Iterable[str]) -> None:
        """Returns when they are gone; one that is not there is no matter."""
        there = [each for each in topics if each in self.topics()]
        if there:
            self._settle(self._admin.delete_topics(there))
        end = time.monotonic() + PATIENCE_SECONDS
        while any(each in self.topics() for each in there) and time.monotonic() < end:
            time.sleep(0.1)

    def topics(self) -> set[str]:
        return set(self._admin.list_topics(timeout=PATIENCE_SECONDS).topics)

    def forget(self, group: str) -> None:
        """Deletes what the group has committed."""
        (asked,) = self._admin.delete_consumer_groups([group]).values()
        try:
            asked.result(PATIENCE_SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise

    def write(self, topic: str, records: Iterable[Record]) -> Offsets:
        """Writes them as fast as Kafka takes them. Returns where each partition now ends."""
        writer = Writer(self.options, topic, linger_ms=20)
        for record in records:
            writer.put(record)
        return writer.close()

    def writer(self, topic: str) -> Writer:
        """For records that are to arrive at once."""
        return Writer(self.options, topic, linger_ms=1)

    def progress(self, group: str, topic: str) -> Progress:
        return Progress(Consumer(self.options | {"group.id": group}), topic)

    @staticmethod
    def _settle(asked: Mapping[str, object]) -> None:
        for each in asked.values():
            each.result(PATIENCE_SECONDS)  # type: ignore[attr-defined]


class Writer:
    """Puts records on their partitions, and remembers where these end."""

    def __init__(self, options: Mapping[str, str | int | float | bool], topic: str, linger_ms: int) -> None:
        self._producer = Producer(
            {
                **options,
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": linger_ms,
                "message.max.bytes": 4 * 1024 * 1024,
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": 128 * 1024,
            }
        )
        self._topic = topic
        self._ends: dict[int, int] = {}

    def put(self, record: Record, arrived: Callable[[int], None] | None = None) -> None:
        """`arrived` gets the record's offset, in one of the later calls."""

        def told(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                raise KafkaException(error)
            offset, partition = message.offset(), message.partition()
            assert offset is not None and partition is not None
            self._ends[partition] = max(self._ends.get(partition, 0), offset + 1)
            if arrived is not None:
                arrived(offset)

        while True:
            try:
                self._producer.produce(
                    self._topic, record.value, record.key, record.partition, on_delivery=told
                )
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)

    def poll(self, seconds: float) -> None:
        self._producer.poll(seconds)

    def close(self) -> Offsets:
        self._producer.flush(PATIENCE_SECONDS)
        return dict(self._ends)


class Progress:
    """What a group has committed on a topic; looking does not make us a member of it."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic

    def has_reached(self, goal: Offsets) -> bool:
        places = [TopicPartition(self._topic, each) for each in goal]
        try:
            found = self._consumer.committed(places, timeout=LOOK_SECONDS)
        except KafkaException:
            return False  # as long as the broker makes the topic of offsets, or is too busy to answer
        return all(each.offset >= goal[each.partition] for each in found)

    def close(self) -> None:
        self._consumer.close()
