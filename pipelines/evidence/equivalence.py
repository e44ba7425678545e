"""Whether an arm is not worse than another, or as good: non-inferiority and equivalence within a margin.

Both take an estimated difference, arm minus reference, with its standard error and degrees of freedom; how it
was estimated is its own method's. Margins belong to protocols, which give them in the estimate's unit, with
their reason and before the data.

Sources: Piaggio et al. 2012 (CONSORT: interval against the margin); Schuirmann 1987 (two one-sided tests).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.evidence.estimates import CI_LEVEL, Estimate, with_interval

EQUIVALENCE_LEVEL = 0.90
"""Of the interval that is inside of ±margin just when both one-sided tests reject at 5 %."""


@dataclass(frozen=True)
class NonInferiority:
    """The two-sided interval against the margin. `p`: one-sided, of a difference as bad as the margin.

    inferior: all of the interval is worse than the margin; non-inferior: none of it; else inconclusive.
    """

    margin: float
    level: float
    low: float | None
    high: float | None
    p: float | None
    verdict: Literal["non-inferior", "inconclusive", "inferior"] | None
    reason: str | None = None


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests: `p_low` of a difference as low as −margin, `p_high` as high as it; `p` the larger.

    equivalent: the interval is inside of ±margin, which is p < (1 − level)/2.
    """

    margin: float
    level: float
    low: float | None
    high: float | None
    p_low: float | None
    p_high: float | None
    p: float | None
    verdict: Literal["equivalent", "not shown"] | None
    reason: str | None = None


def non_inferiority(
    difference: Estimate, margin: float, lower_is_better: bool, level: float = CI_LEVEL
) -> NonInferiority:
    """`margin`: how much worse, in the difference's unit, would still do; above 0."""
    reason = _why_not(difference, margin)
    if reason or difference.estimate is None or difference.se is None:
        return NonInferiority(margin, level, None, None, None, None, reason)
    interval = with_interval(difference.estimate, difference.se, "", difference.freedom, level)
    low, high = _ends(interval)
    # Turned so that more is worse.
    worse, least, most = (
        (difference.estimate, low, high) if lower_is_better else (-difference.estimate, -high, -low)
    )
    p = _above((margin - worse) / difference.se, difference.freedom)
    verdict: Literal["non-inferior", "inconclusive", "inferior"] = (
        "non-inferior" if most < margin else "inferior" if least > margin else "inconclusive"
    )
    return NonInferiority(margin, level, low, high, p, verdict)


def equivalence(difference: Estimate, margin: float, level: float = EQUIVALENCE_LEVEL) -> Equivalence:
    """`margin`: how large a difference, in its unit, to either side would be none; above 0."""
    reason = _why_not(difference, margin)
    if reason or difference.estimate is None or difference.se is None:
        return Equivalence(margin, level, None, None, None, None, None, None, reason)
    interval = with_interval(difference.estimate, difference.se, "", difference.freedom, level)
    low, high = _ends(interval)
    p_low = _above((difference.estimate + margin) / difference.se, difference.freedom)
    p_high = _above((margin - difference.estimate) / difference.se, difference.freedom)
    verdict: Literal["equivalent", "not shown"] = (
        "equivalent" if -margin < low and high < margin else "not shown"
    )
    return Equivalence(margin, level, low, high, p_low, p_high, max(p_low, p_high), verdict)


def _why_not(difference: Estimate, margin: float) -> str | None:
    if not 0 < margin < float("inf"):
        return "the margin is not above 0"
    if difference.estimate is None or difference.se is None:
        return difference.reason or "the difference has no standard error"
    if difference.se <= 0:
        return "the difference has no standard error"
    if difference.freedom is not None and difference.freedom <= 0:
        return "no degrees of freedom"
    return None


def _ends(interval: Estimate) -> tuple[float, float]:
    assert interval.ci_low is not None and interval.ci_high is not None  # noqa: S101  # of numbers
    return interval.ci_low, interval.ci_high


def _above(quantile: float, freedom: float | None) -> float:
    from scipy import special

    return float(special.ndtr(-quantile) if freedom is None else special.stdtr(freedom, -quantile))
