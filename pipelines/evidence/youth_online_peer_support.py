"""The table `youth_online_peer_support`: young members of online groups, and studies of such groups.

The shape of Ali, Farrer, Gulliver & Griffiths 2015, for own data as well: people who were young when they
answered, by the kind of group they are in. Change goes with what they had posted before; it is no effect of
it, as nobody draws lots to post.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.evidence.arms import place_of
from pipelines.evidence.counted import counted_rows
from pipelines.evidence.estimates import Estimate, count
from pipelines.evidence.inputs import Inputs
from pipelines.evidence.linear import Floats
from pipelines.evidence.protocols import Outcome, YoungMembers, YouthOnline, protocols
from pipelines.evidence.regression import ancova, clustered_mean, clustered_share, fit_linear
from pipelines.evidence.rows import YOUTH_ONLINE_PEER_SUPPORT, estimate_columns, frame, protocol_columns

if TYPE_CHECKING:
    import pandas as pd

ALL = "all online groups"
UNKNOWN = "not stated"
_CHANGE = "mean of the later score minus the baseline's"

Row = dict[str, Any]


def youth_online_peer_support(inputs: Inputs) -> pd.DataFrame:
    """Rows of counted studies and of young members, as protocols ask."""
    rows = [
        row
        for protocol in protocols(YouthOnline)
        for row in (*counted_rows(inputs, protocol), *_members(inputs, protocol))
    ]
    return frame(rows, YOUTH_ONLINE_PEER_SUPPORT, extra=("parts",))


def _members(inputs: Inputs, protocol: YouthOnline) -> Iterator[Row]:
    asked = protocol.members
    if asked is None:
        return
    scores = inputs.scores[inputs.scores["study_code"] == protocol.study]
    for tenant, of_tenant in scores.groupby("tenant_id"):
        first, last = (end(of_tenant["occurred_at"]).date() for end in (min, max))
        told = protocol_columns(protocol, str(tenant), min(of_tenant["data_class"]), first)
        common = told | {"source_kind": "own", "design": protocol.design, "period": f"{first}/{last}"}
        members = _of_groups(inputs.online_members, str(tenant), asked)
        made = [row for each in asked.outcomes for row in _outcome_rows(asked, each, of_tenant, members)]
        for row in _held_together([*made, *_retention_rows(asked, members)]):
            yield common | row


def _of_groups(members: pd.DataFrame, tenant: str, asked: YoungMembers) -> pd.DataFrame:
    """Members of the groups that the protocol is about."""
    is_of_it = (members["tenant_id"] == tenant) & members["format"].isin(asked.modalities)
    for column, wanted in (("moderation", asked.moderations), ("condition", asked.conditions)):
        if wanted:
            is_of_it &= members[column].isin(wanted)
    return members[is_of_it]


def _held_together(rows: Sequence[Row]) -> Iterator[Row]:
    """Strata tell of each other's people as well: beside the whole, one that is suppressed alone could be had
    from the others."""
    cells: dict[tuple[Any, ...], tuple[int, ...]] = {}
    places = [tuple(row.get(name) for name in ("outcome", "time_point", "estimate_name")) for row in rows]
    for place, row in zip(places, rows, strict=True):
        if row["part"] != ALL:
            cells[place] = (*cells.get(place, ()), *row["parts"])
    for place, row in zip(places, rows, strict=True):
        yield row if row["part"] == ALL else row | {"parts": cells[place]}


# --- Change -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pairs:
    """Young people with a score at baseline and at a later time point; `started`: with one at baseline."""

    frame: pd.DataFrame
    started: int

    @property
    def n(self) -> int:
        return len(self.frame)

    @property
    def change(self) -> Floats:
        return np.asarray(self.frame["score_later"] - self.frame["score"], float)

    @property
    def groups(self) -> list[str]:
        return [str(each) for each in self.frame["group"]]


def _outcome_rows(
    asked: YoungMembers, outcome: Outcome, scores: pd.DataFrame, members: pd.DataFrame
) -> Iterator[Row]:
    young = scores[
        (scores["instrument"] == outcome.instrument)
        & (scores["instrument_version"] == outcome.instrument_version)
        & (scores["scale"] == outcome.scale)
        & scores["age_band"].isin(asked.ages)
    ]
    kinds = _kind_of_group(young, members)
    for time_point in outcome.time_points[1:]:
        for stratum, of_stratum in _strata(kinds):
            place = place_of(outcome, time_point) | {"part": stratum}
            for row in _stratum_rows(asked, outcome, young, of_stratum, time_point):
                yield place | row


def _kind_of_group(young: pd.DataFrame, members: pd.DataFrame) -> pd.DataFrame:
    """Online group, modality and moderation, a row each person: the group that answers name, else the first
    joined."""
    named = young.dropna(subset="group_id").sort_values("occurred_at").drop_duplicates("participant_id")
    of_answers = dict(zip(named["participant_id"], named["group_id"], strict=True))
    joined = members[members["participant_id"].isin(young["participant_id"])]
    is_of_person = [
        of_answers.get(person, group) == group
        for person, group in zip(joined["participant_id"], joined["group_id"], strict=True)
    ]
    first = joined[np.array(is_of_person, bool)].sort_values(["first_joined_at", "group_id"])
    return first.drop_duplicates("participant_id")


def _strata(kinds: pd.DataFrame) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Name, and group by person: everybody, and each modality with each moderation."""
    for stratum, found in _strata_of_members(kinds):
        yield stratum, dict(zip(found["participant_id"], found["group_id"], strict=True))


def _stratum_rows(
    asked: YoungMembers, outcome: Outcome, young: pd.DataFrame, group_of: Mapping[str, str], time_point: str
) -> Iterator[Row]:
    of_stratum = young[young["participant_id"].isin([*group_of])]
    pairs = _pairs(of_stratum, outcome, time_point, group_of)
    yield _row("young_members", count(pairs.n), pairs)
    yield _row("mean_change", clustered_mean(pairs.change, pairs.groups, _CHANGE), pairs)
    yield _row("dose_response_slope", _dose_response(pairs), pairs) | {
        "contrast": "change associated with log(1 + posts before the answer), at the same baseline"
    }
    if asked.reference_arm is not None:
        others = young[(young["arm"] == asked.reference_arm) & ~young["participant_id"].isin([*group_of])]
        reference = _pairs(others, outcome, time_point, {})
        yield _against(pairs, reference, asked.reference_arm)


def _pairs(scores: pd.DataFrame, outcome: Outcome, time_point: str, group_of: Mapping[str, str]) -> Pairs:
    first = scores[scores["time_point"] == outcome.time_points[0]]
    later = scores[scores["time_point"] == time_point]
    both = first.merge(later, on="participant_id", suffixes=("", "_later"))
    return Pairs(both.assign(group=both["participant_id"].map(dict(group_of))), len(first))


def _dose_response(pairs: Pairs) -> Estimate:
    """The slope on log(1 + posts) of the later score, at the same baseline."""
    posts = pairs.frame["count_posts_before_later"].to_numpy(float)
    design = np.column_stack([np.ones(pairs.n), np.log1p(posts), pairs.frame["score"].to_numpy(float)])
    return fit_linear(pairs.frame["score_later"].to_numpy(float), design, pairs.groups).contrast([0, 1, 0])


def _against(pairs: Pairs, reference: Pairs, arm: str) -> Row:
    """Young members against young people of the reference arm, at the same baseline."""
    frames = [pairs.frame, reference.frame]
    y, baseline = (
        np.concatenate([each[name].to_numpy(float) for each in frames]) for name in ("score_later", "score")
    )
    groups = [*pairs.groups, *[None] * reference.n]
    adjusted = ancova(y, baseline, [True] * pairs.n + [False] * reference.n, clusters=groups)
    both = Pairs(pairs.frame, pairs.started + reference.started)
    return _row("ancova_difference", adjusted.difference, both) | {
        "n": pairs.n + reference.n,
        "n_arm": pairs.n,
        "n_reference": reference.n,
        "denominator": pairs.n + reference.n,
        "missing_share": _missing(pairs.n + reference.n, both.started),
        "reference_arm": arm,
        "contrast": f"young members − {arm}: associated with membership, not an effect of it",
        "parts": (pairs.n, reference.n),
    }


def _row(name: str, estimate: Estimate, pairs: Pairs) -> Row:
    return estimate_columns(estimate) | {
        "estimate_name": name,
        "n": pairs.n,
        "denominator": pairs.n,
        "denominator_unit": "people with a score at baseline and later",
        "missing_share": _missing(pairs.n, pairs.started),
        "parts": (pairs.n,),
    }


def _missing(n: int, started: int) -> float | None:
    return 1 - n / started if started else None


# --- Retention --------------------------------------------------------------------------------------------


def _retention_rows(asked: YoungMembers, members: pd.DataFrame) -> Iterator[Row]:
    """Shares of young members who were active so many days after they joined, or later, of those who joined
    that long before the group's last event."""
    young = members[members["age_band"].isin(asked.ages)]
    for days in asked.retention_days:
        for stratum, of_stratum in _strata_of_members(young):
            yield _retention(of_stratum, days) | {"part": stratum}


def _strata_of_members(young: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield ALL, young
    moderation = young["moderation"].fillna(UNKNOWN)
    for (modality, by), found in young.groupby([young["format"], moderation]):
        yield f"modality: {modality} × moderation: {by}".replace("_", "-"), found


def _retention(members: pd.DataFrame, days: int) -> Row:
    import pandas as pd

    followed = members[members["data_until"] - members["first_joined_at"] >= pd.Timedelta(days=days)]
    stayed = followed["last_activity_at"] - followed["first_joined_at"] >= pd.Timedelta(days=days)
    n, inside = len(followed), int(stayed.sum())
    estimate = clustered_share(np.asarray(stayed, float), [*followed["group_id"]])
    return estimate_columns(estimate) | {
        "estimate_name": f"retained_{days}_days_share",
        "n": n,
        "denominator": n,
        "denominator_unit": f"people who joined {days} days before the data end",
        "missing_share": _missing(n, len(members)),
        "parts": (n, inside, n - inside),
    }
