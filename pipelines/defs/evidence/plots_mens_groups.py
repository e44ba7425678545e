"""The picture of `mens_groups`: what members tell, and how loneliness changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.defs.evidence.lines import down

if TYPE_CHECKING:
    import pandas as pd


def draw(themes: Any, change: Any, rows: pd.DataFrame) -> None:
    """Of the first study that tells: themes of interviews, and change by gender and group."""
    found = rows[rows["ci_low"].notna() & (rows["source_kind"] == "own")]
    for _, of_first in list(found.groupby(["tenant", "study"], sort=False))[:1]:
        told = of_first[(of_first["estimate_name"] == "theme_share") & of_first["part"].isna()]
        down(themes, [*told["outcome"]], told)
        themes.set(xlim=(0, 1), xlabel="share of interviews", title=of_first.iloc[0]["study"])
        changed = of_first[of_first["estimate_name"] == "mean_change"]
        labels = [f"{row['part'] or 'everybody'}, {row['time_point']}" for row in changed.to_dict("records")]
        down(change, labels, changed)
        change.set(
            xlabel="mean change from baseline",
            title=", ".join(dict.fromkeys(map(str, changed["instrument"]))),
        )
