"""One gateway process: what it is made of, how it tells of its health, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import signal
import time
from typing import Any

import grpc
from cryptography.fernet import Fernet
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from services.ingestion import tls
from services.ingestion.authentication import KeyStore
from services.ingestion.engagement import EngagementServicer, LiveTable, add_engagement_servicer
from services.ingestion.intake import Intake
from services.ingestion.keys import Limits
from services.ingestion.limits import TenantLimits
from services.ingestion.observation import Observation
from services.ingestion.outbox import Outbox
from services.ingestion.pseudonyms import Pseudonymiser
from services.ingestion.recent import Recent
from services.ingestion.room import Room
from services.ingestion.sender import Sender
from services.ingestion.servicers import Gateway, add_servicers
from services.ingestion.warm_up import warm_up
from services.runtime.heartbeat import beat
from services.runtime.instruments import instruments
from services.runtime.settings import IngestionSettings, KafkaSettings, PostgresSettings, QuarantineSettings

log = logging.getLogger(__name__)

MAX_METADATA_BYTES = 16 * 1024
MAX_PING_STRIKES = 2


class Server:
    """A gateway from its settings; `number` counts the processes that share the port, from 0."""

    def __init__(self, settings: IngestionSettings, heartbeat: str, number: int) -> None:
        self._settings = settings
        self._heartbeat = heartbeat
        self._sender = Sender(KafkaSettings.load(), settings.kafka_timeout_seconds)
        self._outbox = Outbox(self._sender, settings.rounds_in_flight, settings.linger_seconds)
        self._observation = Observation(
            settings.metrics_port and settings.metrics_port + number, settings.traces_endpoint
        )
        self._pseudonymiser = Pseudonymiser.from_file(settings.pseudonym_key_file)
        self._gateway = self._make_gateway()
        self._live_table = LiveTable(PostgresSettings.load())
        self._health = HealthServicer()
        self._server, self._services = self._make_server()

    async def serve(self) -> None:
        """Until SIGTERM; then no new calls, and those under way are finished."""
        stop = asyncio.Event()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
        # What is there now stays: the collector need not look at it again and again. How often it looks is
        # left as it is, because a failed call's traceback holds its request in a cycle.
        gc.freeze()
        await self._server.start()
        tasks = [
            asyncio.create_task(self._gateway.keys.keep_fresh()),
            asyncio.create_task(self._watch_kafka()),
        ]
        log.info("listening on %s:%d", self._settings.host, self._settings.port)
        await stop.wait()
        for task in tasks:
            task.cancel()
        await self._drain()

    def _make_gateway(self) -> Gateway:
        settings = self._settings
        instruments()  # a wrong file ends the start, not a call
        warm_up()
        quarantine = Fernet(QuarantineSettings.load().key_file.read_bytes().strip())
        defaults = Limits(
            settings.tenant_events_per_second, settings.tenant_bytes_per_second, settings.tenant_streams
        )
        return Gateway(
            keys=KeyStore(PostgresSettings.load(), settings.key_refresh_seconds),
            limits=TenantLimits(defaults, 1 / settings.processes, time.monotonic),
            room=Room(settings.max_bytes_in_flight // settings.processes),
            intake=Intake(
                pseudonymiser=self._pseudonymiser,
                recent=Recent(settings.remembered_events),
                outbox=self._outbox,
                seal=quarantine.encrypt,
                max_events=settings.max_events_per_batch,
                max_event_bytes=settings.max_event_bytes,
            ),
            observation=self._observation,
            window_batches=settings.window_batches,
        )

    def _make_server(self) -> tuple[grpc.aio.Server, list[str]]:
        settings = self._settings
        server = grpc.aio.server(
            maximum_concurrent_rpcs=settings.max_concurrent_calls, options=_options(settings)
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        services = add_servicers(self._gateway, server)
        engagement = EngagementServicer(self._gateway, self._pseudonymiser, self._live_table)
        services.append(add_engagement_servicer(engagement, server))
        if _is_loopback(settings.host):
            _add_reflection(server, services)
        credentials = tls.server_credentials(settings)
        address = f"{settings.host}:{settings.port}"
        try:
            if credentials is None:
                server.add_insecure_port(address)
            else:
                server.add_secure_port(address, credentials)
        except RuntimeError as error:
            hint = "is it taken? Set CIRCLES_INGESTION_PORT to a free one"
            raise SystemExit(f"Port {settings.port} on {settings.host} cannot be opened: {hint}") from error
        return server, services

    async def _watch_kafka(self) -> None:
        """Tells health and heartbeat whether Kafka answers."""
        while True:
            state, status = "ready", health_pb2.HealthCheckResponse.SERVING
            if not await self._sender.is_answered():
                state, status = "waiting", health_pb2.HealthCheckResponse.NOT_SERVING
            for service in ("", *self._services):
                await self._health.set(service, status)
            beat(self._heartbeat, state, self._figures())
            await asyncio.sleep(1.0)

    def _figures(self) -> dict[str, int]:
        counts = self._observation.counts
        return {
            "accepted_events": counts["accepted"],
            "refused_events": counts["refused"],
        }

    async def _drain(self) -> None:
        """Calls under way are finished, because their events may be in Kafka already."""
        beat(self._heartbeat, "draining")
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace=self._settings.drain_seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.kafka_timeout_seconds):
                await self._outbox.drain()
        await self._sender.close()
        self._gateway.keys.close()
        self._live_table.close()


def _options(settings: IngestionSettings) -> list[tuple[str, Any]]:
    """gRPC's own guards: of a message, a connection, and what a silent or talkative peer may do."""
    milliseconds = {
        "grpc.keepalive_time_ms": settings.keepalive_seconds,
        "grpc.keepalive_timeout_ms": 20,
        "grpc.max_connection_idle_ms": settings.connection_idle_seconds,
        "grpc.max_connection_age_ms": settings.connection_age_seconds,
        "grpc.max_connection_age_grace_ms": 60,
        "grpc.http2.min_ping_interval_without_data_ms": settings.keepalive_seconds / 2,
    }
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_concurrent_streams", settings.max_calls_per_connection),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.http2.max_ping_strikes", MAX_PING_STRIKES),
        # Alone on its port, a second gateway is an error, not a silent sharer.
        ("grpc.so_reuseport", int(settings.processes > 1)),
        *((name, int(seconds * 1000)) for name, seconds in milliseconds.items()),
    ]


def _add_reflection(server: grpc.aio.Server, services: list[str]) -> None:
    from grpc_health.v1.health import SERVICE_NAME as HEALTH
    from grpc_reflection.v1alpha import reflection

    reflection.enable_server_reflection([*services, HEALTH, reflection.SERVICE_NAME], server)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_plaintext_bind(settings: IngestionSettings) -> None:
    """Raises SystemExit when keys and events would travel in the clear."""
    has_tls = settings.tls_certificate_file is not None
    if has_tls or settings.plaintext_beyond_loopback or _is_loopback(settings.host):
        return
    raise SystemExit(
        f"CIRCLES_INGESTION_HOST={settings.host}: beyond loopback (127.0.0.1) only with TLS. Set "
        "CIRCLES_INGESTION_TLS_CERTIFICATE_FILE and CIRCLES_INGESTION_TLS_KEY_FILE"
    )
