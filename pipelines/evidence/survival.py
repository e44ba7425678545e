"""How long until something happens, where not everybody is followed until it does: many groups at once.

`follow` sorts once; Kaplan–Meier curves and Aalen–Johansen incidences are made of the table that it gives,
one each for every group, by cumulative sums. Nothing loops over rows. Durations are in any unit; medians and
restricted means are in the same. Who is censored at a time was still at risk at it: events come before
censorings. Censoring must tell nothing of what would have happened; where something else may end the wait, as
a removed thread ends the wait for a reply, it is a cause of its own and `incidence` is the answer. Beyond the
longest duration of a group nothing is known of it, unless nobody was left. Which durations, and from when on
somebody is at risk, is decided by the tables' own modules; models with covariates are not here.

Sources: Kaplan & Meier 1958; Greenwood 1926; Kalbfleisch & Prentice 1980 (log-log interval); Brookmeyer &
Crowley 1982 (median); Klein & Moeschberger 2003, ch. 4 (restricted mean); Aalen & Johansen 1978, Dinse &
Larson 1986 (variance of incidence).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipelines.evidence.estimates import (
    CI_LEVEL,
    Estimate,
    not_estimated,
    t_quantile,
    with_interval,
    z_quantile,
)
from pipelines.evidence.linear import Floats, Integers, Labels, clusters_of, everyone_alone

Booleans = npt.NDArray[np.bool_]

NOBODY, NO_DURATION = "nobody was followed", "a duration is missing, or below 0"
TOO_LONG = "nobody was followed for so long"

_LOG_LOG = "log-log interval"
_NO_INTERVAL = "no interval: it happened to nobody yet, or to all"
_CLOSE = 1e-12
"""Rounding of a product of shares."""


@dataclass(frozen=True, eq=False)
class Followed:
    """Who was at risk, and what happened, at each time at which something did.

    Steps of group g of G are starts[g]:starts[g + 1], in the order of `times` (m,). `at_risk` (m,): just
    before. `events` (m, c): of each cause, from 1. Per group (G,): `n` durations, the `longest`, and whether
    one of them `is_broken`, that is missing or below 0.
    """

    starts: Integers
    times: Floats
    at_risk: Integers
    events: Integers
    n: Integers
    longest: Floats
    is_broken: Booleans

    @property
    def count(self) -> int:
        return len(self.n)

    @cached_property
    def all_events(self) -> Integers:
        return np.asarray(self.events.sum(axis=1), np.int64)

    def curves(self) -> Curves:
        """Kaplan–Meier's, of whatever cause: follow with one cause, and others are what the data censor."""
        gone = self.all_events
        survival = self.accumulated(np.multiply, 1 - gone / self.at_risk)
        return Curves(self, survival, self.accumulated(np.add, self.hazard_variances))

    def incidence(self, cause: int = 1) -> Incidence:
        """Aalen–Johansen's share that had the event of a cause, where others may come before it.

        Var F(t) = Σ (F(t) − F(u))² d/(n(n − d)) + Σ S(u−)² dₖ(n − dₖ)/n³ − 2 Σ (F(t) − F(u)) S(u−) dₖ/n²,
        over u ≤ t; of a single cause that is Greenwood's.
        """
        n, own = self.at_risk.astype(float), self._of(cause)  # cubes of millions are beyond integers
        before = self.before(self.accumulated(np.multiply, 1 - self.all_events / n))
        f = self.accumulated(np.add, before * own / n)
        hazards = self.hazard_variances
        a, b, c, d, e, h = (
            self.accumulated(np.add, each)
            for each in (
                hazards,
                hazards * f,
                hazards * f**2,
                before**2 * own * (n - own) / n**3,
                before * own / n**2,
                before * own / n**2 * f,
            )
        )
        variance = f**2 * a - 2 * f * b + c + d - 2 * f * e + 2 * h
        # All is all, whatever the last bits of a sum say: no interval of 0 to 1.
        return Incidence(self, np.where(f > 1 - _CLOSE, 1.0, f), np.maximum(variance, 0.0))

    def _of(self, cause: int) -> Integers:
        if cause > self.events.shape[1]:
            return np.zeros(len(self.times), np.int64)
        return self.events[:, cause - 1]

    @cached_property
    def hazard_variances(self) -> Floats:
        """d/(n(n − d)); 0 where nobody is left, as the share that it multiplies is 0 as well."""
        left = self.at_risk - self.all_events
        return np.where(left > 0, self.all_events / (self.at_risk * np.maximum(left, 1.0)), 0.0)

    def before(self, survival: Floats) -> Floats:
        """What a curve (m,) was just before each step."""
        before = np.concatenate([[1.0], survival[:-1]])[: len(survival)]
        before[self.filled] = 1.0
        return before

    @property
    def filled(self) -> Integers:
        """First steps of the groups that have any."""
        return self.starts[:-1][np.diff(self.starts) > 0]

    def accumulated(self, by: np.ufunc, values: Floats) -> Floats:
        """Within each group: a cumulative sum over all of them would lose the digits of small ones."""
        found = np.empty_like(values)
        for start, end in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True):
            by.accumulate(values[start:end], out=found[start:end])
        return found

    def sums(self, values: Floats) -> Floats:
        """Of steps (m,), per group (G,)."""
        found = np.zeros(self.count)
        if len(values):
            found[np.diff(self.starts) > 0] = np.add.reduceat(values, self.filled)
        return found

    def last_until(self, time: float) -> Integers:
        """Each group's last step that is no later than a time (G,); −1: it has none."""
        until = np.concatenate([[0], np.cumsum(self.times <= time)])
        steps = until[self.starts[1:]] - until[self.starts[:-1]]
        return np.where(steps > 0, self.starts[:-1] + steps - 1, -1)

    def first_where(self, holds: Booleans) -> Integers:
        """Each group's first step at which that holds (G,); −1: it never does."""
        found = np.append(np.flatnonzero(holds), len(self.times))
        first = found[np.searchsorted(found, self.starts[:-1])]
        return np.where(first < self.starts[1:], first, -1)

    def why_not(self, time: float, is_gone: Booleans) -> list[str | None]:
        """Why a group tells nothing of a time: nobody was followed to it, though somebody was left."""
        if not 0 <= time < np.inf:
            return ["the time is no number from 0 on"] * self.count
        is_beyond = (time > self.longest) & ~is_gone
        return [
            self.why_nothing(group) or (TOO_LONG if is_beyond[group] else None) for group in range(self.count)
        ]

    def why_nothing(self, group: int) -> str | None:
        if self.is_broken[group]:
            return NO_DURATION
        return None if self.n[group] else NOBODY


def follow(
    durations: npt.ArrayLike,
    causes: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    count: int | None = None,
) -> Followed:
    """Durations (n,) and what ended them (n,): 0 or False is censoring, 1 or True and on are causes.

    `groups`: the group of each, from 0; `count`: how many groups there are, with those that have nobody.
    Raises ValueError when rows are not of one number, or a cause or group is below 0 or beyond `count`.
    """
    times, what = np.asarray(durations, float).ravel(), np.asarray(causes).ravel().astype(np.int64)
    whose = np.zeros(len(times), np.int64) if groups is None else np.asarray(groups).ravel().astype(np.int64)
    number = (1 if groups is None else int(whose.max(initial=-1)) + 1) if count is None else count
    _check(times, what, whose, number)
    is_whole = np.isfinite(times) & (times >= 0)
    is_broken = np.bincount(whose[~is_whole], minlength=number) > 0
    if not is_whole.all():
        times, what, whose = times[is_whole], what[is_whole], whose[is_whole]
    return replace(_sorted(times, what, whose, number), is_broken=is_broken)


def _check(times: Floats, causes: Integers, groups: Integers, count: int) -> None:
    if not len(times) == len(causes) == len(groups):
        raise ValueError(f"{len(times)} durations, {len(causes)} causes, {len(groups)} groups")
    if causes.min(initial=0) < 0 or groups.min(initial=0) < 0 or groups.max(initial=-1) >= count:
        raise ValueError("a cause or group is below 0, or a group beyond the number of groups")


def _sorted(times: Floats, causes: Integers, groups: Integers, count: int) -> Followed:
    # Small integers are sorted by counting.
    order = np.lexsort((times, groups.astype(np.min_scalar_type(max(count, 1)))))
    times, causes, groups = times[order], causes[order], groups[order]
    n = np.bincount(groups, minlength=count)
    ends = np.cumsum(n)
    is_new = np.ones(len(times), bool)
    is_new[1:] = (times[1:] != times[:-1]) | (groups[1:] != groups[:-1])
    ties = np.flatnonzero(is_new)
    kinds = int(causes.max(initial=1))
    events = np.empty((len(ties), kinds), np.int64)
    for cause in range(1, kinds + 1):
        found = np.concatenate([[0], np.cumsum(causes == cause)])
        events[:, cause - 1] = np.diff(found[np.append(ties, len(times))])
    has_events = events.any(axis=1)
    steps = ties[has_events]
    longest = np.zeros(count)
    longest[n > 0] = times[ends[n > 0] - 1]
    return Followed(
        np.concatenate([[0], np.cumsum(np.bincount(groups[steps], minlength=count))]),
        times[steps],
        ends[groups[steps]] - steps,
        events[has_events],
        n,
        longest,
        np.zeros(count, bool),
    )


# --- Kaplan–Meier -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Curves:
    """`survival` (m,): the share without the event after each step; `greenwood` (m,): Σ d/(n(n − d)).

    All that is asked is answered once for each group, in their order.
    """

    followed: Followed
    survival: Floats
    greenwood: Floats

    def at(self, time: float, level: float = CI_LEVEL) -> tuple[Estimate, ...]:
        """S(t), the share still without the event after a time; its se is S√(Σ d/(n(n − d)))."""
        step = self.followed.last_until(time)
        share, se = _at(self.survival, step, 1.0), _at(self._se, step, 0.0)
        found = _Shares(share, se, *log_log(share, se, z_quantile(level)))
        return found.told(f"Kaplan–Meier; Greenwood; {_LOG_LOG}", self._why_not(time))

    def quantiles(self, share: float = 0.5, level: float = CI_LEVEL) -> tuple[Estimate, ...]:
        """The first time after which no more than 1 − `share` are without the event; no se.

        The interval has the times between which the log-log interval of S(t) holds 1 − `share`: from where
        its lower end comes down to it, to where its upper end does. An end that is not reached is None. At
        the time at which nobody is left there is no interval of S(t), and no end.
        """
        name = "median" if share == 0.5 else f"{share:g} quantile"
        method = f"Kaplan–Meier {name}; Brookmeyer–Crowley interval by log-log"
        wanted = 1 - share + _CLOSE
        ends = log_log(self.survival, self._se, z_quantile(level))
        crossed = [self._times_where(curve <= wanted) for curve in (self.survival, *ends)]
        found = []
        for group, (time, low, high) in enumerate(zip(*crossed, strict=True)):
            reason = self.followed.why_nothing(group) or (f"{name} not reached" if time is None else None)
            if reason is None and high is None:
                reason = "no interval" if low is None else "no upper end of the interval"
                reason = f"{reason}: too few are left when it would be reached"
            found.append(Estimate(time, None, low, high, method, reason))
        return tuple(found)

    def _times_where(self, holds: Booleans) -> list[float | None]:
        """The first time of each group at which that holds."""
        steps = self.followed.first_where(holds)
        times = _at(self.followed.times, steps, np.nan).tolist()
        return [None if step < 0 else time for step, time in zip(steps.tolist(), times, strict=True)]

    def restricted_means(self, until: float, level: float = CI_LEVEL) -> tuple[Estimate, ...]:
        """Mean time without the event of the first `until`: ∫₀ᵗ S(u) du, a normal interval.

        Var = Σ (∫ᵤᵗ S)² d/(n(n − d)) over u ≤ t.
        """
        method = "Kaplan–Meier restricted mean; Greenwood; normal interval"
        followed = self.followed
        groups = np.repeat(np.arange(followed.count), np.diff(followed.starts))
        is_last = np.ones(len(groups), bool)
        is_last[:-1] = groups[1:] != groups[:-1]
        limit = until if 0 <= until < np.inf else 0.0
        times = np.minimum(followed.times, limit)
        widths = np.where(is_last, limit, np.append(times[1:], limit)) - times
        areas = followed.accumulated(np.add, self.survival * widths)
        after = followed.sums(self.survival * widths)
        first = np.full(followed.count, limit)
        first[np.diff(followed.starts) > 0] = times[followed.filled]
        beyond = after[groups] - areas + self.survival * widths
        is_by_then = followed.times <= limit
        variance = followed.sums(np.where(is_by_then, beyond**2 * followed.hazard_variances, 0.0))
        return tuple(
            not_estimated(method, reason)
            if reason
            else Estimate(float(mean), None, None, None, method, _NO_INTERVAL)
            if se == 0
            else with_interval(float(mean), float(se), method, level=level)
            for mean, se, reason in zip(first + after, np.sqrt(variance), self._why_not(until), strict=True)
        )

    @cached_property
    def _se(self) -> Floats:
        return np.asarray(self.survival * np.sqrt(self.greenwood), float)

    def _why_not(self, time: float) -> list[str | None]:
        is_gone = _at(self.survival, _last(self.followed), 1.0) == 0
        return self.followed.why_not(time, is_gone)


# --- Aalen–Johansen ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Incidence:
    """`share` (m,): who had the event of the cause by each step; `variance` (m,) of it."""

    followed: Followed
    share: Floats
    variance: Floats

    def at(self, time: float, level: float = CI_LEVEL) -> tuple[Estimate, ...]:
        """F(t), the share that had the event by a time, for each group.

        The interval is log-log of 1 − F(t), so that of a single cause it is Kaplan–Meier's.
        """
        step, followed = self.followed.last_until(time), self.followed
        share, se = _at(self.share, step, 0.0), _at(np.sqrt(self.variance), step, 0.0)
        low, high = log_log(1 - share, se, z_quantile(level))
        last = _last(followed)
        is_gone = _at((followed.at_risk - followed.all_events).astype(float), last, 1.0) == 0
        method = f"Aalen–Johansen; Dinse–Larson variance; {_LOG_LOG} of the complement"
        return _Shares(share, se, 1 - high, 1 - low).told(method, followed.why_not(time, is_gone))


# --- One curve of people who belong together --------------------------------------------------------------


def clustered_survival(
    durations: npt.ArrayLike,
    is_event: npt.ArrayLike,
    time: float,
    clusters: Labels | None = None,
    level: float = CI_LEVEL,
) -> Estimate:
    """S(t) of one curve whose rows are alike within clusters, as threads of a group are.

    What row i contributes to the error of ln S(t) is −1{event by t}/(n − d) + Σ d/(n(n − d)) over the times
    at which i was at risk, up to t (the infinitesimal jackknife). Without clusters their squares add up to
    Greenwood's sum. Over K clusters sums are squared, times K/(K − 1); log-log interval with t(K − 1).
    Source: Ying & Wei 1994. Labels: (n,), None for who is in none.
    """
    method = f"Kaplan–Meier; variance over clusters; {_LOG_LOG}, t(K − 1)"
    curves = follow(durations, np.asarray(is_event).astype(bool)).curves()
    (plain,) = curves.at(time, level)
    if plain.reason or plain.estimate is None:
        return replace(plain, method=method)
    ended, happened = np.asarray(durations, float).ravel(), np.asarray(is_event).astype(bool).ravel()
    grouped = everyone_alone(len(ended)) if clusters is None else clusters_of(clusters)
    if grouped.count < 2:
        return Estimate(plain.estimate, None, None, None, method, "no interval: one cluster")
    step = np.searchsorted(curves.followed.times, np.minimum(ended, time), "right")
    hazards = np.concatenate([[0.0], curves.greenwood])[step]
    left = np.concatenate([[1], curves.followed.at_risk - curves.followed.all_events])[step]
    errors = hazards - np.where(happened & (ended <= time), 1 / np.maximum(left, 1), 0.0)
    factor = grouped.count / (grouped.count - 1)
    se = plain.estimate * float(np.sqrt(factor * np.square(grouped.sums(errors)).sum()))
    if se <= _CLOSE:
        return Estimate(plain.estimate, None, None, None, method, "no interval: clusters do not differ")
    freedom = grouped.count - 1
    low, high = log_log(np.array([plain.estimate]), np.array([se]), t_quantile(level, freedom))
    return Estimate(plain.estimate, se, float(low[0]), float(high[0]), method, freedom=freedom)


# --- What both are told with ------------------------------------------------------------------------------


def _last(followed: Followed) -> Integers:
    return np.where(np.diff(followed.starts) > 0, followed.starts[1:] - 1, -1)


def _at(values: Floats, steps: Integers, before: float) -> Floats:
    """Values (m,) at steps (G,); of step −1 what is there before anything happened."""
    return np.append(values, before)[steps]


def log_log(share: Floats, se: Floats, quantile: float) -> tuple[Floats, Floats]:
    """S^exp(±quantile · se/(S|ln S|)); of 0 and 1, which have none, NaN."""
    is_inside = (share > 0) & (share < 1)
    s = np.where(is_inside, share, 0.5)
    # Beyond some hundred the power is 0 or 1 anyhow.
    reach = np.minimum(quantile * se / (s * -np.log(s)), 700.0)
    low, high = s ** np.exp(reach), s ** np.exp(-reach)
    return np.where(is_inside, low, np.nan), np.where(is_inside, high, np.nan)


@dataclass(frozen=True, eq=False)
class _Shares:
    """One share for each group (G,), its se and the ends of its interval, NaN where there is none."""

    share: Floats
    se: Floats
    low: Floats
    high: Floats

    def told(self, method: str, reasons: list[str | None]) -> tuple[Estimate, ...]:
        numbers = zip(*(each.tolist() for each in (self.share, self.se, self.low, self.high)), strict=True)
        return tuple(
            not_estimated(method, reason)
            if reason
            else Estimate(share, None, None, None, method, _NO_INTERVAL)
            if math.isnan(low)
            else Estimate(share, se, low, high, method)
            for (share, se, low, high), reason in zip(numbers, reasons, strict=True)
        )
