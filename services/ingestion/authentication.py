"""Who calls: the tenant of an API key, from a copy of the key table that is at most a second old.

The tenant comes from the credential only, never from a message. Keys are made and revoked in `keys`;
who authenticated, and who failed to, goes into its audit log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg2

from services.ingestion.errors import Context, no_valid_key
from services.ingestion.keys import AuditEntry, Tenant, ValidKey, digest, valid_keys, write_audit
from services.runtime.postgres import Connection, PostgresUnavailable, connect
from services.runtime.settings import PostgresSettings

log = logging.getLogger(__name__)

SCHEME = "Bearer "
MIN_SECONDS_BETWEEN_READS = 0.25
MAX_PENDING_AUDIT_ROWS = 1000
SECONDS_BETWEEN_LOOKS = 0.1
"""A key's calls from a new address are noticed by one of the next calls."""

MAX_REMEMBERED_CALLERS = 10_000

HOW_TO = "send the metadata 'authorization: Bearer <key>'; the operator makes keys with `circles keys add`"
MISSING = f"No API key: {HOW_TO}"
INVALID = f"This API key is not valid, or no longer: {HOW_TO}"


class Caller(NamedTuple):
    key_digest: bytes
    key_id: str
    tenant: Tenant


class KeyStore:
    """A copy of the valid keys. When PostgreSQL is away the last copy serves on."""

    def __init__(self, postgres: PostgresSettings, refresh_seconds: float) -> None:
        self._postgres = postgres
        self._refresh_seconds = refresh_seconds
        self._connection: Connection | None = None
        self._keys: Mapping[bytes, ValidKey] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._watches: dict[bytes, set[Callable[[], None]]] = {}
        self._audit: Counter[tuple[str, str | None, str | None, str]] = Counter()
        self._seen: set[tuple[str, str]] = set()
        self._looked_at: dict[str, float] = {}

    async def keep_fresh(self) -> None:
        """Reads the table again and again; for a task."""
        while True:
            async with self._reading:
                await self._read()
            await asyncio.sleep(self._refresh_seconds)

    async def caller(self, context: Context) -> Caller:
        """Who makes this call. Raises CallError when there is no valid key."""
        metadata = dict(context.invocation_metadata() or ())
        header = str(metadata.get("authorization", ""))
        if not header.startswith(SCHEME):
            self._note("refused", None, None, context)
            raise no_valid_key(MISSING)
        key_digest = digest(header.removeprefix(SCHEME))
        key = await self._find(key_digest)
        if key is None:
            self._note("refused", None, None, context)
            raise no_valid_key(INVALID)
        self._note("authenticated", key.tenant.tenant_id, key.key_id, context)
        return Caller(key_digest, key.key_id, key.tenant)

    def tenant_now(self, caller: Caller) -> Tenant:
        """The caller's tenant with its limits as they are now. Raises CallError when the key has ended."""
        key = self._valid(caller.key_digest)
        if key is None:
            raise no_valid_key(INVALID)
        return key.tenant

    @contextlib.contextmanager
    def watch(self, caller: Caller, on_end: Callable[[], None]) -> Iterator[None]:
        """Calls `on_end` when the key ends while the block runs."""
        watching = self._watches.setdefault(caller.key_digest, set())
        watching.add(on_end)
        try:
            yield
        finally:
            watching.discard(on_end)
            if not watching:
                self._watches.pop(caller.key_digest, None)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def _find(self, key_digest: bytes) -> ValidKey | None:
        """A key that is not known may be new: then the table is read again, for all who ask at once."""
        if key_digest not in self._keys:
            asked_at = time.monotonic()
            async with self._reading:
                if self._read_at < asked_at:
                    pause = self._read_at + MIN_SECONDS_BETWEEN_READS - time.monotonic()
                    await asyncio.sleep(max(0.0, pause))
                    await self._read()
        return self._valid(key_digest)

    def _valid(self, key_digest: bytes) -> ValidKey | None:
        key = self._keys.get(key_digest)
        if key is None or (key.expires_at is not None and key.expires_at <= datetime.now(UTC)):
            return None
        return key

    async def _read(self) -> None:
        self._read_at = time.monotonic()
        noted, self._audit = self._audit, Counter()
        entries = [AuditEntry(*what, count, None) for what, count in noted.items()]
        try:
            self._keys = await asyncio.to_thread(self._exchange, entries)
        except (PostgresUnavailable, psycopg2.Error) as error:
            log.warning("API keys not read again: %s", type(error).__name__)
            self._audit += noted
            self.close()
            self._connection = None
        for key_digest in [each for each in self._watches if self._valid(each) is None]:
            for on_end in list(self._watches[key_digest]):
                on_end()

    def _exchange(self, entries: list[AuditEntry]) -> dict[bytes, ValidKey]:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._postgres, self._postgres.database_control)
        if entries:
            write_audit(self._connection, entries)
        return valid_keys(self._connection)

    def _is_due(self, key_id: str) -> bool:
        """To ask gRPC for the address costs as much as the rest; once in a while for each key is enough."""
        now = time.monotonic()
        if now - self._looked_at.get(key_id, float("-inf")) < SECONDS_BETWEEN_LOOKS:
            return False
        self._looked_at[key_id] = now
        return True

    def _note(self, event: str, tenant_id: str | None, key_id: str | None, context: Context) -> None:
        """For the audit log: each refusal, and the first time that a key comes from an address."""
        if event == "authenticated" and not self._is_due(str(key_id)):
            return
        address = context.peer().rpartition(":")[0]
        if event == "authenticated":
            if (str(key_id), address) in self._seen:
                return
            if len(self._seen) >= MAX_REMEMBERED_CALLERS:
                self._seen.clear()
            self._seen.add((str(key_id), address))
        what = (event, tenant_id, key_id, address)
        if what in self._audit or len(self._audit) < MAX_PENDING_AUDIT_ROWS:
            self._audit[what] += 1
