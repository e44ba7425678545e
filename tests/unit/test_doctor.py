"""How `circles doctor` judges what it finds, and that a stack which is down is explained."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from infra.cli.main import cli
from infra.cli.questions import (
    OK,
    PROBLEM,
    QUESTIONS,
    SNAPSHOTS,
    WARNING,
    Finding,
    Question,
    ask_all,
    judged_clock,
    judged_disk,
    judged_lags,
    judged_modes,
    judged_pending,
    judged_processes,
    judged_provisioning,
    judged_runs,
    judged_snapshots,
    judged_topics,
    private_files,
)
from infra.local import stack_env
from services.kafka.topics import topics

NOW = datetime.now(UTC)
PARTITIONS = {name: each.partitions for name, each in topics().items()}
FIRST = next(iter(PARTITIONS))


@pytest.mark.parametrize(
    ("finding", "state", "words"),
    [
        (judged_disk(5000, 1024), OK, "5,000 MiB"),
        (judged_disk(2000, 1024), WARNING, "at least 1,024"),
        (judged_disk(1000, 1024), PROBLEM, "1,000 MiB"),
        (judged_modes({"a": 0o100600, "b": 0o40700}), OK, "2 files"),
        (judged_modes({"a": 0o100600, "b": 0o100640}), PROBLEM, "open to others: b"),
        (judged_processes({"a": "ready", "b": "running"}, 0), OK, "all 2"),
        (judged_processes({"a": "ready", "b": "stopped"}, 0), WARNING, "not started: b"),
        (judged_processes({"a": "ready", "b": "silent"}, 0), PROBLEM, "b (silent)"),
        (judged_processes({"a": "not started"}, 0), PROBLEM, "nothing runs"),
        (judged_processes({"a": "ready"}, 2), PROBLEM, "2 processes outlived"),
        (judged_topics(PARTITIONS, {}), OK, "as the registry says"),
        (judged_topics(PARTITIONS, {FIRST: {"retention.ms": "1"}}), WARNING, f"{FIRST} (retention.ms)"),
        (judged_topics(PARTITIONS | {FIRST: 99}, {}), PROBLEM, f"partitions: {FIRST}"),
        (judged_topics({}, {}), PROBLEM, f"missing topics: {FIRST}"),
        (judged_provisioning([]), OK, "four databases"),
        (judged_provisioning({"circles_lake"}), PROBLEM, "circles_lake"),
        (judged_clock(-1), OK, "1.0 s"),
        (judged_clock(-60), PROBLEM, "60.0 s"),
        (judged_lags({"landing of x": 5}), OK, "the longest is 5"),
        (judged_lags({"landing of x": 10_001, "live of x": 0}), WARNING, "landing of x: 10,001"),
        (judged_pending(None), OK, "has its verdict"),
        (judged_pending(NOW - timedelta(minutes=5)), OK, "5 min ago"),
        (judged_pending(NOW - timedelta(hours=5)), WARNING, "5 h ago"),
        (judged_runs(None), OK, "never"),
        (judged_runs([]), OK, "no run failed"),
        (judged_runs([("build_warehouse", "STARTED", 1, NOW)]), OK, "no run failed"),
        (judged_runs([("build_warehouse", "FAILURE", 2, NOW)]), WARNING, "build_warehouse: 2 failed"),
        (judged_runs([("j", "QUEUED", 1, NOW - timedelta(days=3))]), WARNING, "queued since 3 days ago"),
        (judged_snapshots(SNAPSHOTS), OK, "snapshots"),
        (judged_snapshots(SNAPSHOTS + 1), WARNING, "snapshots"),
    ],
)
def test_each_answer_is_judged_and_what_is_not_well_says_what_to_do(
    finding: Finding, state: str, words: str
) -> None:
    assert finding.state == state
    assert words in finding.found
    assert bool(finding.do and finding.means) == (state != OK)


def test_what_needs_a_server_that_is_away_is_not_asked() -> None:
    def breaks() -> Finding:
        raise RuntimeError("boom\nand more")

    questions = [
        Question("server", breaks),
        Question("on it", breaks, "server"),
        Question("on that", breaks, "on it"),
        Question("else", lambda: Finding(OK, "fine")),
    ]
    found = ask_all(questions)
    assert [each.state for each in found.values()] == [PROBLEM, WARNING, WARNING, OK]
    assert found["server"].found == "cannot be answered: RuntimeError: boom"
    assert found["on it"].found == "cannot be asked without server"


def test_every_need_is_a_question_that_comes_before() -> None:
    names = [each.name for each in QUESTIONS]
    assert len(set(names)) == len(names)
    assert not [each for i, each in enumerate(QUESTIONS) if each.needs and each.needs not in names[:i]]


def test_a_secret_that_others_may_read_is_found(home: Path) -> None:
    stack_env.prepare_home()
    stack_env.record({})
    stack_env.make_secrets()
    assert private_files().state == OK
    (home / "secrets" / "pseudonym.key").chmod(0o644)
    assert "pseudonym.key" in private_files().found


def test_a_stack_that_is_down_is_explained(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing listens there, whatever else runs on this machine.
    monkeypatch.setenv("CIRCLES_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setenv("CIRCLES_POSTGRES_PORT", "9")
    result = CliRunner().invoke(cli, ["doctor", "--json"])
    assert result.exit_code == 1, result.output
    found = {each["question"]: each for each in json.loads(result.output)}
    assert found["processes"]["found"] == "nothing runs"
    assert found["processes"]["do"] == "`circles up`"
    assert {found[name]["state"] for name in ("Kafka", "PostgreSQL")} == {PROBLEM}
    for name in ("lake", "lags", "slices", "snapshots", "verdicts"):
        assert found[name]["found"].startswith("cannot be asked without")
    page = CliRunner().invoke(cli, ["doctor"]).output
    assert "Begin with the first" in page
    assert "Traceback" not in page
