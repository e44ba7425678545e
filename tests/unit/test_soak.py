"""A soak campaign goes on where it was, whenever it was broken off."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.soak.progress import Progress, carry_on

GOAL = 4


class Counting:
    """A campaign that is broken off in the middle of its step `breaks_at`."""

    def __init__(self, folder: Path, breaks_at: int | None = None) -> None:
        self.progress = Progress.load(folder, GOAL)
        self.breaks_at = breaks_at
        self.steps: list[int] = []
        self.count_checks = 0

    def step(self) -> None:
        progress = self.progress
        progress.counts["steps"] += 1
        progress.findings.append(f"of step {progress.done}")
        if progress.done == self.breaks_at:
            raise KeyboardInterrupt
        self.steps.append(progress.done)
        progress.done += 1

    def check(self) -> None:
        self.count_checks += 1


def run(folder: Path, breaks_at: int | None = None) -> Counting:
    """As a process that knows only what is in the folder."""
    campaign = Counting(folder, breaks_at)
    with contextlib.suppress(KeyboardInterrupt):
        carry_on(folder, campaign, lambda: None)
    return campaign


def test_it_goes_on_with_the_step_that_was_broken_off(tmp_path: Path) -> None:
    first = run(tmp_path, breaks_at=2)
    kept = Progress.load(tmp_path, GOAL)
    assert (kept.done, kept.counts["steps"], kept.is_finished) == (2, 2, False)
    second = run(tmp_path)
    assert (first.steps, second.steps) == ([0, 1], [2, 3])
    assert (first.count_checks, second.count_checks) == (0, 1)
    finished = Progress.load(tmp_path, GOAL)
    assert finished.is_finished and finished.seed == kept.seed
    assert finished.findings == [f"of step {number}" for number in range(GOAL)]
    assert finished.counts["steps"] == GOAL


def test_a_finished_campaign_does_nothing_more(tmp_path: Path) -> None:
    run(tmp_path)
    again = run(tmp_path)
    assert again.progress.is_finished
    assert (again.steps, again.count_checks) == ([], 0)


def test_another_goal_counts_for_a_campaign_that_begins(tmp_path: Path) -> None:
    Progress(goal=3, done=1).save(tmp_path)
    assert Progress.load(tmp_path, goal=30).goal == 3
    assert Progress.load(tmp_path / "another", goal=30).goal == 30


def test_what_was_saved_survives_a_kill_while_it_is_saved_anew(tmp_path: Path) -> None:
    saved = Progress(goal=3, done=1)
    saved.save(tmp_path)
    (tmp_path / "progress.json.new").write_text('{"goal": 3, "do')
    assert Progress.load(tmp_path, goal=3) == saved
