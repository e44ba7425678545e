"""Small pictures of what was admitted: rows by day, of all tenants together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.defs.plots import markdown

if TYPE_CHECKING:
    from pipelines.quality.admission import JudgedDay


def plot_of(days: Sequence[JudgedDay]) -> str:
    """Bars of rows that passed and, on top of them, of rows that were blocked."""

    def bars(axes: Any) -> None:
        names = [f"{each.day:%d %b}" for each in days]
        passed = [each.rows_passed for each in days]
        axes.bar(names, passed, label="passed")
        axes.bar(names, [each.rows_blocked for each in days], bottom=passed, label="blocked", color="tab:red")
        axes.set(ylabel="rows judged")
        axes.tick_params(axis="x", rotation=90)
        axes.legend()

    return markdown(bars)
