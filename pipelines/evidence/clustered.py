"""How long until something happens, of rows that belong together, as threads of a group do: one curve.

`survival` takes rows as independent; here the same curves have a variance over clusters. What row i
contributes to the error of a figure θ of the curve (the infinitesimal jackknife) is p(c, x) − Σ p(k, v)·dₖ/n
over its causes k and the times v up to x at which i was at risk, where x is when i's wait ended and c what
ended it; p is what one event more is worth to θ:

    S(t): −S(t)/(n − d)                                     Kaplan–Meier, of whatever cause
    ∫₀ᵗ S: −∫ᵥᵗ S/(n − d)                                   restricted mean
    F(t): S(v−)/n of the own cause, less (F(t) − F(v))/(n − d) of any   Aalen–Johansen

Errors are added up within clusters; Var = K/(K − 1) Σ squares, t(K − 1). Without clusters that of S(t) is
Greenwood's, but for K/(K − 1). Few clusters make it too small. Source: Ying & Wei 1994; for competing risks
the influence of Aalen & Johansen 1978's product integral.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipelines.evidence.estimates import CI_LEVEL, Estimate, not_estimated, t_quantile, with_interval
from pipelines.evidence.linear import Clusters, Floats, Integers
from pipelines.evidence.survival import Curves, Followed, follow, log_log

_CLOSE = 1e-12
ONE_CLUSTER, NO_DIFFERENCE = "no interval: one cluster", "no interval: clusters do not differ"


@dataclass(frozen=True, eq=False)
class Together:
    """Waits (n,), what ended them (n,): 0 is censoring, 1 and on are causes; and the clusters of their rows.

    `over`: what the clusters are, for the method.
    """

    waits: Floats
    causes: Integers
    clusters: Clusters
    over: str = "clusters"

    def survival(self, times: Iterable[float], level: float = CI_LEVEL) -> tuple[Estimate, ...]:
        """S(t), the share without any event after each time; log-log interval."""
        method = f"Kaplan–Meier; variance over {self.over}; log-log interval, t(K − 1)"
        curves = self._any.curves()
        found = []
        for time in times:
            (plain,) = curves.at(time)
            share = plain.estimate or 0.0
            worth = self._until(time, -share * self._left(self._any))
            se = self._se(self._any, worth[:, None])
            found.append(self._told(replace(plain, method=method), se, level))
        return tuple(found)

    def incidence(
        self, times: Iterable[float], cause: int = 1, level: float = CI_LEVEL
    ) -> tuple[Estimate, ...]:
        """F(t), the share that had the event of a cause by each time; log-log interval of 1 − F."""
        method = f"Aalen–Johansen; variance over {self.over}; log-log interval of the complement, t(K − 1)"
        followed, incidence = self._each, self._each.incidence(cause)
        before = followed.before(followed.curves().survival)
        found = []
        for time in times:
            (plain,) = incidence.at(time)
            lost = ((plain.estimate or 0.0) - incidence.share) * self._left(followed)
            worth = np.repeat(-self._until(time, lost, followed)[:, None], followed.events.shape[1], axis=1)
            if cause <= worth.shape[1]:
                worth[:, cause - 1] += self._until(time, before / followed.at_risk, followed)
            se = self._se(followed, worth)
            found.append(complement(self._told(complement(replace(plain, method=method)), se, level)))
        return tuple(found)

    def restricted_mean(self, until: float, level: float = CI_LEVEL) -> Estimate:
        """Mean time without any event of the first `until`; interval by t(K − 1)."""
        method = f"Kaplan–Meier restricted mean; variance over {self.over}; t(K − 1)"
        curves = self._any.curves()
        (plain,) = curves.restricted_means(until)
        if plain.reason and plain.estimate is None:
            return not_estimated(method, plain.reason)
        worth = self._until(until, -_areas_after(curves, until) * self._left(self._any))
        se = self._se(self._any, worth[:, None])
        if se is None or plain.estimate is None:
            return Estimate(plain.estimate, None, None, None, method, self._why_no_interval(se))
        return with_interval(plain.estimate, se, method, self.clusters.count - 1, level)

    @cached_property
    def _any(self) -> Followed:
        return follow(self.waits, self.causes > 0)

    @cached_property
    def _each(self) -> Followed:
        return follow(self.waits, self.causes)

    @cached_property
    def _steps(self) -> tuple[Integers, Integers]:
        """How many steps of `_any`, and of `_each`, there were until each row's wait ended."""
        one, other = (np.searchsorted(each.times, self.waits, "right") for each in (self._any, self._each))
        return one, other

    def _until(self, time: float, worth: Floats, followed: Followed | None = None) -> Floats:
        return np.where((followed or self._any).times <= time, worth, 0.0)

    @staticmethod
    def _left(followed: Followed) -> Floats:
        """1/(n − d); 0 where nobody is left: nothing that is worth anything comes after."""
        left = followed.at_risk - followed.all_events
        return np.where(left > 0, 1 / np.maximum(left, 1), 0.0)

    def _told(self, share: Estimate, se: float | None, level: float) -> Estimate:
        """A share of those without an event; one that has no se of its own has no interval here either."""
        if share.estimate is None or share.se is None:
            return share
        if se is None:
            return Estimate(share.estimate, None, None, None, share.method, self._why_no_interval(se))
        freedom = self.clusters.count - 1
        ends = log_log(np.array([share.estimate]), np.array([se]), t_quantile(level, freedom))
        low, high = (float(end[0]) for end in ends)
        return Estimate(share.estimate, se, low, high, share.method, freedom=freedom)

    def _se(self, followed: Followed, worth: Floats) -> float | None:
        """Of the figure to which an event of each time and cause is worth so much (m, c)."""
        if self.clusters.count < 2:
            return None
        steps = self._steps[followed is self._each]
        lost = np.concatenate([[0.0], np.cumsum((worth * followed.events).sum(axis=1) / followed.at_risk)])
        errors = -lost[steps]
        happened = self.causes > 0
        kinds = np.minimum(self.causes[happened], worth.shape[1]) - 1
        errors[happened] += worth[steps[happened] - 1, kinds]
        count = self.clusters.count
        sums = np.bincount(self.clusters.codes, errors, minlength=count)
        se = float(np.sqrt(count / (count - 1) * np.square(sums).sum()))
        return se if se > _CLOSE else None

    def _why_no_interval(self, se: float | None) -> str | None:
        return ONE_CLUSTER if self.clusters.count < 2 else NO_DIFFERENCE if se is None else None


def together(
    waits: npt.ArrayLike, causes: npt.ArrayLike, clusters: Clusters, over: str = "clusters"
) -> Together:
    """Raises ValueError when they are not of one number."""
    x, what = np.asarray(waits, float).ravel(), np.asarray(causes).ravel().astype(np.int64)
    if not len(x) == len(what) == len(clusters.codes):
        raise ValueError(f"{len(x)} waits, {len(what)} causes, {len(clusters.codes)} labels")
    return Together(x, what, clusters, over)


def _areas_after(curves: Curves, until: float) -> Floats:
    """∫ᵥᵗ S(u) du from each step's time v on, to `until` (m,)."""
    times = np.minimum(curves.followed.times, until)
    widths = np.append(times[1:], until) - times if len(times) else times
    return np.asarray(np.cumsum((curves.survival * widths)[::-1])[::-1], float)


def complement(share: Estimate) -> Estimate:
    """1 − share, and its interval."""
    value, low, high = (
        None if each is None else 1 - each for each in (share.estimate, share.ci_high, share.ci_low)
    )
    return replace(share, estimate=value, ci_low=low, ci_high=high)
