"""A published table once more, from the snapshot of the lake that its rows name, by the code of today.

Refused where it could not be the same: the snapshot has expired, or something in it was erased.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.builds.evidence import computed
from pipelines.evidence.rows import TABLES, Table
from pipelines.evidence.sequences import VOID
from pipelines.publication.candidate import code_version, read_candidate
from pipelines.publication.release import NamedSnapshot, named_snapshots
from services.runtime.lake import SnapshotGone, open_lake, snapshot_of, snapshots
from services.runtime.settings import LakeSettings, PostgresSettings

if TYPE_CHECKING:
    import pandas as pd

RELATIVE = 1e-12
"""Numbers that differ by less are equal: 12 significant digits."""

OF_THE_RELEASE = ("release_id", "lake_snapshot", "code_version", "computed_at")
"""What a row says of where it comes from; everything else is computed."""

OF_LOOKS, OF_SEQUENCES = ("looks",), ("anytime_low", "anytime_high", "anytime_reason")
"""What follows from earlier releases: looks always, sequences where these have made them void."""


class CannotRecompute(Exception):
    """What is published cannot be computed again, and why."""


@dataclass(frozen=True)
class Difference:
    """A value of a row that came out otherwise. A row that is on one side alone differs as a whole."""

    row: str
    column: str
    published: Any
    computed: Any


@dataclass(frozen=True)
class Comparison:
    """A published table, or a row of it, beside its recomputation."""

    release: NamedSnapshot
    count_rows: int
    differences: tuple[Difference, ...]
    published_by: str
    computed_by: str
    """Versions of the code."""


def releases(postgres: PostgresSettings) -> list[NamedSnapshot]:
    """All releases, oldest first."""
    released = [each for each in named_snapshots(postgres) if each.released_at is not None]
    return sorted(released, key=lambda each: each.release_id)


def key_of(table: Table, row: dict[Any, Any]) -> str:
    """The name of a row among those of its table, as a person types it."""
    return "/".join("" if row[part] is None else str(row[part]) for part in table.key)


def published_rows(
    postgres: PostgresSettings, table: Table, release_id: int | None = None
) -> tuple[NamedSnapshot, dict[str, dict[Any, Any]]]:
    """A release, by default the one that readers see, and its rows by key. Raises CannotRecompute."""
    found = {each.release_id: each for each in releases(postgres)}
    if not found:
        raise CannotRecompute("Nothing has been released yet")
    shown = next((each.release_id for each in found.values() if each.is_shown), max(found))
    release = found.get(shown if release_id is None else release_id)
    if release is None:
        raise CannotRecompute(f"There is no release {release_id}")
    if not release.is_there:
        raise CannotRecompute(f"The tables of release {release.release_id} are kept no longer")
    return release, _by_key(table, read_candidate(postgres, release.release_id, table))


def recompute(
    lake: LakeSettings,
    postgres: PostgresSettings,
    table: Table,
    *,
    release_id: int | None = None,
    row: str | None = None,
) -> Comparison:
    """Computes the table of a release again and compares, all rows or one. Raises CannotRecompute."""
    release, published = published_rows(postgres, table, release_id)
    if row is not None and row not in published:
        raise CannotRecompute(f"Release {release.release_id} has no row {row} in {table.name}")
    if release.inputs_erased:
        raise CannotRecompute(
            f"Data that release {release.release_id} was computed from have been erased since (inputs_erased)"
        )
    again = _again(lake, postgres, table, release, published)
    keys = [row] if row is not None else sorted({*published, *again})
    differences = tuple(
        each for key in keys for each in _differences(table, key, published.get(key), again.get(key))
    )
    versions = {str(each["code_version"]) for each in published.values()}
    return Comparison(release, len(keys), differences, ", ".join(sorted(versions)), code_version())


def _again(
    lake: LakeSettings,
    postgres: PostgresSettings,
    table: Table,
    release: NamedSnapshot,
    published: Mapping[str, dict[Any, Any]],
) -> dict[str, dict[Any, Any]]:
    """The rows by key, each from the snapshot that it names: some may have stayed from an earlier one."""
    snapshot_of_tenant = {each["tenant"]: each["lake_snapshot"] for each in published.values()}
    again: dict[str, dict[Any, Any]] = {}
    for snapshot in sorted({release.lake_snapshot, *snapshot_of_tenant.values()}):
        found = _by_key(table, _computed_at(lake, postgres, table, snapshot))
        for key, each in found.items():
            if snapshot_of_tenant.get(each["tenant"], release.lake_snapshot) == snapshot:
                again[key] = each
    return again


def _computed_at(lake: LakeSettings, postgres: PostgresSettings, table: Table, snapshot: int) -> pd.DataFrame:
    try:
        with closing(open_lake(lake, postgres, read_only=True)) as connection:
            snapshot_of(snapshots(connection), snapshot)
        with closing(open_lake(lake, postgres, snapshot=snapshot)) as connection:
            return computed(connection, [table])[table.name]
    except SnapshotGone as error:
        raise CannotRecompute(str(error).removesuffix(".")) from error
    except duckdb.IOException as error:
        raise CannotRecompute(f"A file of snapshot {snapshot} cannot be read") from error


def _by_key(table: Table, rows: pd.DataFrame) -> dict[str, dict[Any, Any]]:
    return {key_of(table, each): each for each in rows.to_dict("records")}


def _differences(
    table: Table, key: str, published: dict[Any, Any] | None, again: dict[Any, Any] | None
) -> Iterator[Difference]:
    if published is None or again is None:
        yield Difference(key, "(row)", _presence(published), _presence(again))
        return
    for name in _compared(table, published):
        if not agree(published[name], again[name]):
            yield Difference(key, name, published[name], again[name])


def _presence(row: dict[Any, Any] | None) -> str | None:
    return None if row is None else "there"


def _compared(table: Table, published: dict[Any, Any]) -> Sequence[str]:
    """What an older release has no column for cannot differ."""
    is_void = str(published.get("anytime_reason")).startswith(VOID)
    left_out = {*OF_THE_RELEASE, *OF_LOOKS, *(OF_SEQUENCES if is_void else ())}
    return [each.name for each in table.columns if each.name in published and each.name not in left_out]


def agree(a: Any, b: Any) -> bool:
    """Equal, of numbers to 12 significant digits. What is missing agrees with what is missing alone."""
    if isinstance(a, float) or isinstance(b, float):
        return a is not None and b is not None and math.isclose(a, b, rel_tol=RELATIVE)
    return bool(a == b)


def table_named(name: str) -> Table:
    """Raises CannotRecompute."""
    if name not in TABLES:
        raise CannotRecompute(f"There is no evidence table {name}: there are {', '.join(TABLES)}")
    return TABLES[name]
