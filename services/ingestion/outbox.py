"""What is accepted waits here for its sending to Kafka, shared with whatever other calls bring meanwhile.

A round holds everything that came while earlier rounds were under way: under load records grow and their
number falls, and a lone event goes at once. A round is acknowledged as a whole, or not at all. How a
record is sent is `sender`'s.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from services.ingestion.envelopes import Entries, Envelope, envelopes
from services.ingestion.keys import Tenant
from services.ingestion.sender import NotAcknowledged, Sender
from services.kafka.topics import Topic

log = logging.getLogger(__name__)

QUIET_SECONDS = 0.004


class Round:
    """One shared sending. `acknowledged` ends when Kafka has all of it, or with NotAcknowledged."""

    def __init__(self) -> None:
        self.acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Every caller may have gone when it fails: that is no news.
        self.acknowledged.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.is_acknowledged = False
        self.received_at = Timestamp()
        self.received_at.GetCurrentTime()
        self._entries: dict[tuple[str, str], tuple[Topic, Tenant, dict[int, list[Entries]]]] = {}
        self._records: list[Envelope] = []

    def entries(self, topic: Topic, tenant: Tenant) -> dict[int, list[Entries]]:
        """Where to put a tenant's events, by partition."""
        key = (topic.name, tenant.tenant_id)
        known = self._entries.get(key)
        if known is None:
            known = self._entries[key] = (topic, tenant, {})
        return known[2]

    def add_record(self, record: Envelope) -> None:
        """A record that is no envelope of events."""
        self._records.append(record)

    def envelopes(self) -> list[Envelope]:
        found = list(self._records)
        for topic, tenant, entries in self._entries.values():
            found += envelopes(topic, tenant.tenant_id, tenant.data_class, self.received_at, entries)
        return found


class Outbox:
    """Rounds one after another, `rounds_in_flight` at a time.

    A record costs much the same whatever it holds, so what can go together waits for its company: a round
    leaves when the calls that the last one has set free have come back, or none has come for QUIET_SECONDS,
    or after `linger_seconds`. A lone call leaves at once.
    """

    def __init__(self, sender: Sender, rounds_in_flight: int, linger_seconds: float) -> None:
        self._sender = sender
        self._free = rounds_in_flight
        self._linger_seconds = linger_seconds
        self._filling: Round | None = None
        self._count_calls = 0
        """In the filling round."""
        self._count_before = 0
        """In the round before."""
        self._tasks: set[asyncio.Task[None]] = set()

    def round(self) -> Round:
        """The round that is being filled. What is put into it before the next await goes with it."""
        self._count_calls += 1
        if self._filling is None:
            self._filling = Round()
            if self._free and self._count_before <= 1:
                asyncio.get_running_loop().call_soon(self._leave)
            elif self._free:
                self._wait_for_company(self._count_before)
        return self._filling

    async def drain(self) -> None:
        """Waits for all that is under way."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _wait_for_company(self, count_expected: int, latest: float | None = None) -> None:
        """Looks again after QUIET_SECONDS whether more calls have come, and more are to be expected."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + self._linger_seconds if latest is None else latest
        loop.call_later(QUIET_SECONDS, self._look, self._count_calls, count_expected, latest)

    def _look(self, count_then: int, count_expected: int, latest: float) -> None:
        is_growing = count_then < self._count_calls < count_expected
        if is_growing and asyncio.get_running_loop().time() < latest:
            self._wait_for_company(count_expected, latest)
        else:
            self._leave()

    def _leave(self) -> None:
        if self._filling is None or not self._free:
            return
        sent, self._filling = self._filling, None
        count_calls, self._count_calls = self._count_calls, 0
        self._count_before = count_calls
        self._free -= 1
        task: asyncio.Task[Any] = asyncio.create_task(self._send(sent, count_calls))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, sent: Round, count_calls: int) -> None:
        try:
            await self._sender.send(sent.envelopes())
            sent.is_acknowledged = True
            sent.acknowledged.set_result(None)
        except NotAcknowledged as error:
            sent.acknowledged.set_exception(error)
        except Exception as error:  # ours; whoever waits must not wait for ever
            log.exception("a round could not be sent")
            sent.acknowledged.set_exception(NotAcknowledged(str(error)))
        finally:
            self._free += 1
            if self._filling is not None:
                self._wait_for_company(self._count_calls + count_calls)
