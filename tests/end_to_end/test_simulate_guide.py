"""The guide to simulated communities followed word for word."""

from __future__ import annotations

import sys
from os import pathsep
from pathlib import Path

import pytest

from services.simulator.catalogue import COMMUNITIES
from tests.guides import Shell, blocks, is_as_shown, with_values
from tests.stacks import Stack

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "simulate.md").read_text()


def test_every_option_is_explained() -> None:
    from infra.cli.simulate import simulate

    options = {each.opts[0] for each in simulate.params if each.opts[0].startswith("--")}
    assert [each for each in options if each not in GUIDE] == []
    assert sum(name in GUIDE for name in COMMUNITIES) >= 3


@pytest.mark.stack
def test_what_the_guide_shows_is_what_comes(
    stack: Stack, bare_environment: dict[str, str], tmp_path: Path
) -> None:
    path = pathsep.join((str(Path(sys.executable).parent), bare_environment["PATH"]))
    shell = Shell(tmp_path, {**bare_environment, "CIRCLES_HOME": str(stack.home), "PATH": path})
    for block in (each for each in blocks(GUIDE) if each.language == "sh"):
        text = with_values(block.text, {"CIRCLES": str(ROOT)})
        result = shell.run(text)
        assert result.returncode == 0, f"{text}\n{result.stdout}"
        assert is_as_shown(result.stdout, block.shown), f"{text}\n{result.stdout}\nand not\n{block.shown}"
