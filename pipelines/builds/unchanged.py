"""Whose rows of evidence need not be computed again, because nothing that they are computed from has changed.

A fingerprint is of one tenant's rows of the frames that a table uses, and of the code and protocols that
compute it. Rows of an equal fingerprint are equal, so those that are published are taken over, as of the new
snapshot. A builder is given the frames that its table uses, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.evidence.inputs import USES, Inputs

if TYPE_CHECKING:
    import pandas as pd

CODE = (Path(__file__).parents[1] / "evidence", Path(__file__).parents[1] / "publication")


def fingerprints(of_data: Mapping[str, str]) -> dict[str, str]:
    """By tenant, from the prints of a table's data."""
    return {
        tenant: hashlib.sha256(f"{_code()} {each}".encode()).hexdigest()[:32]
        for tenant, each in of_data.items()
    }


def prints(inputs: Inputs) -> dict[str, dict[str, str]]:
    """By table and tenant, of all who have a row in a frame that the table uses: of the data alone, whatever
    code computes from them."""
    by_frame = {each.name: _digests(getattr(inputs, each.name)) for each in fields(Inputs)}
    return {table: _of_frames({name: by_frame[name] for name in names}) for table, names in USES.items()}


def _of_frames(by_frame: Mapping[str, Mapping[str, bytes]]) -> dict[str, str]:
    digests: dict[str, hashlib._Hash] = {}
    for name, by_tenant in by_frame.items():
        for tenant, each in by_tenant.items():
            digests.setdefault(tenant, hashlib.sha256()).update(name.encode() + b" " + each)
    return {tenant: digest.hexdigest()[:32] for tenant, digest in digests.items()}


def only(inputs: Inputs, table: str, without: Collection[str]) -> Inputs:
    """What the table uses, less what is known of some tenants. The other frames have no columns."""
    import pandas as pd

    changed = {}
    for each in fields(Inputs):
        frame: pd.DataFrame = getattr(inputs, each.name)
        is_used = each.name in USES[table]
        changed[each.name] = frame[~frame["tenant_id"].isin([*without])] if is_used else pd.DataFrame()
    return replace(inputs, **changed)


def _digests(frame: pd.DataFrame) -> dict[str, bytes]:
    """Of each tenant's rows, in their order."""
    import pandas as pd

    hashes = pd.util.hash_pandas_object(frame, index=False)
    kinds = repr([(name, str(kind)) for name, kind in frame.dtypes.items()]).encode()
    return {
        str(tenant): hashlib.sha256(kinds + rows.to_numpy().tobytes()).digest()
        for tenant, rows in hashes.groupby(frame["tenant_id"])
    }


@cache
def _code() -> str:
    """Of all that decides on a row but its inputs: code, protocols, what is printed."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in CODE for path in folder.rglob("*.*") if path.suffix != ".pyc"):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
