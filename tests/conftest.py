"""What tests of several folders share: their order, and the stack that they run on.

The tests are run by three processes, so that one has the processors while another waits for a server. Each
has its part from the beginning, and a stack of its own: started by the first test that asks for it, and ended
with the process whatever happens. Files of unit tests come last, whoever is free.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests.stacks import NO_DAGSTER, Stack, bare_environment

PROCESSES = {
    "unit": "either",
    "contracts": "whole",
    "integration": "parts",
    "faults": "whole",
    "end_to_end": "whole",
}
"""Which part a folder's tests are of, in this order. "either": file by file, whoever is free."""

BUILDS = ("test_warehouse.py", "test_incremental_builds.py")
"""Of integration, what builds the warehouse again and again: a part of its own, as long as the others."""


class _ByFolder(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        process = PROCESSES[_folder(nodeid)]
        file = nodeid.partition("::")[0]
        return file if process == "either" else "builds" if file.endswith(BUILDS) else process

    def _assign_work_unit(self, node: object) -> None:
        """What takes longest first; xdist goes by the number of tests."""
        for part in ("builds", "parts", "whole"):
            if part in self.workqueue:
                self.workqueue.move_to_end(part, last=False)
        super()._assign_work_unit(node)


settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
"""A machine that is busy is no mistake of what is tested."""


def pytest_configure(config: pytest.Config) -> None:
    """Before anything is collected: modules that read settings as they are loaded shall not find the stack of
    this checkout, which somebody may have tried before."""
    home = tempfile.TemporaryDirectory(prefix="circles-tests-")
    config.add_cleanup(home.cleanup)
    os.environ["CIRCLES_HOME"] = home.name  # noqa: TID251


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _ByFolder:
    return _ByFolder(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is quick comes first. What starts Dagster comes last: it builds whatever lands from then on, which
    takes a processor from all that runs beside it."""
    folders = list(PROCESSES)
    items.sort(
        key=lambda item: (
            folders.index(_folder(item.nodeid)),
            item.get_closest_marker("dagster") is not None,
        )
    )


def _folder(nodeid: str) -> str:
    """Of `tests/FOLDER/…`."""
    return nodeid.split("/")[1]


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


def _running(stack: Stack, *options: str) -> Iterator[Stack]:
    try:
        result = stack.up(*options)
        if result.returncode != 0:
            words = f"circles up failed:\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}"
            pytest.fail(words, pytrace=False)
        yield stack
    finally:
        stack.down()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder that the settings of this process point to."""
    folder = tmp_path / "home"
    monkeypatch.setenv("CIRCLES_HOME", str(folder))
    return folder
