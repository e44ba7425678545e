"""The table as a person reads it, on the terminal and in RESULTS.md alike: Markdown, and its notes."""

from __future__ import annotations

from collections.abc import Mapping

from tests.benchmarks.ingestion.load import Figures
from tests.benchmarks.ingestion.rows import (
    COLLECTOR,
    CONFLUENT,
    GATEWAY,
    GUARDS_OFF,
    KAFKA_PYTHON,
    MUSTS,
    Must,
    Row,
)
from tests.benchmarks.tables import aligned

Measured = Mapping[Row, Figures]

TITLES = {
    GATEWAY: "our gateway",
    GUARDS_OFF: "our gateway, guards off ¹",
    COLLECTOR: "OpenTelemetry Collector ²",
    KAFKA_PYTHON: "bare grpc.aio, kafka-python ³",
    CONFLUENT: "bare grpc.aio, confluent-kafka ³",
}

NOTES = (
    "¹ Without keys, limits, the bound on memory and the memory of ids. Rules and pseudonyms stay: one pass.",
    "² No validation, no pseudonyms, no API key, no partition by group, no answer per event. Its answer "
    'means "in Kafka" as ours does: acks of all replicas, no queue, no batching; it keeps no metrics.',
    "³ No validation, no pseudonyms, no API key, no partition by group, no answer per event: "
    "the bytes of a request are one record.",
)
"""What a server does not do. A title ends with the sign of its note."""

HEADINGS = (
    *("server", "way", "batch", "in flight", "events/s", "p50 ms", "p99 ms"),
    *("CPU-s/M", "× Collector", "must", "aim", "verdict", "broker CPU-s/M"),
)
TEXT_COLUMNS = {"server", "way", "verdict"}


def lines(measured: Measured) -> list[str]:
    return aligned(
        HEADINGS, [_cells(row, figures, measured) for row, figures in measured.items()], TEXT_COLUMNS
    )


def failures(measured: Measured) -> list[str]:
    """What must hold and does not, a line each."""
    return [
        f"{' or '.join(row.name for row in must.rows)}: {must.what} must be {_limit(must, must.limit)}"
        for must in MUSTS
        if _verdict(must, measured).startswith("FAILS")
    ]


def troubles(measured: Measured) -> list[str]:
    """Rows whose figures say nothing, with what happened."""
    return [
        f"{row.name}: {dict(figures.errors) or 'no event accepted'} {figures.first_error}".strip()
        for row, figures in measured.items()
        if not figures.is_sound
    ]


def footnotes(measured: Measured, event_bytes: Mapping[str, float]) -> list[str]:
    sizes = ", ".join(f"{size:.0f} B ({name})" for name, size in sorted(event_bytes.items()))
    marks = {TITLES[row.server][-1] for row in measured}
    notes = [note for note in NOTES if note[0] in marks]
    return [
        "CPU-s/M: CPU seconds of the server, user and system, per million acknowledged events; "
        f"× Collector: the same, divided by the Collector's at this batch and this many in flight. "
        f"An event: {sizes}.",
        *notes,
    ]


def _cells(row: Row, figures: Figures, measured: Measured) -> list[str]:
    musts = [must for must in MUSTS if row in must.rows]
    ratio = _ratio(row, measured)
    return [
        TITLES[row.server],
        row.way,
        str(row.batch),
        str(row.in_flight),
        f"{figures.events_per_second:,.0f}" if figures.is_sound else "failed",
        f"{figures.p50_ms:.1f}",
        f"{figures.p99_ms:.1f}",
        f"{figures.server_cpu:.1f}",
        "" if ratio is None else f"{ratio:.2f}",
        ", ".join(_limit(must, must.limit) for must in musts),
        ", ".join(_limit(must, must.aim) for must in musts),
        ", ".join(_verdict(must, measured) for must in musts),
        f"{figures.broker_cpu:.1f}",
    ]


def _ratio(row: Row, measured: Measured) -> float | None:
    own, reference = measured[row], measured.get(row.reference)
    if reference is None or not (own.is_sound and reference.is_sound):
        return None
    return own.server_cpu / reference.server_cpu


def _limit(must: Must, limit: float) -> str:
    if must.what == "ratio":
        return f"≤ {limit:g}"
    return f"≥ {limit:,.0f}/s" + (" in either" if len(must.rows) > 1 else "")


def _verdict(must: Must, measured: Measured) -> str:
    """A must is judged when all that it needs was asked for; what was asked for and failed fails it."""
    rows = [row for row in must.rows if row in measured]
    if not rows or (must.what == "ratio" and rows[0].reference not in measured):
        return "not judged"
    values = [value for row in rows if (value := _value(must, row, measured)) is not None]
    return must.verdict(must.best(values)) if values else "FAILS: no figures"


def _value(must: Must, row: Row, measured: Measured) -> float | None:
    if must.what == "ratio":
        return _ratio(row, measured)
    return measured[row].events_per_second if measured[row].is_sound else None
