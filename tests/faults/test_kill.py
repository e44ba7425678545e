"""kill -9 of any service in the middle of a community: nothing lost, nothing doubled, service returns.

The oracle is the generator's own list of events; `live` is compared with a recount from it.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from circles.participation.v1.participation_event_pb2 import ParticipationEvent

from services.client import Summary
from services.engagement.buckets import ACTIVE_KINDS
from services.ingestion.pseudonyms import Pseudonymiser
from services.runtime.settings import IngestionSettings
from services.simulator.community import Community
from tests.partners import Partner, lake_rows, new_partner, published_rows, wait_until_quiet
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack

COUNT_EVENTS = 40_000
TABLES = ("participation_events", "outcome_events", "group_events", "study_events")


@pytest.mark.parametrize(
    "victims", [["ingestion"], ["engagement"], ["landing"], ["landing", "engagement", "live"]]
)
def test_counts_are_exact_after_kill_9(stack: Stack, victims: list[str]) -> None:
    partner = new_partner(stack, "killed")
    events = list(Community(len(victims), COUNT_EVENTS).events())
    posting = _Posting(partner, events)
    posting.start()
    for victim in [*victims, *victims]:
        _kill_in_the_middle(stack, victim)
    posting.join()
    assert posting.summary is not None and posting.summary.count_accepted == COUNT_EVENTS
    wait_until_quiet(stack)
    assert _landed_ids(partner) == sorted(event.event_id for event in events)
    assert _live(partner) == _recount(partner, events)


class _Posting(threading.Thread):
    def __init__(self, partner: Partner, events: Sequence[Any]) -> None:
        super().__init__()
        self.partner = partner
        self.events = events
        self.summary: Summary | None = None

    def run(self) -> None:
        with self.partner.client(patience_seconds=120) as client:
            self.summary = client.post(self.events)


def _kill_in_the_middle(stack: Stack, victim: str) -> None:
    time.sleep(random.uniform(0.3, 1.0))
    pid = stack.pid(victim)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: stack.pid(victim) not in (None, pid) and stack.is_healthy(victim), f"a new {victim}")


def _landed_ids(partner: Partner) -> list[str]:
    """Ids of rows; a batch that was repeated has landed twice, under one identity."""
    columns = "tenant_id, event_id, body_hash, kafka_partition, kafka_offset, event_index"
    union = " UNION ALL ".join(f"SELECT {columns}, '{table}' AS origin FROM raw.{table}" for table in TABLES)
    rows = lake_rows(
        "SELECT event_id, count(DISTINCT body_hash), count(*), "
        "count(DISTINCT (origin, kafka_partition, kafka_offset, event_index)) "
        f"FROM ({union}) WHERE tenant_id = ? GROUP BY event_id ORDER BY event_id",
        partner.tenant_id,
    )
    assert all(bodies == 1 and rows == places for _, bodies, rows, places in rows)
    return [row[0] for row in rows]


Figures = dict[tuple[str, int], tuple[int, int, int, int, int]]


def _live(partner: Partner) -> Figures:
    rows = published_rows(
        "SELECT group_id, window_hours, extract(epoch FROM as_of)::bigint, count_events, "
        "count_active_participants, count_replies, count_attendances "
        "FROM live.group_engagement WHERE tenant_id = %s",
        partner.tenant_id,
    )
    return {(row[0], row[1]): tuple(row[2:]) for row in rows}


def _recount(partner: Partner, events: Sequence[Any]) -> Figures:
    """The definition of the live figures, straight from what was posted."""
    pseudonymiser = Pseudonymiser.from_file(IngestionSettings.load().pseudonym_key_file)
    by_group: dict[str, list[ParticipationEvent]] = defaultdict(list)
    for event in events:
        if isinstance(event, ParticipationEvent):
            by_group[pseudonymiser.pseudonym(partner.tenant_id, "grp", event.group_ref)].append(event)
    expected: Figures = {}
    for group, acts in by_group.items():
        newest = max(act.occurred_at.seconds for act in acts)
        as_of = newest - newest % 300 + 300
        for hours in (1, 24):
            inside = [act for act in acts if act.occurred_at.seconds >= as_of - hours * 3600]
            kinds = [act.WhichOneof("kind") for act in inside]
            active = {act.participant_ref for act in inside if act.WhichOneof("kind") in ACTIVE_KINDS}
            replies, attendances = kinds.count("reply_posted"), kinds.count("session_attended")
            expected[group, hours] = (as_of, len(inside), len(active - {""}), replies, attendances)
    return expected
