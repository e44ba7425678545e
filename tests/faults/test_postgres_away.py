"""PostgreSQL killed and back: the gateway goes on with the keys that it knows, the rest returns by itself."""

from __future__ import annotations

import os
import signal

import pytest

from services.simulator.community import Community
from tests.kills import landed_ids
from tests.live_figures import live_figures, recount
from tests.partners import new_partner, wait_until_quiet
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack


def test_postgres_killed_while_events_come_in(stack: Stack) -> None:
    partner = new_partner(stack, "postgres-away")
    events = list(Community(9, 10_000).events())
    with partner.client(patience_seconds=120) as client:
        assert client.post(events[:5_000]).count_acknowledged == 5_000
        pid = stack.pid("postgres")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert client.post(events[5_000:]).count_acknowledged == 5_000
    wait_until(
        lambda: stack.pid("postgres") not in (None, pid) and stack.is_healthy("postgres"), "PostgreSQL"
    )
    wait_until(lambda: all(stack.is_healthy(name) for name in ("landing", "live")), "landing and live")
    wait_until_quiet()
    assert landed_ids(partner) == sorted(event.event_id for event in events)
    assert live_figures(partner) == recount(partner, events)
