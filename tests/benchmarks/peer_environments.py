"""Environments of peers: their packages are none of the product's. Made on first use, and for new pins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


class CannotInstall(Exception):
    """A peer cannot be had here. Its words are for a person."""


def python_of(name: str, requirements: Path, home: Path) -> Path:
    """The interpreter of the environment in `home`: it has `requirements`, and can import this repository."""
    python, stamp = home / "bin" / "python", home / "installed"
    wanted = requirements.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    _install(name, [sys.executable, "-m", "venv", "--clear", str(home)])
    _install(name, [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)])
    stubs = f"{REPOSITORY}\n{REPOSITORY / 'protos' / 'gen'}\n"
    (next(home.glob("lib/python*/site-packages")) / "circles.pth").write_text(stubs)
    stamp.write_text(wanted)
    return python


def _install(name: str, command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise CannotInstall(f"{name} cannot be installed: {result.stderr.strip()[-300:]}")
