"""Small pictures of evidence tables for the page of an asset: only what may be published is drawn.

Each function takes a table after disclosure control and returns Markdown with a PNG in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipelines.defs.evidence import plots_covid_change, plots_mens_groups, plots_osg_prevalence
from pipelines.defs.evidence.lines import down
from pipelines.defs.evidence.plots_moderation import draw_moderation
from pipelines.defs.plots import markdown

if TYPE_CHECKING:
    import pandas as pd


def plot_of(table: str, rows: pd.DataFrame) -> str:
    """Picture of a table; words where it has nothing to draw."""
    shown = rows[~rows["suppressed"].astype(bool) & rows["estimate"].notna()]
    draw, panels = _PLOTS[table]
    return markdown(lambda *axes: draw(*axes, shown), panels) if len(shown) else "Nothing to draw yet."


def _attendance(axes: Any, rows: pd.DataFrame) -> None:
    """Distribution of attendance rates over groups, by data class."""
    rates = rows[rows["estimate_name"] == "attendance_rate"]
    for data_class, of_class in rates.groupby("data_class"):
        axes.hist([*of_class["estimate"]], bins=20, range=(0, 1), alpha=0.6, label=str(data_class))
    axes.set(xlabel="attendance rate", ylabel="groups")
    if len(rates):
        axes.legend()


def _waves(means: Any, effects: Any, rows: pd.DataFrame) -> None:
    """Means of the arms of the first outcome over its time points, and all standardised differences."""
    found = rows[(rows["estimate_name"] == "mean") & rows["ci_low"].notna()]
    for _, of_first in list(found.groupby(["tenant", "study", "outcome"], sort=False))[:1]:
        first = of_first.iloc[0]
        order = {name: place for place, name in enumerate(dict.fromkeys(of_first["time_point"]))}
        for arm, of_arm in of_first.groupby("arm"):
            _errorbar(means, [order[each] for each in of_arm["time_point"]], of_arm, label=str(arm), fmt="o-")
        means.set_xticks(range(len(order)), [*order], fontsize=7)
        means.set(title=f"{first['study']}: {first['outcome']}", ylabel=first["instrument"])
        means.legend(fontsize=7)
    differences = rows[(rows["estimate_name"] == "hedges_g") & rows["ci_low"].notna()]
    labels = [f"{each.study}, {each.instrument}, {each.time_point}" for each in differences.itertuples()]
    down(effects, labels, differences)
    effects.set(xlabel="Hedges g, arm − reference")


def _balance(axes: Any, rows: pd.DataFrame) -> None:
    """How alike members and others were, before and after weighting, in the first study that tells."""
    found = rows[rows["estimate_name"].str.startswith("balance_")]
    for _, of_first in list(found.groupby(["tenant", "study", "outcome", "time_point"], sort=False))[:1]:
        names = [*dict.fromkeys(of_first["part"])]
        for when, marker in (("before", "o"), ("after", "D")):
            told = of_first[of_first["estimate_name"] == f"balance_{when}_weighting"]
            axes.plot([*told["estimate"]], [names.index(each) for each in told["part"]], marker, label=when)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.set(xlabel="standardised mean difference", title=of_first.iloc[0]["study"])
        axes.axvline(0, linewidth=0.8, color="grey")
        axes.legend(fontsize=7)


def _votes(axes: Any, rows: pd.DataFrame) -> None:
    """How studies came out, ours beside those that are printed."""
    votes = rows[rows["estimate_name"] == "votes"]
    labels = [f"{each.study} ({each.tenant}): {each.part}" for each in votes.itertuples()]
    axes.barh(range(len(votes)), [*votes["estimate"]])
    axes.set_yticks(range(len(votes)), labels, fontsize=6)
    axes.invert_yaxis()
    axes.set(xlabel="studies")


def _mutual_help(balance: Any, votes: Any, rows: pd.DataFrame) -> None:
    _balance(balance, rows)
    _votes(votes, rows)


def _youth(change: Any, studies: Any, rows: pd.DataFrame) -> None:
    """Change by kind of group, and studies by what they are."""
    found = rows[(rows["estimate_name"] == "mean_change") & rows["ci_low"].notna()]
    down(change, [str(each) for each in found["part"]], found)
    change.set(xlabel="mean change from baseline")
    counts = rows[(rows["estimate_name"] == "studies") & (rows["source_kind"] == "literature")]
    counts = counts[counts["tenant"] == counts["tenant"].iloc[0]] if len(counts) else counts
    studies.barh(range(len(counts)), [*counts["estimate"]])
    studies.set_yticks(range(len(counts)), [*counts["part"]], fontsize=6)
    studies.invert_yaxis()
    studies.set(xlabel="studies")


def _errorbar(axes: Any, places: list[int], rows: pd.DataFrame, **how: Any) -> None:
    below = [middle - low for middle, low in zip(rows["estimate"], rows["ci_low"], strict=True)]
    above = [high - middle for middle, high in zip(rows["estimate"], rows["ci_high"], strict=True)]
    axes.errorbar(places, [*rows["estimate"]], yerr=[below, above], capsize=3, **how)


def _forest_and_funnel(forest: Any, funnel: Any, rows: pd.DataFrame) -> None:
    """Studies of the first pool that has any, and below them the pool and where another study may be; and how
    precise each is."""
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
        forest.errorbar(
            [each["estimate"]], [place], xerr=[[below], [above]], fmt=marker, markersize=size, color=colour
        )
    names = [
        each["part"] if each["estimate_name"] == "study_effect" else each["estimate_name"] for each in lines
    ]
    forest.set_yticks(range(len(lines)), names, fontsize=6)
    forest.invert_yaxis()
    forest.axvline(0, linewidth=0.8, color="grey")
    forest.set(xlabel=first["scale"], title=f"{first['study']}: {first['outcome']}, k = {first['k']}")
    studies = [each for each in found if each["estimate_name"] == "study_effect"]
    funnel.plot([each["estimate"] for each in studies], [each["se"] for each in studies], "o", markersize=4)
    funnel.axvline(first["estimate"], linewidth=0.8, color="black")
    funnel.invert_yaxis()
    funnel.set(xlabel=first["scale"], ylabel="standard error", title="funnel")


_FOREST = {
    "study_effect": ("s", 3, "tab:blue"),
    "pooled": ("D", 6, "black"),
    "prediction": ("|", 6, "tab:grey"),
}
"""Marker, its size and colour, in the order from the top."""

_PLOTS: dict[str, tuple[Callable[..., None], int]] = {
    "group_engagement": (_attendance, 1),
    "youth_online_peer_support": (_youth, 2),
    "mutual_help": (_mutual_help, 2),
    "group_peer_support_meta": (_forest_and_funnel, 2),
    "carers_controlled": (_waves, 2),
    "professional_moderation": (draw_moderation, 4),
    "covid_change": (plots_covid_change.draw, 2),
    "osg_prevalence": (plots_osg_prevalence.draw, 2),
    "mens_groups": (plots_mens_groups.draw, 2),
}
"""How each table is drawn, and in how many panels."""
