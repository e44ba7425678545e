"""Dagster's instance as `circles up` configures it, in the test's own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import pytest

from infra.local import dagster as instance_files
from services.runtime.settings import home


@contextmanager
def stacks_instance() -> Iterator[dg.DagsterInstance]:
    """The one of the session's stack, with its settings in this process's environment meanwhile."""
    folder = home() / "dagster"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in instance_files.environment(folder).items():
            patch.setenv(name, value)
        with dg.DagsterInstance.from_config(str(folder)) as made:
            yield made
