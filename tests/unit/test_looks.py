"""What rows say of looking every day, and what is found out about data that were looked at; on frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

import pandas as pd
import pytest

from pipelines.builds import evidence
from pipelines.builds.evidence import suite_of
from pipelines.builds.looks import LATE, unless_void, what_is_looked_at
from pipelines.builds.unchanged import prints
from pipelines.defs.evidence import plots_looks
from pipelines.evidence import carers_controlled as table
from pipelines.evidence import group_peer_support_meta as meta
from pipelines.evidence.estimates import Estimate, Summary, mean, mean_difference, proportion
from pipelines.evidence.inputs import Inputs
from pipelines.evidence.protocols import Comparison, Pooling, protocols
from pipelines.evidence.rows import CARERS_CONTROLLED, TABLES, estimate_columns, frame, protocol_columns
from pipelines.evidence.sequences import FIXED_ONLY, VOID, VOIDS
from pipelines.evidence.unposted import unposted_rows
from pipelines.evidence.watched import MEET, NOT_WATCHED, UNWATCHED
from pipelines.publication.disclosure import control
from pipelines.publication.looks import Looked, Watched
from pipelines.quality.expectations import check
from services.simulator import studies
from tests.fakes.inputs import inputs
from tests.fakes.study_frames import frames

CARERS = CARERS_CONTROLLED.name
NOW = datetime(2026, 6, 1, tzinfo=UTC)
(PROTOCOL,) = (each for each in protocols(Comparison) if each.study == "synthetic-carers")
OLD = PROTOCOL.model_copy(update={"dated": date(2000, 1, 1)})
"""The protocol as if it were older than its data."""


def row_of(estimate: Estimate, protocol: Comparison = OLD, **changes: Any) -> dict[str, Any]:
    told = protocol_columns(protocol, "t", "synthetic", date(2026, 1, 1)) | estimate_columns(estimate)
    (row,) = frame([told | {"outcome": "distress"} | changes], CARERS_CONTROLLED).to_dict("records")
    return {str(name): value for name, value in row.items()}


class TestRows:
    def test_a_watched_mean_has_a_sequence_around_its_interval_and_its_method_says_from_when(self) -> None:
        row = row_of(mean(Summary(150, 12.0, 4.0)))
        assert row["anytime_low"] < row["ci_low"] < row["ci_high"] < row["anytime_high"]
        assert row["anytime_reason"] is None and row["looks"] is None
        assert row["method"].endswith("confidence sequence, normal mixture, from n = 100")

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"outcome": None}, UNWATCHED["group_engagement"]),
            ({NOT_WATCHED: "people meet"}, "people meet"),
            ({"system": "covid_change"}, UNWATCHED["covid_change"]),
        ],
    )
    def test_what_grows_or_hangs_together_is_fixed_sample_only(
        self, changes: dict[str, Any], reason: str
    ) -> None:
        row = row_of(mean(Summary(150, 12.0, 4.0)), **changes)
        assert (row["anytime_low"], row["anytime_reason"]) == (None, f"{FIXED_ONLY}: {reason}")
        assert row["method"] == "mean; t interval"

    def test_the_protocols_burn_in_counts(self) -> None:
        later = OLD.model_copy(update={"burn_in": 200})
        row = row_of(mean(Summary(150, 12.0, 4.0)), later)
        assert row["anytime_reason"] == f"{FIXED_ONLY}: 150 of 200 independent units"
        assert "from n = 200" in row_of(mean(Summary(250, 12.0, 4.0)), later)["method"]

    def test_a_protocol_younger_than_its_data_voids(self) -> None:
        row = row_of(mean(Summary(150, 12.0, 4.0)), PROTOCOL)
        assert (row["anytime_low"], row["anytime_reason"]) == (None, f"{VOID}: {VOIDS['post hoc']}")

    def test_an_interval_for_several_outcomes_has_a_sequence_of_its_level(self) -> None:
        estimate = mean_difference(Summary(80, 1.0, 4.0), Summary(80, 0.0, 4.0), 0.9875)
        wide = row_of(estimate) | estimate_columns(estimate, 0.9875)
        (row,) = frame([wide | {"outcome": "o"}], CARERS_CONTROLLED).to_dict("records")
        assert row["anytime_high"] > row_of(estimate)["anytime_high"] > row["ci_high"]

    def test_shares_have_one_from_the_first_person_on(self) -> None:
        row = row_of(proportion(1, 4))
        assert row["anytime_low"] <= row["ci_low"] < row["ci_high"] <= row["anytime_high"]

    @pytest.mark.parametrize("name", TABLES)
    def test_whoever_has_none_says_why(self, name: str) -> None:
        rows = evidence.BUILDERS[name](frames(studies.carers(1)))
        assert (rows["anytime_low"].isna() == rows["anytime_reason"].notna()).all()
        reasons = rows["anytime_reason"].dropna()
        assert all(each.startswith((FIXED_ONLY, VOID)) for each in reasons)


class TestTables:
    def test_people_who_meet_in_few_groups_have_none(self, old_carers: None) -> None:
        rows = made(carers())
        watched = rows[rows["anytime_low"].notna()]
        assert {*zip(watched["estimate_name"], watched["arm"], strict=True)} == {("mean", "control")}
        meet = rows[(rows["estimate_name"] == "mean_difference") & rows["estimate"].notna()]
        assert set(meet["anytime_reason"]) == {f"{FIXED_ONLY}: {MEET}"}
        adjusted = rows.loc[rows["estimate_name"] == "ancova_difference", "anytime_reason"]
        assert all("independent units" in each for each in adjusted)

    def test_people_of_no_group_have_them_for_what_is_no_model_of_several_answers(
        self, old_carers: None
    ) -> None:
        rows = made(replace(carers(), members=carers().members.head(0)))
        assert set(rows.loc[rows["anytime_low"].notna(), "estimate_name"]) == {
            "mean", "mean_difference", "ancova_difference",
        }  # fmt: skip

    def test_a_pool_with_one_effect_has_one_where_the_protocol_declares_its_standard_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (bcg,) = (each for each in protocols(Pooling) if each.study == "bcg-vaccine")
        (outcome,) = bcg.outcomes
        declared = outcome.model_copy(update={"tightest_se": 0.05})
        old = bcg.model_copy(update={"dated": date(1900, 1, 1), "outcomes": (declared,)})
        monkeypatch.setattr(meta, "protocols", lambda _: (old,))
        rows = meta.group_peer_support_meta(trials(studies_of=5))
        fixed = rows[rows["part"] == "fixed; Wald"].iloc[0]
        assert fixed["anytime_low"] < fixed["ci_low"] and "narrowest at se = 0.05" in fixed["method"]
        others = rows[(rows["estimate_name"] == "pooled") | (rows["part"] == "DL; Wald")]
        assert others["anytime_low"].isna().all() and len(others)

    @pytest.mark.parametrize("name", TABLES)
    def test_a_system_that_nobody_has_posted_for_has_a_row_for_each_protocol(self, name: str) -> None:
        rows = control(frame(unposted_rows(name), TABLES[name], extra=("parts",))).assign(
            release_id=1, lake_snapshot=1, code_version="1", computed_at=pd.Timestamp(NOW)
        )
        assert len(rows) and rows["estimate"].isna().all() and not rows["suppressed"].any()
        assert all("no partner has posted" in each for each in rows["not_estimated_reason"])
        suite = suite_of(TABLES[name])
        assert [each.rule for each in check(suite.derive(rows), suite) if not each.passed] == []


@pytest.fixture
def old_carers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "protocols", lambda _: (OLD,))


def made(given: Inputs) -> pd.DataFrame:
    return control(table.carers_controlled(given))


def carers() -> Inputs:
    return frames(studies.carers(1, in_group=130, controls=130))


def trials(studies_of: int) -> Inputs:
    at = pd.Timestamp(NOW)
    codes = [f"trial-{i}" for i in range(studies_of)]
    place = {"tenant_id": "t", "data_class": "synthetic"}
    arm = {
        "kind": "arm_summarised", "comparison_arm": None, "outcome": "tuberculosis", "instrument": None,
        "time_point": None, "mean": None, "sd": None, "effect_scale": None, "estimate": None,
        "standard_error": None, "reported_at": at, "count_people": 200,
    }  # fmt: skip
    return inputs(
        studies=[
            place | {"study_code": code, "design": "randomised", "result": None, "risk_of_bias": None,
                     "doi": None, "registered_at": at, "publication_year": 2000}
            for code in codes
        ],
        covariates=[place | {"study_code": codes[0], "covariate": "latitude", "covariate_value": "40"}],
        reports=[
            place | arm | {"study_code": code, "arm": name, "count_people_with_event": events + i}
            for i, code in enumerate(codes)
            for name, events in (("vaccinated", 20), ("not-vaccinated", 30))
        ],
    )  # fmt: skip


WATCHED = Watched(CARERS, "t", OLD.study, OLD.version)


def look(given: Inputs, known: Looked | None = None, when: datetime = NOW, **unchanged: list[str]) -> Looked:
    rows = {name: pd.DataFrame(columns=[c.name for c in each.columns]) for name, each in TABLES.items()}
    rows[CARERS] = made(given)
    found = prints(given)
    same = {name: unchanged.get(name, []) for name in TABLES}
    return what_is_looked_at(given, rows, known or Looked(), prints=found, unchanged=same, now=when)


def of_scores(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Inputs:
    return replace(carers(), scores=change(carers().scores))


def corrected(scores: pd.DataFrame) -> pd.DataFrame:
    """Another answer counts in place of the first one."""
    is_it = scores.index == 0
    return scores.assign(
        score=scores["score"].where(~is_it, 3.0), event_id=scores["event_id"].where(~is_it, "another")
    )


def with_an_answer_of(at: datetime) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def changed(scores: pd.DataFrame) -> pd.DataFrame:
        new = scores.head(1).assign(event_id="new", participant_id="new", occurred_at=pd.Timestamp(at))
        return pd.concat([scores, new], ignore_index=True)

    return changed


@pytest.mark.usefixtures("old_carers")
class TestVoids:
    @pytest.mark.parametrize(
        ("change", "voids"),
        [
            (lambda scores: scores, set()),
            (lambda scores: scores.sample(frac=1, random_state=1), set()),
            (with_an_answer_of(NOW), set()),
            (with_an_answer_of(NOW - LATE), set()),
            (with_an_answer_of(NOW - LATE - timedelta(seconds=1)), {"backfill"}),
            (lambda scores: scores.drop(index=0), {"revision"}),
            (corrected, {"revision"}),
            (lambda scores: scores.assign(arm="control"), {"revision"}),
            (lambda scores: scores[scores["participant_id"] != scores["participant_id"][0]], {"erasure"}),
        ],
        ids=[
            "nothing", "order", "new", "within the days that are open", "late", "retracted", "corrected",
            "another arm", "withdrawn",
        ],
    )  # fmt: skip
    def test_what_has_happened_to_data_that_were_looked_at(
        self, change: Callable[[pd.DataFrame], pd.DataFrame], voids: set[str]
    ) -> None:
        first = look(carers())
        assert set(first.seen) == {WATCHED} and not first.voids
        again = look(of_scores(change), first, NOW + timedelta(days=30))
        assert again.voids.get(WATCHED, set()) == voids

    def test_people_may_be_allocated_after_their_first_answer(self) -> None:
        first = look(of_scores(lambda scores: scores.assign(arm=scores["arm"].where(scores.index > 20))))
        assert not look(carers(), first, NOW + timedelta(days=30)).voids

    def test_once_void_stays_void_also_when_the_data_are_as_before(self) -> None:
        first = look(carers())
        second = look(of_scores(corrected), first)
        assert "revision" in look(carers(), second).voids[WATCHED]
        assert look(of_scores(corrected), second).voids == second.voids

    def test_another_version_of_the_protocol_begins_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = look(carers())
        newer = OLD.model_copy(update={"version": "2"})
        monkeypatch.setattr(table, "protocols", lambda _: (newer,))
        assert not look(of_scores(corrected), first).voids

    def test_a_tenant_without_changes_is_not_looked_through_again(self) -> None:
        first = look(carers())
        again = look(of_scores(corrected), first, NOW, **{CARERS: ["t"]})
        assert again.seen[WATCHED].units is None and not again.voids

    def test_a_void_takes_the_interval_and_says_why(self) -> None:
        rows = made(carers())
        assert rows["anytime_low"].notna().any()
        after = unless_void(CARERS, rows, {WATCHED: {"revision", "erasure"}})
        was = rows["anytime_low"].notna()
        assert {*after["anytime_low"], *after["anytime_high"]} == {None}
        told = f"{VOID}: {VOIDS['erasure']}, {VOIDS['revision']}"
        assert set(after.loc[was, "anytime_reason"]) == {told}
        pd.testing.assert_frame_equal(after[~was], rows[~was])
        others = unless_void(CARERS, rows, {WATCHED._replace(tenant="u"): {"revision"}})
        pd.testing.assert_frame_equal(others, rows)

    def test_a_post_hoc_study_is_not_watched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(table, "protocols", lambda _: (PROTOCOL,))
        assert not look(carers()).seen


class TestReports:
    """A study's interim report may be followed by one of more people, and by nothing else."""

    @pytest.mark.parametrize(("people", "voids"), [(200, set()), (240, set()), (190, {"revision"})])
    def test_growth_is_no_revision(
        self, monkeypatch: pytest.MonkeyPatch, people: int, voids: set[str]
    ) -> None:
        (bcg,) = (each for each in protocols(Pooling) if each.study == "bcg-vaccine")
        monkeypatch.setattr(
            meta, "protocols", lambda _: (bcg.model_copy(update={"dated": date(1900, 1, 1)}),)
        )
        first = self.looked(trials(3))
        grown = trials(4)
        grown.reports.loc[0, "count_people"] = people
        found = [*self.looked(grown, first).voids.values()]
        assert found == ([voids] if voids else [])

    def looked(self, given: Inputs, known: Looked | None = None) -> Looked:
        rows = {name: pd.DataFrame(columns=[c.name for c in each.columns]) for name, each in TABLES.items()}
        name = "group_peer_support_meta"
        rows[name] = control(meta.group_peer_support_meta(given))
        found = prints(given)
        same: dict[str, list[str]] = {each: [] for each in TABLES}
        return what_is_looked_at(given, rows, known or Looked(), prints=found, unchanged=same, now=NOW)


@pytest.mark.usefixtures("old_carers")
def test_units_are_told_by_what_they_are_and_not_by_the_types_of_columns() -> None:
    """A column of numbers is one of objects where a value is missing elsewhere."""
    as_objects = of_scores(lambda scores: scores.assign(score=scores["score"].astype(object)))
    one, other = (look(each).seen[WATCHED].units for each in (carers(), as_objects))
    assert one and one == other


class TestPlot:
    """Panels are drawn of released looks, and of the candidate where it brings a new one."""

    ROW: ClassVar[dict[str, Any]] = {
        "study": "s", "estimate_name": "mean", "protocol_version": "1", "looks": 1, "estimate": 1.0,
        "ci_low": 0.5, "ci_high": 1.5, "anytime_low": 0.0, "anytime_high": 2.0,
    }  # fmt: skip

    @pytest.mark.parametrize(("estimate", "looks"), [(1.0, [1]), (1.1, [1, 2])])
    def test_an_unchanged_candidate_is_no_further_look(self, estimate: float, looks: list[int]) -> None:
        history = pd.DataFrame([self.ROW | {"row_key": "k"}, self.ROW | {"row_key": "other"}], dtype=object)
        panel = self.drawn(history, self.ROW | {"estimate": estimate})
        (points, *_) = panel.lines
        assert [*points.get_xdata()] == looks
        assert {each.get_label() for each in panel.containers} == {"fixed-sample interval"}
        assert panel.get_title() == "s: mean"

    def test_the_first_look_is_drawn_before_any_release(self) -> None:
        history = pd.DataFrame([], columns=["row_key", *self.ROW], dtype=object)
        (points, *_) = self.drawn(history, self.ROW).lines
        assert [*points.get_ydata()] == [1.0]

    def drawn(self, history: pd.DataFrame, row: dict[str, Any]) -> Any:
        from matplotlib.figure import Figure

        axes = Figure().subplots(1, 1, squeeze=False)[0]
        plots_looks.draw(axes, history, {"k": row})
        return axes[0]
