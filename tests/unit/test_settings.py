"""Connection strings: complete, quoted, and without a password where others print them."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from pydantic import SecretStr

from services.runtime.lake import install_extensions, open_lake
from services.runtime.settings import LakeSettings, PostgresSettings

PASSWORD = "tell-tale: it's \\ mine"


def test_an_empty_password_leaves_the_database_alone() -> None:
    assert "dbname=x" in PostgresSettings(password=SecretStr("")).dsn("x")
    assert "password" not in PostgresSettings(password=SecretStr("")).dsn("x")


def test_a_password_file_is_private_and_follows_the_password(home: Path) -> None:
    dsn = PostgresSettings(password=SecretStr("first")).dsn_with_password_file("x")
    assert "first" not in dsn
    path = home / "secrets" / "circles_owner.pgpass"
    assert path.stat().st_mode & 0o777 == 0o600
    PostgresSettings(password=SecretStr("a:b\\c")).dsn_with_password_file("x")
    assert path.read_text() == "*:*:*:circles_owner:a\\:b\\\\c\n"


def test_a_lake_that_is_away_does_not_tell_the_password(home: Path, tmp_path: Path) -> None:
    lake = LakeSettings(data_path=tmp_path / "lake", extension_directory=tmp_path / "extensions")
    install_extensions(lake.extension_directory)
    with pytest.raises(duckdb.Error) as caught:
        open_lake(lake, PostgresSettings(port=1, password=SecretStr(PASSWORD)))
    assert "127.0.0.1" in str(caught.value)
    assert "tell-tale" not in str(caught.value)
