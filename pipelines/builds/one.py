"""One build at a time on a lake, whoever started it: Dagster, `circles rebuild`, or dbt by hand.

dbt takes the lock itself (`dbt_plugin`): a dbt whose starter was killed goes on writing, and two that stage
the same slices would stage them twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from services.runtime.postgres import locked
from services.runtime.settings import PostgresSettings

BUILD_LOCK = 0x6275696C  # "buil"


class BuildUnderWay(Exception):
    """Somebody builds this lake now."""


@contextmanager
def building(postgres: PostgresSettings) -> Iterator[None]:
    """Waits until nobody else builds; nobody does within the block. Not around dbt, which waits itself."""
    with locked(postgres, BUILD_LOCK):
        yield


def refuse_beside_another(postgres: PostgresSettings) -> None:
    """Raises BuildUnderWay when somebody builds at the moment. Whoever begins later waits for us."""
    with locked(postgres, BUILD_LOCK, wait=False) as is_ours:
        if not is_ours:
            raise BuildUnderWay("Another build is under way on this lake")
