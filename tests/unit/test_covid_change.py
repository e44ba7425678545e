"""The table `covid_change`, from events through dbt's own SQL: planted truths, and what counts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipelines.defs.evidence.plots import plot_of
from pipelines.evidence import covid_change as module
from pipelines.evidence.covid_change import covid_change, whole_steps
from pipelines.evidence.literature import literature_rows, literature_studies
from pipelines.evidence.protocols import TextChange, WrongProtocol, read_protocol
from pipelines.evidence.rows import COVID_CHANGE, frame
from pipelines.publication.disclosure import control, threshold_of
from pipelines.quality.expectations import check
from pipelines.quality.suites.evidence import evidence_suite
from tests.fakes.measured_posts import each_by_another, marts_of, text_change

DAYS, AT = 111, 70
"""Of the window of 2020, and before the interruption in it."""

SEEDS = 200
SLOPE, NOISE, LEVEL, ABOUT_HOME = 4e-4, 0.02, 0.5, 0.15
PER_DAY = 4


def table_of(posts: pd.DataFrame, protocol: TextChange) -> pd.DataFrame:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "protocols", lambda _: (protocol,))
        return covid_change(marts_of(posts, protocol))


def a_year(year: int, seeds: int, per_day: int) -> pd.DataFrame:
    """A tenant for each seed, one community each, `per_day` posts of as many authors a day.

    In 2020 `anger`, a count of words, grows by SLOPE per word and day, `sent_pos` falls as much, and the
    share of posts about home rises by exp(LEVEL) at the interruption. In other years nothing changes.
    """
    chance, n = np.random.default_rng(year), seeds * DAYS * per_day
    day = np.tile(np.repeat(np.arange(DAYS), per_day), seeds)
    words = chance.integers(50, 200, n).astype(float)
    drift = (SLOPE if year == 2020 else 0.0) * day
    about = ABOUT_HOME * np.exp(LEVEL * ((day >= AT) & (year == 2020)))
    posts = pd.DataFrame(
        {
            "group_id": "g",
            "posted_on": np.datetime64(f"{year}-01-01") + day,
            "n_words": words,
            "anger": (0.05 + drift + chance.normal(0, NOISE, n)) * words,
            "sent_pos": 0.3 - drift + chance.normal(0, NOISE, n),
            "home": (chance.random(n) < about).astype(float),
        }
    )
    tenants = np.repeat([f"t{seed:03}" for seed in range(seeds)], DAYS * per_day)
    made = each_by_another(posts).assign(tenant_id=tenants)
    return made.assign(**{name: f"{year}-" + made[name] for name in ("participant_id", "act_id")})


def written(seeds: int, per_day: int = PER_DAY, years: tuple[int, ...] = (2020, 2019)) -> pd.DataFrame:
    return pd.concat([a_year(year, seeds, per_day) for year in years], ignore_index=True)


PROTOCOL = text_change(topics=("home",), earlier_years=(2019,))


@pytest.fixture(scope="module")
def planted() -> pd.DataFrame:
    return table_of(written(SEEDS), PROTOCOL)


def values(rows: pd.DataFrame, name: str, **columns: str) -> pd.DataFrame:
    found = rows[rows["estimate_name"] == name]
    for column, value in columns.items():
        found = found[found[column] == value]
    return found


class TestRecovery:
    def test_planted_slopes_of_features_come_back(self, planted: pd.DataFrame) -> None:
        """b/√(b²V + σ²/n) · b²V/(b²V + σ²/n), with V the variance of 56 numbers of bins."""
        b, variance, noise = 2 * SLOPE, (56**2 - 1) / 12, NOISE**2 / (2 * PER_DAY)
        total = b**2 * variance + noise
        truth = b / math.sqrt(total) * b**2 * variance / total
        for feature, sign in (("anger", 1), ("sent_pos", -1)):
            found = values(planted, "slope_times_r2", outcome=feature)
            assert len(found) == SEEDS
            estimates = found["estimate"].astype(float)
            assert estimates.mean() == pytest.approx(sign * truth, rel=0.03)
            assert (found["p_adjusted"] < 0.05).mean() > 0.99

    def test_years_without_a_change_have_few_significant_slopes(self, planted: pd.DataFrame) -> None:
        shares = values(planted, "significant_share").groupby("part")["estimate"].mean()
        assert shares["2020"] > 0.4 and shares["2019"] < 0.03
        negative = values(planted, "negative_semantic_change", part="2020")["estimate"].astype(float)
        assert (negative > 0.06).all()

    def test_a_planted_change_of_level_comes_back(self, planted: pd.DataFrame) -> None:
        for name, truth in (("level_change", LEVEL), ("slope_change", 0.0), ("seasonal_change", LEVEL)):
            found = values(planted, name, outcome="home")
            estimates = found["estimate"].to_numpy(float)
            assert len(found) == SEEDS
            error = float(estimates.std()) / math.sqrt(SEEDS)
            assert abs(float(estimates.mean()) - truth) < 4 * error + 0.01
            covered = (found["ci_low"] <= truth) & (truth <= found["ci_high"])
            # Intervals of short series tend to be too narrow: decision 0034.
            assert covered.mean() > 0.85

    def test_shares_of_authors_are_covered(self, planted: pd.DataFrame) -> None:
        after = ABOUT_HOME * math.exp(LEVEL)
        for name, part, truth in (
            ("topic_share", "before", ABOUT_HOME),
            ("topic_share", "after", after),
            ("topic_share_difference", "after against before", after - ABOUT_HOME),
        ):
            found = values(planted, name, part=part)
            covered = (found["ci_low"] <= truth) & (truth <= found["ci_high"])
            assert len(found) == SEEDS and covered.mean() > 0.9


class TestRows:
    def test_they_break_no_rule_and_nothing_is_called_an_effect(self, planted: pd.DataFrame) -> None:
        printed = frame(literature_rows(COVID_CHANGE.name), COVID_CHANGE, extra=("parts",))
        assert broken(pd.concat([planted[planted["tenant"] < "t003"], printed], ignore_index=True)) == []
        told = planted["contrast"].dropna()
        assert len(told) and told.str.contains("associated with it, not an effect of it").all()

    def test_p_is_adjusted_among_all_features_of_all_communities(self) -> None:
        posts = pd.concat(
            [a_year(2020, 1, 3).assign(group_id=group, n_words=100.0) for group in "abc"], ignore_index=True
        )
        chance = np.random.default_rng(3)
        for number in range(20):
            posts[f"f{number}"] = chance.normal(number * 0.001 * posts["posted_on"].dt.day_of_year, 1)
        posts = each_by_another(posts)
        found = values(table_of(posts, PROTOCOL), "slope_times_r2")
        p = []
        for row in found.itertuples():
            of_it = posts[posts["group_id"] == row.group_id].sort_values("posted_on")
            _, bins = np.unique(of_it["posted_on"], return_inverse=True)
            feature = of_it.get(row.outcome)
            per_word = 1.0 if row.outcome in ("sent_pos", "n_words") else of_it["n_words"]
            numbers = (
                np.bincount(bins // 2).astype(float)
                if feature is None
                else (feature / per_word).groupby(bins // 2).mean().to_numpy()
            )
            line: Any = stats.linregress(np.arange(len(numbers)), numbers)
            p.append(line.pvalue if row.estimate is not None else math.nan)
        there = np.isfinite(p)
        expected = stats.false_discovery_control(np.array(p)[there])
        assert len(found) == 3 * 25 and there.sum() == 3 * 24
        assert found["p_adjusted"][there].astype(float).tolist() == pytest.approx(expected, rel=1e-6)

    def test_ranks_are_in_order_of_change(self) -> None:
        """Of three communities the one whose anger grows most is first."""
        posts = pd.concat([a_year(2020, 1, 3).assign(group_id=group) for group in "abc"], ignore_index=True)
        steps = posts["group_id"].map({"a": 0.0, "b": 4.0, "c": 1.0}) * posts["n_words"]
        posts["anger"] += steps * 2e-3 * posts["posted_on"].dt.day_of_year
        rows = table_of(each_by_another(posts), PROTOCOL)
        sums = values(rows, "negative_semantic_change", part="2020").set_index("group_id")["estimate"]
        ranks = values(rows, "negative_semantic_change_rank").set_index("group_id")["estimate"]
        assert ranks.to_dict() == {"a": 3.0, "b": 1.0, "c": 2.0}
        assert [*sums.astype(float).sort_values().index] == ["a", "c", "b"]

    def test_a_week_has_its_rate_and_the_line_through_it(self, planted: pd.DataFrame) -> None:
        of_one = planted[(planted["tenant"] == "t000") & (planted["outcome"] == "home")]
        points, lines = values(of_one, "rate_of_week"), values(of_one, "fitted_rate_of_week")
        assert len(points) == len(lines) == 15
        assert points["part"].iloc[0] == "week of 2020-01-01" and "week of 2020-03-11" in {*points["part"]}
        assert (points["denominator"] == 7 * PER_DAY).all() and (points["n"] == 7 * PER_DAY).all()
        # A Poisson regression with an intercept and a level counts on each side as many as there were.
        whole = points["estimate"].astype(float).sum(), lines["estimate"].astype(float).sum()
        assert whole[0] == pytest.approx(whole[1], rel=0.1)
        level = values(of_one, "level_change").iloc[0]
        assert (level["denominator"], level["denominator_unit"], level["n"]) == (DAYS, "days", DAYS * PER_DAY)

    def test_only_posts_of_consenting_authors_count(self) -> None:
        posts = written(1, 1, years=(2020,))
        posts["has_consent"] = posts.index >= 11
        rows = table_of(posts, PROTOCOL)
        told = values(rows, "all_feature_change", part="2020").iloc[0]
        assert (told["n"], told["n_consented"], told["n_excluded"]) == (DAYS - 11, DAYS - 11, 11)
        assert values(rows, "topic_share", part="before").iloc[0]["n"] == AT - 11

    def test_one_post_of_an_author_counts_whichever_has_the_lowest_pseudonym(self) -> None:
        posts = written(1, 2, years=(2020,))
        author = np.arange(len(posts)) // 2
        posts["participant_id"] = [f"p{each}" for each in author]
        # Which of the two has nothing to do with when it was written.
        posts["act_id"] = [f"a{(7 * each) % 1000:04}" for each in range(len(posts))]
        posts["anger"] = np.where(posts.groupby("participant_id")["act_id"].rank() == 1, 0.0, np.nan)
        rows = table_of(posts, PROTOCOL)
        anger = values(rows, "slope_times_r2", outcome="anger").iloc[0]
        assert (anger["n"], anger["not_estimated_reason"]) == (DAYS, "the feature does not vary")
        posts["anger"] = np.where(posts["anger"] == 0, np.nan, 1.0)
        assert values(table_of(posts, PROTOCOL), "slope_times_r2", outcome="anger").empty
        assert values(rows, "rate_of_week", outcome="n_posts")["estimate"].iloc[0] == 2.0

    def test_authors_who_wrote_on_both_sides_are_once_in_the_difference(self) -> None:
        posts = written(1, 2, years=(2020,))
        names = [*range(DAYS * 2)]
        posts["participant_id"] = [f"p{each % 160}" for each in names]
        found = values(table_of(posts, PROTOCOL), "topic_share_difference").iloc[0]
        assert found["n"] == 160

    def test_few_people_are_not_told_of(self) -> None:
        posts = written(1, 1, years=(2020,)).assign(data_class="live")
        posts.loc[posts["posted_on"] < "2020-03-11", "home"] = 0.0
        shown = control(table_of(posts, PROTOCOL))
        # Some five about home a week, all of them after it.
        weeks = values(shown, "rate_of_week", outcome="home")
        assert weeks["suppressed"].all() and weeks["estimate"].isna().all()
        assert not values(shown, "all_feature_change", part="2020")["suppressed"].any()
        small = control(table_of(posts.head(9), PROTOCOL))
        assert small["suppressed"].all() and small["p_adjusted"].isna().all()

    def test_a_community_that_is_too_small_hides_what_is_told_of_all(self) -> None:
        posts = written(1, 1, years=(2020,)).assign(data_class="live")
        posts.loc[:4, "group_id"] = "small"
        shown = control(table_of(posts, PROTOCOL))
        assert values(shown, "significant_share", part="2020")["suppressed"].all()

    def test_of_a_community_with_too_few_authors_nothing_else_is_told(self) -> None:
        posts = written(1, 2)
        few = posts[posts["posted_on"] >= "2020-04-01"].assign(group_id="few")
        both = each_by_another(pd.concat([posts, few], ignore_index=True))
        protocol = text_change(topics=("home",), earlier_years=(2019,), min_authors=100)
        rows = table_of(both, protocol)
        (told,) = rows[rows["group_id"] == "few"].to_dict("records")
        assert (told["n"], told["n_consented"]) == (40, 40)
        assert told["not_estimated_reason"] == "fewer than 100 authors in the period"
        alone = table_of(posts, protocol)
        same = ["estimate_name", "outcome", "part", "estimate", "p_adjusted"]
        others = rows[rows["group_id"] != "few"][same].reset_index(drop=True)
        pd.testing.assert_frame_equal(others, alone[same].reset_index(drop=True))
        assert broken(rows) == []

    def test_it_is_drawn_beside_what_is_printed(self, planted: pd.DataFrame) -> None:
        printed = frame(literature_rows(COVID_CHANGE.name), COVID_CHANGE, extra=("parts",))
        one = planted[planted["tenant"] == "t000"]
        assert plot_of(COVID_CHANGE.name, control(pd.concat([one, printed]))).startswith("![plot]")
        assert plot_of(COVID_CHANGE.name, control(printed)).startswith("![plot]")


def released(rows: pd.DataFrame) -> pd.DataFrame:
    """After disclosure control, with what a release adds."""
    return control(rows).assign(
        release_id=1, lake_snapshot=1, code_version="1", computed_at=pd.Timestamp.now("UTC")
    )


def broken(rows: pd.DataFrame) -> list[str]:
    columns = [column.name for column in COVID_CHANGE.columns]
    studies = ["s", *literature_studies(COVID_CHANGE.name)]
    suite = evidence_suite("any", columns, COVID_CHANGE.key, studies=studies, threshold_of=threshold_of)
    return [each.rule for each in check(suite.derive(released(rows)), suite, "tenant") if not each.passed]


def degenerate() -> Iterator[tuple[str, pd.DataFrame, dict[str, Any], str, str]]:
    """Posts, changes to the protocol, an estimate and the reason that it has."""
    posts = written(1, 2, years=(2020,))
    one_day = posts.assign(posted_on=np.datetime64("2020-03-01"))
    yield "all posts in one bin", one_day, {}, "slope_times_r2", "fewer than 3 bins of 2 days"
    yield "one day", one_day, {}, "level_change", "fewer than 3 times before the interruption"
    yield "one side", posts.head(100), {}, "level_change", "fewer than 3 times after the interruption"
    yield (
        "one side", posts.head(100), {}, "topic_share_difference",
        "nobody has a value before, or nobody after",
    )  # fmt: skip
    yield "one author", posts.head(1), {}, "slope_times_r2", "fewer than 3 bins of 2 days"
    yield "one author", posts.head(1), {}, "all_feature_change", "no feature has a trend"
    yield "no earlier years", posts, {"earlier_years": ()}, "seasonal_change", "there is no earlier year"
    yield (
        "an earlier year without posts", posts, {"earlier_years": (2019,)}, "all_feature_change",
        "nothing was written in this period",
    )  # fmt: skip
    yield "a constant feature", posts.assign(anger=1.0, n_words=50.0), {}, "slope_times_r2", "does not vary"
    yield "no words", posts.assign(n_words=0.0), {}, "slope_times_r2", "no post has words to divide by"
    yield "words unknown", posts.drop(columns="n_words"), {}, "slope_times_r2", "no post has words"
    yield "a topic of nobody", posts.assign(home=0.0), {}, "level_change", "nothing was counted"
    yield "a topic not measured", posts.drop(columns="home"), {}, "topic_share", "the denominator is 0"
    yield "a year of waves", posts, {"harmonics": 1}, "level_change", "less than one season"
    nobody = posts.assign(has_consent=False)
    yield "nobody has consented", nobody, {}, "all_feature_change", "nothing was written in this period"
    yield "nobody has consented", nobody, {}, "significant_share", "no feature has a trend"


DEGENERATE = [*degenerate()]


@pytest.mark.parametrize("case", DEGENERATE, ids=[f"{case[0]}: {case[3]}" for case in DEGENERATE])
def test_what_cannot_be_computed_is_a_row_with_a_reason(
    case: tuple[str, pd.DataFrame, dict[str, Any], str, str],
) -> None:
    _, posts, changes, name, reason = case
    rows = table_of(posts, text_change(topics=("home",), **changes))
    reasons = values(rows, name)["not_estimated_reason"].dropna()
    assert reasons.str.contains(reason, regex=False).any()
    assert broken(rows) == []


def test_without_posts_there_are_no_rows() -> None:
    assert len(table_of(written(1, 1).head(0), PROTOCOL)) == 0


class TestSteps:
    @pytest.mark.parametrize(
        ("first", "last", "step_days", "steps"),
        [
            ("2020-01-01", "2020-04-20", 1, range(-70, 41)),
            ("2020-01-01", "2020-04-20", 7, range(-10, 5)),
            ("2020-01-02", "2020-04-13", 7, range(-9, 4)),
            ("2020-03-11", "2020-03-17", 7, range(1)),
            ("2020-03-10", "2020-03-16", 7, range(0)),
        ],
    )
    def test_only_whole_ones_and_none_of_both_sides(
        self, first: str, last: str, step_days: int, steps: range
    ) -> None:
        days = date.fromisoformat(first), date.fromisoformat(last)
        assert whole_steps(days, date(2020, 3, 11), step_days) == steps

    def test_weeks_may_be_the_steps_of_the_series(self) -> None:
        rows = table_of(written(1, 3), text_change(topics=("home",), earlier_years=(2019,), step="week"))
        level = values(rows, "level_change", outcome="home").iloc[0]
        assert (level["denominator"], level["denominator_unit"]) == (15, "weeks")
        assert len(values(rows, "rate_of_week", outcome="home")) == 15


class TestProtocol:
    def test_windows_are_the_same_days_of_each_year(self) -> None:
        protocol = text_change(
            period={"first": "2020-02-29", "last": "2020-06-30"}, earlier_years=(2019, 2016)
        )
        assert [each.first for each in protocol.windows] == [
            date(2020, 2, 29), date(2019, 2, 28), date(2016, 2, 29),
        ]  # fmt: skip
        assert [each.interrupted_on.year for each in protocol.windows] == [2020, 2019, 2016]

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("period: {first: 2020-01-01}", "needs a first and a last day"),
            ("period: {first: 2020-03-11, last: 2020-04-20}", "not inside of the period"),
            ("earlier_years: [2019, 2019]", "each once"),
            ("earlier_years: [2021]", "before the period's"),
            ("topics: [n_posts]", "no feature of one"),
        ],
    )
    def test_what_is_impossible_is_said(self, tmp_path: Path, line: str, told: str) -> None:
        changed = line.partition(":")[0]
        text = (Path(module.__file__).parent / "protocols" / "synthetic-covid.yaml").read_text()
        kept = [each for each in text.splitlines() if not each.startswith(f"{changed}:")]
        (tmp_path / "p.yaml").write_text("\n".join([*kept, line]))
        with pytest.raises(WrongProtocol, match=told):
            read_protocol(tmp_path / "p.yaml")
