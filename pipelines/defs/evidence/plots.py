"""Small pictures of evidence tables for the page of an asset: only what may be published is drawn.

Each function takes a table after disclosure control and returns Markdown with a PNG in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipelines.defs.plots import markdown

if TYPE_CHECKING:
    import pandas as pd


def plot_of(table: str, rows: pd.DataFrame) -> str:
    """Picture of a table; words where it has nothing to draw."""
    shown = rows[~rows["suppressed"].astype(bool) & rows["estimate"].notna()]
    draw = _PLOTS[table]
    return markdown(lambda axes: draw(axes, shown)) if len(shown) else "Nothing to draw yet."


def _attendance(axes: Any, rows: pd.DataFrame) -> None:
    """Distribution of attendance rates over groups, by data class."""
    rates = rows[rows["estimate_name"] == "attendance_rate"]
    for data_class, of_class in rates.groupby("data_class"):
        axes.hist([*of_class["estimate"]], bins=20, range=(0, 1), alpha=0.6, label=str(data_class))
    axes.set(xlabel="attendance rate", ylabel="groups")
    if len(rates):
        axes.legend()


def _effects(axes: Any, rows: pd.DataFrame) -> None:
    """Hedges g with interval per study and time point, first at the top."""
    effects = rows[(rows["estimate_name"] == "hedges_g") & rows["ci_low"].notna()]
    labels = [f"{each.study} ({each.data_class}), {each.time_point}" for each in effects.itertuples()]
    places = range(len(effects))
    below = [g - low for g, low in zip(effects["estimate"], effects["ci_low"], strict=True)]
    above = [high - g for g, high in zip(effects["estimate"], effects["ci_high"], strict=True)]
    axes.errorbar([*effects["estimate"]], places, xerr=[below, above], fmt="o", capsize=3)
    axes.set_yticks(places, labels, fontsize=7)
    axes.invert_yaxis()
    axes.axvline(0, linewidth=0.8, color="grey")
    axes.set(xlabel="Hedges g, arm − reference")


def _forest(axes: Any, rows: pd.DataFrame) -> None:
    """Studies of the first pool that has any, and below them the pool and where another study may be."""
    pooled = rows[(rows["estimate_name"] == "pooled") & rows["ci_low"].notna()]
    if not len(pooled):
        return
    first = pooled.iloc[0].to_dict()
    is_of_it = rows["ci_low"].notna()
    for column in ("tenant", "study", "outcome"):
        is_of_it &= rows[column] == first[column]
    found = rows[is_of_it].to_dict("records")
    lines = [each for name in _FOREST for each in found if each["estimate_name"] == name]
    for place, each in enumerate(lines):
        marker, size, colour = _FOREST[each["estimate_name"]]
        below, above = each["estimate"] - each["ci_low"], each["ci_high"] - each["estimate"]
        axes.errorbar(
            [each["estimate"]], [place], xerr=[[below], [above]], fmt=marker, markersize=size, color=colour
        )
    names = [
        each["part"] if each["estimate_name"] == "study_effect" else each["estimate_name"] for each in lines
    ]
    axes.set_yticks(range(len(lines)), names, fontsize=6)
    axes.invert_yaxis()
    axes.axvline(0, linewidth=0.8, color="grey")
    axes.set(xlabel=first["scale"], title=f"{first['study']}: {first['outcome']}, k = {first['k']}")


_FOREST = {
    "study_effect": ("s", 3, "tab:blue"),
    "pooled": ("D", 6, "black"),
    "prediction": ("|", 6, "tab:grey"),
}
"""Marker, its size and colour, in the order from the top."""

_PLOTS: dict[str, Callable[[Any, pd.DataFrame], None]] = {
    "group_engagement": _attendance,
    "controlled_comparison": _effects,
    "group_peer_support_meta": _forest,
}
