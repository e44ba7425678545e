"""docker-compose.yml describes the system that `circles up` starts. (No Docker is needed to read it.)"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from infra.local.processes import Process, processes
from services.runtime import settings

ROOT = Path(__file__).parents[2]
SERVICES: Mapping[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
ONE_SHOT = {"provision"}
SERVERS = {"postgres", "kafka"}


def _known_settings() -> set[str]:
    names = set()
    for fragment in vars(settings).values():
        if isinstance(fragment, type) and issubclass(fragment, BaseSettings):
            prefix = fragment.model_config.get("env_prefix", "")
            names |= {f"{prefix}{field}".upper() for field in fragment.model_fields}
    return names


def _without_addresses(command: str) -> list[str]:
    """A command's program and arguments, without folders and addresses, which differ between the two."""
    words = [Path(word).name for word in command.split()]
    return [re.sub(r"^python[\d.]*$", "python", word) for word in words if not re.fullmatch(r"[\d.]+", word)]


def test_it_has_the_same_processes(home: Path) -> None:
    assert set(SERVICES) - ONE_SHOT == {process.name for process in processes()}


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT - SERVERS))
def test_a_process_is_started_by_the_same_command(home: Path, name: str) -> None:
    (process,) = _named(name)
    assert _without_addresses(SERVICES[name]["command"]) == _without_addresses(" ".join(process.command))


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT - {"dagster-daemon"}))
def test_a_process_has_a_health_check(name: str) -> None:
    test = SERVICES[name]["healthcheck"]["test"]
    if f"services.{name}" in str(SERVICES[name].get("command")):
        assert test == ["CMD", "python", "-m", "services.runtime.heartbeat", name]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_published_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_settings_exist_and_hold_no_password(name: str) -> None:
    environment = SERVICES[name].get("environment", {})
    assert {each for each in environment if each.startswith("CIRCLES_")} <= _known_settings()
    assert not [each for each in environment if "PASSWORD" in each or "SECRET" in each]
    assert SERVICES[name]["env_file"] == "infra/docker/secrets.env"


def test_the_secrets_script_writes_settings_that_exist() -> None:
    script = (ROOT / "infra/docker/make-secrets.sh").read_text()
    names = set(re.findall(r"^(CIRCLES_\w+)=", script, re.MULTILINE))
    assert names - {"CIRCLES_DAGSTER_STORAGE_URL"} <= _known_settings()
    assert "/infra/docker/secrets.env" in (ROOT / ".gitignore").read_text().splitlines()


def _named(name: str) -> list[Process]:
    return [process for process in processes() if process.name == name]
