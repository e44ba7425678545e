"""The guide to imports followed word for word: one file of each kind, and then each of them again."""

from __future__ import annotations

import sys
from os import pathsep
from pathlib import Path

import pytest

from tests.guides import Shell, blocks, is_as_shown, with_values
from tests.partners import lake_rows, new_partner, wait_until_quiet
from tests.stacks import Stack

ROOT = Path(__file__).parents[2]
BLOCKS = blocks((ROOT / "docs" / "guides" / "import.md").read_text())
TENANT = "your-service-trial"

KINDS = ("metapsy", "redcap", "fhir")
LANDED = {"study_events": 13, "outcome_events": 102 + 3}
"""Of the examples, however often they are imported."""


def test_the_mapping_that_is_shown_is_the_one_that_is_used() -> None:
    (mapping,) = [block.text for block in BLOCKS if block.language == "yaml"]
    assert mapping == (ROOT / "docs" / "guides" / "examples" / "redcap.yaml").read_text()


@pytest.mark.stack
def test_what_the_guide_shows_is_what_comes(
    stack: Stack, bare_environment: dict[str, str], tmp_path: Path
) -> None:
    partner = new_partner(stack, "import-guide")
    path = pathsep.join((str(Path(sys.executable).parent), bare_environment["PATH"]))
    shell = Shell(tmp_path, {**bare_environment, "CIRCLES_HOME": str(stack.home), "PATH": path})
    values = {"CIRCLES": str(ROOT), "CIRCLES_PARTNER_ADDRESS": partner.address}
    commands = [block for block in BLOCKS if block.language == "sh"]
    for block in commands:
        text = with_values(block.text, values).replace(TENANT, partner.tenant_id)
        result = shell.run(text)
        assert result.returncode == 0, f"{text}\n{result.stdout}"
        assert is_as_shown(result.stdout, block.shown), f"{text}\n{result.stdout}\nand not\n{block.shown}"
    again = [block for block in commands if "circles import" in block.text and "wrong.csv" not in block.text]
    assert all(any(f"circles import {kind}" in block.text for block in again) for kind in KINDS)
    for block in again:
        output = shell.run(block.text).stdout
        assert "--dry-run" in block.text or " 0  accepted\n" in output, output
    wait_until_quiet()
    for table, count in LANDED.items():
        rows = lake_rows(
            f"SELECT count(DISTINCT event_id) FROM raw.{table} WHERE tenant_id = ?", partner.tenant_id
        )
        assert rows == [(count,)], table
