"""References to keyed pseudonyms: what a partner calls a person, group, thread, session or act is
replaced before anything is stored.

Keyed BLAKE2b, one derived key per tenant and kind of thing: the same reference always becomes the
same pseudonym within a tenant, and cannot be linked across tenants, or back, without the key. A
safeguarding case's reference stays as sent, because the partner must recognise it. Which field of an
event has which kind of thing is `KINDS`; `compiled` puts the pseudonyms in their places, and `wire` makes
them by itself for whole batches.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor

from services.ingestion.rules import text_rule

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

THINGS = sorted(set(KINDS.values()))
"""Every kind of thing once; their order is that of tables and arguments elsewhere."""

KEY_BYTES = 32
MAX_REMEMBERED = 50_000
"""Of one tenant and kind: a bound on memory. A forgotten pseudonym is computed again."""

_is_reference = text_rule("reference").holds


class NotAReference(ValueError):
    """A text that breaks the rule of references has no pseudonym."""


class Names(dict[str, str]):
    """Pseudonym by reference of one tenant and kind of thing: `names[reference]`, as fast as a dict.

    Raises NotAReference; what has a pseudonym has kept the rule.
    """

    def __init__(self, key: bytes, kind: str) -> None:
        super().__init__()
        self._keyed = hashlib.blake2b(key=key, digest_size=16)
        self._prefix = f"{kind}_"

    def __missing__(self, reference: str) -> str:
        if not _is_reference(reference):
            raise NotAReference
        hasher = self._keyed.copy()
        hasher.update(reference.encode())
        if len(self) >= MAX_REMEMBERED:
            self.clear()
        pseudonym = self[reference] = self._prefix + hasher.hexdigest()
        return pseudonym


class Pseudonymiser:
    """Pseudonyms of one deployment. Raises ValueError when the key has a wrong size."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the pseudonym key must have {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._names: dict[str, dict[str, Names]] = {}

    @classmethod
    def from_file(cls, path: Path) -> Pseudonymiser:
        return cls(path.read_bytes())

    def names(self, tenant_id: str) -> dict[str, Names]:
        """The tenant's pseudonyms by kind of thing (a value of `KINDS`)."""
        known = self._names.get(tenant_id)
        if known is None:
            known = {kind: Names(self.key(tenant_id, kind), kind) for kind in THINGS}
            self._names[tenant_id] = known
        return known

    def pseudonym(self, tenant_id: str, kind: str, reference: str) -> str:
        """As `prt_` and 32 hexadecimal digits: 128 bits."""
        return self.names(tenant_id)[kind][reference]

    def replace(self, tenant_id: str, event: Any, kind: str) -> None:
        """Replaces every reference of `event`, whose oneof member is `kind`, in place."""
        for message in (event, getattr(event, kind)):
            for field in _reference_fields(message.DESCRIPTOR):
                reference = getattr(message, field)
                if reference:
                    setattr(message, field, self.pseudonym(tenant_id, KINDS[field], reference))

    def key(self, tenant_id: str, kind: str) -> bytes:
        """The key of the tenant's pseudonyms of one kind of thing."""
        return hashlib.blake2b(f"{tenant_id}\0{kind}".encode(), key=self._key, digest_size=KEY_BYTES).digest()


@cache
def _reference_fields(message: Descriptor) -> tuple[str, ...]:
    return tuple(field.name for field in message.fields if field.name in KINDS)
