"""References to keyed pseudonyms: what a partner calls a person, group, thread, session or act is
replaced before anything is stored.

Keyed BLAKE2b, one derived key per tenant and kind of thing: the same reference always becomes the
same pseudonym within a tenant, and cannot be linked across tenants, or back, without the key. A
safeguarding case's reference stays as sent, because the partner must recognise it.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor

KINDS = {
    "group_ref": "grp",
    "participant_ref": "prt",
    "coder_ref": "prt",
    "session_ref": "ses",
    "thread_ref": "thr",
    "act_ref": "act",
    "in_reply_to_act_ref": "act",
}
"""Kind of thing by field. Two fields of one kind share pseudonyms, so that a reply finds its act."""

KEY_BYTES = 32
MAX_REMEMBERED = 200_000
"""A bound on memory; a forgotten pseudonym is computed again."""


class Pseudonymiser:
    """Replaces references of one deployment's events. Raises ValueError when the key has a wrong size."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the pseudonym key must have {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._remembered: dict[tuple[str, str, str], str] = {}

    @classmethod
    def from_file(cls, path: Path) -> Pseudonymiser:
        return cls(path.read_bytes())

    def replace(self, tenant_id: str, event: Any, kind: str) -> None:
        """Replaces every reference of `event`, whose oneof member is `kind`, in place."""
        for field in _reference_fields(event.DESCRIPTOR):
            self._replace_field(tenant_id, event, field)
        body = getattr(event, kind)
        for field in _reference_fields(body.DESCRIPTOR):
            self._replace_field(tenant_id, body, field)

    def pseudonym(self, tenant_id: str, kind: str, reference: str) -> str:
        """As `prt_` and 26 characters of base 32: 128 bits."""
        remembered = self._remembered.get((tenant_id, kind, reference))
        if remembered is not None:
            return remembered
        digest = hashlib.blake2b(
            reference.encode(), key=self._derived_key(tenant_id, kind), digest_size=16
        ).digest()
        pseudonym = f"{kind}_{base64.b32encode(digest).decode().rstrip('=').lower()}"
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[tenant_id, kind, reference] = pseudonym
        return pseudonym

    def _derived_key(self, tenant_id: str, kind: str) -> bytes:
        return hashlib.blake2b(f"{tenant_id}\0{kind}".encode(), key=self._key, digest_size=KEY_BYTES).digest()

    def _replace_field(self, tenant_id: str, message: Any, field: str) -> None:
        reference = getattr(message, field)
        if reference:
            setattr(message, field, self.pseudonym(tenant_id, KINDS[field], reference))


@cache
def _reference_fields(message: Descriptor) -> tuple[str, ...]:
    return tuple(field.name for field in message.fields if field.name in KINDS)
