"""The picture of `osg_prevalence`: how many in each stratum, and odds ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.defs.evidence.lines import down

if TYPE_CHECKING:
    import pandas as pd

SMALL = {"markersize": 3, "capsize": 2, "linewidth": 0.8}


def draw(shares: Any, odds: Any, rows: pd.DataFrame) -> None:
    """Of the first survey that tells: prevalence by stratum with intervals, odds ratios on a log axis."""
    found = rows[rows["ci_low"].notna() & (rows["source_kind"] == "own")]
    for _, of_first in list(found.groupby(["tenant", "study"], sort=False))[:1]:
        _prevalence(shares, of_first[of_first["estimate_name"] == "prevalence_share"])
        _odds(odds, of_first[of_first["estimate_name"] == "odds_ratio"])
        shares.set(title=f"{of_first.iloc[0]['study']}: {of_first.iloc[0]['outcome']}")
        lines = max(len(each.get_yticks()) for each in (shares, odds))
        shares.figure.set_size_inches(10, max(3.0, 1.2 + 0.16 * lines))


def _prevalence(axes: Any, rows: pd.DataFrame) -> None:
    # A stratum of two questions has a semicolon: there are too many to be read.
    rows = rows[~rows["part"].fillna("").str.contains(";")]
    down(axes, [str(each or "everybody") for each in rows["part"]], rows, **SMALL)
    axes.set(xlabel="weighted prevalence")


def _odds(axes: Any, rows: pd.DataFrame) -> None:
    """Ends are drawn as far as a factor of a thousand: beyond, nothing is known but that."""
    rows = rows.assign(**{name: rows[name].astype(float).clip(1e-3, 1e3) for name in _ENDS})
    is_of_several = rows["part"].duplicated(keep=False)
    labels = rows["part"].where(~is_of_several, rows["part"] + " (" + rows["model"] + ")")
    down(axes, [*labels], rows, nothing=1.0, **SMALL)
    axes.set(xscale="log", xlabel="odds ratio")


_ENDS = ("estimate", "ci_low", "ci_high")
