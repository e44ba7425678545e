"""Killing services in the middle of a community, and what has landed of it afterwards."""

from __future__ import annotations

import math
import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

from circles.client import Summary

from tests.partners import Partner, lake_rows
from tests.stacks import Stack, wait_until

TABLES = ("participation_events", "outcome_events", "group_events", "study_events")


class Posting(threading.Thread):
    def __init__(self, partner: Partner, events: Sequence[Any]) -> None:
        super().__init__()
        self.partner = partner
        self.events = events
        self.summary: Summary | None = None

    def run(self) -> None:
        with self.partner.client(patience_seconds=120) as client:
            self.summary = client.post(self.events)


def post_while_killing(
    partner: Partner, events: Sequence[Any], victims: Sequence[str], number: signal.Signals = signal.SIGKILL
) -> None:
    """Posts a part of the events for each victim, and kills it meanwhile. Everything must be acknowledged."""
    size = math.ceil(len(events) / len(victims))
    for i, victim in enumerate(victims):
        posting = Posting(partner, events[i * size : (i + 1) * size])
        posting.start()
        kill_in_the_middle(partner.stack, victim, number)
        posting.join()
        assert posting.summary is not None and posting.summary.count_acknowledged == len(posting.events)


def kill_in_the_middle(stack: Stack, victim: str, number: signal.Signals) -> None:
    time.sleep(random.uniform(0.05, 0.5))
    kill(stack, victim, number)


def kill(stack: Stack, victim: str, number: signal.Signals = signal.SIGKILL) -> None:
    """Returns when there is another in its place. What needs the last victim may be coming back still."""
    wait_until(lambda: stack.pid(victim) is not None, f"a running {victim}")
    pid = stack.pid(victim)
    if pid is not None:
        os.kill(pid, number)
    wait_until(lambda: stack.pid(victim) not in (None, pid) and stack.is_healthy(victim), f"a new {victim}")


def landed_ids(partner: Partner) -> list[str]:
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
