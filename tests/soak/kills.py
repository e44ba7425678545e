"""Campaign `kills`: kill -9 of a process of the stack at a random moment while a partner posts a community.

Each step posts the next part, in streams and in unary calls in turn, and kills once. Every few kills, and
at the end, what was posted so far must have landed once, and the live figures must be the recount's.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from circles.client import Client, ClientError

from tests.kills import kill, landed_ids
from tests.live_figures import live_figures, recount
from tests.partners import Partner, wait_until_quiet
from tests.soak.parts import Parts
from tests.soak.progress import Progress

WITHOUT = ("dagster-*",)
VICTIMS = ("ingestion", "landing", "engagement", "live", "kafka", "postgres")
EVENTS_PER_KILL = 5_000
KILLS_PER_CHECK = 5
LATEST_SECONDS = 2.0
"""Posting a part takes about as long; a later kill meets consumers at work."""


class Kills:
    def __init__(self, partner: Partner, folder: Path, progress: Progress) -> None:
        self.partner = partner
        self.progress = progress
        self.parts = Parts(progress, EVENTS_PER_KILL)

    def step(self) -> None:
        """A step that was broken off posts its part again: the same events, which count once."""
        progress = self.progress
        rng = random.Random(f"{progress.seed}/{progress.done}")
        part = self.parts.upcoming()
        victim, is_streaming = rng.choice(VICTIMS), progress.done % 2 == 0
        progress.done += 1
        progress.counts[victim] += 1
        with noted(progress, f"kill {progress.done} ({victim})"), ThreadPoolExecutor(1) as pool:
            posting = pool.submit(self._post, part, is_streaming)
            time.sleep(rng.uniform(0, LATEST_SECONDS))
            kill(self.partner.stack, victim)
            assert posting.result() == len(part)
        if progress.done % KILLS_PER_CHECK == 0:
            self.check()

    def check(self) -> None:
        progress = self.progress
        posted = self.parts.posted()
        with noted(progress, f"after kill {progress.done}"):
            wait_until_quiet()
            assert landed_ids(self.partner) == sorted(event.event_id for event in posted), "landed ids"
            assert live_figures(self.partner) == recount(self.partner, posted), "live figures"
        progress.counts["checks"] += 1
        progress.counts["events"] = len(posted)

    def _post(self, part: list[Any], is_streaming: bool) -> int:
        address, key = self.partner.address, self.partner.key
        with Client(address, key, patience_seconds=180, streaming=is_streaming) as client:
            return client.post(part).count_acknowledged


@contextlib.contextmanager
def noted(progress: Progress, words: str) -> Iterator[None]:
    """What goes wrong in the block is a finding, and the campaign goes on."""
    try:
        yield
    except (AssertionError, ClientError) as error:
        progress.findings.append(f"{words}: {error!r}"[:300])
