"""The client: posts any mix of events, each to its service, now or from a spool on disk; reads live figures.

How batches travel is `posting`'s, when a call is repeated `patience`'s, how events are kept `spool`'s.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from itertools import chain, islice
from typing import Self

from circles.engagement.v1.engagement_service_pb2 import GetGroupEngagementRequest, GroupFigures
from circles.engagement.v1.engagement_service_pb2_grpc import EngagementServiceStub

from services.client.channel import Tls, open_channel
from services.client.doors import Event, doors
from services.client.patience import closed_error
from services.client.posting import Line, batches, by_calls, by_streams, refuse_too_large
from services.client.spool import Spool
from services.client.spooled import decoded, encoded, refusal_line
from services.client.summary import Summary
from services.client.watching import watch

ROUND_EVENTS = 10_000
ROUND_BYTES = 16 * 1024 * 1024
"""How much of a spool is posted before it is removed there; held in memory meanwhile."""

Progress = Callable[[int], object]
"""Gets the number of events answered since it was called last."""


class Client:
    """Posts events as the tenant of `api_key`. A context manager; its methods may be called by any thread.

    Repeating is safe because an event counts once under its `event_id`.
    """

    def __init__(
        self,
        address: str,
        api_key: str,
        *,
        tls: Tls | None = None,
        plaintext: bool = False,
        streaming: bool = True,
        spool: Spool | None = None,
        patience_seconds: float = 60.0,
        call_seconds: float = 60.0,
    ) -> None:
        """Connects when it posts first. Raises ValueError where the key would leave the machine in plaintext.

        `plaintext`: allow that, as inside an encrypted network. `streaming` False: unary calls only, for
        a proxy that holds streams back. `spool`: belongs to the client from now on, which closes it.
        `patience_seconds`: how long to go on after a failure without any answer; then GatewayAway.
        `call_seconds`: how long one batch may go without an answer until it is sent again.
        """
        self._channel = open_channel(address, tls, plaintext=plaintext)
        self._engagement = EngagementServiceStub(self._channel)
        self._streaming = streaming
        self._spool = spool
        self._flushing = threading.RLock()
        self._line = Line(
            address=address,
            doors=doors(self._channel),
            # A key that was read from a file ends with a newline, which gRPC answers with an internal error.
            metadata=(("authorization", f"Bearer {api_key.strip()}"),),
            patience_seconds=patience_seconds,
            call_seconds=call_seconds,
            closed=threading.Event(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends what other threads are posting with ClientClosed, then closes the spool. May be repeated."""
        self._line.closed.set()
        self._channel.close()
        if self._spool is not None:
            with self._flushing:
                self._spool.close()

    def post(self, events: Iterable[Event], on_progress: Progress | None = None) -> Summary:
        """Posts all events; returns when each is answered.

        `events` may be longer than memory: it is read as fast as answers come. A single batch is one
        call; several go over streams, which keep their order within each service.
        Raises NotAuthenticated, GatewayAway, BatchRefused, ClientClosed (all of them ClientError), and
        ValueError for an event of more than 3 MiB.
        """
        summary = Summary()
        self._post(events, summary, on_progress)
        return summary

    def enqueue(self, events: Iterable[Event]) -> int:
        """Stores all events in the spool, or none; returns how many when they are safe on disk.

        One call waits for the disk once, however many events it gets. Raises SpoolFull, OSError when the
        disk does not take them, ClientClosed, and ValueError for an event of more than 3 MiB.
        """
        spool = self._open_spool()
        records = []
        for event in events:
            refuse_too_large(event)
            records.append(encoded(event))
        spool.put(records)
        return len(records)

    def flush(self, on_progress: Progress | None = None) -> Summary:
        """Posts what is in the spool now, in its order, and removes what is answered.

        Refused events are removed too, after a line about each in the spool's `refused.jsonl`. Raises as
        `post` does, and SpoolDamaged. The events of the round that was under way (10,000 at most) are then
        posted again by the next flush; those that had arrived come back as duplicates.
        """
        spool = self._open_spool()
        summary = Summary()
        with self._flushing:
            end = spool.end
            while spool.acknowledged < end:
                records, place = spool.read(ROUND_EVENTS, ROUND_BYTES)
                known = len(summary.refused)
                self._post(map(decoded, records), summary, on_progress)
                spool.note_refused(map(refusal_line, summary.refused[known:]))
                spool.acknowledge(place)
        return summary

    def group_engagement(self, group_refs: Sequence[str]) -> list[GroupFigures]:
        """The newest figures of 1 to 100 of your groups; one of which nothing has come is absent.

        What each figure means is in docs/engagement.md. Raises grpc.RpcError.
        """
        request = GetGroupEngagementRequest(group_refs=group_refs)
        answer = self._engagement.GetGroupEngagement(
            request, metadata=self._line.metadata, timeout=self._line.call_seconds, wait_for_ready=True
        )
        return list(answer.groups)

    def watch_group_engagement(self, group_refs: Sequence[str]) -> Generator[GroupFigures]:
        """The figures of these groups, and every change of them, until the iterator is closed.

        Goes on after a broken connection with what it has not given yet. Raises NotAuthenticated,
        GatewayAway after `patience_seconds` without an answer, and grpc.RpcError for a wrong request.
        """
        return watch(self._engagement, self._line, group_refs)

    def _post(self, events: Iterable[Event], summary: Summary, on_progress: Progress | None) -> None:
        self._refuse_closed()
        waiting = batches(events)
        first = list(islice(waiting, 2))
        way = by_streams if self._streaming and len(first) > 1 else by_calls
        with closing(way(self._line, chain(first, waiting))) as answers:
            for answer in answers:
                summary.add(*answer)
                if on_progress is not None:
                    on_progress(len(answer.events))

    def _refuse_closed(self) -> None:
        if self._line.closed.is_set():
            raise closed_error()

    def _open_spool(self) -> Spool:
        if self._spool is None:
            raise ValueError("This client has no spool: make it with spool=Spool(path, max_bytes=…)")
        self._refuse_closed()
        return self._spool
