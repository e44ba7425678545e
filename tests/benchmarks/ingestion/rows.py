"""What is measured, and what must hold.

The figures that a must is about are made by `load`; how they are shown is `table`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

GATEWAY, GUARDS_OFF = "gateway", "gateway-guards-off"
COLLECTOR, KAFKA_PYTHON, CONFLUENT = "collector", "bare-kafka-python", "bare-confluent-kafka"

IN_FLIGHT, MANY = 16, 128

Way = Literal["unary", "streaming"]


@dataclass(frozen=True)
class Row:
    """One server under one load."""

    server: str
    way: Way
    batch: int
    in_flight: int = IN_FLIGHT

    @property
    def name(self) -> str:
        many = f"-{self.in_flight}" if self.in_flight != IN_FLIGHT else ""
        return f"{self.server}-{self.way}-{self.batch}{many}"

    @property
    def reference(self) -> Row:
        """What its cost is compared with."""
        return Row(COLLECTOR, "unary", self.batch, self.in_flight)


@dataclass(frozen=True)
class Must:
    """A limit on the best of some rows. A ratio is one of CPU seconds per event, to the collector's."""

    what: Literal["ratio", "events/s"]
    limit: float
    aim: float
    rows: tuple[Row, ...]

    def best(self, values: list[float]) -> float:
        return min(values) if self.what == "ratio" else max(values)

    def verdict(self, value: float) -> str:
        if self._holds(value, self.aim):
            return "meets the aim"
        return "holds" if self._holds(value, self.limit) else "FAILS"

    def _holds(self, value: float, limit: float) -> bool:
        return value <= limit if self.what == "ratio" else value >= limit


def rows() -> list[Row]:
    """All rows, in the order of the table."""
    return [
        *_rows(GATEWAY, "unary"),
        *_rows(GATEWAY, "streaming"),
        *_rows(GUARDS_OFF, "unary"),
        *_rows(GUARDS_OFF, "streaming"),
        *_rows(COLLECTOR, "unary"),
        *_rows(KAFKA_PYTHON, "unary"),
        *_rows(CONFLUENT, "unary"),
    ]


def _rows(server: str, way: Way) -> Iterator[Row]:
    yield Row(server, way, 1)
    yield Row(server, way, 1, MANY)
    yield Row(server, way, 100)
    yield Row(server, way, 500)


MUSTS = (
    Must("ratio", 1.5, 1.0, (Row(GATEWAY, "streaming", 100),)),
    Must("ratio", 2.5, 1.5, (Row(GATEWAY, "unary", 100),)),
    Must("ratio", 1.5, 1.0, (Row(GATEWAY, "unary", 500),)),
    Must(
        "events/s",
        1_000,
        3_000,
        (Row(GATEWAY, "unary", 1, MANY), Row(GATEWAY, "streaming", 1, MANY)),
    ),
)


def in_measuring_order(wanted: list[Row]) -> list[Row]:
    """What is compared is measured one after the other, so that the machine is the same for both."""
    return sorted(wanted, key=lambda row: (row.batch, row.in_flight))
