"""How a service outlives the servers that it needs: sessions, one after the other, until it is stopped.

A session connects, works and ends with an exception when a server is away; what it does is the service's.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable

from services.runtime.heartbeat import beat

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0


def run_sessions(
    service: str,
    session: Callable[[threading.Event], None],
    passing: tuple[type[Exception], ...],
    on_failure: Callable[[Exception], None] | None = None,
) -> None:
    """Runs `session(stop)` until SIGTERM. After one of the `passing` exceptions it is run again.

    Any other exception is raised: it would come again. `on_failure` tells of a passing one, in the log and
    the heartbeat, where the service has more to say than that its session ended.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    beat(service, "starting")
    while not stop.is_set():
        try:
            session(stop)
        except passing as error:
            log.debug("the reason", exc_info=error)
            if on_failure is not None:
                on_failure(error)
            else:
                log.warning("session ended by %s; next in %.0f s", type(error).__name__, RETRY_SECONDS)
                beat(service, "waiting")
            stop.wait(RETRY_SECONDS)
