"""Where the dbt project is, what it gets from our settings, and its manifest, built before Dagster loads it.

What the models do stands in `dbt/`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.runtime.lake import install_extensions
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
        "CIRCLES_DBT_DEFINITION": definition(),
        "DBT_PROFILES_DIR": str(PROJECT),
        "DBT_TARGET_PATH": str(target()),
        "DBT_LOG_PATH": str(target() / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }


def definition() -> str:
    """A fingerprint of the models and macros. Marts that were built from another one are computed anew."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in ("models", "macros") for path in (PROJECT / folder).rglob("*.sql")):
        digest.update(path.relative_to(PROJECT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


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
            _parse()
    return path


def _parse() -> None:
    """Raises RuntimeError with dbt's own words."""
    inherited = os.environ  # noqa: TID251  # a child process needs PATH and the like
    parsed = subprocess.run(
        [str(DBT), "--quiet", "parse"],
        cwd=PROJECT,
        env={**inherited, **environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    if parsed.returncode != 0:
        raise RuntimeError(f"dbt cannot parse {PROJECT}:\n{parsed.stdout}{parsed.stderr}")


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
