"""What `circles up` writes for the servers and the supervisor, and how it words a refusal."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local import dagster, jars, processes, stack_env
from infra.local.errors import StackError, check_disk, check_ports
from infra.local.kafka import Kafka
from infra.local.postgres import as_ordinary_user
from infra.local.stack import stopping_order
from infra.local.supervision import SOCKET_PATH_LIMIT, Supervisor, configuration
from infra.provisioning.topics import _check_partitions, differences
from services.kafka.positions import lag
from services.kafka.topics import topics
from services.runtime.settings import KafkaSettings, PostgresSettings, StackSettings


@pytest.fixture
def prepared(home: Path) -> Path:
    stack_env.prepare_home()
    stack_env.record({})
    return home


def test_the_supervisor_takes_its_configuration(prepared: Path) -> None:
    from supervisor.options import ServerOptions

    supervisor = Supervisor(prepared)
    supervisor.configure(processes.processes())
    options = ServerOptions()
    options.realize(["-c", str(supervisor.configuration)])
    programs = [program for group in options.process_group_configs for program in group.process_configs]
    assert {each.name for each in programs} == {each.name for each in processes.processes()}
    assert all(each.killasgroup and not each.autostart for each in programs)
    assert stat.S_IMODE(supervisor.configuration.stat().st_mode) == 0o600


def test_secrets_reach_dagster_only_and_whole(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from supervisor.options import ServerOptions

    monkeypatch.setenv("CIRCLES_POSTGRES_PASSWORD", "100%/;'\"x")
    supervisor = Supervisor(prepared)
    supervisor.configure(processes.processes())
    options = ServerOptions()
    options.realize(["-c", str(supervisor.configuration)])
    given = {
        program.name: program.environment.get(dagster.STORAGE_URL)
        for group in options.process_group_configs
        for program in group.process_configs
    }
    url = dagster.storage_url(PostgresSettings.load())
    assert {name for name, value in given.items() if value == url} == {
        "dagster-code",
        "dagster-webserver",
        "dagster-daemon",
    }


def test_a_long_path_gets_a_socket_elsewhere_that_is_private(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / ("long" * 30))
    (supervisor.folder / "run").mkdir(parents=True)
    supervisor.configure([])
    assert len(os.fsencode(supervisor.socket)) <= SOCKET_PATH_LIMIT
    assert stat.S_IMODE(supervisor.socket.parent.stat().st_mode) == 0o700
    assert supervisor.socket == Supervisor(supervisor.folder).socket
    assert supervisor.socket != Supervisor(tmp_path / ("long" * 31)).socket
    supervisor.clean_up()
    assert not supervisor.socket.parent.exists()


def test_a_pid_of_another_program_is_no_supervisor(prepared: Path) -> None:
    supervisor = Supervisor(prepared)
    supervisor.pid_file.write_text(str(os.getpid()))
    assert not supervisor.is_alive()
    assert supervisor.states() == {}
    assert supervisor.orphans() == []


def test_processes_can_be_left_out_by_pattern(prepared: Path) -> None:
    names = [each.name for each in processes.processes(without=["dagster-*", "live", "safeguarding"])]
    assert names == ["postgres", "kafka", "ingestion", "engagement", "landing"]


def test_the_viewer_is_off_until_it_is_asked_for_and_then_remembered(prepared: Path) -> None:
    assert "dagster-viewer" not in {each.name for each in processes.processes()}
    stack_env.record({}, optional=["viewer"])
    stack_env.record({"dagster-viewer": 23002})
    (viewer,) = [each for each in processes.processes() if each.name == "dagster-viewer"]
    assert "--read-only" in viewer.command
    assert viewer.command[-1] == "23002"
    assert processes.ports_of(["dagster-viewer"]) == {"dagster-viewer": 23002}


def test_servers_elsewhere_are_no_processes_here(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRCLES_STACK_KAFKA_EMBEDDED", "false")
    monkeypatch.setenv("CIRCLES_STACK_POSTGRES_EMBEDDED", "false")
    assert not {"kafka", "postgres"} & {each.name for each in processes.processes()}


def test_what_others_need_stops_after_them(prepared: Path) -> None:
    assert stopping_order(processes.processes()) == [
        [*processes.SERVICES, "dagster-webserver", "dagster-daemon"],
        ["kafka", "dagster-code"],
        ["postgres"],
    ]


def test_no_password_is_on_a_command_line(prepared: Path) -> None:
    text = (prepared / "stack.env").read_text()
    passwords = [line.partition("=")[2] for line in text.splitlines() if "PASSWORD=" in line]
    words = " ".join(word for process in processes.processes() for word in process.command)
    assert passwords
    assert not [password for password in passwords if password in words]


def test_kafka_listens_on_loopback_and_makes_no_topic_by_itself(prepared: Path) -> None:
    kafka = Kafka(prepared / "kafka", KafkaSettings.load(), StackSettings.load(), [])
    lines = dict(
        line.split("=", 1) for line in kafka._configuration().splitlines() if not line.startswith("#")
    )
    assert lines["listeners"] == "CLIENTS://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093"
    assert lines["auto.create.topics.enable"] == "false"
    assert int(lines["message.max.bytes"]) >= 8388608
    assert not [value for value in lines.values() if "{" in value]


def test_the_broker_takes_every_message_that_a_topic_allows(prepared: Path) -> None:
    kafka = Kafka(prepared / "kafka", KafkaSettings.load(), StackSettings.load(), [])
    (limit,) = [
        int(line.split("=")[1])
        for line in kafka._configuration().splitlines()
        if line.startswith("message.max.bytes")
    ]
    assert all(int(each.config.get("max.message.bytes", 0)) <= limit for each in topics().values())


def test_the_jars_are_pinned_and_name_no_host() -> None:
    locked = jars.locked()
    assert {str(each) for each in locked} >= set(jars.ROOTS)
    assert all(len(each.sha256) == 64 for each in locked)
    assert "http" not in jars.LOCK.read_text()


def test_a_jar_that_is_not_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(context: object, jar: jars.Jar) -> Path:
        forged = tmp_path / f"{jar.artifact}.jar"  # its own: jars are verified in several threads
        forged.write_text("not a jar")
        return forged

    monkeypatch.setattr(jars, "_fetched", fetched)
    with pytest.raises(StackError, match="SHA-256 differs"):
        jars.class_path()


def test_a_taken_port_names_its_holder_and_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(StackError) as refusal:
            check_ports({"dagster": port})
    assert f"Port {port}, meant for dagster, is taken by process {os.getpid()}" in refusal.value.what
    assert "circles up --port dagster=" in refusal.value.next_step
    check_ports({"dagster": port})


def test_a_full_disk_names_the_folder_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="nearly full") as refusal:
        check_disk(tmp_path, 2**40)
    assert "CIRCLES_HOME" in refusal.value.next_step


def test_a_topic_with_other_partitions_is_refused() -> None:
    wanted = topics()["group-events"]
    with pytest.raises(StackError, match="3 partitions; 8 are wanted"):
        _check_partitions({wanted.name: {"partitions": [0, 1, 2]}})


def test_only_what_differs_of_a_topic_is_corrected() -> None:
    wanted = topics()["group-events"]
    found = {key: {"value": value} for key, value in wanted.config.items()}
    assert differences(wanted, found) == {}
    found["retention.ms"] = {"value": "1"}
    assert differences(wanted, found) == {"retention.ms": wanted.config["retention.ms"]}


def test_a_partition_that_was_never_read_lags_whole() -> None:
    partitions = [("a", 0), ("a", 1)]
    assert lag(partitions, {("a", 0): 10, ("a", 1): 5}, {("a", 0): 7}) == 8
    assert lag(partitions, {("a", 0): 1}, {("a", 0): 2}) == 0


def test_configuration_names_no_secret_of_a_service(prepared: Path) -> None:
    text = configuration(Supervisor(prepared), processes.processes(without=["dagster-*"]))
    assert "PASSWORD" not in text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL as somebody else")
def test_whom_postgres_runs_as_passes_folders_that_only_root_may_enter(tmp_path: Path) -> None:
    """A clone in a private folder: initdb asks by access(2) for its neighbours."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "neighbour").touch(mode=0o755)
    asks = f"import os; print(os.geteuid() != 0, os.access('{private}/neighbour', os.X_OK))"
    command = [*as_ordinary_user(), sys.executable, "-c", asks]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "True"]
