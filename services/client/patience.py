"""When a call is repeated, after how long, and when no more: gRPC's codes become pauses or errors here."""

from __future__ import annotations

import math
import random
import threading
import time

import grpc

from services.client.errors import BatchRefused, ClientClosed, GatewayAway, NotAuthenticated

PASSING = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,  # a gateway that stops has not begun with the call
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INTERNAL,  # also how a connection cut within a message looks
    grpc.StatusCode.UNKNOWN,  # the gateway has stumbled; repeating is safe
)
PUSHBACK = "grpc-retry-pushback-ms"
"""A trailer: the milliseconds after which the gateway wants to be asked again; below 0: not at all."""

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


class Patience:
    """How long one posting goes on without an answer: `seconds` from the first failure in a row."""

    def __init__(self, address: str, seconds: float, closed: threading.Event) -> None:
        self._address = address
        self._seconds = seconds
        self._closed = closed
        self._failures = 0
        self._failing_since = math.inf

    def answered(self) -> None:
        self._failures = 0
        self._failing_since = math.inf

    def wait(self, error: grpc.RpcError | None) -> None:
        """Returns when it is time to try again; None: the gateway ended a stream without an error.

        Raises GatewayAway when patience is over, BatchRefused or NotAuthenticated when it would not help,
        ClientClosed when the client is closed meanwhile.
        """
        if self._closed.is_set():
            raise closed_error() from error
        if error is not None:
            _raise_unless_passing(error)
        now = time.monotonic()
        self._failing_since = min(self._failing_since, now)
        self._failures += 1
        pause = _pause(self._failures, error)
        if now + pause > self._failing_since + self._seconds:
            raise GatewayAway(
                f"No answer from {self._address} ({_words(error)}), and patience of {self._seconds:g} s ends "
                "before the next try. Post the same events again later, with the same event_ids: those that "
                "did arrive count once"
            ) from error
        if self._closed.wait(pause):
            raise closed_error() from error


def closed_error() -> ClientClosed:
    return ClientClosed("The client is closed. Events without an answer may have arrived; post them again")


def _raise_unless_passing(error: grpc.RpcError) -> None:
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        raise NotAuthenticated(
            f"The gateway does not accept the key ({_words(error)}). Ask the operator for a valid one and "
            "make a new client with it; until then nothing is stored"
        ) from error
    if error.code() not in PASSING:
        raise BatchRefused(
            f"The gateway refused the call ({_words(error)}). Nothing of this batch was stored, and "
            "repeating it unchanged will not help"
        ) from error


def _pause(failures: int, error: grpc.RpcError | None) -> float:
    """Seconds: what the gateway asks for, or doubling and bounded; spread, so that clients come apart."""
    asked = _asked_seconds(error)
    if asked is not None:
        return asked * random.uniform(1.0, 1.2)  # noqa: S311  # spreads load, protects nothing
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(failures, 8))
    return random.uniform(longest / 2, longest)  # noqa: S311


def _asked_seconds(error: grpc.RpcError | None) -> float | None:
    """What the gateway asks for; infinite when it does not want to be asked again; None: nothing."""
    for trailer in (error and error.trailing_metadata()) or ():
        if trailer.key == PUSHBACK:
            text = str(trailer.value)
            return int(text) / 1000 if text.isdecimal() else math.inf
    return None


def _words(error: grpc.RpcError | None) -> str:
    return "the stream ended" if error is None else f"{error.code().name}: {error.details()}"
