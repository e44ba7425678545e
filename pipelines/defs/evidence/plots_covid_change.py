"""Pictures of `covid_change`: a series with its interruption, and which communities changed most."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

WEEK_OF = "week of "
MOST = 12
"""Communities that are drawn, of ours and of those that are printed."""


def draw(series: Any, ranking: Any, rows: pd.DataFrame) -> None:
    _interruption(series, rows)
    _ranking(ranking, rows)


def _interruption(axes: Any, rows: pd.DataFrame) -> None:
    """Of the series whose level changed most clearly: rates by week, and the regression through them."""
    changes = rows[(rows["estimate_name"] == "level_change") & rows["se"].notna()]
    if not len(changes):
        return
    clear = (changes["estimate"].astype(float) / changes["se"].astype(float)).abs()
    first = changes.iloc[int(clear.to_numpy().argmax())]
    is_of_it = rows["estimate_name"].isin(["rate_of_week", "fitted_rate_of_week"])
    for column in ("tenant", "study", "group_id", "outcome"):
        is_of_it &= rows[column] == first[column]
    found = rows[is_of_it]
    days = [date.fromisoformat(each.removeprefix(WEEK_OF)) for each in found["part"]]
    found = found.assign(day=days).sort_values("day")
    # As the contrast has it: "from 2020-03-11 (…) against before".
    at = date.fromisoformat(str(first["contrast"]).split()[1])
    points = found[found["estimate_name"] == "rate_of_week"]
    axes.plot([*points["day"]], [*points["estimate"]], "o", markersize=4)
    for line in (found["day"] < at, found["day"] >= at):
        fitted = found[line & (found["estimate_name"] == "fitted_rate_of_week")]
        axes.plot([*fitted["day"]], [*fitted["estimate"]], "-", color="black")
    axes.axvline(at, linewidth=0.8, linestyle="--", color="grey")
    axes.tick_params(axis="x", labelrotation=45, labelsize=6)
    axes.set(title=f"{first['study']}: {first['outcome']}", ylabel="per author")


def _ranking(axes: Any, rows: pd.DataFrame) -> None:
    """Negative semantic change: ours of the period itself, which alone is ranked, beside what is printed."""
    place = ["tenant", "study", "group_id", "part"]
    sums = rows[rows["estimate_name"] == "negative_semantic_change"]
    ranked = rows[rows["estimate_name"] == "negative_semantic_change_rank"][place]
    ours = sums[sums["source_kind"] == "own"].merge(ranked, on=place)
    printed = sums[sums["source_kind"] == "literature"]
    most = [_most(some) for some in (ours, printed)]
    bars = [
        *(
            (each["estimate"], f"{each['tenant']}: {str(each['group_id'])[:12]}", "tab:blue")
            for each in most[0]
        ),
        *((each["estimate"], f"{each['part']} (printed)", "tab:grey") for each in most[1]),
    ]
    bars.sort(key=lambda each: each[0], reverse=True)
    axes.barh(range(len(bars)), [value for value, _, _ in bars], color=[colour for _, _, colour in bars])
    axes.set_yticks(range(len(bars)), [name for _, name, _ in bars], fontsize=5)
    axes.invert_yaxis()
    axes.axvline(0, linewidth=0.8, color="grey")
    axes.set(xlabel="negative semantic change")


def _most(sums: pd.DataFrame) -> list[dict[Any, Any]]:
    return sums.sort_values("estimate", ascending=False).head(MOST).to_dict("records")
