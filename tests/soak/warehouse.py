"""Campaign `warehouse`: kill -9 of who builds the warehouse, at a random moment, while a partner posts.

Each step posts the next part and kills once: landing, dbt or the process of a run at work, Dagster's daemon,
its code server, PostgreSQL. An analyst reads the published tables all the time. Every few kills, and at the
end, no run may be left that is not over, and each acknowledged event must be in staging or among the failed
events, once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

from services.client import Event
from tests.builds import Reader, count_places, kill_process_of, processes_of, wait_until_built
from tests.kills import kill
from tests.partners import Partner, wait_until_quiet
from tests.soak.kills import noted
from tests.soak.parts import Parts
from tests.soak.progress import Progress
from tests.stacks import wait_until

WITHOUT = ("dagster-webserver", "engagement", "live", "safeguarding")
SERVICES = ("landing", "dagster-daemon", "dagster-code", "postgres")
OF_A_BUILD = ("dbt", "run")
EVENTS_PER_KILL = 1_000
KILLS_PER_CHECK = 5
LATEST_SECONDS = 30.0
"""A build takes about as long, and begins within some fifteen of them."""
LATEST_SECONDS_OF_A_BUILD = 10.0


class WarehouseKills:
    def __init__(self, partner: Partner, folder: Path, progress: Progress) -> None:
        self.partner = partner
        self.progress = progress
        self.parts = Parts(progress, EVENTS_PER_KILL)

    def step(self) -> None:
        """A step that was broken off posts its part again: the same events, which count once."""
        progress = self.progress
        rng = random.Random(f"{progress.seed}/{progress.done}")
        part = self.parts.upcoming()
        # The ones that matter most, and that are the hardest to meet, in every other step.
        victim = rng.choice(OF_A_BUILD if progress.done % 2 else SERVICES)
        progress.done += 1
        progress.counts[victim] += 1
        with noted(progress, f"kill {progress.done} ({victim})"), self._read():
            self._post(part)
            self._kill(victim, rng)
        if progress.done % KILLS_PER_CHECK == 0:
            self.check()

    def check(self) -> None:
        progress = self.progress
        posted = self.parts.posted()
        with noted(progress, f"after kill {progress.done}"), self._read():
            # A run that was killed twice is tried again with the next landing: of what is known already.
            self._post(posted[:1])
            wait_until_quiet("landing")
            wait_until_built()
            assert count_places(self.partner) == {event.event_id: 1 for event in posted}, "places of events"
        progress.counts["checks"] += 1
        progress.counts["events"] = len(posted)

    def _post(self, part: Sequence[Event]) -> None:
        with self.partner.client(patience_seconds=180) as client:
            assert client.post(part).count_acknowledged == len(part)

    def _kill(self, victim: str, rng: random.Random) -> None:
        stack = self.partner.stack
        if victim in SERVICES:
            time.sleep(rng.uniform(0, LATEST_SECONDS))
            kill(stack, victim)
            return
        wait_until(lambda: bool(processes_of(stack, victim)), f"a {victim} at work", seconds=400)
        time.sleep(rng.uniform(0, LATEST_SECONDS_OF_A_BUILD))
        if not kill_process_of(stack, victim):
            self.progress.counts["too late"] += 1

    def _read(self) -> _Reading:
        return _Reading(self.progress)


class _Reading:
    """An analyst for the block; what they saw that must not be is a finding."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.reader = Reader(is_published=progress.counts["looks of an analyst"] > 0)

    def __enter__(self) -> None:
        self.reader.__enter__()

    def __exit__(self, *_: object) -> None:
        self.reader.__exit__()
        self.progress.counts["looks of an analyst"] += self.reader.count_looks
        self.progress.findings += [f"an analyst saw: {each}"[:300] for each in self.reader.findings]
