"""A retraction reaches the live figures, whichever of the two comes first; so it does after a restart."""

from __future__ import annotations

import os
import signal
import uuid
from contextlib import closing
from typing import Any

import pytest

from services.engagement.state import UnreadableState, parsed
from services.kafka.client import consumer, producer
from services.runtime.settings import KafkaSettings
from tests.live_figures import live_figures, recount
from tests.partners import Partner, attended, new_partner, wait_until_quiet
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack

AT = 1_780_000_000
STATE = "engagement-state"


def retraction_of(event: Any) -> Any:
    taken_back = type(event)()
    taken_back.CopyFrom(event)
    taken_back.event_id = str(uuid.uuid4())
    taken_back.event_retracted.retracted_event_id = event.event_id
    return taken_back


def wait_for_recount(partner: Partner, events: list[Any]) -> None:
    expected = recount(partner, events)
    wait_until(lambda: live_figures(partner) == expected, "the recount")


def history() -> list[Any]:
    """Two groups; in the first somebody comes twice, and somebody at the very end."""
    first = [attended("g1", f"p{i % 5}", AT + i * 700) for i in range(9)]
    return [*first, *(attended("g2", f"p{i}", AT) for i in range(4))]


def test_an_event_that_is_in_the_figures_is_taken_out(stack: Stack) -> None:
    """With a flush between the two. The newest event of a group is among those taken back."""
    partner = new_partner(stack, "regret")
    events = history()
    partner.call(events)
    wait_for_recount(partner, events)
    for number in (0, 8, 12):
        events.append(retraction_of(events[number]))
        partner.call(events[-1:])
        wait_for_recount(partner, events)


def test_events_and_retractions_in_one_call_and_in_the_wrong_order(stack: Stack) -> None:
    """Without a flush between the two, and with one before an event that was taken back already."""
    partner = new_partner(stack, "regret-at-once")
    events = history()
    partner.call([retraction_of(events[1]), *events, retraction_of(events[2])])
    told = [*events, retraction_of(events[1]), retraction_of(events[2])]
    wait_for_recount(partner, told)
    late = attended("g1", "p-late", AT + 100)
    partner.call([retraction_of(late)])
    wait_until_quiet()
    partner.call([late])
    partner.call([events[1], late])
    wait_until_quiet()
    assert live_figures(partner) == recount(partner, [*told, late, retraction_of(late)])


def test_a_restarted_worker_knows_what_was_taken_back(stack: Stack) -> None:
    partner = new_partner(stack, "regret-restart")
    events = history()
    later = attended("g2", "p-later", AT + 60)
    events += [retraction_of(events[3]), retraction_of(later)]
    partner.call(events)
    wait_for_recount(partner, events)
    wait_until_quiet()
    kill_engagement(stack)
    events.append(later)
    partner.call([later, events[3], attended("g3")])
    wait_until_quiet()
    found = {key: value for key, value in live_figures(partner).items() if key in recount(partner, events)}
    assert found == recount(partner, events)


def test_state_that_cannot_be_read_is_computed_again(stack: Stack) -> None:
    """Garbage and state of an earlier version over a group's buckets: no crash, and no event missing."""
    partner = new_partner(stack, "old-state")
    events = [*history(), *(attended("g1", f"q{i}", AT + i * 400) for i in range(5))]
    events.append(retraction_of(events[4]))
    partner.call(events)
    wait_for_recount(partner, events)
    wait_until_quiet()
    ours = state_of(partner)
    assert len(ours) >= 2
    overwrite(ours)
    kill_engagement(stack)
    events += [attended("g1", "p-new", AT + 50), attended("g2", "p-new", AT + 50), events[4]]
    partner.call(events[-3:])
    wait_until_quiet()
    assert live_figures(partner) == recount(partner, events)
    wait_until(lambda: all(is_readable(key, value) for _, key, value in state_of(partner)), "our state")


State = list[tuple[int, bytes, bytes]]


def state_of(partner: Partner) -> State:
    """Partition, key and value of each record of the partner's state."""
    newest: dict[tuple[int, bytes], bytes | None] = {}
    with closing(
        consumer(KafkaSettings.load(), auto_offset_reset="earliest", consumer_timeout_ms=3000)
    ) as reader:
        reader.subscribe([STATE])
        for record in reader:
            newest[record.partition, record.key] = record.value
    tenant = partner.tenant_id.encode()
    return [
        (partition, key, value)
        for (partition, key), value in newest.items()
        if value is not None and key.startswith(tenant)
    ]


def overwrite(state: State) -> None:
    """With what an earlier version wrote, or with garbage."""
    earlier = b"\x0a\x01t" + b"\x20\x00" + b"\x42\x08" + bytes(8)
    with closing(producer(KafkaSettings.load())) as sink:
        for i, (partition, key, _) in enumerate(state):
            value = earlier if i % 2 else b"\xff\xfegarbage"
            sink.send(STATE, value, key=key, partition=partition).get(timeout=30)


def is_readable(key: bytes, value: bytes) -> bool:
    try:
        parsed(key, value)
    except UnreadableState:
        return False
    return True


def kill_engagement(stack: Stack) -> None:
    pid = stack.pid("engagement")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: stack.pid("engagement") not in (None, pid) and stack.is_healthy("engagement"),
        "a new worker",
    )
