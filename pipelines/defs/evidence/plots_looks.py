"""How watched estimates moved from look to look: the interval that may be watched, and the one that may not.

Drawn of released rows and the candidate's: only what may be published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.builds.recompute import key_of
from pipelines.defs.plots import markdown
from pipelines.evidence.rows import TABLES
from pipelines.publication.looks import read_history
from services.runtime.settings import PostgresSettings

if TYPE_CHECKING:
    import pandas as pd

ESTIMATES = 2
"""So many are drawn: the first that have a sequence."""

NOTHING = "No estimate of this table may be watched yet: `anytime_reason` says why."


def plot_of_looks(postgres: PostgresSettings, table: str, rows: pd.DataFrame) -> str:
    """The first estimates of a candidate that have a sequence, over all looks; words where there is none."""
    watched = rows[rows["anytime_low"].notna()].head(ESTIMATES).to_dict("records")
    now = {key_of(TABLES[table], row): row for row in watched}
    if not now:
        return NOTHING
    history = read_history(postgres, table, [*now])
    return markdown(lambda *axes: draw(axes, history, now), len(now))


def draw(axes: Any, history: pd.DataFrame, now: dict[str, dict[Any, Any]]) -> None:
    """A panel for each estimate of `now`: its looks in `history`, and the one that is to come."""
    for panel, (key, row) in zip(axes, now.items(), strict=True):
        looks = history[
            (history["row_key"] == key) & (history["protocol_version"] == row["protocol_version"])
        ].to_dict("records")
        places = [*(int(each["looks"]) for each in looks)]
        # Of unchanged data the candidate is the last look once more.
        is_new = not looks or looks[-1]["estimate"] != row["estimate"]
        if is_new:
            places.append(places[-1] + 1 if places else 1)
            looks.append(row)
        _panel(panel, places, looks)
        panel.set(xlabel="look", title=f"{row['study']}: {row['estimate_name']}")
        panel.title.set_fontsize(8)
    axes[0].legend(fontsize=6)


def _panel(panel: Any, places: list[int], looks: list[dict[Any, Any]]) -> None:
    low, high = ([each[name] for each in looks] for name in ("anytime_low", "anytime_high"))
    panel.fill_between(places, low, high, alpha=0.2, color="tab:blue")
    panel.vlines(places, low, high, linewidth=4, alpha=0.4, color="tab:blue", label="confidence sequence")
    below = [each["estimate"] - each["ci_low"] for each in looks]
    above = [each["ci_high"] - each["estimate"] for each in looks]
    panel.errorbar(
        places, [each["estimate"] for each in looks], yerr=[below, above], fmt="o", markersize=3, capsize=3,
        color="black", label="fixed-sample interval",
    )  # fmt: skip
    panel.axhline(0, linewidth=0.8, color="grey")
    panel.set_xlim(0.5, places[-1] + 0.5)
    panel.xaxis.get_major_locator().set_params(integer=True)
