"""Many small records to many partitions in whole batches: a future for each batch, not for each record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer

from services.kafka.aio import aiokafka_options
from services.runtime.settings import KafkaSettings

MAX_BATCH_BYTES = 900_000
MAX_RECORD_BYTES = 8 * 1024 * 1024

KeyValue = tuple[bytes, bytes | None]


def batch_producer(kafka: KafkaSettings) -> AIOKafkaProducer:
    """Acknowledged by all replicas, and without copies of its own."""
    return AIOKafkaProducer(
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=MAX_RECORD_BYTES,
        **aiokafka_options(kafka),
    )


async def send_all(
    producer: AIOKafkaProducer, topic: str, partition: int, records: Iterable[KeyValue]
) -> list[asyncio.Future[Any]]:
    """Sends records in their order; the futures are done when they are acknowledged."""
    futures: list[asyncio.Future[Any]] = []
    batch = producer.create_batch()
    for key, value in records:
        if batch.append(key=key, value=value, timestamp=None) is not None:
            continue
        if batch.record_count():
            futures.append(await producer.send_batch(_closed(batch), topic, partition=partition))
        batch = producer.create_batch()
        if batch.append(key=key, value=value, timestamp=None) is None:
            futures.append(await producer.send(topic, value, key=key, partition=partition))
    if batch.record_count():
        futures.append(await producer.send_batch(_closed(batch), topic, partition=partition))
    return futures


def _closed(batch: Any) -> Any:
    batch.close()
    return batch
