"""A tenant's people are counted while they are few, and estimated well when they are many."""

from __future__ import annotations

import numpy as np
import pytest
from circles.engagement.v1.tenant_contribution_pb2 import TenantContribution

from services.engagement.layout import EVENT, READ, Events
from services.engagement.tenants import MAX_SAMPLED, Contribution
from services.live.tenants import TenantFigures, Tenants, tenant_figures


class Record:
    """As Kafka's client gives one."""

    def __init__(self, value: bytes) -> None:
        self.value = value


def reads(people: np.ndarray, at: int = 0) -> Events:
    events = np.zeros(len(people), EVENT)
    events["person"], events["at"], events["kind"] = people, at, READ
    return events


def contribution_of(*changes: tuple[Events, int]) -> Contribution:
    """Of one group."""
    contribution = Contribution("t", 3)
    for events, sign in changes:
        contribution.change(events, sign)
    contribution.set_group("g", 300, 0)
    return contribution


def merged(contributions: list[Contribution]) -> dict[int, TenantFigures]:
    """By window."""
    parsed = [TenantContribution.FromString(each.record("topic", 0, 1)[1]) for each in contributions]
    return {each.window_hours: each for each in tenant_figures(parsed)}


@pytest.mark.parametrize("count", [MAX_SAMPLED, 20_000])
def test_people_of_two_partitions_count_once(count: int) -> None:
    rng = np.random.default_rng(count)
    people = rng.integers(1, 2**64, count, dtype=np.uint64)
    halves = [people[: count * 2 // 3], people[count // 3 :]]
    contributions = [
        contribution_of(*((reads(part), 1) for part in np.array_split(half, 50))) for half in halves
    ]
    figures = merged(contributions)[1]
    assert figures.count_reads == len(halves[0]) + len(halves[1])
    if count <= MAX_SAMPLED:
        assert (figures.count_active_participants, figures.participants_relative_error) == (count, 0.0)
    else:
        error = figures.participants_relative_error
        assert 0 < error < 0.05
        assert abs(figures.count_active_participants / count - 1) < 4 * error


def test_what_is_taken_out_was_never_there() -> None:
    rng = np.random.default_rng(1)
    people = rng.integers(1, 2**64, 3000, dtype=np.uint64)
    first = contribution_of((reads(people), 1), (reads(people[:2000]), -1))
    second = contribution_of((reads(people[2000:]), 1))
    ours, theirs = merged([first])[24], merged([second])[24]
    assert ours[:-2] == theirs[:-2]
    assert ours.count_active_participants == pytest.approx(1000, rel=0.2)


def test_an_older_contribution_never_takes_the_place_of_a_newer_one() -> None:
    contribution, tenants = contribution_of((reads(np.array([7], np.uint64)), 1)), Tenants()
    older = contribution.record("topic", 0, 1)[1]
    contribution.change(reads(np.array([8], np.uint64)), 1)
    newer = contribution.record("topic", 0, 2)[1]
    tenants.take([Record(newer), Record(b"\xff"), Record(older)])
    assert {each.count_events for each in tenants.changed()} == {2}
    assert tenants.changed() == []
