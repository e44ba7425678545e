"""Campaign `engagement`: workers are killed while a partner posts, at a random moment or at a named point.

One group of workers knows copies, the other has only offsets to go by (`tests.fakes.engagement_process`).
Every few kills, and at the end, both must show the oracle's figures of everything that was posted.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from services.client import Event
from tests.engagement_workers import Workers, make_topics
from tests.fakes.engagement_process import POINTS
from tests.live_figures import recount
from tests.partners import Partner
from tests.soak.kills import noted
from tests.soak.parts import Parts
from tests.soak.progress import Progress

WITHOUT = ("dagster-*", "engagement", "live", "landing", "safeguarding")
EVENTS_PER_KILL = 2_000
KILLS_PER_CHECK = 5
LATEST_SECONDS = 8.0
"""A worker that starts needs some five of them until it takes records."""
OPTIONS = {"identity": (), "offsets": ("--identity", "random")}


class EngagementKills:
    def __init__(self, partner: Partner, folder: Path, progress: Progress) -> None:
        self.partner = partner
        self.progress = progress
        self.parts = Parts(progress, EVENTS_PER_KILL)
        self.workers = {name: Workers(partner.stack, folder, f"soak-{name}") for name in OPTIONS}
        for workers in self.workers.values():
            make_topics(workers.name)

    def step(self) -> None:
        """A step that was broken off posts its part again: the same events, which count once."""
        progress = self.progress
        rng = random.Random(f"{progress.seed}/{progress.done}")
        name, point = list(OPTIONS)[progress.done % 2], rng.choice([*POINTS, "random"])
        part = self.parts.upcoming()
        progress.done += 1
        progress.counts[point] += 1
        progress.counts[name] += 1
        with noted(progress, f"kill {progress.done} ({point}, {name})"):
            self._post_and_kill(self.workers[name], OPTIONS[name], point, rng, part)
        if progress.done % KILLS_PER_CHECK == 0:
            self.check()

    def check(self) -> None:
        progress = self.progress
        posted = self.parts.posted()
        for name, workers in self.workers.items():
            with noted(progress, f"after kill {progress.done}, {name}"):
                last = workers.start(*OPTIONS[name])
                workers.wait_until_caught_up()
                assert workers.figures(self.partner) == recount(self.partner, posted), "figures"
                workers.kill(last, signal.SIGTERM)
        progress.counts["checks"] += 1
        progress.counts["events"] = len(posted)

    def _post_and_kill(
        self,
        workers: Workers,
        options: tuple[str, ...],
        point: str,
        rng: random.Random,
        part: Sequence[Event],
    ) -> None:
        crash = () if point == "random" else ("--crash", point, "--flush", str(rng.randint(1, 3)))
        running = [workers.start(*options, *crash), workers.start(*options)]
        with self.partner.client() as client:
            assert client.post(part).count_acknowledged == len(part)
        time.sleep(rng.uniform(0, LATEST_SECONDS))
        for worker in running:
            with contextlib.suppress(ProcessLookupError):
                workers.kill(worker)
