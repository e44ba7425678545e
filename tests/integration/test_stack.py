"""The stack as a person meets it: started, watched, broken and stopped by `circles`."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from infra.local.processes import SERVICES
from infra.local.supervision import Supervisor
from services.kafka.client import admin
from tests.stacks import NO_DAGSTER, SERVERS_ONLY, Stack, free_ports, wait_until

pytestmark = pytest.mark.stack

LIGHT = {"CIRCLES_STACK_KAFKA_HEAP_MIB": "192"}
"""For a second stack beside the first."""


@pytest.fixture(scope="module")
def spare(tmp_path_factory: pytest.TempPathFactory, bare_environment: dict[str, str]) -> Iterator[Stack]:
    """A second stack, Kafka and PostgreSQL only, that tests may break.

    Its folder is private to its owner and its path too long for a Unix socket.
    """
    folder = tmp_path_factory.mktemp("spare") / ("a-long-name-" * 8) / "that isn't plain"
    spare = Stack(folder, bare_environment | LIGHT)
    try:
        result = spare.up(*SERVERS_ONLY)
        assert result.returncode == 0, result.stderr
        yield spare
    finally:
        spare.down()


def test_status_shows_every_process_ready(stack: Stack) -> None:
    page = stack.status()
    states = {line["process"]: line["state"] for line in page["processes"]}
    assert states["postgres"] == states["kafka"] == "running"
    assert {states[name] for name in SERVICES} == {"ready"}
    assert page["safeguarding"]["heartbeat_age_seconds"] is not None
    assert page["addresses"]["gRPC"] == f"127.0.0.1:{stack.ports['ingestion']}"
    assert {line["consumer"] for line in page["topics"]} == {"engagement", "landing", "live", "safeguarding"}
    assert {"live.group_engagement", "live.safeguarding"} <= {line["table"] for line in page["counts"]}


def test_status_is_a_page_for_people_too(stack: Stack) -> None:
    result = stack.circles("status")
    assert result.returncode == 0
    assert "participation-events" in result.stdout
    assert f"http://127.0.0.1:{stack.ports['dagster']}" in result.stdout


def test_the_doctor_finds_no_problem_in_what_runs(stack: Stack) -> None:
    result = stack.circles("doctor", "--json")
    found = {each["question"]: each for each in json.loads(result.stdout)}
    assert result.returncode == 0, result.stdout
    assert "dagster-daemon" in found["processes"]["found"]
    well = ("private files", "ports", "Kafka", "PostgreSQL", "clock", "lake", "lags", "snapshots")
    assert {name: found[name]["state"] for name in well} == dict.fromkeys(well, "ok")


def test_the_doctor_finds_what_is_open_to_others_and_a_changed_topic(spare: Stack) -> None:
    from kafka.admin import ConfigResource, ConfigResourceType

    with closing(admin(spare.kafka())) as client:
        other = {"retention.ms": "123456789"}
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "study-events", configs=other)])
    (spare.home / "stack.env").chmod(0o640)
    result = spare.circles("doctor")
    (spare.home / "stack.env").chmod(0o600)
    assert result.returncode == 1
    assert f"open to others: {spare.home / 'stack.env'}" in result.stdout
    assert "study-events (retention.ms)" in result.stdout
    assert spare.circles("provision").returncode == 0
    assert spare.circles("doctor").returncode == 0


def test_a_second_up_changes_nothing(stack: Stack) -> None:
    before = {line["process"]: line["pid"] for line in stack.status()["processes"]}
    assert stack.up(NO_DAGSTER).returncode == 0
    assert {line["process"]: line["pid"] for line in stack.status()["processes"]} == before


def test_two_stacks_run_side_by_side(stack: Stack, spare: Stack) -> None:
    assert stack.is_healthy("kafka")
    assert spare.is_healthy("kafka")
    assert set(stack.ports.values()).isdisjoint(spare.ports.values())


@pytest.mark.parametrize("name", ["postgres", "kafka"])
def test_a_killed_server_comes_back(spare: Stack, name: str) -> None:
    pid = spare.pid(name)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: spare.pid(name) not in (None, pid), f"a new {name}")
    wait_until(lambda: spare.circles("provision").returncode == 0, f"an answer of the new {name}")


def test_what_a_killed_supervisor_leaves_is_ended_and_nothing_is_lost(spare: Stack) -> None:
    spare.circles("keys", "add", "lasting", "--data-class", "synthetic")
    left = [pid for name in ("postgres", "kafka") if (pid := spare.pid(name))]
    os.kill(_supervisor(spare), signal.SIGKILL)
    wait_until(lambda: spare.status()["left_over"] > 0, "a word about processes left over")
    assert spare.circles("status").returncode == 1
    result = spare.down()
    assert "outlived their supervisor" in result.stderr
    assert not any(psutil.pid_exists(pid) for pid in left)
    assert spare.down().returncode == 0
    _leave_stale_pids(spare)
    result = spare.up(*SERVERS_ONLY)
    assert result.returncode == 0, result.stderr
    assert "lasting" in spare.circles("keys", "list").stdout


def _leave_stale_pids(stack: Stack) -> None:
    """As a power cut does: the files are there, their pids belong to other programs."""
    (stack.home / "run" / "supervisord.pid").write_text(str(os.getpid()))
    postmaster = stack.home / "postgres" / "data" / "postmaster.pid"
    postmaster.write_text(f"{os.getpid()}\n{postmaster.parent}\n")


def test_a_supervisor_whose_socket_is_gone_is_replaced(spare: Stack) -> None:
    before = _supervisor(spare)
    Supervisor(spare.home).socket.unlink()
    result = spare.up(*SERVERS_ONLY)
    assert result.returncode == 0, result.stderr
    assert _supervisor(spare) != before
    assert spare.is_healthy("kafka")


def test_a_taken_port_is_named_with_its_holder_and_setting(
    tmp_path: Path, bare_environment: dict[str, str]
) -> None:
    other = Stack(tmp_path / "home", bare_environment | LIGHT)
    with socket.create_server(("127.0.0.1", other.ports["postgres"])):
        result = other.up(*SERVERS_ONLY)
    assert result.returncode == 1
    assert (
        f"Port {other.ports['postgres']}, meant for postgres, is taken by process {os.getpid()}"
        in result.stderr
    )
    assert "--port postgres=" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_that_kafka_cannot_take_is_refused(tmp_path: Path, bare_environment: dict[str, str]) -> None:
    result = Stack(tmp_path / "50% of it", bare_environment).up()
    assert result.returncode == 1
    assert "the sign '%'" in result.stderr


def test_a_nearly_full_disk_is_told_before_anything_starts(
    tmp_path: Path, bare_environment: dict[str, str]
) -> None:
    other = Stack(tmp_path / "home", bare_environment | {"CIRCLES_STACK_MIN_FREE_MIB": "999999999"})
    result = other.up(*SERVERS_ONLY)
    assert result.returncode == 1
    assert "nearly full" in result.stderr
    assert "CIRCLES_HOME" in result.stderr


def test_a_wrong_kafka_password_is_suspected(spare: Stack) -> None:
    result = spare.circles("provision", CIRCLES_KAFKA_PASSWORD="wrong")
    assert result.returncode == 1
    assert "is the password right" in result.stderr
    assert "Traceback" not in result.stderr


def test_passwords_are_in_private_files_only(spare: Stack) -> None:
    passwords = {
        spare.recorded(f"CIRCLES_{name}_PASSWORD")
        for name in ("KAFKA", "POSTGRES", "OPERATOR", "STACK_KAFKA_INTERNAL", "STACK_POSTGRES_ADMIN")
    }
    seen = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    seen += "".join(path.read_text(errors="replace") for path in (spare.home / "logs").iterdir())
    assert not [password for password in passwords if password in seen]
    assert stat.S_IMODE(spare.home.stat().st_mode) == 0o700
    for name in ("stack.env", "run/supervisord.conf", "kafka/server.properties", "secrets/pseudonym.key"):
        assert stat.S_IMODE((spare.home / name).stat().st_mode) == 0o600


def test_servers_listen_on_loopback_only(spare: Stack) -> None:
    ours = {spare.ports[name] for name in ("kafka", "kafka-controller", "postgres")}
    listening = {
        (each.laddr.port, each.laddr.ip)
        for each in psutil.net_connections("tcp")
        if each.laddr and each.status == psutil.CONN_LISTEN and each.laddr.port in ours
    }
    assert {port for port, _ in listening} == ours
    assert all(ip.removeprefix("::ffff:") == "127.0.0.1" for _, ip in listening)


def test_servers_elsewhere_take_the_place_of_embedded_ones(
    spare: Stack, tmp_path: Path, bare_environment: dict[str, str]
) -> None:
    """The other stack's servers stand for those of a cluster; both then share the topics."""
    guest = Stack(tmp_path / "home", bare_environment | _elsewhere(spare), free_ports())
    names = {
        "CIRCLES_POSTGRES_DATABASE_CONTROL": "guest_control",
        "CIRCLES_POSTGRES_DATABASE_LAKE": "guest_lake",
        "CIRCLES_POSTGRES_DATABASE_DAGSTER": "guest_dagster",
        "CIRCLES_POSTGRES_DATABASE_PUBLISHED": "guest",
        "CIRCLES_OPERATOR_USER": "guest_operator",
        "CIRCLES_ANALYST_USER": "guest_analyst",
    }
    try:
        result = guest.up(NO_DAGSTER, "--without=engagement", **names)
        assert result.returncode == 0, result.stderr
        processes = {line["process"]: line["state"] for line in guest.status()["processes"]}
        assert "postgres" not in processes
        assert "kafka" not in processes
        assert processes["ingestion"] == processes["landing"] == "ready"
        # Recorded: a later command finds them without the URLs in the environment.
        assert guest.recorded("CIRCLES_POSTGRES_PORT") == str(spare.ports["postgres"])
        assert guest.recorded("CIRCLES_POSTGRES_DATABASE_PUBLISHED") == "guest"
    finally:
        guest.down()


def test_an_owner_without_rights_is_told_what_to_ask_for(
    spare: Stack, tmp_path: Path, bare_environment: dict[str, str]
) -> None:
    url = f"postgresql://circles_owner:{spare.recorded('CIRCLES_POSTGRES_PASSWORD')}@127.0.0.1:{spare.ports['postgres']}"
    guest = Stack(tmp_path / "home", bare_environment | _elsewhere(spare) | {"CIRCLES_POSTGRES_URL": url})
    result = guest.up(*SERVERS_ONLY, CIRCLES_OPERATOR_USER="guest_two", CIRCLES_ANALYST_USER="guest_three")
    guest.down()
    assert result.returncode == 1
    assert "CREATEROLE" in result.stderr


def test_a_role_of_another_stack_keeps_its_password(
    spare: Stack, tmp_path: Path, bare_environment: dict[str, str]
) -> None:
    guest = Stack(tmp_path / "home", bare_environment | _elsewhere(spare))
    result = guest.up(*SERVERS_ONLY)
    guest.down()
    assert result.returncode == 1
    assert "another password" in result.stderr
    assert "CIRCLES_OPERATOR_PASSWORD" in result.stderr


def test_down_ends_everything(spare: Stack) -> None:
    """Last of this module: the stack stays down."""
    pids = [pid for name in ("postgres", "kafka") if (pid := spare.pid(name))] + [_supervisor(spare)]
    assert spare.down().returncode == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert "Nothing runs" in spare.circles("status").stdout


def _supervisor(stack: Stack) -> int:
    return int((stack.home / "run" / "supervisord.pid").read_text())


def _elsewhere(stack: Stack) -> dict[str, str]:
    admin = stack.recorded("CIRCLES_STACK_POSTGRES_ADMIN_PASSWORD")
    kafka = stack.recorded("CIRCLES_KAFKA_PASSWORD")
    return {
        "CIRCLES_POSTGRES_URL": f"postgresql://circles_admin:{admin}@127.0.0.1:{stack.ports['postgres']}",
        "CIRCLES_KAFKA_URL": f"kafka://circles:{kafka}@127.0.0.1:{stack.ports['kafka']}?security=SASL_PLAINTEXT",
    }
