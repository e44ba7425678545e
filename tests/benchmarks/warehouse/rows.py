"""What must hold. How it is measured is `landing`'s, `build`'s and `queries`', how it is shown `table`'s."""

from __future__ import annotations

from tests.benchmarks.bounds import Bound

LANDING = Bound("landing ÷ dlt in rows by the clock", 3.0, "×", at_least=True)
FULL = Bound("full run without start-up ÷ plain DuckDB in CPU seconds", 1.5, "×")
INCREMENT = Bound("incremental build on ten times as many groups ÷ on one world in CPU seconds", 1.3, "×")
QUERY = Bound("p95 of the slowest question", 1.0, "s")

SECTIONS = ("landing", "full", "increment", "queries")
