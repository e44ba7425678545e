"""Alerts to webhooks, again and again until somebody has confirmed them or they no longer hold.

What holds, and what was delivered in earlier lives of this process, is the worker's; one attempt is
`webhook`'s. Several attempts are under way at once, of each target, so that none waits for another.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from services.runtime.settings import SafeguardingSettings
from services.runtime.webhook import Address, Undelivered, post, session
from services.safeguarding.cases import CaseKey, Level
from services.safeguarding.duty import WEBHOOK

log = logging.getLogger(__name__)

AT_ONCE = 8
URGENCY = {Level.ESCALATED: 0, Level.BREACHED: 1, Level.OPENED: 2, Level.CLOSED: 3}


class Parcel(NamedTuple):
    """An alert on its way to one target."""

    target: str
    alert_id: str
    level: Level
    case: CaseKey
    body: bytes

    @property
    def place(self) -> tuple[str, str]:
        return self.alert_id, self.target


@dataclass
class Attempts:
    """How often a parcel was tried, and when it is tried again, by the monotonic clock."""

    parcel: Parcel
    count: int = 0
    next_at: float = 0.0
    running: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        if self.running is not None:
            self.running.cancel()


class Delivery:
    """Everything that is on its way."""

    def __init__(
        self,
        settings: SafeguardingSettings,
        addresses: dict[str, Address],
        on_delivered: Callable[[Parcel], None],
    ) -> None:
        self.settings = settings
        self.addresses = addresses
        self.on_delivered = on_delivered
        self._attempts: dict[CaseKey, dict[tuple[str, str], Attempts]] = {}
        self._http = session(settings.webhook_timeout_seconds)
        self._signs_of_life: set[asyncio.Task[None]] = set()

    def want(self, case: CaseKey, parcels: Iterable[Parcel]) -> None:
        """What of a case is to be delivered from now on; anything else of it no longer holds."""
        known = self._attempts.pop(case, {})
        wanted = {
            each.place: known.pop(each.place) if each.place in known else Attempts(each) for each in parcels
        }
        for each in known.values():
            each.cancel()
        if wanted:
            self._attempts[case] = wanted

    def clear(self) -> None:
        """Somebody else delivers now."""
        for case in list(self._attempts):
            self.want(case, [])

    @property
    def count_undelivered(self) -> int:
        return sum(map(len, self._attempts.values()))

    def start_due(self) -> None:
        """Begins the attempts that are due, the most urgent first, as many of a target as may be under way.

        A target that is no longer in the settings is left alone; its alerts stay undelivered.
        """
        now = time.monotonic()
        everything = [each for of_case in self._attempts.values() for each in of_case.values()]
        room = Counter(dict.fromkeys(self.addresses, AT_ONCE))
        room.subtract(each.parcel.target for each in everything if each.running is not None)
        due = [each for each in everything if each.running is None and each.next_at <= now]
        due.sort(key=lambda each: (URGENCY[each.parcel.level], each.next_at))
        for each in due:
            if room[each.parcel.target] > 0:
                room[each.parcel.target] -= 1
                each.running = asyncio.create_task(self._try(each))

    def sign_of_life(self, alert_id: str, body: bytes) -> None:
        """Posts a heartbeat, once: the next one comes soon."""
        if WEBHOOK in self.addresses:
            task = asyncio.create_task(self._post_once(alert_id, body))
            self._signs_of_life.add(task)
            task.add_done_callback(self._signs_of_life.discard)

    async def close(self) -> None:
        self.clear()
        await self._http.close()

    async def _try(self, attempts: Attempts) -> None:
        parcel = attempts.parcel
        attempts.count += 1
        try:
            await post(self._http, self.addresses[parcel.target], parcel.alert_id, parcel.body)
        except Exception as error:  # whatever it is, it must be tried again
            reason = str(error) if isinstance(error, Undelivered) else type(error).__name__
            wait = self._wait_seconds(attempts.count)
            log.warning(
                "alert %s (%s) not delivered to the %s at attempt %d: %s; next in %.1f s",
                parcel.alert_id, parcel.level, parcel.target, attempts.count, reason, wait,
            )  # fmt: skip
            attempts.next_at, attempts.running = time.monotonic() + wait, None
            return
        # It stays here, as running, until the worker knows that it was delivered.
        self.on_delivered(parcel)

    async def _post_once(self, alert_id: str, body: bytes) -> None:
        try:
            await post(self._http, self.addresses[WEBHOOK], alert_id, body)
        except Undelivered as reason:
            log.warning("heartbeat not delivered: %s", reason)

    def _wait_seconds(self, count: int) -> float:
        settings = self.settings
        doubled: float = settings.webhook_retry_seconds * 2 ** min(count - 1, 30)
        longest = min(settings.webhook_max_retry_seconds, doubled)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load, protects nothing
