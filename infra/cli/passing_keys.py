"""A key for as long as a command posts, and whose a key is that a command was given.

What a key is, is ingestion's; keys that stay are `keys`'.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from infra.local.errors import StackError
from services.ingestion.keys import Tenant, create_key, digest, list_keys, revoke_key, valid_keys
from services.runtime.postgres import Connection, PostgresUnavailable, connect
from services.runtime.settings import PostgresSettings


@contextmanager
def passing_key(tenant_id: str, data_class: str) -> Iterator[str]:
    """A key of the tenant, which is made if it is new; it is revoked in the end.

    Raises StackError when the tenant has another data class, or the database does not answer.
    """
    with _control() as connection:
        try:
            key = create_key(connection, tenant_id, data_class)
        except ValueError as refusal:
            raise StackError(
                f"Nothing was posted: {refusal}.",
                "`circles keys list` shows all tenants; --tenant names another.",
            ) from refusal
        try:
            yield key
        finally:
            for each in list_keys(connection):
                if f"_{each.key_id}_" in key:
                    revoke_key(connection, each.key_id)


def tenant_of(key: str) -> Tenant:
    """Whose a key is. Raises StackError when it is nobody's here, or the database does not answer."""
    with _control() as connection:
        found = valid_keys(connection).get(digest(key))
    if found is None:
        raise StackError(
            "Nothing was posted: this stack does not know the key.",
            "Unset CIRCLES_PARTNER_KEY, and a key is made; or make one with `circles keys add`.",
        )
    return found.tenant


@contextmanager
def _control() -> Iterator[Connection]:
    postgres = PostgresSettings.load()
    try:
        connection = connect(postgres, postgres.database_control)
    except PostgresUnavailable as away:
        raise StackError(
            f"{away}.", "Does the stack run? `circles status` tells, `circles up` starts it."
        ) from away
    with closing(connection):
        yield connection
