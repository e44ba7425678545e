"""Difference of two shares of people of whom some are in both: of those who wrote before, say, and after.

Neither independent nor paired samples, and both as its ends: without anybody in both it is Newcombe's
difference of independent shares. What the shares are of is the tables' business.

Source: Zou & Donner 2008 (an interval from those of two parts and their correlation); Wilson 1927.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipelines.evidence.estimates import CI_LEVEL, Estimate, not_estimated, proportion

METHOD = "difference of shares, some people in both; interval from Wilson's of each and their correlation"


@dataclass(frozen=True)
class Overlap:
    """Numbers of people: with a value before and after, and the characteristic then; of those in `both`, with
    it before, after, and both times."""

    before: int
    after: int
    with_before: int
    with_after: int
    both: int
    both_with_before: int
    both_with_after: int
    both_with_both: int


def share_difference(counts: Overlap, level: float = CI_LEVEL) -> Estimate:
    """Share after minus share before. Unit: −1 to 1.

    Cov(p₁, p₂) = Σ(x − p₁)(y − p₂)/(n₁n₂) over those in both; r = Cov/(se₁se₂). Lower end: d − √((p₂ − l₂)² +
    (u₁ − p₁)² − 2r(p₂ − l₂)(u₁ − p₁)), the upper one likewise.
    """
    before = proportion(counts.with_before, counts.before, level)
    after = proportion(counts.with_after, counts.after, level)
    if before.estimate is None or after.estimate is None:
        return not_estimated(METHOD, "nobody has a value before, or nobody after")
    p1, p2 = before.estimate, after.estimate
    products = (
        counts.both_with_both
        - p2 * counts.both_with_before
        - p1 * counts.both_with_after
        + counts.both * p1 * p2
    )
    covariance = products / (counts.before * counts.after)
    se1, se2 = before.se or 0.0, after.se or 0.0
    r = covariance / (se1 * se2) if se1 * se2 > 0 else 0.0
    difference = p2 - p1
    low = _reach(_below(after), _above(before), r)
    high = _reach(_above(after), _below(before), r)
    se = math.sqrt(max(0.0, se1**2 + se2**2 - 2 * covariance))
    return Estimate(difference, se, difference - low, difference + high, METHOD)


def _below(share: Estimate) -> float:
    return (share.estimate or 0.0) - (share.ci_low or 0.0)


def _above(share: Estimate) -> float:
    return (share.ci_high or 0.0) - (share.estimate or 0.0)


def _reach(one: float, other: float, r: float) -> float:
    return math.sqrt(max(0.0, one**2 + other**2 - 2 * r * one * other))
