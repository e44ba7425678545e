"""Our gateway without its guards, to see what they cost: no key is looked up, no limit kept, no room counted
and no id remembered. Rules and pseudonyms stay, because they are one pass with the reading of the events.

Runs as `python -m tests.benchmarks.ingestion.guards_off`, in place of `python -m services.ingestion`; the
product has no such switch.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from circles.common.v1 import common_pb2

from services.ingestion import authentication, limits, recent, room, server
from services.ingestion.keys import Tenant
from services.runtime.settings import IngestionSettings

CALLER = authentication.Caller(b"", "guards-off", Tenant("bench-guards-off", common_pb2.DATA_CLASS_SYNTHETIC))


async def _anyone(*_: Any) -> authentication.Caller:
    return CALLER


async def _nothing(*_: Any) -> None: ...


@contextlib.contextmanager
def _no_count(*_: Any) -> Iterator[None]:
    yield


def take_guards_off() -> None:
    """In this process only."""
    replaced: dict[Any, dict[str, Any]] = {
        authentication.KeyStore: {
            "caller": _anyone,
            "tenant_now": lambda *_: CALLER.tenant,
            "watch": _no_count,
        },
        limits.TenantLimits: {"owed_seconds": lambda *_: 0.0, "take": lambda *_: None},
        recent.Recent: {"add": lambda *_: None},
        room.Room: {"taken_now": _no_count, "take": _nothing, "give_back": lambda *_: None},
    }
    for owner, methods in replaced.items():
        for name, method in methods.items():
            setattr(owner, name, method)


async def _serve() -> None:
    await server.Server(IngestionSettings.load(), "ingestion-guards-off", 0).serve()


def main() -> int:
    take_guards_off()
    asyncio.run(_serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
