"""A gateway in this process that does what a script says: a real gRPC server, with no Kafka behind it.

It knows ids and bodies, so that a copy is a DUPLICATE and another body a CONFLICT. What the real gateway
refuses is its own tests' question; here a participant named `wrong…`, `deferred…` or `late…` is.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, Self

import grpc
from circles.common.v1 import common_pb2
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass

Context = grpc.ServicerContext


class Batch(NamedTuple):
    """A batch as it arrived: `sequence` 0 for a unary call."""

    service: str
    sequence: int
    event_ids: list[str]


class Step(NamedTuple):
    """What happens to one batch instead of an answer, before its events are stored or after."""

    act: Callable[[Context], None]
    is_stored: bool = False


class _End(Exception):
    pass


def fail(code: grpc.StatusCode, words: str = "", pushback_ms: str = "", *, is_stored: bool = False) -> Step:
    """The call ends with `code`. With `is_stored` the events are in Kafka and only the answer is lost."""

    def act(context: Context) -> None:
        if pushback_ms:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", pushback_ms),))
        context.abort(code, words)

    return Step(act, is_stored)


def end() -> Step:
    """The stream ends without an error and without an answer."""

    def act(_: Context) -> None:
        raise _End

    return Step(act)


def hang() -> Step:
    """No answer until the caller hangs up."""

    def act(context: Context) -> None:
        gone = threading.Event()
        if context.add_callback(gone.set):
            gone.wait()

    return Step(act)


def fine() -> Step:
    return Step(lambda _: None)


def slow() -> Step:
    return Step(lambda _: time.sleep(0.05))


class FakeGateway(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # not generic when it runs
    """Takes steps of `script` batch by batch; all is well when there is none left."""

    def __init__(
        self, *steps: Step, window: int = 4, credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self.script = deque(steps)
        self.received: list[Batch] = []
        self.stored: dict[str, bytes] = {}
        self.keys: set[str] = set()
        self.most_unanswered = 0
        self._window = window
        self._credentials = credentials
        self._mutex = threading.Lock()
        self._server = self._started("127.0.0.1:0")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """All connections are cut."""
        self._server.stop(None).wait()

    def restart(self) -> None:
        """Cuts all connections and listens anew on the same port."""
        self.stop()
        self._server = self._started(self.address)

    def service(self, call: Any) -> Any:
        service, _, method = call.method.removeprefix("/").partition("/")
        described = Default().FindServiceByName(service).FindMethodByName(method)
        request, response = GetMessageClass(described.input_type), GetMessageClass(described.output_type)
        coding: dict[str, Any] = {
            "request_deserializer": request.FromString,
            "response_serializer": response.SerializeToString,
        }
        if described.client_streaming:
            return grpc.stream_stream_rpc_method_handler(partial(self._stream, service, response), **coding)
        return grpc.unary_unary_rpc_method_handler(partial(self._post, service, response), **coding)

    def _started(self, address: str) -> grpc.Server:
        server = grpc.server(
            futures.ThreadPoolExecutor(16), handlers=[self], options=[("grpc.so_reuseport", 0)]
        )
        if self._credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, self._credentials)
        self.address = f"127.0.0.1:{port}"
        server.start()
        return server

    def _post(self, service: str, response: Any, request: Any, context: Context) -> Any:
        return response(results=self._results(service, 0, request.events, context))

    def _stream(
        self, service: str, response: Any, requests: Iterator[Any], context: Context
    ) -> Iterator[Any]:
        arrived: SimpleQueue[Any] = SimpleQueue()
        counts = {"read": 0, "answered": 0}
        threading.Thread(target=self._read, args=(requests, arrived, counts), daemon=True).start()
        with suppress(_End):
            for request in iter(arrived.get, None):
                results = self._results(service, request.sequence, request.events, context)
                counts["answered"] += 1
                yield response(
                    acknowledged_sequence=request.sequence,
                    count_acknowledged=sum(
                        each.status not in (common_pb2.EVENT_STATUS_REFUSED, common_pb2.EVENT_STATUS_CONFLICT)
                        for each in results
                    ),
                    results=[
                        each
                        for each in results
                        if each.status != common_pb2.EVENT_STATUS_ACCEPTED or each.is_late
                    ],
                    window_batches=self._window,
                )

    def _read(self, requests: Iterator[Any], arrived: SimpleQueue[Any], counts: dict[str, int]) -> None:
        """Reads beyond the window, to see whether the caller goes beyond it."""
        with suppress(grpc.RpcError):
            for request in requests:
                counts["read"] += 1
                self.most_unanswered = max(self.most_unanswered, counts["read"] - counts["answered"])
                arrived.put(request)
        arrived.put(None)

    def _results(self, service: str, sequence: int, events: Any, context: Context) -> list[Any]:
        with self._mutex:
            step = self.script.popleft() if self.script else fine()
            self.received.append(Batch(service, sequence, [event.event_id for event in events]))
            self.keys.add(str(dict(context.invocation_metadata())["authorization"]))
        if not step.is_stored:
            step.act(context)
        with self._mutex:
            results = [self._result(i, event) for i, event in enumerate(events)]
        if step.is_stored:
            step.act(context)
        return results

    def _result(self, index: int, event: Any) -> Any:
        result = common_pb2.EventResult(index=index, event_id=event.event_id)
        participant = getattr(event, "participant_ref", "")
        body = event.SerializeToString()
        if participant.startswith("wrong"):
            result.status = common_pb2.EVENT_STATUS_REFUSED
            result.violations.add(field="participant_ref", value=participant, rule="an opaque reference")
        elif event.event_id in self.stored:
            same = self.stored[event.event_id] == body
            result.status = common_pb2.EVENT_STATUS_DUPLICATE if same else common_pb2.EVENT_STATUS_CONFLICT
        else:
            self.stored[event.event_id] = body
            deferred = participant.startswith("deferred")
            result.status = common_pb2.EVENT_STATUS_DEFERRED if deferred else common_pb2.EVENT_STATUS_ACCEPTED
            result.is_late = participant.startswith("late")
        return result
