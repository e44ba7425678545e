"""Peer B of the ingestion benchmark: a gRPC server in Python that does nothing but hand requests to Kafka.

Every request is one record, its bytes as they came; the answer is sent when Kafka has it. What the
same language costs without our work, and what the producer library adds, is all that it shows.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
from collections.abc import Callable
from typing import Any, Protocol

import confluent_kafka
import grpc

from services.kafka.client import producer
from services.runtime.settings import KafkaSettings

SERVICE, METHOD = "circles.participation.v1.ParticipationService", "PostParticipationEvents"

LINGER_MS = 1
MAX_MESSAGE_BYTES = 4 * 1024 * 1024

Settle = Callable[[object | None], None]
"""Takes None, or what went wrong. May be called in any thread."""


class Sink(Protocol):
    def send(self, value: bytes, settle: Settle) -> None: ...


class KafkaPython:
    """The library that the gateway began with."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._topic = topic
        self._producer = producer(
            settings, linger_ms=LINGER_MS, batch_size=512 * 1024, max_request_size=MAX_MESSAGE_BYTES
        )
        self._producer.partitions_for(topic)  # the first send would block on it

    def send(self, value: bytes, settle: Settle) -> None:
        future = self._producer.send(self._topic, value)
        future.add_callback(lambda _: settle(None))
        future.add_errback(settle)


class Confluent:
    """The same with the C library librdkafka."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._topic = topic
        self._producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": settings.bootstrap,
                "security.protocol": settings.security_protocol,
                "sasl.mechanism": settings.sasl_mechanism,
                "sasl.username": settings.username,
                "sasl.password": settings.password.get_secret_value(),
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": LINGER_MS,
                "message.max.bytes": MAX_MESSAGE_BYTES,
            }
        )
        self._producer.list_topics(topic, timeout=10)
        threading.Thread(target=self._poll, daemon=True).start()

    def send(self, value: bytes, settle: Settle) -> None:
        self._producer.produce(self._topic, value, on_delivery=lambda error, _: settle(error))

    def _poll(self) -> None:
        while True:
            self._producer.poll(1.0)


SINKS: dict[str, Callable[[KafkaSettings, str], Sink]] = {
    "kafka-python": KafkaPython,
    "confluent-kafka": Confluent,
}


class Servicer:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    async def post(self, request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        loop = asyncio.get_running_loop()
        acknowledged: asyncio.Future[object | None] = loop.create_future()

        def settle(error: object | None) -> None:
            loop.call_soon_threadsafe(_settle, acknowledged, error)

        self._sink.send(request, settle)
        error = await acknowledged
        if error is not None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return b""


def _settle(acknowledged: asyncio.Future[object | None], error: object | None) -> None:
    if not acknowledged.done():  # the caller may have gone
        acknowledged.set_result(error)


async def serve(port: int, sink: Sink) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    # Without a serialiser the handler gets and gives bytes.
    handler = grpc.unary_unary_rpc_method_handler(Servicer(sink).post)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", choices=SINKS, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--topic", required=True)
    options = parser.parse_args()
    sink = SINKS[options.library](KafkaSettings.load(), options.topic)
    asyncio.run(serve(options.port, sink))


if __name__ == "__main__":
    main()
