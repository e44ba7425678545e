"""The table `covid_change`: how what is written in communities changes, over a period and at an interruption.

The shape of Low et al. 2020, for any dictionary of features, any period and any event that a protocol names:
their measure by feature and community with its sums and ranks, beside an interrupted time series, the same
season of earlier years, and shares of authors who wrote about a topic. The measure's slopes are the mart
`fct_feature_trend`'s, its tests `low2020`'s, the series `trends`'. Words never come here, only numbers that
partners made of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.evidence import low2020
from pipelines.evidence.estimates import plain, proportion
from pipelines.evidence.inputs import Inputs
from pipelines.evidence.low2020 import EMOTIONAL, Change, Trend
from pipelines.evidence.overlapping import Overlap, share_difference
from pipelines.evidence.protocols import TextChange, Window, protocols
from pipelines.evidence.rows import COVID_CHANGE, estimate_columns, frame, protocol_columns
from pipelines.evidence.trends import Interrupted, interrupted_series, seasonal_change

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

POSTS, AUTHORS = "n_posts", "n_authors"
"""Series that are about no topic. The first is a feature of Low's measure as well."""

WEEK = 7
YEAR = 365.25

ONE_POST = "one post of each author in the period, whichever has the lowest pseudonym"
ONE_POST_A_SIDE = "of authors by one post each, whichever has the lowest pseudonym; about it: feature above 0"
NOT_CAUSAL = "associated with it, not an effect of it"
NOTHING = "nothing was written in this period"


def covid_change(inputs: Inputs) -> pd.DataFrame:
    """Rows of each protocol and tenant whose posts are measured with its dictionary."""
    rows = [
        row
        for protocol in protocols(TextChange)
        for study in _studies(inputs, protocol)
        for row in _rows(study)
    ]
    return frame(rows, COVID_CHANGE, extra=("parts",))


@dataclass(frozen=True)
class Written:
    """Of one study and tenant, rows of the marts: `authors` by community, year and feature, `steps` by these,
    days per step and step, `trends` by year, then community and feature."""

    protocol: TextChange
    common: Row
    groups: tuple[str, ...]
    authors: Mapping[tuple[str, int, str], Any]
    steps: Mapping[tuple[str, int, str, int], Mapping[int, Any]]
    trends: Mapping[int, Mapping[tuple[str, str], Any]]

    @property
    def main(self) -> Window:
        return self.protocol.windows[0]

    @property
    def communities(self) -> tuple[str, ...]:
        """Groups that are large enough."""
        return tuple(group for group in self.groups if self.is_large_enough(group))

    def is_large_enough(self, group: str) -> bool:
        return self.count(group, self.main.year, "authors") >= self.protocol.min_authors

    def count(self, group: str, year: int, name: str, feature: str = POSTS) -> int:
        """A number of authors; 0 where nobody wrote."""
        row = self.authors.get((group, year, feature))
        return int(getattr(row, f"count_{name}")) if row is not None else 0

    def of_community(self, group: str, year: int) -> Row:
        row = self.authors.get((group, year, POSTS))
        return self.common | {
            "group_id": group,
            "n_consented": self.count(group, year, "authors"),
            "n_excluded": self.count(group, year, "excluded"),
            "period": None if row is None else f"{_day(row.first_posted_on)}/{_day(row.last_posted_on)}",
        }

    def known(self, window: Window) -> tuple[date, date] | None:
        """First and last day of the window on which anything of the tenant is known."""
        days = [row for (_, year, _), row in self.authors.items() if year == window.year]
        if not days:
            return None
        return (
            min(_day(row.first_posted_on) for row in days),
            max(_day(row.last_posted_on) for row in days),
        )


def _studies(inputs: Inputs, protocol: TextChange) -> Iterator[Written]:
    def of_study(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[rows["study_code"] == protocol.study]

    steps, trends = of_study(inputs.feature_series), of_study(inputs.feature_trends)
    for tenant, authors in of_study(inputs.feature_authors).groupby("tenant_id"):
        yield _study(
            protocol,
            str(tenant),
            authors,
            steps[steps["tenant_id"] == tenant],
            trends[trends["tenant_id"] == tenant],
        )


def _study(
    protocol: TextChange, tenant: str, authors: pd.DataFrame, steps: pd.DataFrame, trends: pd.DataFrame
) -> Written:
    by_step: dict[tuple[str, int, str, int], dict[int, Any]] = {}
    for row in _tuples(steps):
        place = (row.group_id, row.window_year, row.feature, row.step_days)
        by_step.setdefault(place, {})[row.step] = row
    by_year: dict[int, dict[tuple[str, str], Any]] = {each.year: {} for each in protocol.windows}
    for row in _tuples(trends):
        by_year.setdefault(row.window_year, {})[row.group_id, row.feature] = row
    first = _day(min(authors["first_posted_on"]))
    asked = protocol_columns(protocol, tenant, min(authors["data_class"]), first)
    return Written(
        protocol,
        asked | {"source_kind": "own", "design": protocol.design},
        tuple(sorted({*authors["group_id"]})),
        {(row.group_id, row.window_year, row.feature): row for row in _tuples(authors)},
        by_step,
        by_year,
    )


def _tuples(rows: pd.DataFrame) -> Iterator[Any]:
    found: Iterator[Any] = rows.itertuples()
    return found


def _day(value: Any) -> date:
    """Of a date, or of the timestamp that a frame makes of it."""
    day: date = value.date() if hasattr(value, "date") else value
    return day


def _rows(study: Written) -> Iterator[Row]:
    for group in study.groups:
        if not study.is_large_enough(group):
            yield _small_row(study, group)
    for window in study.protocol.windows:
        yield from _measure_rows(study, window)
    for group in study.communities:
        for feature in (POSTS, AUTHORS, *study.protocol.topics):
            yield from _series_rows(study, group, feature)
        for topic in study.protocol.topics:
            yield from _topic_rows(study, group, topic)


# --- The measure of Low et al. ----------------------------------------------------------------------------


def _measure_rows(study: Written, window: Window) -> Iterator[Row]:
    """Sums of each community and the share of significant slopes; of the period itself each slope and the
    ranks as well."""
    found = study.trends[window.year]
    trends = dict(zip(found, low2020.adjusted(_trend(row) for row in found.values()), strict=True))
    changes = {
        group: low2020.change({name: each for (of, name), each in trends.items() if of == group})
        for group in study.communities
    }
    if window == study.main:
        for place, row in found.items():
            yield _slope_row(study, window, row, trends[place])
        yield from _rank_rows(study, window, changes)
    for group, change in changes.items():
        yield from _sum_rows(study, window, group, change, trends)
    yield _significance_row(study, window, [*trends.values()])


def _small_row(study: Written, group: str) -> Row:
    """All that is said of a community in which too few write."""
    n = study.count(group, study.main.year, "authors")
    reason = f"fewer than {study.protocol.min_authors} authors in the period" if n else NOTHING
    return (
        study.of_community(group, study.main.year)
        | estimate_columns(plain(None, _low(study), reason))
        | {
            "estimate_name": "all_feature_change",
            "part": str(study.main.year),
            "n": n,
            "denominator": 0,
            "denominator_unit": "features with a trend",
            "missing_share": 0.0 if n else None,
            "parts": (n,),
        }
    )


def _trend(row: Any) -> Trend:
    slope, r2 = (None if each != each else each for each in (row.slope, row.r_squared))  # noqa: PLR0124  # NaN
    return low2020.told(int(row.count_bins), slope, r2, int(row.count_authors_with_value))


def _slope_row(study: Written, window: Window, row: Any, trend: Trend) -> Row:
    everybody, n = study.count(row.group_id, window.year, "authors"), int(row.count_authors_with_value)
    return (
        study.of_community(row.group_id, window.year)
        | estimate_columns(plain(trend.value, _low(study), trend.reason))
        | {
            "estimate_name": "slope_times_r2",
            "outcome": row.feature,
            "part": str(window.year),
            "n": n,
            "denominator": trend.bins,
            "denominator_unit": "bins of two days",
            "missing_share": 1 - n / everybody if everybody else None,
            "p_adjusted": trend.adjusted,
            "parts": (n, everybody - n),
        }
    )


def _sum_rows(
    study: Written, window: Window, group: str, change: Change, trends: Mapping[tuple[str, str], Trend]
) -> Iterator[Row]:
    emotional = sum(trends[group, name].value is not None for name in EMOTIONAL if (group, name) in trends)
    n = study.count(group, window.year, "authors")
    reason = change.reason if n else NOTHING
    for name, value, features, unit in (
        ("all_feature_change", change.overall, change.features, "features with a trend"),
        ("negative_semantic_change", change.negative, emotional, "emotional features with a trend"),
    ):
        yield (
            study.of_community(group, window.year)
            | estimate_columns(plain(value, f"{_low(study)}; sum over significant features", reason))
            | {
                "estimate_name": name,
                "part": str(window.year),
                "n": n,
                "denominator": features,
                "denominator_unit": unit,
                "missing_share": 0.0 if n else None,
                "parts": (n,),
            }
        )


def _rank_rows(study: Written, window: Window, changes: Mapping[str, Change]) -> Iterator[Row]:
    for name, values in (
        ("all_feature_change", {group: each.overall for group, each in changes.items()}),
        ("negative_semantic_change", {group: each.negative for group, each in changes.items()}),
    ):
        there = [each for each in values.values() if each is not None]
        for group, value in values.items():
            n = study.count(group, window.year, "authors")
            rank = None if value is None else 1.0 + sum(each > value for each in there)
            reason = changes[group].reason if n else NOTHING
            method = f"rank of {name} among the partner's communities, the most first; ties share it"
            yield (
                study.of_community(group, window.year)
                | estimate_columns(plain(rank, method, reason))
                | {
                    "estimate_name": f"{name}_rank",
                    "part": str(window.year),
                    "n": n,
                    "denominator": len(there),
                    "denominator_unit": "communities with a value",
                    "missing_share": 0.0 if n else None,
                    "parts": (n,),
                }
            )


def _significance_row(study: Written, window: Window, trends: Sequence[Trend]) -> Row:
    """Of all communities that are large enough. It tells of each: one with too few people suppresses it."""
    cells = [each for each in trends if each.p is not None]
    value = sum(each.is_significant for each in cells) / len(cells) if cells else None
    numbers = [study.count(group, window.year, "authors") for group in study.communities]
    counted = "who writes in several communities counts in each"
    return (
        study.common
        | estimate_columns(plain(value, f"{_low(study)}; {counted}", "no feature has a trend"))
        | {
            "estimate_name": "significant_share",
            "part": str(window.year),
            "n": sum(numbers),
            "denominator": len(cells),
            "denominator_unit": "features × communities",
            "period": _period(study.known(window)),
            "parts": tuple(numbers),
        }
    )


def _low(study: Written) -> str:
    return f"{low2020.METHOD}; {ONE_POST}; dictionary {study.protocol.dictionary}"


def _period(days: tuple[date, date] | None) -> str | None:
    return None if days is None else f"{days[0]}/{days[1]}"


# --- Series -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """Counts and their exposures by step; 0 is the step that begins with the interruption."""

    steps: range
    counts: tuple[int, ...]
    exposures: tuple[int, ...]


def whole_steps(days: tuple[date, date] | None, interrupted_on: date, step_days: int) -> range:
    """Steps all of whose days are between the two, counted from the interruption."""
    if days is None:
        return range(0)
    first, last = ((day - interrupted_on).days for day in days)
    return range(-(-first // step_days), (last + 1) // step_days)


def _series(study: Written, group: str, window: Window, feature: str) -> Series:
    step_days = study.protocol.step_days
    steps = whole_steps(study.known(window), window.interrupted_on, step_days)
    place = (group, window.year, POSTS if feature == AUTHORS else feature, step_days)
    found = [study.steps.get(place, {}).get(step) for step in steps]
    wrote = tuple(int(row.count_authors) if row is not None else 0 for row in found)
    if feature == AUTHORS:
        everybody = study.count(group, window.year, "authors")
        return Series(steps, wrote, (everybody,) * len(steps))
    return Series(steps, tuple(int(row.count_posts_about) if row is not None else 0 for row in found), wrote)


def _series_rows(study: Written, group: str, feature: str) -> Iterator[Row]:
    protocol, window = study.protocol, study.main
    series = _series(study, group, window, feature)
    found = interrupted_series(
        series.steps,
        series.counts,
        series.exposures,
        0,
        family=protocol.family,
        harmonics=protocol.harmonics,
        season=YEAR / protocol.step_days,
    )
    common = study.of_community(group, window.year) | _people_of(study, group, (window,), feature)
    common |= {"denominator": found.before + found.after, "denominator_unit": f"{protocol.step}s"}
    event = f"from {protocol.interruption.first} ({protocol.interruption.event}) against before: {NOT_CAUSAL}"
    unit = f"; log rate ratio, slopes per {protocol.step}; {_what(protocol, feature)}"
    for name, estimate, contrast in (
        ("level_change", found.level, event),
        ("slope_before", found.slope, None),
        ("slope_change", found.slope_change, event),
    ):
        told = replace(estimate, method=estimate.method + unit)
        yield common | estimate_columns(told) | {"estimate_name": name, "contrast": contrast}
    for name, value in (
        ("dispersion", found.dispersion),
        ("residual_autocorrelation", found.autocorrelation),
    ):
        reason = found.level.reason or "every count is as fitted"
        told = plain(value, f"Pearson residuals of: {found.level.method}{unit}", reason)
        yield common | estimate_columns(told) | {"estimate_name": name}
    yield _season_row(study, group, feature)
    yield from _week_rows(study, group, feature, series, found)


def _season_row(study: Written, group: str, feature: str) -> Row:
    protocol = study.protocol
    by_year = [(each, _series(study, group, each, feature)) for each in sorted(protocol.windows)]
    found = seasonal_change(
        [count for _, series in by_year for count in series.counts],
        [count for _, series in by_year for count in series.exposures],
        [window.year for window, series in by_year for _ in series.steps],
        [step >= 0 for _, series in by_year for step in series.steps],
        study.main.year,
    )
    earlier = ", ".join(str(each) for each in sorted(protocol.earlier_years)) or "no earlier year"
    unit = f"; log ratio of rate ratios; {_what(protocol, feature)}"
    return (
        study.of_community(group, study.main.year)
        | _people_of(study, group, protocol.windows, feature)
        | estimate_columns(replace(found.change, method=found.change.method + unit))
        | {
            "estimate_name": "seasonal_change",
            "contrast": f"{study.main.year} against {earlier}, after the day of the interruption "
            f"against before: {NOT_CAUSAL}",
            "denominator": found.n,
            "denominator_unit": f"{protocol.step}s",
        }
    )


def _week_rows(study: Written, group: str, feature: str, series: Series, found: Interrupted) -> Iterator[Row]:
    """What is drawn: rates by week, and what the regression says of the same days."""
    protocol, window = study.protocol, study.main
    per_week = WEEK // protocol.step_days
    place = (group, window.year, POSTS if feature == AUTHORS else feature, WEEK)
    everybody = study.count(group, window.year, "authors")
    common = study.of_community(group, window.year) | {
        "outcome": feature,
        "denominator_unit": f"authors × {protocol.step}s",
    }
    for week in whole_steps(study.known(window), window.interrupted_on, WEEK):
        start = week * per_week - series.steps.start
        days = slice(start, start + per_week)
        exposure, counted = sum(series.exposures[days]), sum(series.counts[days])
        fitted = [rate * each for rate, each in zip(found.fitted[days], series.exposures[days], strict=False)]
        row = study.steps.get(place, {}).get(week)
        authors = int(row.count_authors) if row is not None else 0
        about = int(row.count_authors_about) if row is not None else 0
        at = {
            "part": f"week of {window.interrupted_on + timedelta(days=WEEK * week)}",
            "denominator": exposure,
        }
        silent = "nobody wrote in this week"
        rate = plain(counted / exposure if exposure else None, f"rate; {_what(protocol, feature)}", silent)
        yield (
            common
            | at
            | estimate_columns(rate)
            | {
                "estimate_name": "rate_of_week",
                "n": authors,
                "missing_share": 1 - authors / everybody if everybody else None,
                "parts": (authors, about, authors - about),
            }
        )
        expected = sum(fitted) / exposure if fitted and exposure else None
        told = plain(expected, f"fitted by: {found.level.method}", found.level.reason or silent)
        yield (
            common
            | at
            | estimate_columns(told)
            | _people_of(study, group, (window,), feature)
            | {"estimate_name": "fitted_rate_of_week"}
        )


def _people_of(study: Written, group: str, windows: Sequence[Window], feature: str) -> Row:
    """Authors behind a series: on each side of the interruption, and of these about the topic."""
    topic = POSTS if feature == AUTHORS else feature
    year, everybody = study.main.year, study.count(group, study.main.year, "authors")
    n = (
        study.count(group, year, "before", topic)
        + study.count(group, year, "after", topic)
        - study.count(group, year, "both", topic)
    )
    parts = [
        study.count(group, each.year, name, topic)
        for each in windows
        for name in ("before", "after", "about_before", "about_after")
    ]
    return {
        "outcome": feature,
        "n": n,
        "missing_share": 1 - n / everybody if everybody else None,
        "parts": (n, *parts),
    }


def _what(protocol: TextChange, feature: str) -> str:
    """Of which rates."""
    if feature == AUTHORS:
        return f"authors who wrote that {protocol.step}, out of all authors of the period"
    posts = "posts" if feature == POSTS else f"posts with {feature} above 0"
    return f"{posts} per author who wrote that {protocol.step}"


# --- Topics -----------------------------------------------------------------------------------------------


def _topic_rows(study: Written, group: str, topic: str) -> Iterator[Row]:
    """Share of authors who wrote about it before and from the interruption on, and their difference."""
    window, common = study.main, study.of_community(group, study.main.year)
    everybody = study.count(group, window.year, "authors")
    common |= {"outcome": topic, "denominator_unit": "authors"}
    counts = _overlap(study, group, topic)
    for side, n, about in (
        ("before", counts.before, counts.with_before),
        ("after", counts.after, counts.with_after),
    ):
        asked = study.count(group, window.year, side)
        share = proportion(about, n)
        yield (
            common
            | estimate_columns(replace(share, method=f"{share.method}; {ONE_POST_A_SIDE}"))
            | {
                "estimate_name": "topic_share",
                "part": side,
                "n": n,
                "denominator": n,
                "missing_share": 1 - n / asked if asked else None,
                "parts": (about, n - about, everybody - n),
            }
        )
    n = counts.before + counts.after - counts.both
    difference = share_difference(counts)
    yield (
        common
        | estimate_columns(replace(difference, method=f"{difference.method}; {ONE_POST_A_SIDE}"))
        | {
            "estimate_name": "topic_share_difference",
            "part": "after against before",
            "contrast": f"from {window.interrupted_on} ({study.protocol.interruption.event}) against before: "
            f"{NOT_CAUSAL}",
            "n": n,
            "denominator": n,
            "missing_share": 1 - n / everybody if everybody else None,
            "parts": (
                counts.with_before,
                counts.before - counts.with_before,
                counts.with_after,
                counts.after - counts.with_after,
            ),
        }
    )


def _overlap(study: Written, group: str, topic: str) -> Overlap:
    names = (
        "before", "after", "about_before", "about_after", "both", "both_about_before", "both_about_after",
        "both_about_both",
    )  # fmt: skip
    return Overlap(*(study.count(group, study.main.year, name, topic) for name in names))
