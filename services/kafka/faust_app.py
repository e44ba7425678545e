"""Faust as our workers use it: it delivers records and shares partitions. State and commit are the worker's.

Its tables, windows and acknowledgements are not used; decision 0006 has the reasons.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Mapping
from typing import Any

import faust
from faust.types import TP

from services.runtime.settings import KafkaSettings, home

log = logging.getLogger(__name__)


def faust_app(name: str, kafka: KafkaSettings) -> faust.App:
    """An application whose consumer group is `name`; it starts nothing before its worker does."""
    credentials = None
    if kafka.security_protocol.startswith("SASL"):
        credentials = faust.SASLCredentials(
            username=kafka.username,
            password=kafka.password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
        )
    return faust.App(
        name,
        broker=[f"kafka://{each}" for each in kafka.bootstrap.split(",")],
        broker_credentials=credentials,
        datadir=str(home() / name),
        store="memory://",
        topic_disable_leader=True,
        web_enabled=False,
        broker_max_poll_records=500,
        stream_buffer_maxsize=2048,
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.0,
        consumer_max_fetch_size=4 * 1024 * 1024,
        consumer_auto_offset_reset="earliest",
        worker_redirect_stdouts=False,
    )


def source(app: faust.App, topic: str) -> Any:
    """The records of a topic as they are.

    acks=False takes it out of Faust's own tracking: with it on, a rebalance waits for an acknowledgement
    that never comes.
    """
    return app.topic(
        topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", acks=False
    )


async def commit(app: faust.App, topic: str, next_offsets: Mapping[int, int]) -> None:
    """Commits the offset to go on with of each partition."""
    # Private in Faust, whose own commit knows only its own acknowledgements; tests hold it.
    consumer: Any = app.consumer
    await consumer._commit({TP(topic, partition): offset for partition, offset in next_offsets.items()})


def committed(app: faust.App, topic: str, partition: int) -> int:
    """The offset with which the group goes on; 0 when it has never committed."""
    consumer: Any = app.consumer
    return int(consumer._committed_offset.get(TP(topic, partition)) or 0)


def highwater(app: faust.App, topic: str, partition: int) -> int | None:
    """The end of a partition, as far as it is known; None before anything was fetched."""
    consumer: Any = app.consumer
    found = consumer.highwater(TP(topic, partition))
    return None if found is None else int(found)


class Progress:
    """Ends the process when input waits and nothing moves: Faust can hang silently after a rebalance."""

    def __init__(self, stall_seconds: float) -> None:
        self.stall_seconds = stall_seconds
        self.last_count = -1
        self.moved_at = time.monotonic()

    def check(self, lag: int, count_applied: int) -> None:
        if lag == 0 or count_applied != self.last_count:
            self.last_count, self.moved_at = count_applied, time.monotonic()
        elif time.monotonic() - self.moved_at > self.stall_seconds:
            log.error("no progress for %.0f s with %d records waiting: ending", self.stall_seconds, lag)
            os._exit(4)


async def or_exit(step: Awaitable[None]) -> None:
    """A step that failed may have written half: only a restart, which reads what is there, is safe."""
    try:
        await step
    except Exception:
        log.exception("writing failed: ending")
        os._exit(5)
