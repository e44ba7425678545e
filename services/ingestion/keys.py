"""API keys of tenants: made, listed, revoked, and looked up by the gateway.

Only a key's SHA-256 is stored; a key is 32 random bytes, so that a plain hash suffices. The table's
definition is in infra/provisioning/sql/control.sql.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime
from typing import NamedTuple

from circles.common.v1 import common_pb2

from services.runtime.postgres import Connection

TENANT_ID = re.compile(r"[a-z][a-z0-9-]{1,62}")
KEY_PREFIX = "ck"


class Tenant(NamedTuple):
    """Whom a key belongs to."""

    tenant_id: str
    data_class: common_pb2.DataClass.ValueType


class ApiKey(NamedTuple):
    """A key as it can be shown: never the key itself."""

    key_id: str
    tenant_id: str
    data_class: str
    created_at: datetime
    revoked_at: datetime | None


def create_key(connection: Connection, tenant_id: str, data_class: str) -> str:
    """Makes the tenant if it is new, and a further key for it. Returns the key, which cannot be shown again.

    Raises ValueError when the name is not a slug, or the tenant has another data class: a class never
    changes, because figures of different classes must not mix.
    """
    if not TENANT_ID.fullmatch(tenant_id):
        raise ValueError(f"tenant {tenant_id!r}: use 2 to 63 lower-case letters, digits and '-'")
    cursor = connection.cursor()
    cursor.execute(
        "INSERT INTO tenants (tenant_id, data_class) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (tenant_id, data_class),
    )
    cursor.execute("SELECT data_class FROM tenants WHERE tenant_id = %s", (tenant_id,))
    if cursor.fetchall() != [(data_class,)]:
        raise ValueError(f"tenant {tenant_id} has another data class already; it cannot be changed")
    key_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    key = f"{KEY_PREFIX}_{key_id}_{secret}"
    cursor.execute(
        "INSERT INTO api_keys (key_id, tenant_id, key_sha256) VALUES (%s, %s, %s)",
        (key_id, tenant_id, digest(key)),
    )
    return key


def list_keys(connection: Connection) -> list[ApiKey]:
    cursor = connection.cursor()
    cursor.execute(
        "SELECT key_id, tenant_id, data_class, api_keys.created_at, revoked_at "
        "FROM api_keys JOIN tenants USING (tenant_id) ORDER BY tenant_id, api_keys.created_at"
    )
    return [ApiKey(*row) for row in cursor.fetchall()]


def revoke_key(connection: Connection, key_id: str) -> bool:
    """Whether there was such a key that was not revoked yet."""
    cursor = connection.cursor()
    cursor.execute(
        "UPDATE api_keys SET revoked_at = now() WHERE key_id = %s AND revoked_at IS NULL", (key_id,)
    )
    return cursor.rowcount == 1


def valid_keys(connection: Connection) -> dict[bytes, Tenant]:
    """Tenant by SHA-256 of each key that is valid now."""
    cursor = connection.cursor()
    cursor.execute(
        "SELECT key_sha256, tenant_id, data_class "
        "FROM api_keys JOIN tenants USING (tenant_id) WHERE revoked_at IS NULL"
    )
    return {
        bytes(sha256): Tenant(tenant_id, common_pb2.DataClass.Value(f"DATA_CLASS_{data_class.upper()}"))
        for sha256, tenant_id, data_class in cursor.fetchall()
    }


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
