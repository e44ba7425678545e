"""Programs that some tests need and this repository does not bring: without one its tests are skipped,
unless everything must run.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRE_ALL = "CIRCLES_REQUIRE_ALL"
"""Set to 1 it makes a failure of what would be skipped, as where a release is made."""


def require(tool: str, reason: str) -> Path:
    """The program `tool`. Skips the test when there is none on the PATH; `reason` says what it is for."""
    found = shutil.which(tool)
    if found is None:
        missing(f"no {tool} on the PATH: {reason}")
    return Path(found)


def missing(reason: str) -> NoReturn:
    """Skips the test, or fails it, for want of what `reason` names."""
    if os.environ.get(REQUIRE_ALL) == "1":  # noqa: TID251
        pytest.fail(f"{REQUIRE_ALL}=1, and {reason}", pytrace=False)
    pytest.skip(reason)
