"""Envelopes to Kafka: an awaitable around kafka-python's producer that ends when all replicas have them.

What is in an envelope is none of this module's business.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from services.ingestion.envelopes import Envelope
from services.kafka.client import KafkaUnavailable, admin, producer
from services.runtime.settings import KafkaSettings

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 4 * 1024 * 1024
PROBE_SECONDS = 3.0


class NotAcknowledged(Exception):
    """Kafka did not acknowledge in time: the events may or may not be there. Repeat them."""


class Sender:
    """Owns the producer. kafka-python may block, so every call of it runs in one thread of its own."""

    def __init__(self, kafka: KafkaSettings, timeout_seconds: float) -> None:
        self._kafka = kafka
        self._timeout_seconds = timeout_seconds
        self._producer: KafkaProducer | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka-sender")
        self._probe_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka-probe")
        self._asker: KafkaAdminClient | None = None

    async def is_answered(self) -> bool:
        """Whether Kafka answers a question now; for health. Makes the producer if there is none."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await loop.run_in_executor(self._thread, self._connected)
                await loop.run_in_executor(self._probe_thread, self._ask)
        except (KafkaError, KafkaUnavailable, TimeoutError):
            return False
        return True

    async def send(self, records: Sequence[Envelope]) -> None:
        """Returns when every record is acknowledged. Raises NotAcknowledged when one is not."""
        acknowledged = _Acknowledgement(len(records), asyncio.get_running_loop())
        sink: KafkaProducer | None = None

        def hand_over() -> None:
            nonlocal sink
            sink = self._connected()
            for each in records:
                future = sink.send(each.topic, each.value, key=each.key, partition=each.partition)
                future.add_callback(acknowledged.one)
                future.add_errback(acknowledged.failed)

        try:
            async with asyncio.timeout(self._timeout_seconds):
                await asyncio.get_running_loop().run_in_executor(self._thread, hand_over)
                await acknowledged.future
        except (KafkaError, KafkaUnavailable, TimeoutError) as error:
            log.warning("not acknowledged: %s", type(error).__name__)
            self._discard(sink)
            raise NotAcknowledged from error

    async def close(self) -> None:
        """Waits for what is under way, then ends the producer."""
        if self._producer is not None:
            sink, self._producer = self._producer, None
            await asyncio.get_running_loop().run_in_executor(
                self._thread, lambda: sink.close(timeout=self._timeout_seconds)
            )
        self._thread.shutdown(wait=False)
        self._probe_thread.shutdown(wait=False)

    def _ask(self) -> None:
        milliseconds = int(PROBE_SECONDS * 1000)
        try:
            if self._asker is None:
                times = {"request_timeout_ms": milliseconds, "bootstrap_timeout_ms": milliseconds}
                self._asker = admin(self._kafka, **times)
            self._asker.describe_cluster()
        except (KafkaError, KafkaUnavailable):
            asker, self._asker = self._asker, None
            if asker is not None:
                asker.close()
            raise

    def _connected(self) -> KafkaProducer:
        if self._producer is None:
            self._producer = producer(
                self._kafka,
                batch_size=512 * 1024,
                linger_ms=1,
                metrics_enabled=False,  # nobody reads them; ours are in `observation`
                max_request_size=MAX_REQUEST_BYTES,
                max_block_ms=int(self._timeout_seconds * 1000),
                request_timeout_ms=int(self._timeout_seconds * 1000) - 1000,
                delivery_timeout_ms=int(self._timeout_seconds * 1000),
                bootstrap_timeout_ms=int(self._timeout_seconds * 1000),
            )
        return self._producer

    def _discard(self, failed: KafkaProducer | None) -> None:
        """A producer that lost a record has a gap in its sequence; a new one starts clean.

        The old one may still deliver what was answered UNAVAILABLE: the partner repeats it, and the
        copy counts once by its identity.
        """
        if failed is not None and self._producer is failed:
            self._producer = None
            self._thread.submit(failed.close, timeout=0)


class _Acknowledgement:
    """Counts down in kafka-python's thread, and wakes the event loop once."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[None] = loop.create_future()
        self._left = count
        self._loop = loop
        self._lock = threading.Lock()

    def one(self, _: object) -> None:
        with self._lock:
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            self._loop.call_soon_threadsafe(self._settle, None)

    def failed(self, error: BaseException) -> None:
        self._loop.call_soon_threadsafe(self._settle, error)

    def _settle(self, error: BaseException | None) -> None:
        if not self.future.done():
            self.future.set_exception(error) if error is not None else self.future.set_result(None)
