"""Batches on their way: unary calls side by side, or one stream for each service. Both go over a `Line`,
repeat what was not answered, and yield each batch with its results. What the results mean is `summary`'s.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, NamedTuple

import grpc
from circles.common.v1.common_pb2 import EVENT_STATUS_ACCEPTED, EventResult

from services.client.doors import Door, Event
from services.client.patience import Patience, closed_error

BATCH_EVENTS = 500
BATCH_BYTES = 3 * 1024 * 1024
"""Below the 4 MiB that the gateway takes in one message, with room for what frames the events."""

CALLS_IN_FLIGHT = 8
GOODBYE_SECONDS = 5.0
ACCEPTED = EventResult(status=EVENT_STATUS_ACCEPTED)

Batch = list[Event]
"""Events of one type, at most BATCH_EVENTS and BATCH_BYTES of them."""


class Answer(NamedTuple):
    """A batch and one result for each of its events, in their order."""

    events: Batch
    results: list[EventResult]


@dataclass(frozen=True)
class Line:
    """What calls share: the doors, the key, and how long they wait."""

    address: str
    doors: dict[type[Event], Door]
    metadata: tuple[tuple[str, str], ...]
    patience_seconds: float
    call_seconds: float
    closed: threading.Event

    def patience(self) -> Patience:
        return Patience(self.address, self.patience_seconds, self.closed)

    def start(self, call: Any, request: Any, timeout: float | None = None) -> Any:
        """Begins a call. Raises ClientClosed when the channel is."""
        try:
            return call(request, metadata=self.metadata, timeout=timeout)
        except ValueError:  # gRPC's way to say so
            if self.closed.is_set():
                raise closed_error() from None
            raise


def batches(events: Iterable[Event]) -> Iterator[Batch]:
    """Batches of one type each, in the order in which they fill. ValueError for an event that fits none."""
    filling: defaultdict[type[Event], Batch] = defaultdict(list)
    sizes: dict[type[Event], int] = {}
    for event in events:
        refuse_too_large(event)
        kind, size = type(event), event.ByteSize()
        if sizes.get(kind, 0) + size > BATCH_BYTES:
            sizes[kind] = 0
            yield filling.pop(kind)
        filling[kind].append(event)
        sizes[kind] = sizes.get(kind, 0) + size
        if len(filling[kind]) == BATCH_EVENTS:
            sizes[kind] = 0
            yield filling.pop(kind)
    yield from filling.values()


def refuse_too_large(event: Event) -> None:
    """ValueError for an event that no batch can hold."""
    if event.ByteSize() > BATCH_BYTES:
        raise ValueError(
            f"Event {event.event_id} has {event.ByteSize()} bytes; at most {BATCH_BYTES} can be posted"
        )


def by_calls(line: Line, batches: Iterable[Batch]) -> Generator[Answer, None, None]:
    """Several unary calls at a time. After a failure a batch may arrive later than the one behind it."""
    patience = line.patience()
    under_way: deque[tuple[Batch, Any]] = deque()
    for batch in batches:
        if len(under_way) == CALLS_IN_FLIGHT:
            yield _settled(line, patience, *under_way.popleft())
        under_way.append((batch, _begun(line, batch)))
    while under_way:
        yield _settled(line, patience, *under_way.popleft())


def _begun(line: Line, batch: Batch) -> Any:
    door = line.doors[type(batch[0])]
    return line.start(door.post.future, door.post_request(events=batch), line.call_seconds)


def _settled(line: Line, patience: Patience, batch: Batch, call: Any) -> Answer:
    while True:
        try:
            results = list(call.result().results)
        except grpc.RpcError as error:
            patience.wait(error)
        else:
            patience.answered()
            return Answer(batch, results)
        call = _begun(line, batch)


def by_streams(line: Line, batches: Iterable[Batch]) -> Generator[Answer, None, None]:
    """One stream for each service, which gets its batches in their order."""
    streams: dict[type[Event], _Stream] = {}
    try:
        for batch in batches:
            kind = type(batch[0])
            if kind not in streams:
                streams[kind] = _Stream(line, line.doors[kind])
            stream = streams[kind]
            while stream.is_full:
                yield from stream.answers()
            stream.send(batch)
        for stream in streams.values():
            while stream.is_waiting:
                yield from stream.answers()
    finally:
        for stream in streams.values():
            stream.close()


class _Stream:
    """Batches to one service over as many connections as it takes; keeps what is not acknowledged."""

    def __init__(self, line: Line, door: Door) -> None:
        self._line = line
        self._door = door
        self._patience = line.patience()
        self._connection: _Connection | None = None
        self._unanswered: deque[tuple[int, Batch]] = deque()
        self._last_sequence = 0
        self._window = 1

    @property
    def is_full(self) -> bool:
        return len(self._unanswered) >= self._window

    @property
    def is_waiting(self) -> bool:
        return bool(self._unanswered)

    def send(self, batch: Batch) -> None:
        """Does not wait. A broken connection shows when answers are read."""
        self._last_sequence += 1
        self._unanswered.append((self._last_sequence, batch))
        if self._connection is None:
            self._connection = self._resumed()
        else:
            self._connection.send(self._last_sequence, batch)

    def answers(self) -> Iterator[Answer]:
        """What the next response answers: waits for it, on a new connection if need be."""
        response = self._response()
        self._window = max(1, response.window_batches)
        while self._unanswered and self._unanswered[0][0] <= response.acknowledged_sequence:
            sequence, batch = self._unanswered.popleft()
            self._patience.answered()
            said = response.results if sequence == response.acknowledged_sequence else ()
            by_index = {result.index: result for result in said}
            yield Answer(batch, [by_index.get(i, ACCEPTED) for i in range(len(batch))])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close(is_done=not self._unanswered)

    def _response(self) -> Any:
        while True:
            self._connection = self._connection or self._resumed()
            trouble: grpc.RpcError | None = None
            try:
                response = self._connection.response()
                if response is not None:
                    return response
            except grpc.RpcError as error:
                trouble = error
            self._connection.close(is_done=False)
            self._connection = None
            self._patience.wait(trouble)

    def _resumed(self) -> _Connection:
        """A new connection that has everything without an answer, in the same order."""
        connection = _Connection(self._line, self._door)
        for sequence, batch in self._unanswered:
            connection.send(sequence, batch)
        return connection


class _Connection:
    """One call of a stream. gRPC reads the requests in a thread of its own, until None."""

    def __init__(self, line: Line, door: Door) -> None:
        self._request = door.stream_request
        self._answer_seconds = line.call_seconds
        self._requests: SimpleQueue[Any] = SimpleQueue()
        self._call = line.start(door.stream, iter(self._requests.get, None))

    def send(self, sequence: int, batch: Batch) -> None:
        self._requests.put(self._request(sequence=sequence, events=batch))

    def response(self) -> Any:
        """The next one; None: the gateway has ended the stream. grpc.RpcError when it takes too long."""
        with _limit(self._call, self._answer_seconds):
            return next(self._call, None)

    def close(self, *, is_done: bool) -> None:
        """`is_done`: lets the gateway end the stream, so that it does not see a call broken off."""
        self._requests.put(None)
        if is_done:
            with suppress(grpc.RpcError), _limit(self._call, GOODBYE_SECONDS):
                next(self._call, None)
        self._call.cancel()


@contextmanager
def _limit(call: Any, seconds: float) -> Iterator[None]:
    """Cancels the call when the block takes longer; a stream's own deadline would end a healthy one too."""
    timer = threading.Timer(seconds, call.cancel)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
