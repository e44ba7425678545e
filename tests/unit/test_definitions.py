"""The code location: it loads without a server and without the heavy imports, and its lineage is whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

if TYPE_CHECKING:
    import dagster as dg

JOBS = ("build_warehouse", "reconcile_live", "maintain_lake")
HEAVY = ("great_expectations", "matplotlib", "dbt.cli", "scipy", "pandas", "numba")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which dbt's project is parsed once for all tests here."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def definitions(folder: Path) -> Iterator[dg.Definitions]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIRCLES_HOME", str(folder))
        from pipelines.definitions import defs

        yield defs


def test_loading_needs_no_server_and_none_of_the_heavy_imports(
    folder: Path, bare_environment: dict[str, str]
) -> None:
    code = f"import sys, pipelines.definitions; print([m for m in {HEAVY} if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        env={**bare_environment, "CIRCLES_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr[-2000:]
    assert loaded.stdout.strip() == "[]"


def test_the_release_comes_from_every_topic(definitions: dg.Definitions) -> None:
    from dagster import AssetKey

    graph = definitions.resolve_asset_graph()
    upstream, ahead = set(), {AssetKey(["publication", "release"])}
    while ahead:
        upstream |= ahead
        ahead = {parent for key in ahead for parent in graph.get(key).parent_keys} - upstream
    assert {key.path[0] for key in upstream} == {
        "service", "topic", "raw", "admission", "staging", "intermediate", "marts", "evidence", "publication",
    }  # fmt: skip
    topics = {key.path[1] for key in upstream if key.path[0] == "topic"}
    assert topics >= {"participation-events", "outcome-events", "study-events"}


def test_services_stand_between_the_topics_that_the_registry_gives_them(definitions: dg.Definitions) -> None:
    from pipelines.defs.streaming.assets import SERVICES, service_key, topic_key
    from services.kafka.topics import topics

    graph = definitions.resolve_asset_graph()
    folders = {f"services/{name}" for name in SERVICES}
    for topic in topics().values():
        assert folders >= {each for each in topic.producers if each.startswith("services/")}
        parents, children = (
            getattr(graph.get(topic_key(topic.name)), f"{way}_keys") for way in ("parent", "child")
        )
        assert parents == {service_key(each.removeprefix("services/")) for each in topic.producers}
        readers = {each for each in topic.consumers if each in folders and each not in topic.producers}
        assert {key for key in children if key.path[0] == "service"} == {
            service_key(each.removeprefix("services/")) for each in readers
        }


def test_every_asset_is_in_one_job(definitions: dg.Definitions) -> None:
    jobs = [definitions.resolve_job_def(name) for name in JOBS]
    in_jobs = [key for job in jobs for key in job.asset_layer.executable_asset_keys]
    graph = definitions.resolve_asset_graph()
    assert sorted(in_jobs) == sorted(graph.materializable_asset_keys)


def test_tables_have_days_up_to_the_marts_and_know_how_old_they_may_be(definitions: dg.Definitions) -> None:
    from pipelines.defs.days import DAYS

    graph = definitions.resolve_asset_graph()
    by_group: dict[str, set[tuple[bool, bool]]] = {}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        facts = (node.partitions_def == DAYS, node.freshness_policy is not None)
        by_group.setdefault(str(node.group_name), set()).add(facts)
    assert by_group == {
        "streaming": {(False, False)},
        "landing": {(True, True)},
        "admission": {(True, False)},
        "staging": {(True, False)},
        "intermediate": {(True, False)},
        "marts": {(True, True)},
        "evidence": {(False, True)},
        "publication": {(False, True)},
        "reconciliation": {(False, True)},
        "maintenance": {(False, True)},
    }
    dbt = graph.get(next(key for key in graph.get_all_asset_keys() if key.path[0] == "marts"))
    assert dbt.backfill_policy is not None and dbt.backfill_policy.max_partitions_per_run is None


def test_each_job_has_its_own_checks(definitions: dg.Definitions) -> None:
    from pipelines.defs.health.checks import CHECKS

    health = {(key, name) for key, name in CHECKS.items()}
    jobs = ("build_warehouse", "reconcile_live", "check_health")
    of_job = {
        name: {(key.asset_key, key.name) for key in job.asset_layer.asset_graph.asset_check_keys}
        for name in jobs
        for job in [definitions.resolve_job_def(name)]
    }
    assert of_job["check_health"] == health
    assert not health & (of_job["build_warehouse"] | of_job["reconcile_live"])


def test_every_rule_is_a_check_and_evidence_waits_for_verdicts_and_its_own_rules(
    definitions: dg.Definitions,
) -> None:
    from pipelines.builds.evidence import rules_of
    from pipelines.defs.marts.checks import HAS_VERDICT
    from pipelines.evidence.rows import TABLES
    from pipelines.quality.rules import BLOCK
    from pipelines.quality.suites import RAW_SUITES, raw_rules
    from pipelines.quality.suites.marts import MARTS

    specs = {
        (*key.asset_key.path, key.name): graph.get_check_spec(key)
        for graph in [definitions.resolve_asset_graph()]
        for key in graph.asset_check_keys
    }
    rules = {("admission", name, rule.name) for name in RAW_SUITES for rule in raw_rules(name)}
    rules |= {("marts", name, rule.name) for name, mart in MARTS.items() for rule in mart.rules}
    verdicts = {("marts", name, HAS_VERDICT) for name in MARTS}
    of_evidence = {
        ("evidence", name, rule.name): rule for name, table in TABLES.items() for rule in rules_of(table)
    }
    ours = {*rules, *verdicts, *of_evidence}
    assert ours <= specs.keys()
    block = {key for key, rule in of_evidence.items() if rule.severity == BLOCK}
    assert {key for key in ours if specs[key].blocking} == verdicts | block


def test_what_we_leave_out_of_dagster_dbt_is_still_there_to_be_left_out() -> None:
    from dagster_dbt import DbtCliResource

    from pipelines.defs.transformation.assets import dbt_resource

    for name in ("_cli_version", "_initialize_dbt_core_adapter"):
        assert name in vars(DbtCliResource)
    resource = dbt_resource()
    assert isinstance(resource._cli_version, Version)
    assert resource._initialize_dbt_core_adapter([]) is None


def test_one_mart_can_be_computed_alone(definitions: dg.Definitions) -> None:
    """With its own checks, from Dagster's page: other marts' checks are made in the same step."""
    import dagster as dg

    alone = dg.define_asset_job("alone", selection=dg.AssetSelection.assets(["marts", "fct_participation"]))
    job = dg.Definitions.merge(definitions, dg.Definitions(jobs=[alone])).resolve_job_def("alone")
    assert {key.path[-1] for key in job.asset_layer.executable_asset_keys} == {"fct_participation"}
