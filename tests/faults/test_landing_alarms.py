"""The landing service itself, on a lake of its own, when what it needs is taken away: it says so."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.landing.pause import LANDING_LOCK
from tests.landings import OwnLake, landing_process, own_lake
from tests.partners import Partner, attended, new_partner
from tests.stacks import CIRCLES, Stack, wait_until

pytestmark = pytest.mark.stack

BATCH = 500
"""More events than a commit keeps in the catalog: they become a file."""

PLACES = """
SELECT count(*), count(DISTINCT (topic_id, kafka_partition, kafka_offset, event_index))
FROM raw.participation_events WHERE tenant_id = ?
"""
TOLD = "SELECT alarm, list(is_raised ORDER BY told_at) FROM raw.landing_alarms GROUP BY alarm"
EARLIER = "'study-events', 'an-earlier-one', 0, 7"
"""Topic, its id, partition and next offset of a landing that nobody made."""
NEWEST = 1_000_000
"""A number of a landing, above all that there are."""
HOLDS_THE_LOCK = f"pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {LANDING_LOCK})"


@pytest.fixture
def lake(stack: Stack, tmp_path: Path) -> Iterator[OwnLake]:
    with own_lake(tmp_path) as made:
        yield made


def post(partner: Partner) -> None:
    partner.call([attended(group=f"g{i % 40}", person=f"p{i}") for i in range(BATCH)])


def wait_until_landed(lake: OwnLake, partner: Partner, batches: int) -> None:
    """Each event once."""
    count = batches * BATCH
    wait_until(lambda: lake.rows(PLACES, partner.tenant_id)[0][0] >= count, f"{count} rows")
    assert lake.rows(PLACES, partner.tenant_id) == [(count, count)]


def test_a_landing_that_slept_while_another_landed_doubles_nothing(
    stack: Stack, lake: OwnLake, tmp_path: Path
) -> None:
    """The server has ended the sleeper's lock, so that the other landing got it."""
    partner = new_partner(stack, "sleeper")
    with landing_process(stack, lake, tmp_path / "first") as sleeper:
        sleeper.wait_until_ready()
        post(partner)
        wait_until_landed(lake, partner, 1)
        os.kill(sleeper.process.pid, signal.SIGSTOP)
        lake.end_connections(HOLDS_THE_LOCK)
        post(partner)
        with landing_process(stack, lake, tmp_path / "second") as other:
            other.wait_until_ready()
            wait_until_landed(lake, partner, 2)
            os.kill(sleeper.process.pid, signal.SIGCONT)
            post(partner)
            wait_until(lambda: "Another landing" in sleeper.alarms, "the word of the one that lost")
            wait_until_landed(lake, partner, 3)
            assert sleeper.state == "waiting" and sleeper.log().count("another_landing:") == 1
            assert other.process.poll() is None and other.state == "ready"
        post(partner)
        sleeper.wait_until_ready()
        wait_until_landed(lake, partner, 4)


def test_postgres_away_and_a_full_disk_are_told_once_and_end_by_themselves(
    stack: Stack, lake: OwnLake, tmp_path: Path
) -> None:
    partner = new_partner(stack, "taken-away")
    with landing_process(stack, lake, tmp_path / "home") as landing:
        landing.wait_until_ready()
        lake.execute_as_admin("ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        lake.disconnect()
        lake.end_connections()
        wait_until(lambda: "PostgreSQL" in landing.alarms, "the alarm about PostgreSQL")
        post(partner)
        lake.execute_as_admin("ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        wait_until_landed(lake, partner, 1)
        landing.wait_until_ready()
        if sys.platform == "linux":
            _fill_the_disk(landing.process, 4096)
            post(partner)
            wait_until(lambda: "disk" in landing.alarms, f"the alarm about the disk\n{landing.log()}")
            assert landing.state == "waiting"
            _fill_the_disk(landing.process, resource.RLIM_INFINITY)
            wait_until_landed(lake, partner, 2)
            landing.wait_until_ready()
            assert dict(lake.rows(TOLD))["disk_full"] == [True, False]
        assert dict(lake.rows(TOLD))["postgres_away"] == [True, False]
        assert landing.process.poll() is None
        errors = [line for line in landing.log().splitlines() if " ERROR " in line]
        assert len(errors) == len(lake.rows(TOLD))


def _fill_the_disk(process: subprocess.Popen[bytes], file_bytes: int) -> None:
    """No file of the process may grow beyond `file_bytes`, which fails as a full disk does."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))


def test_an_operator_accepts_what_is_lost_and_landing_goes_on(
    stack: Stack, lake: OwnLake, tmp_path: Path
) -> None:
    """The lake knows another topic of the name; the topic itself is the stack's, and whole.

    Whether other partitions of it have records depends on who used the stack before.
    """
    with landing_process(stack, lake, tmp_path / "home") as landing:
        landing.wait_until_ready()
        lake.rows(f"INSERT INTO raw.landed_offsets VALUES ({EARLIER}, {NEWEST}, now())")
        lake.end_connections(HOLDS_THE_LOCK)  # a new session, as after any failure

        def replay(*options: str) -> subprocess.CompletedProcess[str]:
            command = [str(CIRCLES), "replay", "--accept-gap", *options]
            return subprocess.run(
                command, env=landing.environment, check=False, capture_output=True, text=True
            )

        wait_until(lambda: "study-events" in landing.alarms, "the alarm about the topic")
        assert landing.state == "waiting" and "circles replay --accept-gap" in landing.alarms
        shown = replay("--dry-run", "--topic", "study-events")
        assert shown.returncode == 0 and "made anew" in shown.stdout
        assert lake.rows("SELECT count(*) FROM raw.landing_gaps") == [(0,)]
        assert replay().returncode == 0
        landing.wait_until_ready()
        assert "Nothing is missing" in replay().stdout
        gap = "SELECT topic_id, first_missing_offset FROM raw.landing_gaps WHERE kafka_partition = 0"
        assert lake.rows(gap) == [("an-earlier-one", 7)]
        assert landing.process.poll() is None
    wrong = stack.circles("replay", "--accept-gap", "--topic", "nothing-like-it")
    assert wrong.returncode == 1 and "study-events" in wrong.stderr
