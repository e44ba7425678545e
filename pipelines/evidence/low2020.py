"""How much the language of a community changes: the measure of Low et al. 2020, which has no interval.

For each community and feature: observed days two by two, the mean over posts in each bin, z-scores of these
means, their least-squares line over the number of the bin. The value is slope × r²; those whose slope is not
significant after Benjamini and Hochberg, over all features of all communities, are dropped. It is in standard
deviations per bin and at most √(12/(m² − 1)) for m bins, so it compares series of one length only. The
mart `fct_feature_trend` is the same in SQL, up to what needs a distribution: p and what follows from it.
`trend` is what it is checked against. Features come from partners; words never do.

Source: Low, Rumker, Talkar, Torous, Cecchi & Ghosh 2020, J Med Internet Res 22(10):e22635, and the authors'
notebook, where the z-scores are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.evidence.trends import benjamini_hochberg

Floats = npt.NDArray[np.float64]

METHOD = "slope × r² of z-scored means of two observed days; Benjamini-Hochberg over all; no interval"
DAYS_PER_BIN = 2
MIN_BINS = 3
"""A line through two bins has no residual, and no p-value."""
FALSE_DISCOVERIES = 0.05

UNDIVIDED = frozenset(
    {
        "n_chars", "n_sents", "n_words", "sent_neg", "sent_neu", "sent_pos", "sent_compound",
        "automated_readability_index", "coleman_liau_index", "flesch_kincaid_grade_level",
        "flesch_reading_ease", "gulpease_index", "gunning_fog_index", "lix", "smog_index",
        "wiener_sachtextformel",
    }
)  # fmt: skip
"""Features that are no counts of words, and so are not divided by the words of their post."""

EMOTIONAL: Mapping[str, int] = {
    "sent_compound": -1, "sent_pos": -1, "positive_emotion": -1, "sent_neg": 1, "economic_stress": 1,
    "isolation": 1, "substance_use": 1, "guns": 1, "domestic_stress": 1, "suicidality": 1, "anger": 1,
    "anxiety": 1, "death": 1, "negations": 1, "negative_emotion": 1, "sadness": 1,
}  # fmt: skip
"""The features of negative semantic change, with the sign that makes more of each worse."""


@dataclass(frozen=True)
class Trend:
    """Of one feature of one community. `slope`: standard deviations per bin; `value`: slope × r²; `p`: of the
    slope, `adjusted` among all trends that were looked at. With a reason: without numbers.
    """

    bins: int
    slope: float | None
    r2: float | None
    value: float | None
    p: float | None
    adjusted: float | None = None
    reason: str | None = None

    @property
    def is_significant(self) -> bool:
        return self.adjusted is not None and self.adjusted <= FALSE_DISCOVERIES


@dataclass(frozen=True)
class Change:
    """Of a community with so many `features` that have a trend: sums over those that are `significant`.

    `overall`: Σ|value|. `negative`: Σ ± value of the emotional ones. None: no such feature has a trend.
    """

    features: int
    significant: int
    overall: float | None
    negative: float | None
    reason: str | None = None


def bins_of(days: npt.ArrayLike, observed: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The bin of each day (n,), from 0, of a community with such observed days. The last may have one day."""
    return np.searchsorted(np.unique(np.asarray(observed)), np.asarray(days)) // DAYS_PER_BIN


def trend(bins: npt.ArrayLike, values: npt.ArrayLike) -> Trend:
    """The trend of a feature from the bin (n,) and value (n,) of each post. NaN: the post has none."""
    which, x = np.asarray(bins, np.int64).ravel(), np.asarray(values, float).ravel()
    there = np.isfinite(x)
    numbers = np.bincount(which[there])
    index = np.flatnonzero(numbers)
    means = np.bincount(which[there], x[there])[index] / numbers[index]
    m = len(index)
    if m < MIN_BINS:
        return Trend(m, None, None, None, None, reason=f"fewer than {MIN_BINS} bins of {DAYS_PER_BIN} days")
    sd = float(means.std())
    if sd <= 1e-12 * float(np.abs(means).max()):
        return Trend(m, None, None, None, None, reason="the feature does not vary")
    centred, z = index - index.mean(), (means - means.mean()) / sd
    slope = float(centred @ z / (centred @ centred))
    r2 = min(1.0, slope**2 * float(centred @ centred) / m)
    return Trend(m, slope, r2, slope * r2, slope_p(r2, m))


def told(bins: int, slope: float | None, r2: float | None, values: int) -> Trend:
    """A trend as the mart has it: of so many bins, in which `values` posts have one."""
    if slope is not None and r2 is not None:
        # Rounding may put r² beyond 1.
        r2 = min(1.0, r2)
        return Trend(bins, slope, r2, slope * r2, slope_p(r2, bins))
    return Trend(bins, None, None, None, None, reason=_why_no_trend(bins, values))


def _why_no_trend(bins: int, values: int) -> str:
    if values == 0:
        return "no post has words to divide by"
    few = f"fewer than {MIN_BINS} bins of {DAYS_PER_BIN} days"
    return few if bins < MIN_BINS else "the feature does not vary"


def slope_p(r2: float, bins: int) -> float:
    """Two-sided p of a slope, from r² and so many bins: t = √(r²(m − 2)/(1 − r²)) with m − 2."""
    from scipy.special import stdtr

    if r2 >= 1:
        return 0.0
    return float(2 * stdtr(bins - 2, -math.sqrt(r2 * (bins - 2) / (1 - r2))))


def adjusted(trends: Iterable[Trend]) -> list[Trend]:
    """Trends with p-values adjusted among all of them, in their order."""
    all_of_them = list(trends)
    told = benjamini_hochberg([each.p for each in all_of_them])
    return [
        Trend(each.bins, each.slope, each.r2, each.value, each.p, p, each.reason)
        for each, p in zip(all_of_them, told, strict=True)
    ]


def change(trends: Mapping[str, Trend]) -> Change:
    """The sums of one community from its adjusted trends by feature."""
    known = {name: each for name, each in trends.items() if each.value is not None}
    if not known:
        return Change(0, 0, None, None, "no feature has a trend")
    kept = {name: each.value or 0.0 for name, each in known.items() if each.is_significant}
    negative = sum(sign * kept[name] for name, sign in EMOTIONAL.items() if name in kept)
    is_told = any(name in known for name in EMOTIONAL)
    return Change(
        len(known),
        len(kept),
        float(sum(abs(value) for value in kept.values())),
        float(negative) if is_told else None,
        None if is_told else "no emotional feature has a trend",
    )
