"""The servers of one run, and the lakes on them. Everything is ended and removed when the run ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from services.runtime.lake import install_extensions
from services.runtime.settings import LakeSettings
from tests.benchmarks.engagement.servers import Bench, CannotRun, bench
from tests.benchmarks.warehouse.build import Builder
from tests.benchmarks.warehouse.lakes import Shape, fill
from tests.landings import OwnLake, own_lake


@dataclass(frozen=True)
class Servers:
    """Kafka and PostgreSQL; lakes are removed with `ending`."""

    bench: Bench
    ending: ExitStack

    @property
    def postgres_pid(self) -> int:
        pid = self.bench.stack.pid("postgres")
        if pid is None:
            raise CannotRun("the stack's PostgreSQL does not run any more")
        return pid

    def lake(self, name: str, shape: Shape | None = None) -> OwnLake:
        """A new lake; without a shape there is nothing in it, not even raw tables."""
        lake = self.ending.enter_context(own_lake(self.bench.folder / name))
        if shape is not None:
            fill(lake, shape)
            lake.disconnect()
        return lake

    def builder(self, lake: OwnLake) -> Builder:
        builder = Builder(lake, self.bench.folder / f"dbt-{lake.folder.parent.name}", self.postgres_pid)
        builder.parse()
        return builder


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    with bench() as running, ExitStack() as ending:
        # The product's own code reads its settings from there, in this process and in those it starts.
        os.environ["CIRCLES_HOME"] = str(running.stack.home)  # noqa: TID251
        install_extensions(LakeSettings.load().extension_directory)
        yield Servers(running, ending)


def folder_size(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
