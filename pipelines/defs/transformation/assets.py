"""Each model of the dbt project as an asset, each of its data tests as a check."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from importlib import metadata
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets
from packaging.version import Version

from pipelines.defs import freshness
from pipelines.defs.days import DAYS, earlier_days
from pipelines.defs.resources import Lake
from pipelines.defs.transformation import project
from services.runtime.lake import current_snapshot

# Unit tests are about the SQL, not about the data: the test suite runs them.
BUILD = ("build", "--exclude-resource-type", "unit_test")

# Tag of a run.
TEST_ALL_ROWS = "circles/test_all_rows"

# Who builds some models has not built them all: the next build must not go on from there (decision 0021).
UNRECORDED = ("--exclude", "fct_build")


class Translator(DagsterDbtTranslator):
    """A model's group is its schema, so that assets stand in the order of the flow."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        return str(dbt_resource_props["schema"])

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        return (
            spec.replace_attributes(freshness_policy=freshness.BUILT) if spec.key.path[0] == "marts" else spec
        )


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

    @dbt_assets(
        manifest=manifest,
        name="dbt",
        dagster_dbt_translator=Translator(),
        partitions_def=DAYS,
        # Thirty days are computed again together: what they touch overlaps.
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def models(context: dg.AssetExecutionContext, dbt: DbtCliResource, lake: Lake) -> Iterator[Any]:
        project.prepare()
        target = project.target() / context.run.run_id
        with lake.open(read_only=True) as connection:
            given = variables(earlier_days(context), test_all_rows=TEST_ALL_ROWS in context.run.tags)
            command = [*BUILD, *given, *(UNRECORDED if context.is_subset else ())]
            for event in dbt.cli(command, context=context, target_path=target).stream():
                if isinstance(event, dg.Output):
                    key = context.asset_key_for_output(event.output_name)
                    context.add_output_metadata(_figures(connection, key, event), event.output_name)
                yield event
        # Kept when dbt failed: its log and the compiled SQL tell why.
        shutil.rmtree(target, ignore_errors=True)

    return models


def variables(days: tuple[date, date] | None, *, test_all_rows: bool = False) -> list[str]:
    """What tells dbt to compute again what the events touch that landed on these days, and to test also rows
    that it has not written."""
    given: dict[str, object] = {"test_all_rows": True} if test_all_rows else {}
    if days is not None:
        first, last = (day.isoformat() for day in days)
        given |= {"recompute_landed_from": first, "recompute_landed_to": last}
    return ["--vars", json.dumps(given)] if given else []


def _figures(lake: duckdb.DuckDBPyConnection, key: dg.AssetKey, made: dg.Output[Any]) -> dict[str, Any]:
    """Rows of a table, the snapshot that they were counted in, and how long dbt took."""
    schema, table = key.path
    ((rows,),) = lake.execute(f'SELECT count(*) FROM "{schema}"."{table}"').fetchall()  # noqa: S608  # dbt's names
    figures: dict[str, Any] = {"dagster/row_count": int(rows), "lake_snapshot": current_snapshot(lake)}
    if duration := made.metadata.get("Execution Duration"):
        figures["seconds"] = round(float(str(duration.value)), 2)
    return figures
