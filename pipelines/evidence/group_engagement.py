"""The table `group_engagement`: how people take part in each group. Descriptive, for any group.

The formulas stand in `estimates`; whether a row may be shown is decided by publication, to which each row
tells in `parts` which numbers of people it gives away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.evidence.estimates import Estimate, clustered_ratio, count, mean, proportion, summarise
from pipelines.evidence.inputs import Inputs
from pipelines.evidence.protocols import Engagement, protocols
from pipelines.evidence.rows import GROUP_ENGAGEMENT, estimate_columns, frame, protocol_columns

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cell:
    """One estimate of a group: `n` people stand behind it; it also tells of `parts` of them."""

    name: str
    estimate: Estimate
    n: int
    denominator: int
    unit: str
    parts: tuple[int, ...] = ()


def group_engagement(inputs: Inputs) -> pd.DataFrame:
    """One row per protocol, group and estimate. Groups without members have no rows."""
    members = dict(list(inputs.members.groupby(["tenant_id", "group_id"])))
    rows = [
        row
        for protocol in protocols(Engagement)
        for group in _with_members(inputs)
        for row in _rows(protocol, group, members.get((group.tenant_id, group.group_id)))
    ]
    return frame(rows, GROUP_ENGAGEMENT, extra=("parts",))


def _with_members(inputs: Inputs) -> Iterator[Any]:
    """Rows of the mart as named tuples."""
    rows: Iterator[Any] = inputs.groups.itertuples()
    return (row for row in rows if row.count_members > 0)


def _rows(protocol: Engagement, group: Any, members: pd.DataFrame | None) -> Iterator[dict[str, Any]]:
    common = {
        **protocol_columns(protocol, group.tenant_id, group.data_class, group.first_event_at.date()),
        "source_kind": "own",
        "group_id": group.group_id,
        "missing_share": 0.0,
        "n_consented": int(group.count_consented),
        "n_excluded": int(group.count_members - group.count_consented),
        "design": protocol.design,
        "period": f"{group.first_event_at.date()}/{group.last_event_at.date()}",
    }
    for cell in _cells(group, members):
        yield (
            common
            | estimate_columns(cell.estimate)
            | {
                "estimate_name": cell.name,
                "n": cell.n,
                "denominator": cell.denominator,
                "denominator_unit": cell.unit,
                "parts": (cell.n, *cell.parts),
            }
        )


def _cells(group: Any, members: pd.DataFrame | None) -> Iterator[Cell]:
    people = int(group.count_consented)
    yield Cell("participants", count(people), people, people, "people")
    yield _share("active_share", int(group.count_active), people, "people", people)
    yield from _attendance_cells(group, members, people)
    yield from _writing_cells(group, members, people)


def _attendance_cells(group: Any, members: pd.DataFrame | None, people: int) -> Iterator[Cell]:
    open_to = [] if members is None else members["count_sessions_open"].tolist()
    attended = [] if members is None else members["count_sessions_attended"].tolist()
    invited = sum(each > 0 for each in open_to)
    places, unit = int(group.count_sessions_open), "sessions open to people"
    parts = (people - invited,)
    yield Cell("sessions_held", count(int(group.count_sessions_held)), people, 1, "groups")
    yield Cell("attendances", count(int(group.count_attendances)), invited, places, unit, parts)
    yield Cell("attendance_rate", clustered_ratio(attended, open_to), invited, places, unit, parts)


def _writing_cells(group: Any, members: pd.DataFrame | None, people: int) -> Iterator[Cell]:
    posts = [] if members is None else [each for each in members["count_posts"].tolist() if each > 0]
    starters = 0 if members is None else int((members["count_threads_started"] > 0).sum())
    writers = int(group.count_posters)
    yield Cell(
        "posts_per_poster", mean(summarise(posts)), writers, writers, "people who wrote", (people - writers,)
    )
    yield _share("posted_once_share", int(group.count_posters_once), writers, "people who wrote", people)
    yield Cell(
        "thread_reply_share",
        proportion(int(group.count_threads_with_reply), int(group.count_threads)),
        starters,
        int(group.count_threads),
        "threads",
        (people - starters,),
    )


def _share(name: str, successes: int, out_of: int, unit: str, people: int) -> Cell:
    """A share of people tells of those inside it, those outside it, and those not in the denominator."""
    parts = (successes, out_of - successes, people - out_of)
    return Cell(name, proportion(successes, out_of), out_of, out_of, unit, parts)
