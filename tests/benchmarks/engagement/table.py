"""The tables as a person reads them, on the terminal and in RESULTS.md alike: Markdown, and their notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.benchmarks.bounds import Line, judged
from tests.benchmarks.engagement.freshness import FreshFigures
from tests.benchmarks.engagement.rows import (
    FAUST,
    FRESH_P95,
    MUSTS,
    OURS,
    PEAK_RSS,
    QUIX,
    QUIX_JSON,
    REBUILD,
    TOUCH_TIMES,
    Must,
    Row,
    faust_rows,
    quix_rows,
)
from tests.benchmarks.engagement.state import StateFigures, Touch
from tests.benchmarks.engagement.throughput import Figures
from tests.benchmarks.tables import aligned

Measured = Mapping[Row, Figures]

TITLES = {
    OURS: "our worker",
    FAUST: "bare Faust ¹",
    QUIX: "Quix Streams, envelopes ²",
    QUIX_JSON: "Quix Streams, JSON ³",
}

NOTES = (
    "¹ Counts events by group, one write to a table in memory per event, its changelog on. No windows, no "
    "people, no event that counts once.",
    "² Counts events by group, hour and kind in RocksDB, its changelog on, one reading and one writing for "
    "each group and hour in an envelope. No people, no event that counts once.",
    "³ Counts events by group in windows of an hour of event time. Its records hold one event each, so that "
    "it is the same beside every size of envelope.",
)

HEADINGS = (
    *("worker", "envelope", "events", "events/CPU-s", "× Quix", "× Faust"),
    *("must", "aim", "verdict", "events/s", "peak MiB"),
)
TEXT_COLUMNS = {"worker", "verdict"}
MIB = 1024 * 1024


def lines(measured: Measured) -> list[str]:
    return aligned(
        HEADINGS, [_cells(row, figures, measured) for row, figures in measured.items()], TEXT_COLUMNS
    )


def failures(measured: Measured) -> list[str]:
    """What must hold and does not, a line each. Our worker must have figures; a peer need not."""
    return [
        *(
            f"{must.row.name}: must be {_limit(must.limit)} {_names(must.others)} in events per CPU second"
            for must in MUSTS
            if must.limit is not None and _verdict(must, measured) == "FAILS"
        ),
        *troubles({row: figures for row, figures in measured.items() if row.worker == OURS}),
    ]


def troubles(measured: Measured) -> list[str]:
    """Rows without figures, and why."""
    return [f"{row.name}: {figures.trouble}" for row, figures in measured.items() if not figures.is_sound]


def notes(measured: Measured) -> list[str]:
    marks = {TITLES[row.worker][-1] for row in measured}
    return [
        "events/CPU-s: events per second of CPU, user and system, of all the worker's threads, its start "
        "left out. × Quix, × Faust: that, divided by the best of Quix's and by Faust's in the same run at "
        "the same size of envelope.",
        *(note for note in NOTES if note[0] in marks),
        *(f"No figures of {each}" for each in troubles(measured)),
    ]


def state_figures(figures: StateFigures, groups: int, participants: int) -> list[Line]:
    large = figures.touch
    return [
        Line("state", f"{figures.events:,} events, {groups:,} groups, {participants:,} people"),
        Line("RSS when all is applied", f"{figures.rss_bytes / MIB:,.0f} MiB"),
        judged(PEAK_RSS, figures.peak_rss_bytes / MIB),
        Line(f"{large.events:,} further events in {large.groups:,} groups", _cost(large)),
        Line("the same on a small state", _cost(figures.touch_small)),
        judged(TOUCH_TIMES, figures.touch_times),
        judged(REBUILD, figures.from_state_rate),
        Line("the same in seconds", f"{figures.from_state_seconds:.1f} s"),
        Line("restart on a small state", f"{figures.from_small_state_seconds:.1f} s"),
        Line("rebuild from the input alone", f"{figures.from_nothing_rate:,.0f} events/s"),
    ]


def _cost(touch: Touch) -> str:
    event, group = touch.microseconds_per_event, touch.microseconds_per_group
    return f"{event:,.0f} µs CPU per event, {group:,.0f} per group"


def fresh_figures(figures: FreshFigures) -> list[Line]:
    return [
        Line("freshness: half of the capacity", f"{figures.events_per_second:,.0f} events/s"),
        Line("sent", f"{figures.sent_per_second:,.0f} events/s, {len(figures.seconds)} envelopes watched"),
        Line("send to row, p50", f"{figures.p50:.2f} s"),
        judged(FRESH_P95, figures.p95),
    ]


def _cells(row: Row, figures: Figures, measured: Measured) -> list[str]:
    musts = [must for must in MUSTS if must.row == row]
    size = str(row.size or "none")
    if not figures.is_sound:
        return [TITLES[row.worker], size, *[""] * 6, "no figures", "", ""]
    return [
        TITLES[row.worker],
        size,
        f"{figures.events:,}",
        f"{figures.events_per_cpu_second:,.0f}",
        _times_cell(row, quix_rows(row.size), measured),
        _times_cell(row, faust_rows(row.size), measured),
        ", ".join(f"{_limit(must.limit)} {_other(must)}" for must in musts if must.limit is not None),
        ", ".join(f"{_limit(must.aim)} {_other(must)}" for must in musts),
        ", ".join(_verdict(must, measured) for must in musts),
        f"{figures.events_per_second:,.0f}",
        f"{figures.peak_rss_bytes / MIB:,.0f}",
    ]


def times(row: Row, others: Sequence[Row], measured: Measured) -> float | None:
    """How many times as many events per CPU second as the best of the others; None without figures."""
    best = max(
        (measured[each].events_per_cpu_second for each in others if _is_there(each, measured)), default=0
    )
    return measured[row].events_per_cpu_second / best if best and _is_there(row, measured) else None


def _times_cell(row: Row, others: Sequence[Row], measured: Measured) -> str:
    found = None if row in others else times(row, others, measured)
    return "" if found is None else f"{found:.2f}"


def _verdict(must: Must, measured: Measured) -> str:
    """A must is judged when both sides have figures."""
    found = times(must.row, must.others, measured)
    return "not judged" if found is None else must.verdict(found)


def _is_there(row: Row, measured: Measured) -> bool:
    return row in measured and measured[row].is_sound


def _limit(times: float | None) -> str:
    return "" if times is None else f"≥ {times:g} ×"


def _other(must: Must) -> str:
    return "Faust" if must.others[0].worker == FAUST else "Quix"


def _names(rows: Sequence[Row]) -> str:
    return " or ".join(row.name for row in rows)
