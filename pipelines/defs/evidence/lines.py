"""Estimates with their intervals, one below the other: what plots of several tables are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def down(axes: Any, labels: Sequence[str], rows: pd.DataFrame, nothing: float = 0.0, **how: Any) -> None:
    """A line each, first at the top. `nothing`: where a grey line says that there is no difference."""
    below = [middle - low for middle, low in zip(rows["estimate"], rows["ci_low"], strict=True)]
    above = [high - middle for middle, high in zip(rows["estimate"], rows["ci_high"], strict=True)]
    style = {"fmt": "o", "capsize": 3} | how
    axes.errorbar([*rows["estimate"]], range(len(rows)), xerr=[below, above], **style)
    axes.set_yticks(range(len(rows)), labels, fontsize=6)
    axes.invert_yaxis()
    axes.axvline(nothing, linewidth=0.8, color="grey")
