"""Where the dbt project is, what it gets from our settings, its manifest, built before Dagster loads it, and
how everything in it is computed anew. Knows no Dagster.

What the models do stands in `dbt/`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.evidence.protocols import TextChange, periods, protocols
from services.runtime.instruments import Scale, instruments
from services.runtime.lake import install_extensions, spill_root
from services.runtime.settings import LakeSettings, PostgresSettings, home

PROJECT = Path(__file__).parents[3] / "dbt"
DBT = Path(sys.executable).with_name("dbt")
"""Of this environment: what PATH has may be another."""


def target() -> Path:
    """What dbt writes: parsed project, compiled SQL, logs. In the data folder, so that stacks do not meet."""
    return home() / "dbt"


def environment() -> dict[str, str]:
    """What `profiles.yml` reads. No password is among it."""
    lake, postgres = LakeSettings.load(), PostgresSettings.load()
    return {
        "CIRCLES_DBT_LAKE_DSN": postgres.dsn_with_password_file(postgres.database_lake),
        "CIRCLES_DBT_LAKE_DATA_PATH": str(lake.data_path),
        "CIRCLES_DBT_EXTENSION_DIRECTORY": str(lake.extension_directory),
        "CIRCLES_DBT_THREADS": str(lake.threads),
        "CIRCLES_DBT_MEMORY_LIMIT": lake.memory_limit,
        "CIRCLES_DBT_SPILL_FOLDER": str(spill_root() / "dbt"),
        "CIRCLES_DBT_DEFINITION": definition(),
        "CIRCLES_DBT_INSTRUMENTS": registry(),
        "CIRCLES_DBT_PERIODS": study_periods(),
        "CIRCLES_DBT_TEXT_STUDIES": text_studies(),
        "DBT_PROFILES_DIR": str(PROJECT),
        "DBT_TARGET_PATH": str(target()),
        "DBT_LOG_PATH": str(target() / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }


def definition() -> str:
    """Of models, macros, instruments, protocols as far as marts know them. Marts that were built from another
    one are computed anew."""
    digest = hashlib.sha256((registry() + study_periods() + text_studies()).encode())
    for path in sorted(path for folder in ("models", "macros") for path in (PROJECT / folder).rglob("*.sql")):
        digest.update(path.relative_to(PROJECT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def registry() -> str:
    """The instruments as JSON, each with its scales, for the models that are made from it."""
    return json.dumps(
        [
            each.model_dump(include={"code", "name", "versions", "direction", "licence", "source"})
            | {"least": each.items.least, "most": each.items.most, "reversed": each.items.reversed}
            | {"is_scored": each.is_scored, "scales": [*map(_scale, each.all_scales())]}
            | {"loinc_total": each.loinc.total if each.loinc else None}
            for each in instruments().values()
        ]
    )


def study_periods() -> str:
    """Of protocols, as JSON: which answers of a study count."""
    return json.dumps([[study, *each.model_dump(mode="json").values()] for study, each in periods().items()])


def text_studies() -> str:
    """Of protocols, as JSON: windows, dictionary, and what is asked of its features."""
    return json.dumps([text_study(each) for each in protocols(TextChange)])


def text_study(protocol: TextChange) -> dict[str, Any]:
    """One of them. Weeks are counted whatever its step: they are what is shown of a series."""
    windows = [
        {
            "year": each.year,
            "first_day": each.first.isoformat(),
            "last_day": each.last.isoformat(),
            "interrupted_on": each.interrupted_on.isoformat(),
        }
        for each in protocol.windows
    ]
    return {
        "study": protocol.study,
        "dictionary": protocol.dictionary,
        "windows": windows,
        "main_year": protocol.windows[0].year,
        "min_authors": protocol.min_authors,
        "topics": protocol.topics,
        "undivided": protocol.undivided,
        "steps": sorted({protocol.step_days, 7}),
    }


def _scale(named: tuple[str, Scale, tuple[int, ...]]) -> dict[str, Any]:
    name, scale, items = named
    body = scale.model_dump(include=set(Scale.model_fields))
    # Templates ask for parts of what is not there.
    told = {key: {} if value is None else value for key, value in body.items()}
    return told | {"name": name, "items": items}


def prepare() -> None:
    """Before dbt runs: its environment and DuckDB's extensions.

    dagster-dbt hands this process's environment on, and offers no other way.
    """
    os.environ.update(environment())  # noqa: TID251
    install_extensions(LakeSettings.load().extension_directory)


def manifest() -> Path:
    """The project's manifest, parsed again only when a file of the project is newer."""
    path = target() / "manifest.json"
    with _lock(target()):
        if not path.exists() or path.stat().st_mtime < _last_change():
            _ask("parse")
    return path


def parsed(folder: Path) -> Path:
    """A target folder of somebody's own, in which dbt need not parse the project again."""
    manifest()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(target() / "partial_parse.msgpack", folder)
    return folder


class BuildFailed(Exception):
    """dbt ended with errors, or rows broke its tests."""


def build_anew(on_progress: Callable[[int, int], None]) -> int:
    """Computes every table of the project from raw rows, whatever is there, and asks its tests.

    A table is put in the earlier one's place by one commit. Returns how many models and tests there were;
    `on_progress` is told of how many are done. Raises BuildFailed.
    """
    install_extensions(LakeSettings.load().extension_directory)
    folder = parsed(target() / "anew")
    # Unit tests are about the SQL, not about the data.
    options = ["build", "--full-refresh", "--exclude-resource-type", "unit_test", "--log-format", "json"]
    count, failed, others = 0, [], []
    with _dbt(
        *options, "--target-path", str(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as dbt:
        for line in dbt.stdout or ():
            result = _result(line)
            if result is None:
                others.append(line)
                continue
            count += 1
            on_progress(count, result.get("total") or result["num_models"])
            if result["status"] in ("error", "fail", "skipped"):
                failed.append(f"{result['node_info']['node_name']}: {result['status']}")
    if dbt.returncode != 0:
        raise BuildFailed("; ".join(failed) or f"dbt ended with {dbt.returncode}: {''.join(others[-3:])}")
    # Kept when dbt failed: its log and the compiled SQL tell why.
    shutil.rmtree(folder, ignore_errors=True)
    return count


def write_docs(page: Path) -> None:
    """Writes one page that needs nothing else: each table's columns, tests, SQL, and what it is made from.

    From the project alone: no server is asked. Raises RuntimeError with dbt's own words.
    """
    folder = parsed(target() / "docs")
    shutil.copy2(manifest(), folder)
    _ask("docs", "generate", "--static", "--no-compile", "--empty-catalog", "--target-path", str(folder))
    page.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder / "static_index.html", page)
    shutil.rmtree(folder)


def _result(line: str) -> Mapping[str, Any] | None:
    """What dbt logs when a model or a test is done."""
    if not line.startswith("{"):
        return None
    entry = json.loads(line)
    is_result = entry["info"]["name"] in ("LogModelResult", "LogTestResult")
    result: Mapping[str, Any] = entry["data"]
    return result if is_result else None


def _dbt(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    inherited = os.environ  # noqa: TID251  # a child process needs PATH and the like
    return subprocess.Popen(
        [str(DBT), *arguments], cwd=PROJECT, env={**inherited, **environment()}, text=True, **options
    )


def _ask(*arguments: str) -> None:
    """Of the project's text alone. Raises RuntimeError with dbt's own words."""
    with _dbt("--quiet", *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as asked:
        words, _ = asked.communicate()
    if asked.returncode != 0:
        raise RuntimeError(f"dbt {arguments[0]} failed on {PROJECT}:\n{words}")


def _last_change() -> float:
    files = (each for pattern in ("*.sql", "*.yml") for each in PROJECT.rglob(pattern))
    return max(each.stat().st_mtime for each in files)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Code server, daemon and runs load at the same time; one of them parses."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    # For a shell that runs dbt by hand.
    for name, value in environment().items():
        print(f"export {name}={shlex.quote(value)}")
