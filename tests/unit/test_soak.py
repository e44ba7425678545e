"""A soak campaign goes on where it was, whenever it was broken off."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.progress import Progress, carry_on

GOAL = 4


class Counting:
    """A campaign that is broken off in the middle of its step `breaks_at`."""

    def __init__(self, breaks_at: int | None = None) -> None:
        self.breaks_at = breaks_at
        self.steps: list[int] = []
        self.count_checks = 0

    def step(self, progress: Progress) -> None:
        progress.counts["steps"] += 1
        progress.findings.append(f"of step {progress.done}")
        if progress.done == self.breaks_at:
            raise KeyboardInterrupt
        self.steps.append(progress.done)
        progress.done += 1

    def check(self, progress: Progress) -> None:
        self.count_checks += 1


def run(folder: Path, campaign: Counting) -> Progress:
    """As a process that knows only what is in the folder."""
    progress = Progress.load(folder, GOAL)
    carry_on(folder, progress, campaign, lambda: None)
    return progress


def test_it_goes_on_with_the_step_that_was_broken_off(tmp_path: Path) -> None:
    first, second = Counting(breaks_at=2), Counting()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, first)
    kept = Progress.load(tmp_path, GOAL)
    assert (kept.done, kept.counts["steps"], kept.is_finished) == (2, 2, False)
    finished = run(tmp_path, second)
    assert (first.steps, second.steps) == ([0, 1], [2, 3])
    assert (first.count_checks, second.count_checks) == (0, 1)
    assert finished.findings == [f"of step {number}" for number in range(GOAL)]
    assert finished.seed == kept.seed
    assert Progress.load(tmp_path, GOAL) == finished


def test_a_finished_campaign_does_nothing_more(tmp_path: Path) -> None:
    run(tmp_path, Counting())
    again = Counting()
    assert run(tmp_path, again).is_finished
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
