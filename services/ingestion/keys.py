"""API keys and limits of tenants: made, listed, rotated, revoked, and looked up by the gateway.

Only a key's SHA-256 is stored; a key is 32 random bytes, so that a plain hash suffices. Every change
leaves a row in `audit_log`, in the same transaction. The tables' definitions are in
infra/provisioning/sql/control.sql.
"""

from __future__ import annotations

import getpass
import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from circles.common.v1 import common_pb2
from psycopg2.extras import execute_values

from services.runtime.postgres import Connection

TENANT_ID = re.compile(r"[a-z][a-z0-9-]{1,62}")
KEY_PREFIX = "ck"
AUDIT_COLUMNS = ("at", "event", "tenant_id", "key_id", "actor", "count", "detail")


class Limits(NamedTuple):
    """A tenant's own limits; None: the gateway's setting."""

    events_per_second: float | None = None
    bytes_per_second: float | None = None
    streams: int | None = None


class Tenant(NamedTuple):
    """Whom a key belongs to."""

    tenant_id: str
    data_class: common_pb2.DataClass.ValueType
    limits: Limits = Limits()


class ValidKey(NamedTuple):
    key_id: str
    tenant: Tenant
    expires_at: datetime | None


class ApiKey(NamedTuple):
    """A key as it can be shown: never the key itself."""

    key_id: str
    tenant_id: str
    data_class: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class AuditEntry(NamedTuple):
    event: str
    tenant_id: str | None
    key_id: str | None
    actor: str
    count_like_it: int
    detail: str | None


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
    return _insert_key(connection, tenant_id, "key_created")


def rotate_key(connection: Connection, key_id: str, overlap: timedelta) -> str:
    """A new key for the tenant of `key_id`, which works on until `overlap` is over. Returns the new key.

    Raises ValueError when there is no such valid key.
    """
    cursor = connection.cursor()
    cursor.execute(
        "UPDATE api_keys SET expires_at = least(coalesce(expires_at, 'infinity'), now() + %s) "
        "WHERE key_id = %s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) "
        "RETURNING tenant_id",
        (overlap, key_id),
    )
    row = cursor.fetchone()
    if row is None:
        raise ValueError(f"there is no valid key {key_id}")
    return _insert_key(connection, row[0], "key_rotated", detail=f"{key_id} ends after {overlap}")


def revoke_key(connection: Connection, key_id: str) -> bool:
    """Whether there was such a key that was not revoked yet."""
    cursor = connection.cursor()
    cursor.execute(
        "UPDATE api_keys SET revoked_at = now() WHERE key_id = %s AND revoked_at IS NULL RETURNING tenant_id",
        (key_id,),
    )
    row = cursor.fetchone()
    if row is not None:
        _audit_operator(connection, "key_revoked", row[0], key_id)
    return row is not None


def list_keys(connection: Connection) -> list[ApiKey]:
    cursor = connection.cursor()
    cursor.execute(
        "SELECT key_id, tenant_id, data_class, api_keys.created_at, expires_at, revoked_at "
        "FROM api_keys JOIN tenants USING (tenant_id) ORDER BY tenant_id, api_keys.created_at"
    )
    return [ApiKey(*row) for row in cursor.fetchall()]


def set_limits(connection: Connection, tenant_id: str, limits: Limits) -> bool:
    """Replaces all three; None goes back to the gateway's setting. Whether there is such a tenant."""
    cursor = connection.cursor()
    cursor.execute(
        "UPDATE tenants SET events_per_second = %s, bytes_per_second = %s, streams = %s WHERE tenant_id = %s",
        (*limits, tenant_id),
    )
    if cursor.rowcount == 1:
        detail = ", ".join(f"{name} {value}" for name, value in limits._asdict().items())
        _audit_operator(connection, "limits_set", tenant_id, None, detail)
    return cursor.rowcount == 1


def valid_keys(connection: Connection) -> dict[bytes, ValidKey]:
    """By SHA-256: each key that is valid now."""
    cursor = connection.cursor()
    cursor.execute(
        "SELECT key_sha256, key_id, expires_at, tenant_id, data_class, events_per_second, bytes_per_second, "
        "streams FROM api_keys JOIN tenants USING (tenant_id) "
        "WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
    )
    return {
        bytes(sha256): ValidKey(key_id, _tenant(tenant_id, data_class, Limits(*limits)), expires_at)
        for sha256, key_id, expires_at, tenant_id, data_class, *limits in cursor.fetchall()
    }


def write_audit(connection: Connection, entries: Iterable[AuditEntry]) -> None:
    execute_values(
        connection.cursor(),
        "INSERT INTO audit_log (event, tenant_id, key_id, actor, count, detail) VALUES %s",
        list(entries),
    )


def read_audit(connection: Connection, limit: int) -> list[tuple[object, ...]]:
    """The newest `limit` entries, oldest first; AUDIT_COLUMNS names their columns."""
    cursor = connection.cursor()
    cursor.execute(
        f"SELECT {', '.join(AUDIT_COLUMNS)} FROM audit_log ORDER BY audit_id DESC LIMIT %s",  # noqa: S608
        (limit,),
    )
    return cursor.fetchall()[::-1]


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _insert_key(connection: Connection, tenant_id: str, event: str, detail: str | None = None) -> str:
    key_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    key = f"{KEY_PREFIX}_{key_id}_{secret}"
    connection.cursor().execute(
        "INSERT INTO api_keys (key_id, tenant_id, key_sha256) VALUES (%s, %s, %s)",
        (key_id, tenant_id, digest(key)),
    )
    _audit_operator(connection, event, tenant_id, key_id, detail)
    return key


def _audit_operator(
    connection: Connection, event: str, tenant_id: str, key_id: str | None, detail: str | None = None
) -> None:
    write_audit(connection, [AuditEntry(event, tenant_id, key_id, _operator(), 1, detail)])


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "operator"


def _tenant(tenant_id: str, data_class: str, limits: Limits) -> Tenant:
    return Tenant(tenant_id, common_pb2.DataClass.Value(f"DATA_CLASS_{data_class.upper()}"), limits)
