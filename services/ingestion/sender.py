"""Envelopes to Kafka: an awaitable around kafka-python's producer that ends when all replicas have them.

What is in an envelope is none of this module's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from services.ingestion.envelopes import Envelope
from services.kafka.client import KafkaUnavailable, producer
from services.runtime.settings import KafkaSettings

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 4 * 1024 * 1024


class NotAcknowledged(Exception):
    """Kafka did not acknowledge in time: the events may or may not be there. Repeat them."""


class Sender:
    """Owns the producer. kafka-python may block, so every call of it runs in one thread of its own."""

    def __init__(self, kafka: KafkaSettings, timeout_seconds: float) -> None:
        self._kafka = kafka
        self._timeout_seconds = timeout_seconds
        self._producer: KafkaProducer | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka-sender")

    async def connect(self) -> None:
        """Makes the producer if there is none. Raises KafkaUnavailable."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connected)

    async def send(self, topic: str, envelopes: Iterable[Envelope]) -> None:
        """Returns when every envelope is acknowledged. Raises NotAcknowledged when one is not."""
        loop = asyncio.get_running_loop()
        acknowledged: list[asyncio.Future[None]] = []

        def hand_over() -> None:
            sink = self._connected()
            for envelope in envelopes:
                future = sink.send(topic, envelope.value, key=envelope.key, partition=envelope.partition)
                acknowledged.append(_as_asyncio(future, loop))

        try:
            async with asyncio.timeout(self._timeout_seconds):
                await loop.run_in_executor(self._thread, hand_over)
                await asyncio.gather(*acknowledged)
        except (KafkaError, KafkaUnavailable, TimeoutError) as error:
            log.warning("not acknowledged: %s", type(error).__name__)
            self._discard()
            raise NotAcknowledged from error

    async def close(self) -> None:
        """Waits for what is under way, then ends the producer."""
        if self._producer is not None:
            sink, self._producer = self._producer, None
            await asyncio.get_running_loop().run_in_executor(
                self._thread, lambda: sink.close(timeout=self._timeout_seconds)
            )
        self._thread.shutdown(wait=False)

    def _connected(self) -> KafkaProducer:
        if self._producer is None:
            self._producer = producer(
                self._kafka,
                batch_size=512 * 1024,
                linger_ms=2,
                max_request_size=MAX_REQUEST_BYTES,
                max_block_ms=int(self._timeout_seconds * 1000),
                request_timeout_ms=int(self._timeout_seconds * 1000) - 1000,
                delivery_timeout_ms=int(self._timeout_seconds * 1000),
                bootstrap_timeout_ms=int(self._timeout_seconds * 1000),
            )
        return self._producer

    def _discard(self) -> None:
        """A producer that lost a record has a gap in its sequence; a new one starts clean.

        The old one may still deliver what was answered UNAVAILABLE: the partner repeats it, and the
        copy counts once by its identity.
        """
        sink, self._producer = self._producer, None
        if sink is not None:
            self._thread.submit(sink.close, timeout=0)


def _as_asyncio(future: Any, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    waiting: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if not waiting.done():
            waiting.set_exception(error) if error is not None else waiting.set_result(None)

    future.add_callback(lambda _: loop.call_soon_threadsafe(settle, None))
    future.add_errback(lambda error: loop.call_soon_threadsafe(settle, error))
    return waiting
