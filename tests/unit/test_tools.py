"""What a test does without a program that it needs."""

from __future__ import annotations

import pytest

from tests.tools import REQUIRE_ALL, require

TOOL = "a-program-that-nobody-has"


def test_a_program_that_is_there_is_found() -> None:
    assert require("sh", "runs this test").is_file()


def test_without_it_the_test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRE_ALL, raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"no {TOOL} on the PATH: shows it"):
        require(TOOL, "shows it")


def test_without_it_the_test_fails_where_everything_must_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRE_ALL, "1")
    with pytest.raises(pytest.fail.Exception, match="shows it"):
        require(TOOL, "shows it")
