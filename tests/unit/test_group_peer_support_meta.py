"""The table of pooled studies, from frames made by hand and from the 13 BCG trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from infra.demo import bcg_trials
from pipelines.builds.evidence import suite_of
from pipelines.evidence import group_peer_support_meta as module
from pipelines.evidence.group_peer_support_meta import group_peer_support_meta
from pipelines.evidence.protocols import Pooling, protocols
from pipelines.evidence.rows import GROUP_PEER_SUPPORT_META
from pipelines.publication.disclosure import control
from pipelines.quality.expectations import check
from tests.fakes.inputs import inputs

AT = pd.Timestamp(datetime(2026, 3, 1, tzinfo=UTC))
(BCG,) = (each for each in protocols(Pooling) if each.study == bcg_trials.STUDY)
REPORT = dict.fromkeys(
    ("comparison_arm", "instrument", "time_point", "count_people", "mean", "sd", "count_people_with_event",
     "effect_scale", "estimate", "standard_error")
)  # fmt: skip
RECOVERY = {
    "outcome": "recovery", "scale": "hedges_g", "direction": "higher_is_better", "arms": ["group"],
    "reference_arms": ["usual"], "instruments": ["ras", "qpr"], "time_points": ["end", "later"],
}  # fmt: skip


def summary(study: str, arm: str, mean: float | None, n: int = 40, **more: Any) -> dict[str, Any]:
    told = {"tenant_id": "t", "data_class": "live", "study_code": study, "kind": "arm_summarised", "arm": arm}
    found = {"outcome": "recovery", "count_people": n, "mean": mean, "sd": None if mean is None else 2.0}
    return REPORT | told | {"reported_at": AT, "instrument": "ras", "time_point": "end"} | found | more


def effect(study: str, estimate: float, scale: str = "hedges_g", **more: Any) -> dict[str, Any]:
    ready = {"kind": "effect_estimated", "comparison_arm": "usual", "effect_scale": scale}
    numbers = {"count_people": None, "sd": None, "estimate": estimate, "standard_error": 0.2}
    return summary(study, "group", None) | ready | numbers | more


def registered(study: str, design: str = "randomised", **more: Any) -> dict[str, Any]:
    plain = {"tenant_id": "t", "study_code": study, "design": design, "risk_of_bias": None}
    return plain | {"publication_year": None, "doi": None} | more


def trial(study: str, difference: float = 1.0, n: int = 40) -> list[dict[str, Any]]:
    return [summary(study, "group", 10 + difference, n), summary(study, "usual", 10.0, n)]


def pooled_of(
    monkeypatch: pytest.MonkeyPatch,
    reports: list[dict[str, Any]],
    studies: list[dict[str, Any]] | None = None,
    **protocol: Any,
) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows by name and part, after disclosure control."""
    if studies is None:
        studies = [registered(code) for code in sorted({each["study_code"] for each in reports})]
    plain = BCG.model_dump() | {"outcomes": [RECOVERY], "designs": ["randomised"], "subgroups": []}
    wanted = Pooling.model_validate(plain | {"moderators": [], "min_studies": 2} | protocol)
    monkeypatch.setattr(module, "protocols", lambda _: (wanted,))
    return by_part(table(reports, studies))


def table(
    reports: list[dict[str, Any]], studies: list[dict[str, Any]], covariates: Sequence[dict[str, Any]] = ()
) -> pd.DataFrame:
    found = inputs(covariates=[*covariates], studies=studies, reports=reports)
    return control(group_peer_support_meta(found))


def by_part(rows: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    found: dict[tuple[str, str], dict[Any, Any]] = {
        (row["estimate_name"], row["part"]): row for row in rows.to_dict("records")
    }
    assert len(found) == len(rows)
    return found


def bcg_rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Reports, studies and covariates, as the marts have them."""
    studies, reports, covariates = [], [], []
    for each in bcg_trials.events():
        at = pd.Timestamp(each.occurred_at.ToDatetime(UTC))
        if each.WhichOneof("kind") == "study_registered":
            told = each.study_registered
            design = "randomised" if told.design == 1 else "controlled"
            year = told.publication_year
            studies.append(registered(each.study_code, design, publication_year=year, doi=told.doi))
            for number in told.covariates:
                of_study = {"tenant_id": "t", "study_code": each.study_code}
                covariates.append(of_study | {"covariate": number.code, "covariate_value": number.value})
        else:
            arm = each.arm_summarised
            place = {"outcome": arm.outcome, "instrument": None, "time_point": None, "reported_at": at}
            counts = {"count_people_with_event": arm.events, "data_class": "public"}
            reports.append(summary(each.study_code, arm.arm, None, arm.n) | place | counts)
    return reports, studies, covariates


@pytest.fixture(scope="module")
def bcg() -> dict[tuple[str, str], dict[str, Any]]:
    return by_part(table(*bcg_rows()))


def numbers(row: Mapping[str, Any], *names: str) -> list[float]:
    return [round(row[name], 4) for name in names]


class TestTheBcgTrials:
    """Reproduction: printed digits of the classic example (as in metafor's documentation)."""

    def test_pools(self, bcg: dict[tuple[str, str], dict[str, Any]]) -> None:
        interval = ("estimate", "ci_low", "ci_high")
        fixed, dl = (bcg["pooled_alternative", each] for each in ("fixed; Wald", "DL; Wald"))
        assert numbers(fixed, *interval) == [-0.4303, -0.5097, -0.3509]
        assert numbers(dl, *interval) == [-0.7141, -1.0644, -0.3638]
        assert numbers(bcg["pooled_alternative", "REML; Wald"], "estimate", "se") == [-0.7145, 0.1798]
        assert numbers(bcg["q", "all studies"], "estimate") == [152.2330]
        assert numbers(bcg["tau2", "all studies"], "estimate") == [0.3132]
        assert round(bcg["r2", "latitude"]["estimate"], 2) == 75.63
        assert numbers(bcg["slope", "latitude"], "estimate") == [-0.0291]
        ratio = bcg["pooled_back_transformed", "all studies"]
        assert ratio["estimate"] == math.exp(bcg["pooled", "all studies"]["estimate"])

    def test_every_row_says_what_it_is(self, bcg: dict[tuple[str, str], dict[str, Any]]) -> None:
        for row in bcg.values():
            assert row["source_kind"] == "literature" and not row["suppressed"]
            assert row["denominator"] == 13 and row["post_hoc"]
            assert row["estimate"] is not None or row["not_estimated_reason"]
            if row["design"] != "randomised":
                assert "associated with" in row["contrast"]
        assert bcg["pooled", "all studies"]["design"] == "controlled"
        assert bcg["pooled_subgroup", "design: randomised"]["k"] == 7
        assert bcg["pooled", "all studies"]["n"] == 357_347
        assert {name for name, _ in bcg} >= {"egger_slope", "prediction", "slope", "r2", "q_between", "i2"}
        assert [name for name, _ in bcg].count("study_effect") == 13

    def test_one_less_is_the_pool_of_the_others(self, bcg: dict[tuple[str, str], dict[str, Any]]) -> None:
        reports, *others = bcg_rows()
        rest = by_part(table([r for r in reports if r["study_code"] != "bcg-trial-04"], *others))
        without, pooled = bcg["pooled_without", "bcg-trial-04"], rest["pooled", "all studies"]
        assert [without[each] for each in ("estimate", "se", "n", "k")] == [
            pooled[each] for each in ("estimate", "se", "n", "k")
        ]


def test_a_study_counts_once_by_the_protocols_order(monkeypatch: pytest.MonkeyPatch) -> None:
    other = [each | {"instrument": "qpr"} for each in trial("a", 9.0)]
    later = [each | {"time_point": "later"} for each in trial("a", 9.0)]
    ready = [effect("a", 9.0)]
    rows = pooled_of(monkeypatch, [*later, *other, *ready, *trial("a"), *trial("b")])
    same = pooled_of(monkeypatch, [*trial("a"), *trial("b")])
    assert rows["study_effect", "a"]["estimate"] == same["study_effect", "a"]["estimate"]
    # Without the first instrument, the next; without any summary, the effect that the study gives.
    next_one = pooled_of(monkeypatch, [*other, *trial("b")])["study_effect", "a"]["estimate"]
    assert next_one == pytest.approx(9 * same["study_effect", "a"]["estimate"])
    published = [registered("a", doi="10.1000/1"), registered("b")]
    given = pooled_of(monkeypatch, [effect("a", 0.3), *trial("b")], published)
    assert given["study_effect", "a"]["estimate"] == 0.3
    assert given["study_effect", "a"]["se"] == pytest.approx(0.2)


UNUSABLE: list[tuple[str, list[dict[str, Any]], str]] = [
    ("no mean", [summary("x", "group", None), summary("x", "usual", None)], "an arm has no mean"),
    ("one arm", [summary("x", "group", 1.0)], "nothing of these arms"),
    ("another instrument", [each | {"instrument": "z"} for each in trial("x")], "by no instrument"),
    ("no variance", [each | {"sd": 0.0} for each in trial("x")], "no variance"),
    ("one person", trial("x", n=1), "one of the arms has one person"),
    ("another scale", [effect("x", 1.0, "log_odds_ratio")], "on this scale"),
]


@pytest.mark.parametrize(("_", "reports", "reason"), UNUSABLE, ids=[each[0] for each in UNUSABLE])
def test_what_cannot_be_used_keeps_its_place_and_says_why(
    monkeypatch: pytest.MonkeyPatch, _: str, reports: list[dict[str, Any]], reason: str
) -> None:
    # Of too few people, or nobody knows how many, not even the reason would be told: so it is published.
    studies = [registered("a"), registered("b"), registered("x", doi="10.1000/1")]
    rows = pooled_of(monkeypatch, [*reports, *trial("a"), *trial("b", 0.5)], studies)
    left = rows["study_effect", "x"]
    assert left["estimate"] is None
    assert reason in left["not_estimated_reason"]
    pooled = rows["pooled", "all studies"]
    assert (pooled["k"], pooled["denominator"], pooled["n"]) == (2, 3, 160)
    assert pooled["missing_share"] == pytest.approx(1 / 3)


def test_what_the_protocol_does_not_ask_for_is_left_out_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports = [each for code in ("a", "b", "cohort", "biased", "unknown") for each in trial(code)]
    studies = [
        registered("a", risk_of_bias="low"), registered("b", risk_of_bias="low"),
        registered("cohort", "cohort"), registered("biased", risk_of_bias="high"),
    ]  # fmt: skip
    rows = pooled_of(monkeypatch, reports, studies, risk_of_bias=["low"])
    reasons = {
        part: row["not_estimated_reason"] for (name, part), row in rows.items() if name == "study_effect"
    }
    assert reasons["a"] is None
    assert "design is cohort" in reasons["cohort"] and "risk of bias is high" in reasons["biased"]
    assert "registered" in reasons["unknown"]
    assert (rows["pooled", "all studies"]["k"], rows["pooled", "all studies"]["denominator"]) == (2, 2)


def test_too_few_studies_are_not_pooled(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pooled_of(monkeypatch, trial("a"), min_studies=3)
    assert rows["pooled", "all studies"]["estimate"] is None
    assert "1 usable studies" in rows["pooled", "all studies"]["not_estimated_reason"]
    assert set(rows) == {("study_effect", "a"), ("pooled", "all studies")}
    assert not pooled_of(monkeypatch, [])


def test_a_small_own_study_is_not_shown_and_cannot_be_had_from_its_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = trial("small", n=6)
    rows = pooled_of(monkeypatch, [*small, *trial("a"), *trial("b", 0.5)])
    assert rows["study_effect", "small"]["suppressed"] and rows["pooled", "all studies"]["suppressed"]
    assert not rows["study_effect", "a"]["suppressed"]
    assert not rows["pooled_without", "small"]["suppressed"]
    # A published one tells nothing that is not known.
    studies = [registered("a"), registered("b"), registered("small", doi="10.1000/1")]
    shown = pooled_of(monkeypatch, [*small, *trial("a"), *trial("b", 0.5)], studies)
    assert not any(row["suppressed"] for row in shown.values())
    assert shown["study_effect", "small"]["source_kind"] == "literature"
    assert shown["pooled", "all studies"]["source_kind"] == "own"


def test_proportions_and_correlations(monkeypatch: pytest.MonkeyPatch) -> None:
    share = {
        "outcome": "remission",
        "scale": "logit_proportion",
        "direction": "higher_is_better",
        "arms": ["g"],
    }
    reports = [
        summary(code, "g", None, 40, outcome="remission", count_people_with_event=events)
        for code, events in (("a", 10), ("b", 20), ("c", 0))
    ]
    rows = pooled_of(monkeypatch, reports, outcomes=[share])
    assert rows["study_effect", "a"]["estimate"] == pytest.approx(math.log(10 / 30))
    assert rows["study_effect", "a"]["contrast"] is None
    assert 0 < rows["pooled_back_transformed", "all studies"]["estimate"] < 1
    z = RECOVERY | {"scale": "fisher_z"}
    published = [registered(code, doi="10.1000/1") for code in "abc"]
    reports = [effect(code, 0.3, "fisher_z") for code in "abc"]
    rows = pooled_of(monkeypatch, reports, published, outcomes=[z])
    found = rows["pooled_back_transformed", "all studies"]
    assert found["estimate"] == pytest.approx(math.tanh(0.3))
    # How many people an own study is about must be known before it is shown.
    assert pooled_of(monkeypatch, reports, outcomes=[z])["study_effect", "a"]["suppressed"]


def test_rows_have_the_tables_columns_and_keys(bcg: dict[tuple[str, str], dict[str, Any]]) -> None:
    names = [each.name for each in GROUP_PEER_SUPPORT_META.columns]
    assert [*next(iter(bcg.values()))] == names
    assert len({tuple(row[key] for key in GROUP_PEER_SUPPORT_META.key) for row in bcg.values()}) == len(bcg)


def test_the_trials_break_no_rule_of_their_table() -> None:
    rows = table(*bcg_rows()).assign(release_id=1, lake_snapshot=1, code_version="1", computed_at=AT)
    suite = suite_of(GROUP_PEER_SUPPORT_META)
    assert [each.rule for each in check(suite.derive(rows), suite) if not each.passed] == []
    without = rows.assign(period=None)
    assert [each.rule for each in check(suite.derive(without), suite) if not each.passed] == []
