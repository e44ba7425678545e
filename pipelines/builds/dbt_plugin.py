"""What dbt does before it opens the lake: it waits until no other build works, and holds them off until it
ends.

Named in `dbt/profiles.yml`, by which dbt finds the class. Nothing else imports it: dbt takes seconds to load.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from typing import Any

from dbt.adapters.duckdb.plugins import BasePlugin

from pipelines.builds.one import building
from services.runtime.settings import PostgresSettings


class Plugin(BasePlugin):
    """dbt makes one for each connection of its own; the process holds the lock once."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        _build()


@cache
def _build() -> ExitStack:
    held = ExitStack()
    held.enter_context(building(PostgresSettings.load()))
    return held
