"""The dbt project against its rules: SQL that DuckDB and Trino share, every column described, no Python."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from infra.cli.main import cli
from pipelines.defs.transformation.project import environment

DBT = Path(__file__).parents[2] / "dbt"
MODELS = sorted((DBT / "models").rglob("*.sql"))
TESTS = sorted((DBT / "tests").rglob("*.sql"))

BANNED = {
    r"::": "a cast by :: is unknown to Trino; cast(x as type)",
    r"\bqualify\b": "unknown to Trino; row_number() in a step of its own",
    r"\bgroup by all\b": "unknown to Trino",
    r"\bexclude\s*\(": "unknown to Trino",
    r"\bilike\b": "unknown to Trino",
    r"\bselect\s+distinct\s+on\b": "unknown to Trino",
    r"\bstring_agg\b|\bmedian\b|\bstrftime\b|\bgenerate_series\b|\bprintf\b": "unknown to Trino",
    r"\bisnan\b|\bisfinite\b|\bstruct_pack\b|\blist_\w+\s*\(|\blen\s*\(": "unknown to Trino",
    r"\bdate_format\b|\btransform\s*\(|\belement_at\b|\bregexp_like\b": "unknown to DuckDB",
    r"\bat_timezone\b|\bfrom_unixtime\b|\bto_unixtime\b|\bto_utf8\b": "unknown to DuckDB",
    r"\bdate_diff\b|\bdatediff\s*\((?!.*dbt\.)": "counts boundaries here, full units there; dbt.datediff",
    r"\bgreatest\s*\(|\bleast\s*\(|\bconcat\s*\(": "NULL is ignored here and wins there",
    r"\bregexp_\w+\s*\(": "no match is '' here and NULL there, one match is replaced here and all there",
    r"\bextract\s*\(\s*(dow|epoch|isodow)": "Sunday is 0 here, 7 there; epoch is unknown to Trino",
    r"\bskewness\b|\bapprox_\w+\s*\(|\bquantile\w*\s*\(|\bpercentile\w*\s*\(": "other numbers in each engine",
    r"\bregr_r2\b": "unknown to Trino",
    r"\bdate_trunc\b": "of a date a timestamp here, a date there",
    r"\bignore nulls\b": "written at different places",
    r"\binterval\s+'\d+\s+\w+'": "interval '30' minute",
    r"\bjson_\w+\s*\(": "other functions in each engine",
    r"(?<!['\w])\d+\s*/\s*\d+": "3.5 here and 3 there; cast to double",
}
"""Constructs that one engine lacks, or that give another answer in each without an error."""


def sql_of(path: Path) -> str:
    """The SQL without comments and without what dbt replaces."""
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", " ", path.read_text(), flags=re.DOTALL)
    return re.sub(r"--[^\n]*", " ", text).lower()


DISPATCHED = ("items.sql", "regressions.sql", "times.sql")
"""Files of macros that have a form for each engine."""


def shared_macros() -> list[Path]:
    """Macros that both engines run."""
    return [path for path in sorted((DBT / "macros").glob("*.sql")) if path.name not in DISPATCHED]


@pytest.mark.parametrize("path", [*MODELS, *TESTS, *shared_macros()], ids=lambda path: path.stem)
def test_sql_is_what_both_engines_share(path: Path) -> None:
    sql = sql_of(path)
    found = {pattern: why for pattern, why in BANNED.items() if re.search(pattern, sql)}
    assert not found


@pytest.mark.parametrize(
    "sql",
    ["a::int", "select 7/2", "qualify row_number() over () = 1", "concat(a, b)", "interval '30 minutes'"],
)
def test_the_scan_finds_what_is_banned(sql: str) -> None:
    assert any(re.search(pattern, sql) for pattern in BANNED)


@pytest.mark.parametrize("file", DISPATCHED)
def test_every_dispatched_macro_has_a_form_for_both_engines(file: str) -> None:
    text = (DBT / "macros" / file).read_text()
    dispatched = set(re.findall(r"dispatch\('(\w+)'\)", text))
    assert dispatched
    for engine in ("duckdb", "trino"):
        assert dispatched == set(re.findall(rf"macro {engine}__(\w+)\(", text))


def test_no_python_and_no_package_in_the_project() -> None:
    assert list(DBT.rglob("*.py")) == []


def test_no_statistics_are_sent() -> None:
    project = yaml.safe_load((DBT / "dbt_project.yml").read_text())
    assert project["flags"]["send_anonymous_usage_stats"] is False


def test_dbt_gets_no_password(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRCLES_POSTGRES_PASSWORD", "tell-tale")
    assert not [name for name, value in environment().items() if "tell-tale" in value]


def described() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((DBT / "models").rglob("*.yml")):
        for model in yaml.safe_load(path.read_text()).get("models", []):
            yield model["name"], model


def test_every_model_is_described_once_beside_its_sql() -> None:
    names = [name for name, _ in described()]
    assert sorted(names) == sorted(path.stem for path in MODELS)


@pytest.mark.parametrize(
    "name, model", [*described()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_column_is_described(name: str, model: dict[str, Any]) -> None:
    assert model["description"].strip(), name
    assert model["columns"]
    assert [column["name"] for column in model["columns"] if not column.get("description", "").strip()] == []


def test_names_tell_layer_source_and_entity() -> None:
    for path in MODELS:
        layer = path.relative_to(DBT / "models").parts[0]
        source = path.parent.name
        pattern = {
            "staging": rf"stg_{source}__[a-z_]+",
            "intermediate": r"int_[a-z_]+ed|int_[a-z_]+_kept",
            "marts": r"(fct|dim)_[a-z_]+",
        }[layer]
        assert re.fullmatch(pattern, path.stem), path.stem


def test_there_are_unit_tests_of_the_logic() -> None:
    tests = [
        test["name"]
        for path in (DBT / "models").rglob("*__unit_tests.yml")
        for test in yaml.safe_load(path.read_text())["unit_tests"]
    ]
    assert len(tests) >= 6


def test_one_page_describes_the_warehouse_without_any_server(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "warehouse.html"
    made = CliRunner().invoke(cli, ["docs", "--to", str(page)], catch_exceptions=False)
    assert str(page) in made.output
    text = page.read_text()
    for name, model in described():
        assert name in text and json.dumps(model["description"])[1:-1] in text
    assert not re.search(r"(src|href)=[\"']?https?:[^>]*\.(js|css)", text)
    # Who opens it is told to nobody.
    assert re.findall(r'"send_anonymous_usage_stats": ?(\w+)', text) == ["false"]
