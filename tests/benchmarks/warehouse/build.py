"""dbt on a lake, as Dagster calls it but without Dagster, and what each model took.

What is built is in `dbt/`; in which order things are measured is `__main__`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipelines.defs.transformation import project
from pipelines.defs.transformation.assets import BUILD
from services.runtime.settings import PostgresSettings, home
from tests.benchmarks.warehouse import costs
from tests.benchmarks.warehouse.costs import Cost
from tests.landings import OwnLake
from tests.stacks import bare_environment

RUN = ("run", "--full-refresh")
"""Models only, all of them from nothing."""


@dataclass(frozen=True)
class Node:
    """A model or a data test, and how long it took by the clock."""

    name: str
    is_test: bool
    seconds: float


@dataclass(frozen=True)
class Built:
    cost: Cost
    nodes: tuple[Node, ...]

    @property
    def model_seconds(self) -> float:
        return sum(each.seconds for each in self.nodes if not each.is_test)

    @property
    def test_seconds(self) -> float:
        return sum(each.seconds for each in self.nodes if each.is_test)


@dataclass(frozen=True)
class Builder:
    """Builds the warehouse of one lake. `server` is PostgreSQL's pid; what dbt writes goes to `target`."""

    lake: OwnLake
    target: Path
    server: int

    def parse(self) -> None:
        """Before anything is measured: Dagster has parsed the project as well."""
        self._dbt("parse")

    def build(self) -> Built:
        return self._built(*BUILD)

    def run(self) -> Built:
        return self._built(*RUN)

    @property
    def manifest(self) -> Path:
        """With the compiled statements of the last build."""
        return self.target / "manifest.json"

    def _built(self, *arguments: str) -> Built:
        cost = self._dbt(*arguments)
        results = json.loads((self.target / "run_results.json").read_text())["results"]
        return Built(cost, tuple(_nodes(results)))

    def _dbt(self, *arguments: str) -> Cost:
        self.target.mkdir(parents=True, exist_ok=True)
        command = [str(project.DBT), "--no-use-colors", *arguments]
        return costs.run(
            command, self._environment(), project.PROJECT, self.target / "output.log", self.server
        )

    def _environment(self) -> dict[str, str]:
        postgres = PostgresSettings.load(database_lake=self.lake.database)
        return {
            **bare_environment(),
            **project.environment(),
            # The lock of a build is found by the same settings as elsewhere.
            "CIRCLES_HOME": str(home()),
            "CIRCLES_POSTGRES_DATABASE_LAKE": self.lake.database,
            "CIRCLES_DBT_LAKE_DSN": postgres.dsn_with_password_file(postgres.database_lake),
            "CIRCLES_DBT_LAKE_DATA_PATH": str(self.lake.folder),
            "DBT_TARGET_PATH": str(self.target),
            "DBT_LOG_PATH": str(self.target / "logs"),
        }


def _nodes(results: Iterable[dict[str, object]]) -> Iterable[Node]:
    for each in results:
        kind, _, rest = str(each["unique_id"]).split(".", 2)
        yield Node(rest.split(".")[0], kind == "test", float(str(each["execution_time"])))
