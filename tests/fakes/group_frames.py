"""A study of members of groups as the frames that the marts would give: two groups for men and one for
anyone, small enough to be worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipelines.evidence.inputs import Inputs
from tests.fakes.inputs import inputs

TENANT, STUDY = "t", "synthetic-mens-groups"
AT = pd.Timestamp("2026-01-05", tz="UTC")
Row = dict[str, Any]


@dataclass
class Member:
    """`themes`: by theme, what each coder has said; `scores`: loneliness at baseline and month 3."""

    ref: str
    gender: str | None
    group: str
    sessions: tuple[int, int] = (0, 0)
    """Attended, of so many that were open."""
    posts: int = 0
    themes: dict[str, dict[str, bool]] = field(default_factory=dict)
    scores: tuple[float | None, float | None] = (None, None)


@dataclass
class Groups:
    """`populations`: by group; `replies`: group, who replied, to whom; `excluded`: without consent."""

    members: list[Member]
    populations: dict[str, str | None]
    replies: list[tuple[str, str, str]] = field(default_factory=list)
    excluded: int = 0


def frames(groups: Groups, data_class: str = "synthetic") -> Inputs:
    place = {"tenant_id": TENANT, "study_code": STUDY}
    return inputs(
        coded_studies=[place | {"data_class": data_class} | row for row in _sizes(groups)],
        themes=[
            place
            | {"participant_id": member.ref, "gender": member.gender, "theme": theme, "coder_id": coder}
            | {"group_id": member.group, "is_present": is_present}
            for member in groups.members
            for theme, codes in member.themes.items()
            for coder, is_present in codes.items()
        ],
        group_people=[
            {
                "tenant_id": TENANT,
                "group_id": member.group,
                "population": groups.populations[member.group],
                "participant_id": member.ref,
                "gender": member.gender,
                "count_sessions_open": member.sessions[1],
                "count_sessions_attended": member.sessions[0],
                "count_posts": member.posts,
                "has_replied": any(
                    (group, one) == (member.group, member.ref) for group, one, _ in groups.replies
                ),
            }
            for member in groups.members
        ],
        dyads=[*_dyads(groups)],
        scores=[place | row for member in groups.members for row in _scores(member)],
        person_attributes=[
            {"tenant_id": TENANT, "participant_id": member.ref, "gender": member.gender}
            for member in groups.members
        ],
    )


def _sizes(groups: Groups) -> Iterator[Row]:
    coded = sum(bool(member.themes) for member in groups.members)
    answered = sum(member.scores != (None, None) for member in groups.members)
    for source, people in (("interviews", coded), ("answers", answered), ("members", len(groups.members))):
        at = pd.NaT if source == "members" or not people else AT
        if people or source == "members":
            yield {
                "source": source,
                "count_people": people + groups.excluded,
                "count_consented": people,
                "first_told_at": at,
                "last_told_at": at,
            }


def _dyads(groups: Groups) -> Iterator[Row]:
    genders = {member.ref: member.gender for member in groups.members}
    for group, one, other in sorted({(group, *sorted(pair)) for group, *pair in groups.replies}):
        yield {
            "tenant_id": TENANT,
            "group_id": group,
            "one_id": one,
            "other_id": other,
            "is_mutual": {(group, one, other), (group, other, one)} <= {*groups.replies},
            "population": groups.populations[group],
            "one_gender": genders[one],
            "other_gender": genders[other],
        }


def _scores(member: Member) -> Iterator[Row]:
    for time_point, score in zip(("baseline", "month-3"), member.scores, strict=True):
        if score is not None:
            yield {
                "data_class": "synthetic",
                "participant_id": member.ref,
                "event_id": f"{member.ref}-{time_point}",
                "arm": None,
                "group_id": None,
                "instrument": "ucla-3",
                "instrument_version": "1",
                "scale": "total",
                "time_point": time_point,
                "score": score,
                "occurred_at": AT,
            }


def by_hand() -> Groups:
    """What comes out of it is worked out in the tests."""
    yes, no, apart = {"a": True, "b": True}, {"a": False, "b": False}, {"a": True, "b": False}
    said = {
        "m1": (yes, yes), "m2": (yes, no), "m3": (apart, no), "m4": (yes, yes), "m5": (no, apart),
        "m6": (yes, no), "w1": (no, yes), "w2": (yes, yes), "w3": (no, no), "x1": (apart, yes),
    }  # fmt: skip
    themes = {ref: {"safe-space": one, "masculine-norms": other} for ref, (one, other) in said.items()}
    return Groups(
        [
            Member("m1", "man", "g1", (4, 4), 3, themes["m1"], (7, 5)),
            Member("m2", "man", "g1", (3, 4), 2, themes["m2"], (6, 5)),
            Member("m3", "man", "g1", (0, 4), 0, themes["m3"], (8, 8)),
            Member("m4", "man", "g2", (2, 4), 1, themes["m4"], (5, 4)),
            Member("m5", "man", "g2", (4, 4), 5, themes["m5"], (9, 7)),
            Member("m6", "man", "g3", (1, 2), 1, themes["m6"], (6, None)),
            Member("w1", "woman", "g3", (2, 2), 4, themes["w1"], (4, 4)),
            Member("w2", "woman", "g3", (1, 2), 1, themes["w2"], (7, 8)),
            Member("w3", "woman", "g3", (0, 0), 0, themes["w3"]),
            Member("x1", None, "g3", (2, 2), 1, themes["x1"], (6, 3)),
        ],
        {"g1": "men", "g2": "men", "g3": "anyone"},
        [
            ("g1", "m1", "m2"), ("g1", "m2", "m1"),
            ("g2", "m5", "m4"),
            ("g3", "w1", "m6"), ("g3", "m6", "w1"), ("g3", "w1", "w2"), ("g3", "x1", "w1"),
        ],
        excluded=2,
    )  # fmt: skip
