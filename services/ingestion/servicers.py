"""The posting RPCs: one function answers all unary ones, one all streams. They differ by their door only.

Here is what concerns calls: who calls, how much, in which order they are answered, and how they fail.
What becomes of an event is `intake`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from services.ingestion import errors
from services.ingestion.authentication import Caller, KeyStore
from services.ingestion.doors import Door, doors
from services.ingestion.errors import CallError, Context
from services.ingestion.intake import Intake, Taken
from services.ingestion.keys import Tenant
from services.ingestion.limits import TenantLimits
from services.ingestion.observation import Call, Observation
from services.ingestion.responses import post_response, stream_response
from services.ingestion.room import Room
from services.ingestion.sender import NotAcknowledged

log = logging.getLogger(__name__)

LAST_WRITE_SECONDS = 5.0


@dataclass(frozen=True)
class Gateway:
    """What the RPCs share."""

    keys: KeyStore
    limits: TenantLimits
    room: Room
    intake: Intake
    observation: Observation
    window_batches: int

    async def post(self, door: Door, data: bytes, context: Context) -> bytes:
        """The unary call. Answers when Kafka has every accepted event."""
        async with self._call(door, "post", context) as call:
            caller = await self.keys.caller(context)
            await self._refuse_over_limit(caller.tenant, len(data))
            with self.room.taken_now(len(data)):
                taken = self.take(door, door.post_request, caller.tenant, data)
                await self.acknowledged(caller.tenant, taken)
            call.answered(taken)
            return post_response(taken)
        raise AssertionError("a failed call ends by itself")

    async def stream(self, door: Door, requests: AsyncIterator[bytes], context: Context) -> None:
        """The bidirectional call: reads ahead up to a window, answers in order."""
        async with self._call(door, "stream", context) as call:
            caller = await self.keys.caller(context)
            if not self.limits.open_stream(caller.tenant):
                raise errors.too_many_streams(caller.tenant.tenant_id)
            try:
                await _Stream(self, door, caller, context, call.answered).run(requests)
            finally:
                self.limits.close_stream(caller.tenant)

    @contextlib.asynccontextmanager
    async def _call(self, door: Door, verb: str, context: Context) -> AsyncIterator[Call]:
        """Ends the call with the error that comes out of the block. What is not foreseen stays in our log."""
        with self.observation.call(door, verb, context) as call:
            try:
                yield call
            except Exception as error:
                if not isinstance(error, CallError):
                    log.exception("%s %s failed", door.domain, verb)
                    error = errors.broken()
                call.failed(error)
                # A traceback holds the request in its frames, up to 4 MiB until the collector comes by.
                await errors.abort(context, error.with_traceback(None))

    async def _refuse_over_limit(self, tenant: Tenant, size: int) -> None:
        """Raises CallError, after a while, when the tenant owes."""
        owed = self.limits.owed_seconds(tenant)
        if owed > 0:
            with self.limits.held(tenant, size) as seconds:
                await asyncio.sleep(seconds)
            raise errors.over_limit(tenant.tenant_id, max(owed - seconds, errors.LEAST_DELAY_SECONDS))

    def take(self, door: Door, request_class: Any, tenant: Tenant, data: bytes) -> Taken:
        taken = self.intake.take(door, request_class, tenant, data)
        self.limits.take(tenant, taken.count_events, len(data))
        return taken

    async def acknowledged(self, tenant: Tenant, taken: Taken) -> None:
        if taken.round is None:
            return
        try:
            # Shielded: a caller that goes away must not take the round of others with it.
            await asyncio.shield(taken.round.acknowledged)
        except NotAcknowledged as error:
            raise errors.not_acknowledged() from error
        self.intake.recent.add(tenant.tenant_id, taken.fresh)


class _Stream:
    """One stream: a reader that takes batches, and a writer that answers them in their order."""

    def __init__(
        self,
        gateway: Gateway,
        door: Door,
        caller: Caller,
        context: Context,
        on_answer: Callable[[Taken], None],
    ) -> None:
        self._gateway = gateway
        self._door = door
        self._caller = caller
        self._context = context
        self._on_answer = on_answer
        self._unanswered: asyncio.Queue[tuple[Taken, int] | None] = asyncio.Queue(gateway.window_batches)
        self._ahead: deque[Taken] = deque()
        """Of `_unanswered`, to look at."""
        self._writing: asyncio.Future[None] | None = None
        self._last_sequence = 0

    async def run(self, requests: AsyncIterator[bytes]) -> None:
        """Ends when the partner has sent all and all is answered. Raises CallError."""
        ended = asyncio.Event()
        with self._gateway.keys.watch(self._caller, ended.set):
            tasks = [
                asyncio.create_task(each)
                for each in (self._read(requests), self._write(), self._until_key_ends(ended))
            ]
            try:
                await self._finish(tasks)
            finally:
                await _cancel(tasks)
                self._give_back_room()
                await self._finish_writing()

    async def _finish(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        reader, writer, watcher = tasks
        waiting = {reader, writer, watcher}
        while not writer.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def _read(self, requests: AsyncIterator[bytes]) -> None:
        gateway, request_class = self._gateway, self._door.stream_request
        async for data in requests:
            await gateway.room.take(len(data))
            try:
                taken = self._take(request_class, data)
                self._ahead.append(taken)
                await self._unanswered.put((taken, len(data)))
            except BaseException:
                gateway.room.give_back(len(data))
                raise
            # A stream that owes is not read on meanwhile: gRPC's flow control then slows the partner.
            owed = gateway.limits.owed_seconds(gateway.keys.tenant_now(self._caller))
            if owed:
                await asyncio.sleep(owed)
        await self._unanswered.put(None)

    def _take(self, request_class: Any, data: bytes) -> Taken:
        tenant = self._gateway.keys.tenant_now(self._caller)
        taken = self._gateway.take(self._door, request_class, tenant, data)
        # Its events may be on their way; unanswered, they are repeated and count once.
        if taken.sequence <= self._last_sequence:
            raise errors.wrong_sequence(taken.sequence, self._last_sequence)
        self._last_sequence = taken.sequence
        return taken

    async def _write(self) -> None:
        """One answer for several batches where nothing is to be said of any but the last."""
        gateway, count = self._gateway, 0
        while (answer := await self._unanswered.get()) is not None:
            taken, size = answer
            self._ahead.popleft()
            try:
                await gateway.acknowledged(self._caller.tenant, taken)
            finally:
                gateway.room.give_back(size)
            self._on_answer(taken)
            count += taken.count_acknowledged
            if taken.others or not self._is_next_acknowledged():
                response = stream_response(self._door, taken, count, gateway.window_batches)
                self._writing = asyncio.ensure_future(self._context.write(response))
                await asyncio.shield(self._writing)
                count = 0

    async def _finish_writing(self) -> None:
        """gRPC takes no status while an answer is on its way; a partner that does not read gets none."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=LAST_WRITE_SECONDS)

    def _is_next_acknowledged(self) -> bool:
        """Whether the next batch will be answered in a moment, so that its answer can speak for this one."""
        if not self._ahead:
            return False
        following = self._ahead[0].round
        return following is None or following.is_acknowledged

    async def _until_key_ends(self, ended: asyncio.Event) -> None:
        await ended.wait()
        self._gateway.keys.tenant_now(self._caller)

    def _give_back_room(self) -> None:
        while not self._unanswered.empty():
            answer = self._unanswered.get_nowait()
            if answer is not None:
                self._gateway.room.give_back(answer[1])


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def add_servicers(gateway: Gateway, server: grpc.aio.Server) -> list[str]:
    """Adds the four services; returns their names."""
    names = []
    for door in doors():
        handlers = {
            door.post.name: grpc.unary_unary_rpc_method_handler(_unary(gateway, door)),
            door.stream.name: grpc.stream_stream_rpc_method_handler(_bidirectional(gateway, door)),
        }
        names.append(door.service.full_name)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(names[-1], handlers),))
    return names


def _unary(gateway: Gateway, door: Door) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def post(data: bytes, context: Context) -> bytes:
        return await gateway.post(door, data, context)

    return post


def _bidirectional(
    gateway: Gateway, door: Door
) -> Callable[[AsyncIterator[bytes], Context], Awaitable[None]]:
    async def stream(requests: AsyncIterator[bytes], context: Context) -> None:
        await gateway.stream(door, requests, context)

    return stream
