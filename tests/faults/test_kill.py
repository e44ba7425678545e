"""kill -9 of any service in the middle of a community: nothing lost, nothing doubled, service returns.

The count in staging after kills stands in tests/end_to_end, which has a build.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

import pytest

from services.simulator.community import Community
from tests.kills import landed_ids, post_while_killing
from tests.live_figures import live_figures, recount
from tests.partners import new_partner, wait_until_quiet
from tests.stacks import Stack

pytestmark = pytest.mark.stack

COUNT_EVENTS = 30_000


@pytest.mark.parametrize(
    ("victims", "number"),
    [
        (("ingestion", "engagement", "landing", "live"), signal.SIGKILL),
        (("ingestion", "engagement"), signal.SIGTERM),
    ],
    ids=["kills", "drains"],
)
def test_counts_are_exact_after_signals(stack: Stack, victims: Sequence[str], number: signal.Signals) -> None:
    partner = new_partner(stack, "killed")
    events = list(Community(len(victims), COUNT_EVENTS).events())
    post_while_killing(partner, events, victims, number)
    wait_until_quiet()
    assert landed_ids(partner) == sorted(event.event_id for event in events)
    assert live_figures(partner) == recount(partner, events)
