"""Records that Faust delivers, collected until a worker takes them all at once.

A channel without a stream behind it: a stream makes several tasks of every record, which is most of what a
record costs in Faust. Where records come from, and who has which partition, remains Faust's business.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import faust
from faust.topics import Topic

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Fetching waits while as much has been delivered and not taken."""

HANDING_OVER = "on_message"
"""Name of the coroutine with which Faust hands a record to its channels."""

Record = tuple[bytes | None, bytes | None, int]
"""Key, value, offset."""


class Delivered:
    """What was delivered of some topics and not taken yet, by topic and partition."""

    def __init__(self, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: dict[tuple[str, int], list[Record]] = defaultdict(list)
        self._waiting_bytes = 0
        self._has_room = asyncio.Event()
        self._has_room.set()

    @property
    def has_room(self) -> bool:
        return self._has_room.is_set()

    async def put(self, topic: str, partition: int, record: Record) -> None:
        await self._has_room.wait()
        self._waiting[topic, partition].append(record)
        self._waiting_bytes += len(record[1] or b"")
        if self._waiting_bytes >= self._max_waiting_bytes:
            self._has_room.clear()

    def take(self) -> dict[tuple[str, int], list[Record]]:
        """All of it, each partition in the order of its offsets."""
        waiting, self._waiting = self._waiting, defaultdict(list)
        self._waiting_bytes = 0
        self._has_room.set()
        return waiting


def deliver(app: faust.App, topic: str, to: Delivered) -> None:
    """From its start on, `app` delivers the records of `topic` to `to`."""
    app.topics.add(_Channel(app, to, topics=[topic], acks=False))


def without_tasks(app: faust.App, to: Delivered) -> None:
    """From now on a record is handed over without a task of its own, where nothing has to be waited for.

    Faust races the handing over of each record against the suspension that comes with a rebalance, with four
    tasks for the race. Where there is room and nothing is suspended, there is nothing to race.
    """
    consumer: Any = app.consumer
    race = consumer.wait_first

    async def first(*racing: Any, **options: Any) -> Any:
        # The consumer has other things to race as well.
        is_record = len(racing) == 2 and getattr(racing[0], "__name__", "") == HANDING_OVER
        is_suspended = consumer.suspend_flow.is_set() or not app.flow_control.is_active()
        if not is_record or is_suspended or not to.has_room:
            return await race(*racing, **options)
        handing_over, suspension = racing
        suspension.close()
        return await handing_over

    consumer.wait_first = first


class _Channel(Topic):
    """Takes records where Faust would decode them for a stream.

    acks=False takes the topic out of Faust's own tracking: with it on, a rebalance waits for an
    acknowledgement that never comes.
    """

    def __init__(self, app: faust.App, to: Delivered, **options: Any) -> None:
        super().__init__(app, **options)
        self._to = to

    def _compile_decode(self) -> None:
        """Nothing is decoded here."""

    async def decode(self, message: Any, *, propagate: bool = False) -> Any:
        await self._to.put(message.topic, message.partition, (message.key, message.value, message.offset))
        return message

    @property
    def queue(self) -> Any:
        return _NOWHERE


class _Nowhere:
    """In place of a stream's queue."""

    def full(self) -> bool:
        return False

    def put_nowait_enhanced(self, *_: Any, **__: Any) -> None:
        """The record was taken already."""


_NOWHERE = _Nowhere()
