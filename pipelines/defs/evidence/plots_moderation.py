"""Pictures of `professional_moderation`, of the study and partner that have most rows: how first replies
come, who stays, how writing is spread, who answers whom. From rows that may be published, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

NETWORK = ("reciprocity", "in_degree_centralisation", "contribution_gini")


def draw_moderation(curves: Any, stay: Any, spread: Any, network: Any, rows: pd.DataFrame) -> None:
    own = rows[(rows["source_kind"] == "own") & rows["group_id"].isna() & rows["reference_moderation"].isna()]
    if not len(own):
        return
    study, own = max(own.groupby(["tenant", "study"]), key=lambda found: len(found[1]))
    kinds = {str(kind): rows for kind, rows in own[own["moderation"].notna()].groupby("moderation")}
    _replies(curves, kinds)
    curves.set_title(" / ".join(map(str, study)), fontsize=8)
    _retention(stay, _whole(own, kinds))
    _lorenz(spread, kinds)
    _network(network, kinds)


def _whole(own: pd.DataFrame, kinds: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Rows of all kinds together, or of the only one."""
    whole = own[own["moderation"].isna()]
    return whole if len(whole) or not kinds else next(iter(kinds.values()))


def _replies(axes: Any, kinds: dict[str, pd.DataFrame]) -> None:
    """Shares replied to, by Aalen–Johansen, with intervals; and 1 − Kaplan–Meier, where closed threads are
    censored, thin."""
    for number, (kind, rows) in enumerate(kinds.items()):
        colour = f"C{number}"
        replied, unanswered = (_over(rows, name, " h") for name in ("replied_share", "unanswered_share"))
        axes.plot(replied["at"], replied["estimate"], "o-", markersize=3, color=colour, label=kind)
        told = replied.dropna(subset=["ci_low", "ci_high"])
        axes.fill_between(told["at"], told["ci_low"], told["ci_high"], alpha=0.2, color=colour)
        axes.plot(unanswered["at"], 1 - unanswered["estimate"], ":", linewidth=1, color=colour)
        # Without a point there is no scale.
        if len(replied):
            axes.set_xscale("log")
    axes.set(xlabel="hours since the thread began", ylabel="share replied to", ylim=(0, 1))
    if kinds:
        axes.legend(fontsize=6, title="moderation; dotted: 1 − Kaplan–Meier", title_fontsize=6)


def _over(rows: pd.DataFrame, name: str, unit: str) -> pd.DataFrame:
    """Points of a curve in the order of time, `at`."""
    found = rows[rows["estimate_name"] == name]
    at = found["part"].str.removesuffix(unit).astype(float)
    numbers = found[["estimate", "ci_low", "ci_high"]].astype(float)
    return numbers.assign(at=at).sort_values("at")


def _retention(axes: Any, rows: pd.DataFrame) -> None:
    """Weeks since joining × cohort: the share that has had no gap. What is not shown or not known yet is
    white."""
    import numpy as np

    cells = rows[rows["estimate_name"] == "retained_share"]
    places = cells["part"].str.extract(r"^joined (?P<cohort>\S+), (?P<days>\d+) days$")
    cohorts, days = sorted(set(places["cohort"])), sorted({int(each) for each in places["days"]})
    shares = np.full((len(cohorts), len(days)), np.nan)
    for cohort, day, share in zip(places["cohort"], places["days"], cells["estimate"], strict=True):
        shares[cohorts.index(cohort), days.index(int(day))] = share
    if cohorts:
        axes.imshow(shares, aspect="auto", vmin=0, vmax=1, cmap="viridis")
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            # Light on dark and dark on light.
            axes.text(
                column,
                row,
                f"{share:.0%}",
                ha="center",
                va="center",
                fontsize=7,
                color="wk"[int(share > 0.6)],
            )
    axes.set_yticks(range(len(cohorts)), cohorts, fontsize=6)
    axes.set_xticks(range(len(days)), [f"{day / 7:.0f}" for day in days], fontsize=6)
    axes.set(xlabel="weeks since joining")
    axes.set_title("share without a 30-day gap, by cohort", fontsize=8)


def _lorenz(axes: Any, kinds: dict[str, pd.DataFrame]) -> None:
    for kind, rows in kinds.items():
        found = rows[rows["estimate_name"] == "lorenz_content_share"]
        members = found["part"].str.extract(r"(\d+)")[0].astype(float) / 100
        axes.plot([0, *members, 1], [0, *found["estimate"], 1], label=kind)
    axes.plot([0, 1], [0, 1], "--", linewidth=0.8, color="grey")
    axes.set(xlabel="share of members, least first", ylabel="share of messages")
    if kinds:
        axes.legend(fontsize=6)


def _network(axes: Any, kinds: dict[str, pd.DataFrame]) -> None:
    """How mutual, how central, how unequal."""
    width = 0.8 / max(1, len(kinds))
    for number, (kind, rows) in enumerate(kinds.items()):
        for place, name in enumerate(NETWORK):
            found = rows[rows["estimate_name"] == name]
            if not len(found):
                continue
            row, at = found.iloc[0], place + number * width
            axes.bar([at], [row["estimate"]], width, color=f"C{number}", label=kind if place == 0 else None)
            if row["ci_low"] is not None and row["ci_high"] is not None:
                axes.plot([at, at], [row["ci_low"], row["ci_high"]], color="black", linewidth=0.8)
    axes.set_xticks(range(len(NETWORK)), [each.replace("_", "\n") for each in NETWORK], fontsize=6)
    axes.set_ylim(0, 1)
