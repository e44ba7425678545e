"""What a release lets be looked at, and whether what was looked at before is still as it was.

A confidence sequence holds of units that enter once and keep their value, so each watched study remembers, as
hashes, the answers, arms and covariates that were in its last look. What is gone or changed since, or comes
in for days that had been looked at, voids the study's sequences for good, for that version of its protocol.
Formulas are `sequences`', the state `publication.looks`'. Decision 0038.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipelines.evidence.inputs import Inputs
from pipelines.evidence.protocols import Comparison, MutualHelp, Protocol, protocols_of
from pipelines.evidence.rows import (
    CARERS_CONTROLLED,
    GROUP_PEER_SUPPORT_META,
    MUTUAL_HELP,
    YOUTH_ONLINE_PEER_SUPPORT,
)
from pipelines.evidence.sequences import Void, void
from pipelines.publication.looks import Looked, Seen, Watched

if TYPE_CHECKING:
    import pandas as pd

LATE = timedelta(days=7)
"""So long a day may still come in: what the gateway calls late is older. Later than that it is backfill."""

_UNIT = np.dtype([("unit", "<u8"), ("owner", "<u8"), ("size", "<f8")])

Units = npt.NDArray[Any]
"""Of `_UNIT`: hash of what was looked at, of whose it is, and of how many people a study's report tells."""


def what_is_looked_at(
    inputs: Inputs,
    frames: Mapping[str, pd.DataFrame],
    known: Looked,
    *,
    prints: Mapping[str, Mapping[str, str]],
    unchanged: Mapping[str, Collection[str]],
    now: datetime,
) -> Looked:
    """What the candidate of these frames would add to what is `known`, and what is void in it.

    A study whose protocol is younger than its data is void already and not watched.
    """
    seen: dict[Watched, Seen] = {}
    voids = {watched: set(found) for watched, found in known.voids.items()}
    for watched in _watched(frames, known, prints, unchanged):
        before = known.seen.get(watched)
        if before and before.units is not None and watched.tenant in unchanged[watched.table]:
            seen[watched] = Seen(now, None)
            continue
        units, at = _units(inputs, watched)
        seen[watched] = Seen(now, units.tobytes())
        if before and before.units is not None:
            found = what_voids(np.frombuffer(before.units, _UNIT), units, at, before.looked_at)
            if found:
                voids.setdefault(watched, set()).update(found)
    return Looked(prints, seen, voids)


def what_voids(before: Units, now: Units, at: Sequence[Any], looked_at: datetime) -> set[Void]:
    """What has happened to units that were looked at. `at`: when each unit of now happened, None where that
    is not asked. A report of a study may be followed by one of more people."""
    found: set[Void] = set()
    gone = before[~np.isin(before["unit"], now["unit"])]
    if len(gone):
        sizes: dict[int, float] = {}
        for owner, size in zip(now["owner"].tolist(), now["size"].tolist(), strict=True):
            sizes[owner] = max(size, sizes.get(owner, 0.0))
        for owner, size in zip(gone["owner"].tolist(), gone["size"].tolist(), strict=True):
            if owner not in sizes:
                found.add("erasure")
            elif not sizes[owner] > size:
                found.add("revision")
    is_new = ~np.isin(now["unit"], before["unit"]) & ~np.isin(now["owner"], gone["owner"])
    limit = looked_at - LATE
    if any(when is not None and when < limit for when, is_it in zip(at, is_new, strict=True) if is_it):
        found.add("backfill")
    return found


def unless_void(table: str, rows: pd.DataFrame, voids: Mapping[Watched, Collection[str]]) -> pd.DataFrame:
    """The rows without the sequences that are void, and with the reason."""
    import pandas as pd

    of_table: dict[tuple[str, ...], Any] = {
        each[1:]: found for each, found in voids.items() if each.table == table
    }
    if not of_table:
        return rows
    changed = [_unless_void(row, of_table) for row in rows.to_dict("records")]
    return pd.DataFrame(changed, columns=rows.columns, dtype=object)


def _unless_void(row: dict[Any, Any], of_table: Mapping[tuple[str, ...], Collection[Void]]) -> dict[Any, Any]:
    found = of_table.get((row["tenant"], row["study"], row["protocol_version"]))
    if not found or row["anytime_low"] is None:
        return row
    return row | {"anytime_low": None, "anytime_high": None, "anytime_reason": void(found)}


def _watched(
    frames: Mapping[str, pd.DataFrame],
    known: Looked,
    prints: Mapping[str, Collection[str]],
    unchanged: Mapping[str, Collection[str]],
) -> Iterator[Watched]:
    """Studies of partners in tables that have sequences; once watched, always. The frames need not have rows
    of tenants who are unchanged."""
    for table in _UNITS_OF:
        rows = frames[table][frames[table]["tenant"].isin([*prints[table]])]
        columns = [rows[name] for name in ("tenant", "study", "protocol_version", "post_hoc")]
        for *place, is_post_hoc in dict.fromkeys(zip(*columns, strict=True)):
            watched = Watched(table, *map(str, place))
            if not is_post_hoc or watched in known.seen:
                yield watched
        current = {(each.study, each.version) for each in protocols_of(table)}
        for watched in known.seen:
            if watched.table == table and watched.tenant in unchanged[table] and watched[2:] in current:
                yield watched


# --- What is remembered -----------------------------------------------------------------------------------


def _units(inputs: Inputs, watched: Watched) -> tuple[Units, list[Any]]:
    import pandas as pd

    (protocol,) = (each for each in protocols_of(watched.table) if each.study == watched.study)
    parts = [each for each in _UNITS_OF[watched.table](inputs, watched.tenant, protocol) if len(each)]
    if not parts:
        return np.empty(0, _UNIT), []
    units = pd.concat(parts, ignore_index=True).drop_duplicates("unit")
    made = np.empty(len(units), _UNIT)
    for name in ("unit", "owner", "size"):
        made[name] = units[name].to_numpy()
    return made, [None if pd.isna(each) else each for each in units["at"]]


def _of_people(inputs: Inputs, tenant: str, protocol: Protocol) -> Iterator[pd.DataFrame]:
    """Answers, with what was done before them where a table looks at that; arms; covariates."""
    scores, stated, attributes = (
        each[each["tenant_id"] == tenant]
        for each in (inputs.scores, inputs.person_covariates, inputs.person_attributes)
    )
    scores = scores[scores["study_code"] == protocol.study]
    done = () if isinstance(protocol, Comparison) else ("count_posts_before", "count_sessions_before")
    person = ("participant_id",)
    yield _hashed(scores, "answer", person, _ANSWER, ("score", *done), at="occurred_at")
    yield _hashed(scores.dropna(subset="arm"), "arm", person, (*person, "arm"))
    yield _hashed(
        stated[stated["study_code"] == protocol.study], "covariate", person,
        (*person, "covariate", "covariate_value"),
    )  # fmt: skip
    for name in _attributes(protocol):
        known = attributes[attributes["participant_id"].isin(scores["participant_id"])].dropna(subset=name)
        yield _hashed(known, name, person, (*person, name))


_ANSWER = ("event_id", "instrument", "instrument_version", "scale", "time_point")


def _attributes(protocol: Protocol) -> Iterator[str]:
    arms = protocol.members if isinstance(protocol, MutualHelp) else protocol
    covariates = getattr(arms, "covariates", ())
    return (each.covariate for each in covariates if each.source == "attribute")


def _of_studies(inputs: Inputs, tenant: str, protocol: Protocol) -> Iterator[pd.DataFrame]:
    """Reports. Earlier results may be added at any time: nothing of a pool is backfill."""
    reports = inputs.reports[inputs.reports["tenant_id"] == tenant]
    if len(reports):
        names = ("mean", "sd", "count_people", "count_people_with_event", "estimate", "standard_error")
        yield _hashed(reports, "report", _REPORT, _REPORT, names, size="count_people")


_REPORT = (
    *("study_code", "kind", "arm", "comparison_arm", "outcome", "instrument", "time_point"),
    "effect_scale",
)

_UNITS_OF: dict[str, Callable[[Inputs, str, Any], Iterator[pd.DataFrame]]] = {
    YOUTH_ONLINE_PEER_SUPPORT.name: _of_people,
    MUTUAL_HELP.name: _of_people,
    CARERS_CONTROLLED.name: _of_people,
    GROUP_PEER_SUPPORT_META.name: _of_studies,
}


def _hashed(
    rows: pd.DataFrame,
    kind: str,
    owner: Sequence[str],
    words: Sequence[str],
    numbers: Sequence[str] = (),
    *,
    at: str | None = None,
    size: str | None = None,
) -> pd.DataFrame:
    """A unit for each row. Types of columns do not matter: they change with what is in them."""
    import pandas as pd

    told = {name: rows[name].astype("string").fillna("").astype(object) for name in {*owner, *words}}
    told |= {name: pd.to_numeric(rows[name]).astype(float) for name in numbers}
    frame = pd.DataFrame(told).assign(kind=kind)
    return pd.DataFrame(
        {
            "unit": pd.util.hash_pandas_object(frame[["kind", *words, *numbers]], index=False),
            "owner": pd.util.hash_pandas_object(frame[[*owner]], index=False),
            "size": 0.0 if size is None else frame[size].fillna(0.0),
            "at": pd.Series([None] * len(rows), rows.index, object)
            if at is None
            else rows[at].astype(object),
        }
    )
