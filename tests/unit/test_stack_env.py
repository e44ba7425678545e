"""`stack.env`: made once, read by the settings classes, never with another password than before."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from infra.local import stack_env
from infra.local.errors import StackError
from services.runtime.settings import KafkaSettings, PostgresSettings, ReaderSettings, StackSettings

RIGHTS = stat.S_IMODE


def _recorded(home: Path, **ports: int) -> str:
    stack_env.prepare_home()
    stack_env.record(ports)
    return (home / "stack.env").read_text()


def test_everything_in_the_folder_is_private(home: Path) -> None:
    _recorded(home)
    stack_env.make_secrets()
    assert RIGHTS(home.stat().st_mode) == 0o700
    files = [home / "stack.env", *(home / "secrets").iterdir()]
    assert len(files) == 3
    assert {RIGHTS(path.stat().st_mode) for path in files} == {0o600}
    assert len((home / "secrets" / "pseudonym.key").read_bytes()) == 32


def test_passwords_are_generated_once_and_differ(home: Path) -> None:
    first = _recorded(home)
    passwords = {
        KafkaSettings.load().password.get_secret_value(),
        PostgresSettings.load().password.get_secret_value(),
        ReaderSettings.load().analyst_password.get_secret_value(),
        ReaderSettings.load().operator_password.get_secret_value(),
        StackSettings.load().kafka_internal_password.get_secret_value(),
        StackSettings.load().postgres_admin_password.get_secret_value(),
    }
    assert len(passwords) == 6
    assert min(map(len, passwords)) >= 32
    assert _recorded(home) == first


def test_keys_are_never_made_anew(home: Path) -> None:
    stack_env.prepare_home()
    stack_env.make_secrets()
    before = {path: path.read_bytes() for path in (home / "secrets").iterdir()}
    stack_env.make_secrets()
    assert {path: path.read_bytes() for path in (home / "secrets").iterdir()} == before


def test_a_port_is_recorded_and_later_commands_find_it(home: Path) -> None:
    _recorded(home, kafka=29092, postgres=25432)
    _recorded(home)
    assert KafkaSettings.load().bootstrap == "127.0.0.1:29092"
    assert PostgresSettings.load().port == 25432
    assert stack_env.ports()["kafka"] == 29092


def test_a_running_process_keeps_its_port(home: Path) -> None:
    _recorded(home, postgres=25432)
    stack_env.record({"postgres": 25432, "kafka": 29092}, in_use=["postgres"])
    with pytest.raises(StackError, match="postgres runs on port 25432") as refusal:
        stack_env.record({"postgres": 25433}, in_use=["postgres"])
    assert "circles down" in refusal.value.next_step
    assert PostgresSettings.load().port == 25432


def test_a_setting_of_the_environment_is_recorded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRCLES_POSTGRES_DATABASE_PUBLISHED", "elsewhere")
    _recorded(home)
    monkeypatch.delenv("CIRCLES_POSTGRES_DATABASE_PUBLISHED")
    assert PostgresSettings.load().database_published == "elsewhere"


def test_a_server_elsewhere_is_recorded_and_has_no_port_here(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIRCLES_KAFKA_URL", "kafka://me:it's%20%23secret@one,two?security=SASL_SSL")
    monkeypatch.setenv("CIRCLES_POSTGRES_URL", "postgresql://owner:pw@db:6543")
    _recorded(home)
    monkeypatch.delenv("CIRCLES_KAFKA_URL")
    monkeypatch.delenv("CIRCLES_POSTGRES_URL")
    _recorded(home)
    kafka = KafkaSettings.load()
    assert kafka.bootstrap == "one:9092,two:9092"
    assert kafka.password.get_secret_value() == "it's #secret"
    assert PostgresSettings.load().port == 6543
    assert not StackSettings.load().kafka_embedded
    assert set(stack_env.ports()) == {"ingestion", "dagster", "dagster-code"}


def test_a_folder_that_cannot_be_made_is_explained(home: Path) -> None:
    home.parent.mkdir(exist_ok=True)
    home.write_text("a file is in the way")
    with pytest.raises(StackError, match="cannot be used"):
        stack_env.prepare_home()
