"""Evidence tables from frames made by hand, and protocols."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.defs.transformation.project import study_periods
from pipelines.evidence.carers_controlled import carers_controlled
from pipelines.evidence.group_engagement import group_engagement
from pipelines.evidence.pooling import Conventions
from pipelines.evidence.protocols import (
    Comparison,
    Engagement,
    Outcome,
    Period,
    Pooling,
    WrongProtocol,
    protocols,
    read_protocol,
)
from pipelines.evidence.rows import CARERS_CONTROLLED, GROUP_ENGAGEMENT
from tests.fakes.inputs import inputs

MOMENT = pd.Timestamp(datetime(2026, 3, 1, tzinfo=UTC))


def group(**counts: int) -> dict[str, Any]:
    names = (
        "count_members", "count_consented", "count_active", "count_sessions_held", "count_attendances",
        "count_sessions_open", "count_posters", "count_posters_once", "count_posts", "count_threads",
        "count_threads_with_reply",
    )  # fmt: skip
    identity = {"tenant_id": "t", "group_id": "g", "data_class": "live"}
    times = {"first_event_at": MOMENT, "last_event_at": MOMENT + pd.Timedelta(days=9)}
    return identity | times | dict.fromkeys(names, 0) | counts


def member(open_to: int = 0, attended: int = 0, posts: int = 0, started: int = 0) -> dict[str, Any]:
    return {
        "tenant_id": "t",
        "group_id": "g",
        "count_sessions_open": open_to,
        "count_sessions_attended": attended,
        "count_posts": posts,
        "count_threads_started": started,
    }


def by_name(rows: pd.DataFrame) -> dict[str, dict[Any, Any]]:
    return {row["estimate_name"]: row for row in rows.to_dict("records")}


class TestGroupEngagement:
    def test_attendance_has_people_sessions_and_their_product_as_denominators(self) -> None:
        counts = {"count_sessions_held": 4, "count_attendances": 7, "count_sessions_open": 12}
        rows = by_name(
            group_engagement(
                inputs(
                    groups=[group(count_members=5, count_consented=3, count_active=3, **counts)],
                    members=[member(4, 4), member(4, 2), member(4, 1)],
                )
            )
        )
        assert (rows["participants"]["estimate"], rows["participants"]["n_excluded"]) == (3.0, 2)
        assert rows["sessions_held"]["estimate"] == 4.0
        assert (rows["attendances"]["estimate"], rows["attendances"]["denominator"]) == (7.0, 12)
        assert rows["attendance_rate"]["estimate"] == pytest.approx(7 / 12, rel=1e-12)
        assert rows["attendance_rate"]["n"] == 3

    def test_writing_counts_those_who_wrote(self) -> None:
        counts = {"count_posters": 2, "count_posters_once": 1, "count_posts": 6, "count_threads": 4}
        members = [member(posts=5, started=4), member(posts=1), member()]
        rows = by_name(
            group_engagement(
                inputs(
                    groups=[group(count_members=3, count_consented=3, count_threads_with_reply=3, **counts)],
                    members=members,
                )
            )
        )
        assert (rows["posts_per_poster"]["estimate"], rows["posts_per_poster"]["denominator"]) == (3.0, 2)
        assert rows["posted_once_share"]["estimate"] == 0.5
        assert (rows["thread_reply_share"]["estimate"], rows["thread_reply_share"]["n"]) == (0.75, 1)

    def test_a_group_in_which_nobody_consented_has_rows_with_reasons(self) -> None:
        rows = by_name(group_engagement(inputs(groups=[group(count_members=5)])))
        assert rows["participants"]["estimate"] == 0.0
        assert rows["attendance_rate"]["not_estimated_reason"] == "the denominator is 0"

    def test_no_groups_give_an_empty_table_with_all_columns(self) -> None:
        rows = group_engagement(inputs())
        assert len(rows) == 0
        assert {column.name for column in GROUP_ENGAGEMENT.columns} <= set(rows.columns)


def arm(name: str, n: int, mean: float, sd: float, **changes: Any) -> dict[str, Any]:
    return {
        "tenant_id": "t",
        "data_class": "public",
        "study_code": "beat-the-blues",
        "arm": name,
        "instrument": "bdi-ii",
        "instrument_version": "1",
        "scale": "total",
        "time_point": "baseline",
        "count_allocated": n + 4,
        "count_consented": n + 2,
        "count_scored": n,
        "mean": mean,
        "sd": sd,
        "first_allocated_at": MOMENT,
        "first_answered_at": MOMENT,
        "last_answered_at": MOMENT,
    } | changes


class TestCarersControlled:
    def rows(self, design: str | None = "randomised", **changes: Any) -> pd.DataFrame:
        studies = [{"tenant_id": "t", "study_code": "beat-the-blues", "design": design}]
        arms = [arm("btheb", 12, 14.0, 3.0, **changes), arm("tau", 9, 11.0, 4.0)]
        if design is None:
            return carers_controlled(inputs(arms=arms))
        return carers_controlled(inputs(arms=arms, studies=studies))

    def test_each_arm_and_the_contrast_at_each_time_point(self) -> None:
        found = self.rows()
        baseline = found[found["time_point"] == "baseline"]
        assert sorted(zip(baseline["arm"], baseline["estimate_name"], strict=True)) == [
            ("btheb", "hedges_g"), ("btheb", "mean"), ("btheb", "mean_difference"), ("btheb", "n"),
            ("btheb", "sd"), ("tau", "mean"), ("tau", "n"), ("tau", "sd"),
        ]  # fmt: skip
        contrast = by_name(baseline)["mean_difference"]
        assert (contrast["estimate"], contrast["n_arm"], contrast["n_reference"]) == (3.0, 12, 9)
        assert contrast["se"] == pytest.approx(math.sqrt(9 / 12 + 16 / 9), rel=1e-12)
        assert contrast["missing_share"] == pytest.approx(4 / 25, rel=1e-12)
        assert contrast["n_excluded"] == 4

    def test_a_time_point_without_answers_says_why(self) -> None:
        found = self.rows()
        later = found[found["time_point"] == "month-8"]
        assert set(later["not_estimated_reason"].dropna()) == {
            "nobody has a value",
            "fewer than two people have a value",
            "nobody in one of the arms has a value",
        }

    def test_an_arm_that_the_protocol_does_not_name_is_left_out(self) -> None:
        assert "other" not in set(self.rows(arm="other")["arm"].dropna())

    def test_only_a_randomised_design_is_worded_as_a_difference_by_arm(self) -> None:
        assert "as randomised" in by_name(self.rows())["hedges_g"]["contrast"]

    @pytest.mark.parametrize(
        ("registered", "design"),
        [("controlled", "controlled"), ("cross_sectional", "cross-sectional"), (None, "controlled")],
    )
    def test_the_weaker_design_counts(self, registered: str | None, design: str) -> None:
        contrast = by_name(self.rows(registered))["hedges_g"]
        assert contrast["design"] == design
        assert "associated with" in contrast["contrast"]

    def test_no_arms_give_an_empty_table_with_all_columns(self) -> None:
        rows = carers_controlled(inputs())
        assert len(rows) == 0
        assert {column.name for column in CARERS_CONTROLLED.columns} <= set(rows.columns)


GUIDE = Path(__file__).parents[2] / "docs" / "protocols.md"

POOLING = """study: s
system: group_peer_support_meta
version: '1'
dated: 2026-01-01
population: everybody
design: randomised
outcomes:
  - outcome: recovery
    scale: hedges_g
    direction: higher_is_better
    arms: [a]
    reference_arms: [b]
conventions:
  estimator: DL
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "p.yaml"
    file.write_text(text)
    return file


class TestProtocols:
    def test_a_protocol_younger_than_its_data_is_post_hoc(self) -> None:
        (protocol,) = protocols(Engagement)
        assert protocol.is_post_hoc(date(1941, 1, 1))
        assert not protocol.is_post_hoc(date(2090, 1, 1))
        assert not protocol.is_post_hoc(None)

    def test_the_reference_must_be_an_arm(self) -> None:
        with pytest.raises(ValueError, match="reference_arm c is none of a, b"):
            Comparison(
                study="s", system="carers_controlled", estimand="", version="1", dated=date(2026, 1, 1),
                population="", design="randomised", arms={"a": "", "b": ""}, reference_arm="c",
                outcomes=(Outcome(outcome="o", instrument="phq-9", instrument_version="1",
                                  direction="lower_is_better", time_points=("baseline",)),),
            )  # fmt: skip

    @pytest.mark.parametrize(
        ("right", "wrong", "words"),
        [
            ("scale: hedges_g", "scale: d", "line 9: outcomes.0.scale: Input should be"),
            ("arms: [a]", "arms: [a]\n    extra: 1", "line 12: outcomes.0.extra: Extra inputs"),
            (
                "reference_arms: [b]",
                "reference_arms: []",
                "line 8: outcomes.0: .*hedges_g needs reference_arms",
            ),
            ("estimator: DL", "estimator: ML", "line 14: conventions.estimator: Input should be"),
            ("estimator: DL", "estimate: DL", "line 14: conventions.estimate: "),
            ("randomised", "random", "line 6: design: Input should be"),
            ("dated: 2026-01-01", "", "line 1: dated: Field required"),
        ],
    )
    def test_a_wrong_protocol_names_line_field_and_reason(
        self, tmp_path: Path, right: str, wrong: str, words: str
    ) -> None:
        assert isinstance(read_protocol(written(tmp_path, POOLING)), Pooling)
        with pytest.raises(WrongProtocol, match=words):
            read_protocol(written(tmp_path, POOLING.replace(right, wrong, 1)))

    def test_the_guides_example_is_a_protocol(self, tmp_path: Path) -> None:
        (example,) = re.findall("```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        protocol = read_protocol(written(tmp_path, example))
        assert isinstance(protocol, Pooling) and protocol.conventions == Conventions()

    def test_no_yaml_and_no_system(self, tmp_path: Path) -> None:
        with pytest.raises(WrongProtocol, match="is no YAML"):
            read_protocol(written(tmp_path, "study: ["))
        with pytest.raises(WrongProtocol, match="line 1"):
            read_protocol(written(tmp_path, "study: s"))

    def test_periods_of_studies_of_people_are_told_to_the_models(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trial = next(each for each in protocols(Comparison) if each.study == "beat-the-blues")
        spring = trial.model_copy(update={"period": Period(first=date(2026, 3, 1))})
        monkeypatch.setattr("pipelines.evidence.protocols._all", lambda: (spring,))
        assert json.loads(study_periods()) == [["beat-the-blues", "2026-03-01", None]]
        with pytest.raises(ValueError, match="first 2026-03-02 is after last 2026-03-01"):
            Period(first=date(2026, 3, 2), last=date(2026, 3, 1))

    def test_the_trial_is_not_taken_for_a_support_group(self) -> None:
        trial = next(each for each in protocols(Comparison) if each.study == "beat-the-blues")
        assert "NOT of a support group" in trial.population
