"""What the lake may forget, and which snapshot a moment means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.maintenance.policy import kept_for_releases, raw_cutoffs
from pipelines.publication.release import NamedSnapshot
from services.runtime.lake import Snapshot, SnapshotGone, snapshot_of

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)


def ago(**spans: float) -> datetime:
    return NOW - timedelta(**spans)


def test_of_older_releases_the_last_of_each_day_is_kept_and_of_newer_ones_every_one() -> None:
    named = [
        NamedSnapshot(1, 100, ago(days=91), is_there=False),
        NamedSnapshot(2, 200, ago(days=10, hours=2), is_there=False),
        NamedSnapshot(3, 300, ago(days=10, hours=1), is_there=False),
        NamedSnapshot(4, 400, ago(hours=2), is_there=True),
        NamedSnapshot(5, 500, ago(hours=1), is_there=True),
        NamedSnapshot(6, 600, None, is_there=True),
    ]
    assert kept_for_releases(named, NOW, 90) == {300, 400, 500, 600}
    assert kept_for_releases(named, NOW, 0) == {400, 500, 600}
    assert kept_for_releases(named, NOW, 365) == {100, 300, 400, 500, 600}


def test_raw_rows_go_by_whole_days() -> None:
    found = raw_cutoffs("participation_events=2, study_events=400", NOW)
    assert found["participation_events"] == datetime(2026, 5, 18, tzinfo=UTC)
    assert found["study_events"] == datetime(2025, 4, 15, tzinfo=UTC)
    assert raw_cutoffs("", NOW) == {}


@pytest.mark.parametrize(
    "words", ["failed_events=3", "participation_events", "participation_events=0", "x=1", "group_events=-1"]
)
def test_a_wrong_limit_is_refused_by_name(words: str) -> None:
    with pytest.raises(ValueError, match="CIRCLES_RETENTION_RAW_DAYS"):
        raw_cutoffs(words, NOW)


@given(
    kept=st.sets(st.integers(0, 30), min_size=1),
    minute=st.integers(-1, 40),
)
def test_a_moment_means_the_snapshot_of_that_moment_or_none(kept: set[int], minute: int) -> None:
    """Snapshot n was made at minute n. Whatever expired, no older state is passed off as that of then."""
    newest = max(kept)
    found = [Snapshot(n, NOW + timedelta(minutes=n)) for n in sorted(kept)]
    wanted = NOW + timedelta(minutes=minute, seconds=1)
    truth = min(minute, newest)
    # A state is known to have lasted until the next one was made only when the next one is there.
    is_known = truth in kept and (truth == newest or truth + 1 in kept)
    if is_known:
        assert snapshot_of(found, wanted) == truth
    else:
        with pytest.raises(SnapshotGone):
            snapshot_of(found, wanted)


def test_a_number_is_there_or_its_absence_is_explained() -> None:
    found = [Snapshot(4, NOW), Snapshot(7, NOW)]
    assert snapshot_of(found, 4) == 4
    with pytest.raises(SnapshotGone, match="has expired"):
        snapshot_of(found, 5)
    with pytest.raises(SnapshotGone, match="not been made yet"):
        snapshot_of(found, 8)
