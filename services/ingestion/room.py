"""How many bytes of unanswered requests the gateway holds: the bound on its memory when Kafka is slow."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator

from services.ingestion.errors import no_room


class Room:
    """Bytes in flight, of all calls. Waiting streams get room in the order in which they asked."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.contextmanager
    def taken_now(self, size: int) -> Iterator[None]:
        """Room for the block. Raises CallError when there is none."""
        if size > self._left or self._waiting:
            raise no_room()
        self._left -= size
        try:
            yield
        finally:
            self.give_back(size)

    async def take(self, size: int) -> None:
        """Waits until there is room. A message is smaller than the whole room, so that its turn comes."""
        if size <= self._left and not self._waiting:
            self._left -= size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(size)  # it came at the moment of giving up
            raise

    def give_back(self, size: int) -> None:
        self._left += size
        while self._waiting and (self._waiting[0][1].cancelled() or self._waiting[0][0] <= self._left):
            wanted, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._left -= wanted
                turn.set_result(None)
