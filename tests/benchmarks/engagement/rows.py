"""What is measured, and what must hold.

How it is measured is `throughput`'s, `state`'s and `freshness`'; how it is shown is `table`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.benchmarks.bounds import Bound

OURS, FAUST, QUIX, QUIX_JSON = "ours", "bare-faust", "quix-envelope", "quix-json"
STATE, FRESHNESS = "state", "freshness"

SIZES = (1, 50, 100, 500)
"""Events of an envelope."""

FAUST_PART, SINGLE_PART = 10, 4
"""Who is so much slower gets so much less to do."""


@dataclass(frozen=True)
class Row:
    """One worker that reads envelopes of one size; 0 when each record is one event as JSON."""

    worker: str
    size: int

    @property
    def name(self) -> str:
        return f"{self.worker}-{self.size}" if self.size else self.worker

    def events(self, most: int) -> int:
        """How many of `most` events it is measured with."""
        part = FAUST_PART if self.worker == FAUST else 1
        return most // (part * (SINGLE_PART if self.size <= 1 else 1))


@dataclass(frozen=True)
class Must:
    """How many times as many events per CPU second as the best of some others `row` must have."""

    row: Row
    others: tuple[Row, ...]
    aim: float
    limit: float | None = None
    """None: nothing must hold, there is an aim only."""

    def verdict(self, times: float) -> str:
        if times >= self.aim:
            return "meets the aim"
        if self.limit is None:
            return "below the aim"
        return "holds" if times >= self.limit else "FAILS"


def rows() -> list[Row]:
    """All rows, in the order of the table."""
    ours, faust, quix = ([Row(worker, size) for size in SIZES] for worker in (OURS, FAUST, QUIX))
    return [*ours, *faust, *quix, Row(QUIX_JSON, 0)]


def quix_rows(size: int) -> tuple[Row, ...]:
    """Quix in either form: JSON has no envelopes, so that it stands beside every size."""
    return Row(QUIX, size), Row(QUIX_JSON, 0)


def faust_rows(size: int) -> tuple[Row, ...]:
    return (Row(FAUST, size),)


MUSTS = (
    Must(Row(OURS, 1), quix_rows(1), aim=0.7),
    Must(Row(OURS, 50), quix_rows(50), aim=2.0, limit=1.0),
    Must(Row(OURS, 100), quix_rows(100), aim=2.0, limit=1.0),
    Must(Row(OURS, 50), faust_rows(50), aim=10.0, limit=5.0),
    Must(Row(OURS, 100), faust_rows(100), aim=10.0, limit=5.0),
)

PEAK_RSS = Bound("peak RSS", 2048, "MiB")
TOUCH_TIMES = Bound("CPU per event on the large state ÷ on a small one", 3.0, "×")
REBUILD = Bound("rebuild from the state topic", 50_000, "events/s", at_least=True)
FRESH_P95 = Bound("send to row, p95", 3.0, "s")


def in_measuring_order(wanted: list[Row]) -> list[Row]:
    """What is compared is measured one after the other, so that the machine is the same for both."""
    return sorted(wanted, key=lambda row: row.size)
