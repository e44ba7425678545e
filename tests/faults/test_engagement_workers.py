"""Engagement workers that come and go, sleep too long and die at the worst moments: figures stay exact."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from services.simulator.community import Community
from tests.engagement_workers import Workers, engagement_workers
from tests.fakes.engagement_process import POINTS
from tests.live_figures import Shown, recount
from tests.partners import Partner, new_partner
from tests.stacks import Stack

pytestmark = pytest.mark.stack

SESSION_SECONDS = 10
"""After so long without a sign of life Kafka gives a worker's partitions to others."""


@pytest.fixture
def workers(stack: Stack, tmp_path: Path) -> Iterator[Workers]:
    with engagement_workers(stack, tmp_path) as started:
        yield started


def community(seed: int, parts: int) -> list[list[Any]]:
    events = list(Community(seed, 6000).events())
    size = len(events) // parts + 1
    return [events[i : i + size] for i in range(0, len(events), size)]


def post(partner: Partner, events: Sequence[Any]) -> None:
    with partner.client() as client:
        assert client.post(events).count_acknowledged == len(events)


def test_workers_share_the_partitions_and_may_be_killed_at_any_time(stack: Stack, workers: Workers) -> None:
    """One, then three, then one again, in the middle of what comes; at last the whole topic once more."""
    partner = new_partner(stack, "storm")
    first, second, third, fourth = parts = community(1, 4)
    one = workers.start()
    post(partner, first)
    two, three = workers.start(), workers.start()
    post(partner, second)
    workers.wait_until_caught_up()
    workers.kill(one)
    post(partner, third)
    workers.kill(two, signal.SIGTERM)
    post(partner, fourth)
    workers.wait_until_caught_up()
    assert three.poll() is None
    expected = recount(partner, [event for part in parts for event in part])
    assert workers.figures(partner) == expected
    workers.kill(three, signal.SIGTERM)
    workers.rewind()
    workers.start()
    workers.wait_until_caught_up()
    assert workers.figures(partner) == expected


def test_a_worker_that_wakes_after_it_lost_its_partitions_takes_nothing_away(
    stack: Stack, workers: Workers
) -> None:
    """Neither from the figures, nor from the state that the next worker finds."""
    partner = new_partner(stack, "zombie")
    first, second, third = parts = community(2, 3)
    zombie = workers.start()
    post(partner, first)
    workers.wait_until_caught_up()
    post(partner, second[:50])
    zombie.send_signal(signal.SIGSTOP)
    other = workers.start()
    post(partner, second[50:])
    workers.wait_until_caught_up()
    zombie.send_signal(signal.SIGCONT)
    time.sleep(SESSION_SECONDS / 2)
    post(partner, third)
    workers.wait_until_caught_up()
    workers.kill(other)
    if zombie.poll() is None:
        workers.kill(zombie)
    post(partner, third[:20])  # copies, so that every worker has something to do
    workers.start()
    workers.wait_until_caught_up()
    assert workers.figures(partner) == recount(partner, [event for part in parts for event in part])


def test_the_data_folder_may_be_spoilt_and_lost_and_the_state_topic_too(
    stack: Stack, workers: Workers
) -> None:
    """Most groups lie on disk; what somebody does to the folder meanwhile does not reach them."""
    partner = new_partner(stack, "spoilt")
    first, second = parts = community(6, 2)
    worker = workers.start(max_events_in_memory="800")
    post(partner, first)
    workers.wait_until_caught_up()
    assert bytes_without_name(worker.pid) > 100_000
    folder = stack.home / workers.name
    for file in folder.glob("**/*"):
        if file.is_file():
            file.write_bytes(b"spoilt")
    shutil.rmtree(folder)
    post(partner, second)
    workers.wait_until_caught_up()
    assert worker.poll() is None
    expected = recount(partner, [event for part in parts for event in part])
    assert workers.figures(partner) == expected
    workers.kill(worker)
    workers.empty_the_state()
    post(partner, second[:200])  # copies, so that there is something to do
    workers.start()
    workers.wait_until_caught_up()
    assert workers.figures(partner) == expected


def bytes_without_name(pid: int) -> int:
    """In files that the process has open and that nobody else can open."""
    open_files = Path(f"/proc/{pid}/fd")
    if not open_files.exists():
        pytest.skip("open files can be looked at in Linux only")
    return sum(
        (open_files / each.name).stat().st_size
        for each in open_files.iterdir()
        if str(each.readlink()).endswith("(deleted)") and "idle-" in str(each.readlink())
    )


def test_figures_are_exact_after_a_crash_at_each_point(stack: Stack, tmp_path: Path) -> None:
    """Half of the state written; all of it, but no figures; figures, but no commit.

    With the identity of events, and with offsets alone. With neither, the same counts twice: this can fail.
    """
    partner = new_partner(stack, "points")
    parts = community(3, len(POINTS))
    offsets_alone = ("--identity", "random")
    options = [(), offsets_alone, (*offsets_alone, "--forget-offsets")]
    with ExitStack() as ending:
        groups = [ending.enter_context(engagement_workers(stack, tmp_path)) for _ in options]
        for point, part in zip(POINTS, parts, strict=True):
            crashing = [
                group.start("--crash", point, *each) for group, each in zip(groups, options, strict=True)
            ]
            post(partner, part)
            assert [worker.wait(timeout=120) for worker in crashing] == [-signal.SIGKILL] * len(options)
        for group, each in zip(groups, options, strict=True):
            group.start(*each)
        for group in groups:
            group.wait_until_caught_up()
        expected = recount(partner, [event for part in parts for event in part])
        exact, also_exact, control = (group.figures(partner) for group in groups)
    assert exact == expected
    assert also_exact == expected
    counted, right = count_events(control), count_events(expected)
    assert counted.keys() == right.keys()
    assert any(counted[group] > right[group] for group in right)


def count_events(shown: Shown) -> dict[str, int]:
    """Of each group, in the longest window."""
    return {group: int(windows[672]["count_events"] or 0) for group, (_, windows) in shown.items()}
