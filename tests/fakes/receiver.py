"""A receiver of webhooks on loopback: it keeps what it gets, and answers as it is told."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = b"a secret of the tests, longer than it must be"


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def alert(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """Answers with the next of `statuses`, then with `status`."""

    port: int = 0
    status: int = 204
    statuses: list[int] = field(default_factory=list)
    delay_seconds: float = 0.0
    received: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alerts"

    def taken(self, **wanted: str) -> list[dict[str, Any]]:
        """Alerts, whatever was answered, that have these fields."""
        alerts = [each.alert for each in list(self.received)]
        return [each for each in alerts if wanted.items() <= each.items()]

    def answer(self, received: Received) -> int:
        self.received.append(received)
        time.sleep(self.delay_seconds)
        return self.statuses.pop(0) if self.statuses else self.status


@contextlib.contextmanager
def receiver(port: int = 0) -> Iterator[Receiver]:
    """Listens until the block ends. Port 0: any."""
    ours = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = ours.answer(Received(self.path, dict(self.headers), body, time.time()))
            with contextlib.suppress(OSError):
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", ours.url.replace("alerts", "elsewhere"))
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    ours.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield ours
    finally:
        server.shutdown()
        server.server_close()
