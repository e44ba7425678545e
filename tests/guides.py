"""Guides that are followed word for word: their blocks, a shell to run them in, and whether what comes is
what they show. Which blocks are run, and in which order, is the tests' to say.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Block:
    """A fenced block of a guide. `section` is the heading above it, without its number."""

    section: str
    language: str
    text: str
    shown: str = ""
    """What comes of it, as the guide shows it below; `…` stands for anything."""

    @property
    def file_name(self) -> str:
        """Of a program: its first line has it, in a comment."""
        return self.text.split()[1]


def blocks(guide: str) -> list[Block]:
    """In their order. A block in `text` belongs to the one before it."""
    heading = r"^##+ (?:\d+\. )?(?P<section>[^\n]*)$"
    fence = r"^```(?P<language>\w*)\n(?P<text>.*?)^```$"
    section, found = "", list[Block]()
    for part in re.finditer(f"{heading}|{fence}", guide, re.MULTILINE | re.DOTALL):
        if part["section"] is not None:
            section = part["section"]
        elif part["language"] == "text":
            found[-1] = replace(found[-1], shown=part["text"])
        else:
            found.append(Block(section, part["language"], part["text"]))
    return found


def with_values(text: str, values: Mapping[str, str]) -> str:
    """The lines `export NAME=…` get our values, where they are not made by a command."""

    def line(found: re.Match[str]) -> str:
        return f"export {found[1]}={shlex.quote(values[found[1]])}"

    return re.sub(r"^export (\w+)=(?!\$\()\S+$", line, text, flags=re.MULTILINE)


def is_as_shown(output: str, shown: str) -> bool:
    """White space apart, which programs vary; where nothing is shown anything may come."""
    pattern = re.escape(" ".join(shown.split())).replace("…", ".*")
    return not shown or re.fullmatch(pattern, " ".join(output.split())) is not None


@dataclass
class Shell:
    folder: Path
    environment: dict[str, str]

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """In a shell that remembers what was exported; errors are among the output."""
        whole = f"set -euo pipefail\ntouch exported\n. ./exported\n{script}\nexport -p > exported\n"
        return subprocess.run(
            ["bash", "-c", whole],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
        )
