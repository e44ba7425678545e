"""The gateway: `python -m services.ingestion`. Serves until SIGTERM, then drains.

With CIRCLES_INGESTION_PROCESSES above 1 this process starts that many others, which share the port, and
only watches over them: gRPC must not be loaded before a process is forked off.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time

from services.runtime import heartbeat
from services.runtime.logs import configure_logging
from services.runtime.settings import IngestionSettings

SERVICE = "ingestion"
RESTART_SECONDS = 1.0


def main() -> int:
    configure_logging(SERVICE)
    settings = IngestionSettings.load()
    numbers = [int(argument) for argument in sys.argv[1:]]
    if settings.processes == 1:
        return _serve(settings, SERVICE, 0)
    return _serve(settings, _name(numbers[0]), numbers[0]) if numbers else _Fleet(settings).run()


def _serve(settings: IngestionSettings, name: str, number: int) -> int:
    from services.ingestion.server import Server, refuse_plaintext_bind
    from services.ingestion.tls import Unusable

    refuse_plaintext_bind(settings)
    heartbeat.beat(name, "starting")

    async def serve() -> None:
        await Server(settings, name, number).serve()

    try:
        asyncio.run(serve())
    except Unusable as problem:
        raise SystemExit(f"The gateway cannot speak TLS: {problem}") from problem
    return 0


def _name(number: int) -> str:
    return f"{SERVICE}-{number}"


class _Fleet:
    """The processes that share the port. One that ends is started again."""

    def __init__(self, settings: IngestionSettings) -> None:
        self._settings = settings
        self._is_stopping = False
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def run(self) -> int:
        heartbeat.beat(SERVICE, "starting")
        self._refuse_taken_port()
        for ending in (signal.SIGTERM, signal.SIGINT):
            signal.signal(ending, self._stop)
        while not self._is_stopping:
            for number in range(self._settings.processes):
                self._keep(number)
            self._beat()
            time.sleep(RESTART_SECONDS)
        # Here, and not where the signal comes: it may come while a child is being started.
        for child in self._children.values():
            child.terminate()
        for child in self._children.values():
            child.wait()
        return 0

    def _keep(self, number: int) -> None:
        child = self._children.get(number)
        if child is None or child.poll() is not None:
            command = [sys.executable, "-m", "services.ingestion", str(number)]
            self._children[number] = subprocess.Popen(command)

    def _beat(self) -> None:
        """Ready when all are; their figures added up."""
        beats = [heartbeat.read(_name(number)) for number in self._children]
        is_ready = all(beat is not None and beat.is_ready for beat in beats)
        figures: dict[str, int] = {}
        for beat in beats:
            for name, value in (beat.figures if beat else {}).items():
                figures[name] = figures.get(name, 0) + value
        heartbeat.beat(SERVICE, "ready" if is_ready else "waiting", figures)

    def _stop(self, *_: object) -> None:
        self._is_stopping = True

    def _refuse_taken_port(self) -> None:
        """Sharing the port would hide another gateway on it."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._settings.host, self._settings.port))
            except OSError as error:
                message = f"Port {self._settings.port} is taken: set CIRCLES_INGESTION_PORT to a free one"
                raise SystemExit(message) from error


if __name__ == "__main__":
    sys.exit(main())
