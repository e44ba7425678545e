"""Fixtures that tests of several folders share: the stack of the session.

It is started by the first test that asks for it, and ended with the session whatever happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stacks import NO_DAGSTER, Stack, bare_environment


@pytest.fixture(scope="session", name="bare_environment")
def _bare_environment() -> dict[str, str]:
    return bare_environment()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, bare_environment: dict[str, str]) -> Iterator[Stack]:
    """The running stack of this session, all of it but Dagster; settings in this process are its own.

    Tests share it: they use tenants of their own and end none of its processes without `wait_until`.
    """
    home = tmp_path_factory.mktemp("stack") / "home"
    stack = Stack(home, bare_environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIRCLES_HOME", str(home))
        yield from _running(stack, NO_DAGSTER)


@pytest.fixture(scope="session")
def dagster(stack: Stack) -> Stack:
    """The stack of this session with Dagster's three processes as well."""
    _bring_up(stack)
    return stack


def _running(stack: Stack, *options: str) -> Iterator[Stack]:
    try:
        _bring_up(stack, *options)
        yield stack
    finally:
        stack.down()


def _bring_up(stack: Stack, *options: str) -> None:
    result = stack.up(*options)
    if result.returncode != 0:
        pytest.fail(f"circles up failed:\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}", pytrace=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder that the settings of this process point to."""
    folder = tmp_path / "home"
    monkeypatch.setenv("CIRCLES_HOME", str(folder))
    return folder
