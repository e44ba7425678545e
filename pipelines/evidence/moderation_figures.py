"""Figures of groups that are looked at together: who writes, how soon they are answered, how long they stay.

Formulas are those of `communities`, `clustered`, `survival` and `estimates`. Which groups belong together,
and what becomes a row, is `professional_moderation`'s. Each figure tells in `parts` which numbers of people
it gives away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipelines.evidence.clustered import Together, complement, together
from pipelines.evidence.communities import (
    centralisation,
    describe_counts,
    described,
    five_classes,
    gini,
    lorenz,
    one_nine_ninety,
)
from pipelines.evidence.estimates import (
    Estimate,
    clustered_rate,
    clustered_ratio,
    count,
    mean,
    not_estimated,
    summarise,
)
from pipelines.evidence.linear import Clusters, Floats, Integers
from pipelines.evidence.survival import follow

if TYPE_CHECKING:
    import pandas as pd

Booleans = npt.NDArray[np.bool_]

SOON = (1.0, 24.0)
"""Hours within which a reply is asked for. The latter is also how far the restricted mean goes."""

CLASSES = ("superusers", "top contributors", "contributors", "observers", "never logged in")
RANKS = ("top 1 %", "next 9 %", "other 90 %")
LOWEST = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)
"""Percent of members, at which the Lorenz curve is told."""

MONTHS = {"month": 1, "quarter": 3, "year": 12}

GAP, COMPLETED, ENDED = 1, 2, 3
REPLIED, CLOSED = 1, 2


@dataclass(frozen=True)
class Figure:
    """An estimate behind which `n` people stand, out of a denominator; it also tells of `parts` of them.

    `about`: those people, where it may be compared with that of other groups.
    """

    name: str
    estimate: Estimate
    n: int
    denominator: int
    unit: str
    parts: tuple[int, ...]
    part: str | None = None
    about: Integers | None = None


@dataclass(frozen=True, eq=False)
class Unit:
    """Groups that are looked at together: a row of `moderated_units`, and their rows of the other frames,
    with a number for each `person` and each `group`."""

    told: Any
    members: pd.DataFrame
    threads: pd.DataFrame
    networks: pd.DataFrame

    @property
    def people(self) -> int:
        return int(self.told.count_consented)

    @property
    def groups(self) -> int:
        return int(self.told.count_groups)

    @cached_property
    def of_person(self) -> Integers:
        """A number for the person of each membership: somebody may be a member of several groups."""
        return codes_of(self.members["person"])

    @cached_property
    def amounts(self) -> Floats:
        """What each person wrote, in all of the groups."""
        return np.bincount(self.of_person, self.members["count_posts"].to_numpy(float)).astype(float)

    @cached_property
    def posters(self) -> int:
        return int((self.amounts > 0).sum())


def figures(
    unit: Unit, hours: Sequence[float], days: Sequence[int], cohorts: str, *, is_brief: bool
) -> Iterator[Figure]:
    """All of them; `is_brief`: without curves, classes and cohorts."""
    told_hours = SOON if is_brief else tuple(sorted({*SOON, *hours}))
    yield from messages(unit)
    yield from contributions(unit, is_brief)
    yield from replies(unit, told_hours, is_brief)
    yield from moderators(unit)
    yield from retention(unit, days, "" if is_brief else cohorts)
    yield from network(unit)


# --- Messages ---------------------------------------------------------------------------------------------


def messages(unit: Unit) -> Iterator[Figure]:
    """Hsiung's seven, and how much is written in a member's week."""
    of_poster = unit.amounts[unit.amounts > 0]
    of_thread = unit.threads["count_messages"].to_numpy(np.int64)
    found = describe_counts(of_poster, of_thread)
    n, once, threads = unit.posters, int((of_poster == 1).sum()), len(of_thread)
    starters = people_among(codes_of(unit.threads["person"]))
    writing, starting = (n, unit.people - n), (starters, unit.people - starters)
    wrote = "people who wrote"
    yield Figure("people_who_posted", found.posters, n, unit.people, "people", writing)
    yield Figure("messages", found.messages, n, unit.groups, "groups", writing)
    yield Figure("threads", found.threads, starters, unit.groups, "groups", starting)
    yield Figure("posted_once_share", found.posted_once_share, n, n, wrote, (once, n - once, *writing))
    yield Figure("initial_post_only_share", found.initial_only_share, starters, threads, "threads", starting)
    yield Figure("posts_per_poster", found.per_poster, n, n, wrote, writing)
    yield Figure("posts_per_thread", found.per_thread, starters, threads, "threads", starting)
    yield _rate(unit)


def _rate(unit: Unit) -> Figure:
    frame, over = unit.members, "people"
    whose = unit.of_person
    if frame["group"].nunique() > 1:
        whose, over = codes_of(frame["group"]), "groups"
    posts, weeks = (
        np.bincount(whose, frame[name].to_numpy(float)) for name in ("count_posts", "member_weeks")
    )
    found = _over(clustered_rate(posts.tolist(), weeks.tolist()), over)
    return Figure(
        "messages_per_member_week", found, unit.people, int(weeks.sum()), "weeks of membership",
        (unit.posters, unit.people - unit.posters), about=frame["person"].to_numpy(np.int64),
    )  # fmt: skip


# --- Who writes how much ----------------------------------------------------------------------------------


def contributions(unit: Unit, is_brief: bool) -> Iterator[Figure]:
    people, amounts = unit.people, unit.amounts
    yield Figure("contribution_gini", gini(amounts), people, people, "people", (people,))
    if is_brief:
        return
    written = int(amounts.sum())
    for rank, found in zip(RANKS, one_nine_ninety(amounts), strict=True):
        parts = (found.people, people - found.people)
        share = _percent(found.share)
        yield Figure("content_percent", share, found.people, written, "messages", parts, rank)
    yield from _classes(unit, written)
    members, shares = lorenz(amounts)
    for percent in LOWEST:
        method = "Lorenz curve: share of messages that the members wrote who wrote least"
        least = int(percent * people / 100)
        point = (
            described(float(np.interp(percent / 100, members, shares)), method)
            if len(members)
            else not_estimated(method, gini(amounts).reason or "")
        )
        parts, part = (least, people - least), f"lowest {percent} %"
        yield Figure("lorenz_content_share", point, people, written, "messages", parts, part)


def _classes(unit: Unit, written: int) -> Iterator[Figure]:
    acted = np.bincount(unit.of_person, unit.members["has_acted"].to_numpy(float)) > 0
    found = five_classes(unit.amounts, acted if unit.told.has_reads_collected else None)
    sizes = tuple(int((found.codes == code).sum()) for code in range(len(CLASSES)))
    for name, people in zip(CLASSES, found.people, strict=True):
        yield Figure("people_in_class", people, unit.people, unit.people, "people", sizes, name)
    for name, share, n in list(zip(CLASSES, found.shares, sizes, strict=True))[:3]:
        yield Figure("content_percent", _percent(share), n, written, "messages", sizes, name)


# --- First replies ----------------------------------------------------------------------------------------


def replies(unit: Unit, hours: Sequence[float], is_brief: bool) -> Iterator[Figure]:
    """Kaplan–Meier, closed threads being censored, and Aalen–Johansen, closing competing with the reply."""
    threads = unit.threads
    waits, causes = _first(threads, "reply_hours", "closed_hours", until="followed_hours")
    both = _together(threads, waits, causes, "threads")
    alone = _together(threads, waits, np.where(causes == REPLIED, REPLIED, 0), "threads")
    (median,) = follow(waits, causes == REPLIED).curves().quantiles()
    whose, about = codes_of(threads["person"]), threads["person"].to_numpy(np.int64)

    def figure(name: str, estimate: Estimate, inside: Booleans, part: str | None = None) -> Figure:
        parts = (*_split(whose, inside), unit.people - people_among(whose))
        return Figure(name, estimate, people_among(whose), len(threads), "threads", parts, part, about)

    everybody = np.ones(len(threads), bool)
    yield figure("first_reply_median_hours", _as_independent(median), everybody)
    yield figure(
        "unanswered_mean_hours", alone.restricted_mean(SOON[1]), everybody, f"of {hour_part(SOON[1])}"
    )
    series: list[tuple[str, int, Iterable[Estimate]]] = [
        ("replied_share", REPLIED, both.incidence(hours, REPLIED)),
        ("closed_share", CLOSED, both.incidence(hours, CLOSED)),
    ]
    if not is_brief:
        series.append(("unanswered_share", REPLIED, alone.survival(hours)))
    for name, cause, found in series:
        for hour, estimate in zip(hours, found, strict=True):
            yield figure(name, estimate, (causes == cause) & (waits <= hour), hour_part(hour))


def moderators(unit: Unit) -> Iterator[Figure]:
    """How soon somebody answers who moderates the group."""
    threads = unit.threads
    waits, causes = _first(threads, "moderator_hours", "closed_hours", until="followed_hours")
    (median,) = follow(waits, causes == REPLIED).curves().quantiles()
    found = _together(threads, waits, causes, "threads").incidence(SOON)
    whose = codes_of(threads["person"])
    for name, estimate, within, part in (
        ("moderator_reply_median_hours", _as_independent(median), np.inf, None),
        *(
            ("moderator_replied_share", each, hour, hour_part(hour))
            for each, hour in zip(found, SOON, strict=True)
        ),
    ):
        inside = (causes == REPLIED) & (waits <= within)
        parts = (*_split(whose, inside), unit.people - people_among(whose))
        yield Figure(name, estimate, people_among(whose), len(threads), "threads", parts, part)


# --- Retention --------------------------------------------------------------------------------------------


def retention(unit: Unit, days: Sequence[int], cohorts: str) -> Iterator[Figure]:
    """Aalen–Johansen of the first 30-day gap, completion and being put out, from joining on."""
    followed = unit.members[unit.members["is_followed"].to_numpy(bool)]
    whose, about = codes_of(followed["person"]), followed["person"].to_numpy(np.int64)
    waits, causes = _stays(followed)
    found = _together(followed, waits, causes, "memberships")
    n, unit_name = people_among(whose), "memberships"

    def figure(name: str, estimate: Estimate, inside: Booleans, part: str | None) -> Figure:
        parts = (*_split(whose, inside), unit.people - n)
        return Figure(name, estimate, n, len(followed), unit_name, parts, part, about)

    for name, cause in (("dropout_share", GAP), ("completed_share", COMPLETED), ("ended_share", ENDED)):
        for day, estimate in zip(days, found.incidence(days, cause), strict=True):
            yield figure(name, estimate, (causes == cause) & (waits <= day), f"{day} days")
    gone, back = causes == GAP, followed["has_returned"].to_numpy(bool)
    lost = people_among(whose[gone])
    yield Figure(
        "returned_after_gap", count(int((gone & back).sum())), lost, int(gone.sum()),
        "memberships with a gap", (*_split(whose[gone], back[gone]), unit.people - lost),
    )  # fmt: skip
    if cohorts:
        yield from _cohorts(followed, waits, causes, days, cohorts)


def _cohorts(
    followed: pd.DataFrame, waits: Floats, causes: Integers, days: Sequence[int], by: str
) -> Iterator[Figure]:
    """Who has had no gap so many days after joining, by when they joined: the cells of the heat map."""
    months = _months(followed)
    of_cohort = months - months % MONTHS[by]
    cells: dict[int, list[Figure]] = {day: [] for day in days}
    for cohort in np.unique(of_cohort).tolist():
        inside = of_cohort == cohort
        frame = followed[inside]
        whose = codes_of(frame["person"])
        found = _together(frame, waits[inside], causes[inside], "memberships")
        for day, estimate in zip(days, found.incidence(days, GAP), strict=True):
            lost = (causes[inside] == GAP) & (waits[inside] <= day)
            cell = Figure(
                "retained_share", complement(estimate), people_among(whose), len(frame), "memberships",
                _split(whose, lost), f"joined {_cohort(cohort, by)}, {day} days",
            )  # fmt: skip
            cells[day].append(cell)
    for day in days:
        yield from held_together(cells[day])


def _months(followed: pd.DataFrame) -> Integers:
    """In which month each joined, from year 0."""
    import pandas as pd

    joined = pd.to_datetime(followed["joined_at"], utc=True).dt
    return np.asarray(joined.year * 12 + joined.month - 1, np.int64)


def _cohort(month: int, by: str) -> str:
    year, first = divmod(month, 12)
    return {"month": f"{year}-{first + 1:02}", "quarter": f"{year}-Q{first // 3 + 1}", "year": f"{year}"}[by]


def _stays(followed: pd.DataFrame) -> tuple[Floats, Integers]:
    return _first(followed, "gap_days", "completed_days", "ended_days", until="followed_days")


# --- Who answers whom -------------------------------------------------------------------------------------


def network(unit: Unit) -> Iterator[Figure]:
    """Of one group a description; of several the ratio of their sums, and the mean, over groups."""
    networks, people = unit.networks, unit.people
    dyads, mutual = (networks[name].to_numpy(np.int64) for name in ("count_dyads", "count_mutual"))
    parts = (unit.posters, people - unit.posters)
    yield Figure("dyads", count(int(dyads.sum())), people, unit.groups, "groups", parts)
    name = "mutual dyads over dyads"
    if len(networks) == 0:
        reciprocity = not_estimated(name, "nobody replied to another")
    elif len(networks) == 1:
        reciprocity = described(mutual[0] / dyads[0], name)
    else:
        reciprocity = _over(clustered_ratio(mutual.tolist(), dyads.tolist()), "groups")
    yield Figure("reciprocity", reciprocity, people, int(dyads.sum()), "dyads", parts)
    yield Figure("in_degree_centralisation", _central(unit), people, len(networks), "groups", parts)


def _central(unit: Unit) -> Estimate:
    """Members of several groups are not answered across them, so centralisation is of each group."""
    sizes = unit.members.groupby("group").size().to_dict()
    rows: Iterator[Any] = unit.networks.itertuples()
    found = [
        centralisation(int(each.max_in_degree), int(each.sum_in_degree), sizes.get(each.group, 0))
        for each in rows
    ]
    if unit.groups == 1:
        return found[0] if found else centralisation(0, 0, unit.people)
    values = [each.estimate for each in found if each.estimate is not None]
    told = mean(summarise(values))
    reasons = {0: "in no group anybody replied to another", 1: "no interval: one group"}
    method = "mean over groups of Freeman's centralisation of in-degrees; t interval"
    return replace(told, method=method, reason=told.reason and reasons.get(len(values), told.reason))


# --- What they share --------------------------------------------------------------------------------------


def held_together(cells: Sequence[Figure]) -> Iterator[Figure]:
    """Beside their whole, one cell that is suppressed alone could be had from the others: each tells of the
    smallest number of people that any of them tells of."""
    smallest = min((part for cell in cells for part in cell.parts if part > 0), default=0)
    return (replace(cell, parts=(*cell.parts, smallest)) for cell in cells)


def _first(frame: pd.DataFrame, *causes: str, until: str) -> tuple[Floats, Integers]:
    """How long each row waited, and for what: 0 is the end of the data, which comes last in a tie."""
    times = np.column_stack([frame[name].to_numpy(float, na_value=np.nan) for name in (*causes, until)])
    times = np.where(np.isnan(times), np.inf, times)
    which = times.argmin(axis=1)
    return times.min(axis=1), np.where(which == len(causes), 0, which + 1)


def _together(frame: pd.DataFrame, waits: Floats, causes: Integers, rows: str) -> Together:
    """Clusters are groups; in one group, people: how groups differ it does not tell."""
    name, over = "group", f"groups of {rows}"
    if frame["group"].nunique() < 2:
        name, over = "person", f"people with {rows} in one group"
    codes = codes_of(frame[name])
    return together(waits, causes, Clusters(codes, np.bincount(codes).astype(np.int64)), over)


def codes_of(labels: npt.ArrayLike) -> Integers:
    """A number for each label, from 0, in the order in which they come."""
    import pandas as pd

    return np.asarray(pd.factorize(np.asarray(labels))[0], np.int64)


def people_among(whose: Integers) -> int:
    """How many different people there are, of numbers from 0."""
    return int(np.count_nonzero(np.bincount(whose)))


def _split(whose: Integers, inside: Booleans) -> tuple[int, int]:
    """How many people have a row inside, and how many one outside."""
    return people_among(whose[inside]), people_among(whose[~inside])


def hour_part(hours: float) -> str:
    return f"{hours:g} h"


def _percent(share: Estimate) -> Estimate:
    value = None if share.estimate is None else 100 * share.estimate
    return replace(share, estimate=value, method=f"{share.method}; in percent")


def _as_independent(median: Estimate) -> Estimate:
    return replace(median, method=f"{median.method}; closed threads censored; threads as if independent")


def _over(found: Estimate, clusters: str) -> Estimate:
    """The method of an estimate over people, of clusters that are others."""
    reason = found.reason and found.reason.replace("one person", f"one of {clusters}")
    return replace(found, method=found.method.replace("people", clusters), reason=reason)
