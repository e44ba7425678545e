"""An intake without a server and without Kafka: it is handed requests, and shows what it would send."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from circles.common.v1 import common_pb2

from services.ingestion.doors import Door
from services.ingestion.intake import Intake, Taken
from services.ingestion.kernels import HIGH, LOW
from services.ingestion.keys import Tenant
from services.ingestion.outbox import Round
from services.ingestion.pseudonyms import Pseudonymiser
from services.ingestion.recent import Recent

TENANT = Tenant("a-tenant", common_pb2.DATA_CLASS_LIVE)


class OneRound:
    """An outbox whose round never leaves."""

    def __init__(self) -> None:
        self.only = Round()

    def round(self) -> Round:
        return self.only


class Desk:
    """Needs a running event loop, as a round does."""

    def __init__(self, seal: Callable[[bytes], bytes] = lambda data: data) -> None:
        self.recent = Recent(100_000)
        self._outbox = OneRound()
        outbox: Any = self._outbox
        self._intake = Intake(
            Pseudonymiser(bytes(32)),
            self.recent,
            outbox,
            seal=seal,
            max_events=500,
            max_event_bytes=32 * 1024,
        )

    def take(self, door: Door, request_class: Any, data: bytes) -> Taken:
        """Raises CallError."""
        return self._intake.take(door, request_class, TENANT, data)

    def acknowledge(self, taken: Taken) -> None:
        """As when Kafka has it."""
        self.recent.add(TENANT.tenant_id, taken.fresh)

    def records(self) -> list[Any]:
        """What has been put into the round."""
        return self._outbox.only.envelopes()


def fresh_ids(taken: Taken) -> list[str]:
    """Ids of the events that go to Kafka."""
    halves = taken.fresh[:, [HIGH, LOW]].tolist()
    return [str(uuid.UUID(int=high << 64 | low)) for high, low in halves]
