"""`circles simulate` against a gateway that does what a script says. Whose keys are is said here;
the real ones are in the test on the running stack.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from circles.common.v1 import common_pb2
from click.testing import CliRunner, Result

from infra.cli import simulate_job
from infra.cli.main import cli
from services.client import Client
from services.ingestion.keys import Tenant
from services.simulator.catalogue import COMMUNITIES
from tests.fakes.gateway import FakeGateway

KEY = "ck_tell_tale"


@pytest.fixture
def gateway(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    @contextmanager
    def passing_key(tenant_id: str, data_class: str) -> Iterator[str]:
        assert data_class == "synthetic"
        yield f"passing-{tenant_id}"

    monkeypatch.setattr(simulate_job, "passing_key", passing_key)
    with FakeGateway() as gateway:
        monkeypatch.setenv("CIRCLES_PARTNER_ADDRESS", gateway.address)
        yield gateway


def run(*arguments: str, key: str = "") -> Result:
    result = CliRunner().invoke(cli, ["simulate", *arguments], env={"CIRCLES_PARTNER_KEY": key})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert KEY not in result.output
    return result


def count_of(name: str) -> int:
    return len(list(COMMUNITIES[name].simulated().events()))


def test_a_community_is_posted_once_however_often_it_is_simulated(gateway: FakeGateway) -> None:
    count = count_of("geramita")
    first, second = run("geramita"), run("geramita")
    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    assert f"{count:>9,}  accepted" in first.stdout and f"{0:>9}  refused" in first.stdout
    assert f"{0:>9}  accepted" in second.stdout and f"{count:>9,}  known already" in second.stdout
    assert len(gateway.stored) == count and gateway.keys == {"Bearer passing-synthetic-geramita"}
    assert "42.3 %" in first.stdout and "about nobody" in first.stdout


def test_disorder_is_posted_and_nothing_is_refused(gateway: FakeGateway) -> None:
    shares = "--late 0.2 --duplicated 0.1 --retracted 0.1 --withdrawn 0.1 --unconsenting 0.1"
    result = run("mens-groups", "--people", "40", *shares.split())
    assert result.exit_code == 0, result.output
    assert f"{0:>9}  refused" in result.stdout and f"{0:>9}  known already" not in result.stdout
    assert gateway.keys == {"Bearer passing-synthetic-mens-groups-n40"}


def test_a_dry_run_posts_nothing_and_needs_no_key(gateway: FakeGateway, tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    result = run("moderation", "--set", "reply_peer=0.5", "--truth", str(truth), "--dry-run")
    assert result.exit_code == 0 and not gateway.received and "Nothing was posted." in result.stdout
    told = json.loads(truth.read_text())
    assert told["parameters"]["reply_peer"] == 0.5 and told["data_class"] == "synthetic"
    (within,) = [
        each
        for each in told["figures"]
        if (each["name"], each["part"], each["of"]) == ("replied_share", "1 h", "peer")
    ]
    assert within["value"] == pytest.approx(0.393, abs=0.002)


class Clock:
    """Stands still but where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_rate_is_kept(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(simulate_job, "time", clock)
    events = list(COMMUNITIES["mens-groups"].simulated().events())[:2000]
    with Client(gateway.address, KEY) as client:
        summary = simulate_job.posted(client, events, 400, lambda count: None)
    assert summary.count_accepted == 2000
    assert clock.now == pytest.approx((2000 - 80) / 400)
    assert max(len(batch.event_ids) for batch in gateway.received) <= 80


def test_all_communities_are_listed(home: Path) -> None:
    result = run("--list")
    assert result.exit_code == 0 and all(name in result.stdout for name in COMMUNITIES)
    assert "reply_peer=0.025" in result.stdout


@pytest.mark.parametrize("data_class", ["live", "public", "synthetic"])
def test_only_a_synthetic_tenants_key_is_used(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, data_class: str
) -> None:
    tenant = Tenant("somebody", common_pb2.DataClass.Value(f"DATA_CLASS_{data_class.upper()}"))
    monkeypatch.setattr(simulate_job, "tenant_of", lambda key: tenant)
    result = run("mens-groups", "--people", "20", key=KEY)
    if data_class == "synthetic":
        assert result.exit_code == 0 and gateway.keys == {f"Bearer {KEY}"}
        assert "Posting as somebody, data class synthetic." in result.stdout
        other = run("mens-groups", "--people", "20", "--tenant", "another", key=KEY)
        assert other.exit_code == 1 and "is of somebody, not of another" in other.stderr
    else:
        assert result.exit_code == 1 and not gateway.received
        assert (
            f"somebody has {data_class} data" in result.stderr
            and "unset CIRCLES_PARTNER_KEY" in result.stderr
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Which COMMUNITY?"),
        (("atlantis",), "There is no community 'atlantis'."),
        (("geramita", "--people", "50"), "geramita has the size that was published."),
        (("moderation", "--set", "colour=1"), "moderation has no parameter 'colour'"),
        (("moderation", "--set", "colour"), "PARAM=VALUE"),
        (("survey", "--set", "icc=1"), "icc is between 0 and 1"),
        (("community", "--size", "30"), "do not hold"),
        (("survey", "--late", "2"), "--late"),
    ],
)
def test_what_a_person_can_act_on_is_said(
    gateway: FakeGateway, arguments: tuple[str, ...], words: str
) -> None:
    result = run(*arguments)
    assert result.exit_code != 0 and words in result.output and not gateway.received


def test_what_is_refused_is_shown_and_fails(gateway: FakeGateway) -> None:
    run("mens-groups", "--people", "20")
    for event_id in list(gateway.stored)[:3]:
        gateway.stored[event_id] = b"another body"
    result = run("mens-groups", "--people", "20")
    assert result.exit_code == 1 and f"{3:>9}  refused" in result.stdout


def test_without_a_stack_it_says_how_to_start_one(home: Path) -> None:
    result = run("mens-groups", "--people", "20")
    assert result.exit_code == 1 and "circles up" in result.stderr
