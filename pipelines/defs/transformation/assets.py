"""Each model of the dbt project as an asset, each of its data tests as a check."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import metadata
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, dbt_assets
from packaging.version import Version

from pipelines.defs.resources import Lake
from pipelines.defs.transformation import project
from services.runtime.lake import current_snapshot

# Unit tests are about the SQL, not about the data: the test suite runs them.
BUILD = ("build", "--exclude-resource-type", "unit_test")


class Translator(DagsterDbtTranslator):
    """A model's group is its schema, so that assets stand in the order of the flow."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        return str(dbt_resource_props["schema"])


class Dbt(DbtCliResource):
    """dbt's command, without two habits of dagster-dbt. Both are private to it: a test watches over them."""

    @cached_property
    def _cli_version(self) -> Version:
        """From the installed package: `dbt --version` asks the package index for news, and takes seconds."""
        return Version(metadata.version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:
        """None: rows are counted through our own door to the lake, dbt need not be loaded here as well."""
        return None


def dbt_resource() -> Dbt:
    return Dbt(
        project_dir=str(project.PROJECT),
        profiles_dir=str(project.PROJECT),
        dbt_executable=str(project.DBT),
    )


def assets() -> dg.AssetsDefinition:
    manifest = project.manifest()

    @dbt_assets(manifest=manifest, name="dbt", dagster_dbt_translator=Translator())
    def models(context: dg.AssetExecutionContext, dbt: DbtCliResource, lake: Lake) -> Iterator[Any]:
        project.prepare()
        target = project.target() / context.run.run_id
        with lake.open(read_only=True) as connection:
            for event in dbt.cli(list(BUILD), context=context, target_path=target).stream():
                if isinstance(event, dg.Output):
                    key = context.asset_key_for_output(event.output_name)
                    context.add_output_metadata(_size(connection, key), event.output_name)
                yield event
        # Kept when dbt failed: its log and the compiled SQL tell why.
        shutil.rmtree(target, ignore_errors=True)

    return models


def _size(lake: duckdb.DuckDBPyConnection, key: dg.AssetKey) -> dict[str, int]:
    """Rows of a table and the snapshot of the lake that they were counted in. Views are not counted."""
    schema, table = key.path
    if schema == "intermediate":
        return {}
    rows = lake.execute(f'SELECT count(*) FROM "{schema}"."{table}"').fetchall()  # noqa: S608  # dbt's names
    return {"dagster/row_count": int(rows[0][0]), "lake_snapshot": current_snapshot(lake)}
