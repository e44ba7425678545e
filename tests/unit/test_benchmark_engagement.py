"""The arithmetic of the benchmark of engagement: what it feeds, what it concludes, and what it lets pass."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from services.ingestion.envelopes import partition_of
from tests.benchmarks import bounds
from tests.benchmarks.engagement import records, table
from tests.benchmarks.engagement.freshness import FreshFigures
from tests.benchmarks.engagement.process import Sample
from tests.benchmarks.engagement.records import JSON, TOPIC, after, opened, read, record_files, up_to
from tests.benchmarks.engagement.rows import FAUST, OURS, QUIX, QUIX_JSON, REBUILD, TOUCH_TIMES, Row, rows
from tests.benchmarks.engagement.state import StateFigures, Touch
from tests.benchmarks.engagement.throughput import Figures, failed, medians, rate_of_most
from tests.benchmarks.engagement.workload import FIRST_SECOND, Scale, events

SCALE = Scale("test", 3_000, groups=40, participants=400, hours=6)
OURS_100, FAUST_100, QUIX_100 = Row(OURS, 100), Row(FAUST, 100), Row(QUIX, 100)
BY_JSON = Row(QUIX_JSON, 0)


def of(rate: float) -> Figures:
    """Figures with so many events per CPU second."""
    return Figures(events=1000, cpu_seconds=1000 / rate, events_per_second=rate, peak_rss_bytes=0)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, Path]:
    monkeypatch.setattr(records, "CACHE", tmp_path)
    return record_files(SCALE, [JSON, 1, 50])


def test_the_same_seed_gives_the_same_events() -> None:
    assert list(events(SCALE)) == list(events(SCALE))


def test_the_workload_is_as_it_is_described() -> None:
    found = list(events(SCALE))
    late = sum(event.seconds < FIRST_SECOND for event in found)
    repeated = len(found) - len({event.event_id for event in found})
    groups = Counter(event.group for event in found).most_common()
    assert len(found) == SCALE.events
    assert 0.01 < late / len(found) < 0.05
    assert 0 < repeated / len(found) < 0.02
    assert len(groups) == SCALE.groups
    assert groups[0][1] > 3 * groups[-1][1]


def test_every_form_tells_of_the_same_events(files: dict[int, Path]) -> None:
    expected = Counter(event.event_id for event in events(SCALE))
    for size in (1, 50):
        told = [accepted.event for record in read(files[size]) for accepted in opened(record).events]
        assert Counter(event.event_id for event in told) == expected
        assert all(event.WhichOneof("kind") for event in told)
    assert Counter(json.loads(record.value)["event_id"] for record in read(files[JSON])) == expected


def test_an_envelope_is_of_one_tenant_and_partition(files: dict[int, Path]) -> None:
    for record in read(files[50]):
        envelope = opened(record)
        assert envelope.tenant_id.encode() == record.key
        assert record.events == len(envelope.events) <= 50
        for accepted in envelope.events:
            assert partition_of(TOPIC, envelope.tenant_id, accepted.event.group_ref) == record.partition


def test_first_and_rest_are_the_whole(files: dict[int, Path]) -> None:
    first, rest = list(up_to(read(files[50]), 170)), list(after(read(files[50]), 170))
    assert sum(record.events for record in first) == 200
    assert first + rest == list(read(files[50]))


def test_a_file_is_not_written_again(files: dict[int, Path]) -> None:
    before = files[50].stat().st_mtime_ns
    assert record_files(SCALE, [50])[50].stat().st_mtime_ns == before


def test_slow_workers_get_a_part() -> None:
    assert [row.events(400_000) for row in (OURS_100, Row(OURS, 1), FAUST_100, Row(FAUST, 1), BY_JSON)] == [
        *(400_000, 100_000, 40_000, 10_000, 100_000)
    ]


def test_idle_seconds_at_the_end_do_not_count() -> None:
    busy = [Sample(at / 10, at / 10, 0) for at in range(11)]
    assert rate_of_most(1000, [*busy, Sample(6.0, 1.0, 0)]) == pytest.approx(950)


def test_one_failed_round_fails_the_row() -> None:
    assert medians([of(10), of(30), of(20)]).events_per_cpu_second == pytest.approx(20)
    assert medians([of(10), failed("it ended")]).trouble == "it ended"


def test_ours_is_compared_with_the_better_form_of_quix() -> None:
    measured = {OURS_100: of(300), QUIX_100: of(200), BY_JSON: of(100)}
    assert table.times(OURS_100, [QUIX_100, BY_JSON], measured) == pytest.approx(1.5)
    assert not table.failures(measured)
    assert len(table.failures(measured | {BY_JSON: of(400)})) == 1


def test_our_worker_must_have_figures_and_a_peer_need_not() -> None:
    assert table.failures({Row(OURS, 500): failed("it ended")}) == ["ours-500: it ended"]
    measured = {OURS_100: of(1), FAUST_100: failed("not there"), QUIX_100: failed("not there")}
    assert not table.failures(measured)
    assert table.troubles(measured) == ["bare-faust-100: not there", "quix-envelope-100: not there"]


def test_an_aim_fails_nothing() -> None:
    measured = {Row(OURS, 1): of(1), BY_JSON: of(100)}
    assert not table.failures(measured)
    assert "below the aim" in table.lines(measured)[2]


def test_every_row_has_a_line() -> None:
    lines = table.lines({row: of(5) for row in rows()})
    assert len(lines) == len(rows()) + 2
    assert len({len(line) for line in lines}) == 1


def test_figures_of_state_are_judged() -> None:
    figures = StateFigures(
        events=1_000_000,
        rss_bytes=0,
        peak_rss_bytes=3 * 1024**3,
        touch=Touch(10_000, 500, 0.4),
        touch_small=Touch(10_000, 500, 0.1),
        from_nothing_seconds=100,
        from_state_seconds=10,
        from_small_state_seconds=5,
    )
    found = table.state_figures(figures, groups=10_000, participants=100_000)
    verdicts = {line.figure: line.verdict for line in found if line.verdict}
    assert verdicts == {"peak RSS": "FAILS", TOUCH_TIMES.figure: "FAILS", REBUILD.figure: "holds"}
    assert len(bounds.failed(found)) == 2
    assert figures.touch.microseconds_per_group == pytest.approx(800)


def test_a_row_that_never_came_is_not_forgotten() -> None:
    fresh = FreshFigures(100, 100, (*[0.5] * 18, *[math.inf] * 2))
    assert (fresh.p50, fresh.p95) == (0.5, math.inf)
    assert bounds.failed(table.fresh_figures(fresh))
    assert not bounds.failed(table.fresh_figures(FreshFigures(100, 100, (*[0.5] * 19, math.inf))))
