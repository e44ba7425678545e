"""kill -9 in the middle of a build: nothing lost, nothing doubled, no run left over, no half-made release.

Here rather than in `tests/faults`, because Dagster runs already. The long form is `make soak`.
"""

from __future__ import annotations

import pytest

from services.simulator.community import Community
from tests.builds import Reader, count_places, kill_process_of, processes_of, wait_until_built
from tests.kills import kill
from tests.partners import new_partner, wait_until_quiet
from tests.stacks import Stack, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.dagster, pytest.mark.timeout(900)]


def runs_of(stack: Stack) -> set[int]:
    return {each.pid for each in processes_of(stack, "run")}


def test_kills_in_a_build_lose_nothing_and_show_nobody_a_half(stack: Stack) -> None:
    """dbt is killed, and while its run is tried again the landing and PostgreSQL.

    A run is tried once more; when that one is hit as well, the next build is that of what lands next: here an
    event that is posted while PostgreSQL comes back.
    """
    partner = new_partner(stack, "killed-building")
    *events, last = Community(7, 2_000).events()
    assert stack.up().returncode == 0
    with Reader(is_published=False) as reader:
        with partner.client(patience_seconds=120) as client:
            assert client.post(events).count_acknowledged == len(events)
        wait_until(lambda: bool(processes_of(stack, "dbt")), "a dbt at work", seconds=300)
        first = runs_of(stack)
        assert kill_process_of(stack, "dbt")
        wait_until(lambda: bool(runs_of(stack) - first), "a run that tries it again", seconds=300)
        kill(stack, "landing")
        kill(stack, "postgres")
        with partner.client(patience_seconds=120) as client:
            assert client.post([last]).count_acknowledged == 1
        wait_until_quiet()
        wait_until(lambda: last.event_id in count_places(partner), "the last event in staging", seconds=600)
        wait_until_built()
    assert count_places(partner) == {event.event_id: 1 for event in (*events, last)}
    assert reader.findings == []
    assert reader.count_looks > 0
