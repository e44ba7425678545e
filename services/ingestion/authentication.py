"""Who calls: the tenant of an API key, from a copy of the key table that is at most seconds old.

The tenant comes from the credential only, never from a message. Keys are made and revoked in `keys`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

import grpc
import psycopg2

from services.ingestion.keys import Tenant, digest, valid_keys
from services.runtime.postgres import PostgresUnavailable, connect
from services.runtime.settings import PostgresSettings

log = logging.getLogger(__name__)

SCHEME = "Bearer "
MIN_SECONDS_BETWEEN_READS = 1.0


class KeyStore:
    """A copy of the valid keys. When PostgreSQL is away the last copy serves on."""

    def __init__(self, postgres: PostgresSettings, refresh_seconds: float) -> None:
        self._postgres = postgres
        self._refresh_seconds = refresh_seconds
        self._tenants: dict[bytes, Tenant] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def keep_fresh(self) -> None:
        """Reads the table again and again; for a task."""
        while True:
            await self._read()
            await asyncio.sleep(self._refresh_seconds)

    async def tenant_of(self, key: str) -> Tenant | None:
        """The tenant of a key, or None. A key that is not known may be new: then the table is read again."""
        if digest(key) not in self._tenants:
            await self._read_since(time.monotonic())
        return self._tenants.get(digest(key))

    async def _read_since(self, asked_at: float) -> None:
        """Returns when the table was read after `asked_at`. Callers share a read, and reads are spaced."""
        async with self._reading:
            if self._read_at < asked_at:
                await asyncio.sleep(max(0.0, self._read_at + MIN_SECONDS_BETWEEN_READS - time.monotonic()))
                await self._read()

    async def _read(self) -> None:
        self._read_at = time.monotonic()
        try:
            self._tenants = await asyncio.to_thread(self._valid_keys)
        except (PostgresUnavailable, psycopg2.Error) as error:
            log.warning("API keys not read again: %s", type(error).__name__)

    def _valid_keys(self) -> dict[bytes, Tenant]:
        with contextlib.closing(connect(self._postgres, self._postgres.database_control)) as connection:
            return valid_keys(connection)


async def authenticate(store: KeyStore, context: grpc.aio.ServicerContext[Any, Any]) -> Tenant:
    """The calling tenant. Ends the call with UNAUTHENTICATED when there is none."""
    metadata = dict(context.invocation_metadata() or ())
    header = str(metadata.get("authorization", ""))
    tenant = await store.tenant_of(header.removeprefix(SCHEME)) if header.startswith(SCHEME) else None
    if tenant is None:
        await context.abort(
            grpc.StatusCode.UNAUTHENTICATED,
            "No valid API key: send the metadata 'authorization: Bearer <key>'; the operator makes keys "
            "with `circles keys add`",
        )
    assert tenant is not None  # noqa: S101  # abort never returns
    return tenant
