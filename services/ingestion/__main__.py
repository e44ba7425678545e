"""The gateway process: `python -m services.ingestion`. Serves until SIGTERM, then drains."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from services.ingestion.authentication import KeyStore
from services.ingestion.pseudonyms import Pseudonymiser
from services.ingestion.sender import Sender
from services.ingestion.servicers import Gateway, add_servicers
from services.kafka.client import KafkaUnavailable
from services.runtime.heartbeat import beat
from services.runtime.logs import configure_logging
from services.runtime.settings import IngestionSettings, KafkaSettings, PostgresSettings

log = logging.getLogger("services.ingestion")

SERVICE = "ingestion"


async def serve(settings: IngestionSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    gateway = Gateway(
        keys=KeyStore(PostgresSettings.load(), settings.key_refresh_seconds),
        pseudonymiser=Pseudonymiser.from_file(settings.pseudonym_key_file),
        sender=Sender(KafkaSettings.load(), settings.kafka_timeout_seconds),
        max_events=settings.max_events_per_batch,
    )
    server, serving = _server(settings, gateway)
    await server.start()
    tasks = [
        asyncio.create_task(gateway.keys.keep_fresh()),
        asyncio.create_task(_watch(gateway, serving)),
    ]
    log.info("listening on %s:%d", settings.host, settings.port)
    await stop.wait()
    for task in tasks:
        task.cancel()
    await _drain(server, serving, gateway, settings.drain_seconds)


def _server(settings: IngestionSettings, gateway: Gateway) -> tuple[grpc.aio.Server, HealthServicer]:
    server = grpc.aio.server(
        maximum_concurrent_rpcs=settings.max_concurrent_calls,
        options=[
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.so_reuseport", 0),  # a second gateway on the port is an error, not a silent sharer
        ],
    )
    serving = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(serving, server)
    add_servicers(gateway, server)
    if server.add_insecure_port(f"{settings.host}:{settings.port}") != settings.port:
        raise SystemExit(f"Port {settings.port} is taken: set CIRCLES_INGESTION_PORT to a free one")
    return server, serving


async def _watch(gateway: Gateway, serving: HealthServicer) -> None:
    """Tells health and heartbeat whether Kafka can be reached."""
    while True:
        state, status = "ready", health_pb2.HealthCheckResponse.SERVING
        try:
            await gateway.sender.connect()
        except KafkaUnavailable:
            state, status = "waiting", health_pb2.HealthCheckResponse.NOT_SERVING
        await serving.set("", status)
        beat(
            SERVICE,
            state,
            {"accepted_events": gateway.count_accepted, "refused_events": gateway.count_refused},
        )
        await asyncio.sleep(1.0)


async def _drain(server: grpc.aio.Server, serving: HealthServicer, gateway: Gateway, seconds: float) -> None:
    """No new calls; those under way are finished, because their events may be in Kafka already."""
    beat(SERVICE, "draining")
    await serving.enter_graceful_shutdown()
    await server.stop(grace=seconds)
    await gateway.sender.close()


def _refuse_plaintext_bind(settings: IngestionSettings) -> None:
    with contextlib.suppress(ValueError):
        if settings.plaintext_beyond_loopback or ipaddress.ip_address(settings.host).is_loopback:
            return
    raise SystemExit(
        f"CIRCLES_INGESTION_HOST={settings.host}: only loopback (127.0.0.1) is served without TLS. "
        "See CIRCLES_INGESTION_PLAINTEXT_BEYOND_LOOPBACK in services/runtime/settings.py"
    )


def main() -> int:
    configure_logging(SERVICE)
    settings = IngestionSettings.load()
    _refuse_plaintext_bind(settings)
    beat(SERVICE, "starting")
    asyncio.run(serve(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
