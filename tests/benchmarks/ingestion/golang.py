"""The benchmark's Go programs, built from this folder into `.build`, which git ignores."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent
BUILD = FOLDER / ".build"
PROGRAMS = ("load", "collector")


class CannotRun(Exception):
    """Something that the benchmark needs is not there. Its words are for a person."""


def build(name: str) -> Path:
    """The program of the module `name`. Go itself knows whether anything has changed since the last time."""
    go = shutil.which("go")
    if go is None:
        raise CannotRun("bench-ingestion needs Go (1.25 or newer) on the PATH, to build its load generator.")
    program = BUILD / name
    result = subprocess.run(
        [go, "build", "-o", str(program), "."], cwd=FOLDER / name, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise CannotRun(f"Go could not build {FOLDER.name}/{name}:\n{result.stderr[-2000:]}")
    return program


def go_version() -> str:
    result = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False)
    return result.stdout.strip().removeprefix("go")


def module_version(name: str, module: str) -> str:
    """Version of a dependency of the module `name`."""
    found = re.search(
        rf"^\s*{re.escape(module)} v(\S+)", (FOLDER / name / "go.mod").read_text(), re.MULTILINE
    )
    if found is None:
        raise CannotRun(f"{name}/go.mod does not name {module}")
    return found[1]
