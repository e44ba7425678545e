"""The door to topic `safeguarding-cases`: every worker reads all of it, all the time.

So each knows every case, also those whose events are on partitions of others: an answer may come under
another group than the risk that it answers. Who acts on what is known is the worker's question.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.kafka.aio import aiokafka_options
from services.kafka.topics import topic
from services.runtime.settings import KafkaSettings
from services.safeguarding.cases import Fact
from services.safeguarding.messages import UnreadableFact, parsed_fact

log = logging.getLogger(__name__)

CASES = "safeguarding-cases"

Ends = dict[int, int]
"""An offset of each partition: of its end, if nothing else is said."""


class InputRecreated(Exception):
    """Facts are of an earlier topic of the input's name: what came between the two is not known."""


class Ledger:
    """Hands every fact to `learn` and every key that was deleted to `forget`."""

    def __init__(
        self,
        kafka: KafkaSettings,
        input_topic_id: str | None,
        learn: Callable[[bytes, Fact], object],
        forget: Callable[[bytes], None],
    ) -> None:
        """Without `input_topic_id` facts of any input are taken."""
        self.input_topic_id = input_topic_id
        self.learn = learn
        self.forget = forget
        self.read: Ends = {}
        """The offset after the last record that was handed on."""
        self.count_unreadable = 0
        self._places = [TopicPartition(CASES, number) for number in range(topic(CASES).partitions)]
        options = {"enable_auto_commit": False, "auto_offset_reset": "earliest", **aiokafka_options(kafka)}
        self._reader = AIOKafkaConsumer(**options)
        # A question on the reader's connection would wait for the fetch before it, which waits for records.
        self._asker = AIOKafkaConsumer(**options)

    async def start(self) -> None:
        await self._asker.start()
        await self._reader.start()
        self._reader.assign(self._places)
        await self._reader.seek_to_beginning(*self._places)

    async def follow(self) -> None:
        """Reads until it is cancelled. Raises InputRecreated."""
        while True:
            found = await self._reader.getmany(timeout_ms=500, max_records=1000)
            for records in found.values():
                for record in records:
                    self._take(record)
            for place in self._places:
                self.read[place.partition] = await self._reader.position(place)

    async def ends(self) -> Ends:
        """Of now: whoever has read up to there knows all that was written before."""
        found = await self._asker.end_offsets(self._places)
        return {place.partition: end for place, end in found.items()}

    def has_read(self, ends: Ends) -> bool:
        return all(self.read.get(partition, 0) >= end for partition, end in ends.items())

    async def beginnings(self, input_topic: str, partitions: Iterable[int]) -> Ends:
        """The first offset that is still on each of these partitions of the input."""
        places = [TopicPartition(input_topic, number) for number in partitions]
        found = await self._asker.beginning_offsets(places)
        return {place.partition: offset for place, offset in found.items()}

    def _take(self, record: Any) -> None:
        if record.value is None:
            self.forget(record.key)
            return
        try:
            topic_id, fact = parsed_fact(record.value)
        except UnreadableFact:
            self.count_unreadable += 1
            log.error("record %d of %s %d cannot be read", record.offset, CASES, record.partition)
            return
        if self.input_topic_id not in (None, topic_id):
            raise InputRecreated
        self.learn(record.key, fact)
