"""Studies counted: the printed counts of two reviews from their registrations, and what must hold of any."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from circles.studies.v1 import study_event_pb2 as codes
from hypothesis import given
from hypothesis import strategies as st

from infra.demo import reviews
from pipelines.evidence.protocols import StudyCounting
from pipelines.evidence.study_counts import ALL, COLUMNS, DIRECTIONS, NOT_STATED, StudyCount, study_counts

GUIDE = Path(__file__).parents[2] / "docs" / "protocols.md"

Study = dict[str, Any]


def code(enum: Any, number: int) -> str | None:
    """As staging has it: without the name of its enum, in lower case."""
    name = str(enum.Name(number))
    prefix = str(enum.Name(0)).removesuffix("UNSPECIFIED")
    return name.removeprefix(prefix).lower() if number else None


def registered() -> list[Study]:
    """The demo's registrations as the marts have them: columns, and lists of attributes."""
    return [
        {
            "study_code": each.study_code,
            "design": code(codes.StudyDesign, each.study_registered.design),
            "result": code(codes.StudyResult, each.study_registered.result),
            "risk_of_bias": code(codes.RiskOfBias, each.study_registered.risk_of_bias),
            "doi": each.study_registered.doi or None,
            "attributes": [(told.code, told.value) for told in each.study_registered.attributes],
        }
        for each in reviews.events()
    ]


def counted(known: list[Study], /, **asked: Any) -> list[StudyCount]:
    columns = ["study_code", *COLUMNS, "doi"]
    attributes = [(each["study_code"], *pair) for each in known for pair in each["attributes"]]
    return study_counts(
        StudyCounting.model_validate(asked),
        pd.DataFrame([{name: each.get(name) for name in columns} for each in known], columns=columns),
        pd.DataFrame(attributes, columns=["study_code", "attribute", "attribute_value"]),
    )


def by_part(counts: list[StudyCount]) -> dict[str, int]:
    found = {each.part: each.count for each in counts}
    assert len(found) == len(counts)
    return found


def of(review: str) -> tuple[str, ...]:
    return tuple(each["study_code"] for each in registered() if each["study_code"].startswith(review))


class TestTheReviews:
    """Reproduction of the printed counts. Which study has which combination is not printed."""

    def test_six_studies_of_support_for_young_people(self) -> None:
        by = ["condition", "modality", "moderated", "reported-design"]
        found = counted(registered(), studies=of("ali"), by=by, crossed=[("reported-design", "result")])
        parts = by_part([each for each in found if each.name != "studies_not_registered"])
        assert {part: count for part, count in parts.items() if "×" not in part} == {
            ALL: 6, "condition: depression-and-anxiety": 2, "condition: general-psychological-problems": 1,
            "condition: eating-disorders": 1, "condition: tobacco": 2, "modality: internet-support-group": 4,
            "modality: virtual-reality-chat": 2, "moderated: yes": 5, "moderated: not stated": 1,
            "reported-design: randomised-controlled-trial": 3, "reported-design: pre-post": 2,
            "reported-design: randomised-trial": 1,
            "positive": 2, "no-difference": 4, "harmful": 0, "not-reported": 0,
        }  # fmt: skip
        assert parts["reported-design: randomised-controlled-trial × result: positive"] == 2
        assert {each.denominator for each in found} == {6}
        assert all(each.is_published for each in found)

    def test_twelve_studies_of_mutual_help(self) -> None:
        found = counted(registered(), studies=of("pistrang"), by=["reported-design"])
        votes = by_part([each for each in found if each.name == "votes"])
        assert votes == {"positive": 7, "no-difference": 5, "harmful": 0, "not-reported": 0}
        parts = by_part([each for each in found if each.name == "studies"])
        assert parts == {ALL: 12, "reported-design: randomised-trial": 2, "reported-design: not stated": 10}
        (unknown,) = {each.unknown for each in found if each.part.startswith("reported-design")}
        assert unknown == 10

    def test_no_registration_says_more_than_its_review(self) -> None:
        told = [each.study_registered for each in reviews.events()]
        assert {each.publication_year for each in told} == {0}
        assert {each.risk_of_bias for each in told} == {codes.RISK_OF_BIAS_UNSPECIFIED}
        assert {each.doi for each in told} == {review.doi for review in reviews.REVIEWS}

    def test_ids_are_the_same_at_every_call(self) -> None:
        ids = [each.event_id for each in reviews.events()]
        assert len({*ids}) == len(ids) == 18
        assert ids == [each.event_id for each in reviews.events()]


def study(name: str = "s", **told: Any) -> Study:
    return {"study_code": name, "design": "cohort", "attributes": []} | told


class TestCounts:
    def test_without_a_study_there_is_one_row_with_a_reason(self) -> None:
        (row,) = counted([], by=["design"], crossed=[("design", "result")])
        assert (row.part, row.count, row.denominator, row.is_published) == (ALL, 0, 0, False)
        assert (row.estimate.estimate, row.estimate.reason) == (None, "no study is registered")

    def test_a_count_has_no_interval(self) -> None:
        for each in counted([study()], by=["design", "modality"]):
            assert each.estimate.estimate == each.count
            assert (each.estimate.ci_low, each.estimate.ci_high, each.estimate.se) == (None, None, None)

    def test_named_studies_that_nobody_has_registered_are_counted_as_that(self) -> None:
        rows = counted([study("a"), study("c")], studies=["a", "b"])
        assert [(each.name, each.count, each.denominator) for each in rows[:2]] == [
            ("studies", 1, 1),
            ("studies_not_registered", 1, 2),
        ]

    def test_a_study_with_several_values_counts_for_each_and_the_method_says_so(self) -> None:
        both = study("a", attributes=[("condition", "anxiety"), ("condition", "depression")])
        rows = counted([both, study("b", attributes=[("condition", "anxiety")])], by=["condition"])[1:3]
        assert by_part(rows) == {"condition: anxiety": 2, "condition: depression": 1}
        assert {each.denominator for each in rows} == {2}
        assert rows[0].estimate.method == "count of studies; 1 of them have several values and count for each"

    def test_a_study_that_says_nothing_of_its_result_has_not_reported(self) -> None:
        rows = counted([study("a", result="positive"), study("b"), study("c", result="not_reported")])
        votes = [each for each in rows if each.name == "votes"]
        assert by_part(votes) == {"positive": 1, "no-difference": 0, "harmful": 0, "not-reported": 2}
        assert {each.unknown for each in votes} == {2}

    def test_an_attribute_does_not_stand_for_what_a_registration_says(self) -> None:
        liar = study("a", design="cohort", attributes=[("design", "randomised"), ("result", "positive")])
        parts = by_part(counted([liar], by=["design"]))
        assert (parts["design: cohort"], parts["positive"], "design: randomised" in parts) == (1, 0, False)

    def test_one_own_study_makes_the_counts_own(self) -> None:
        published, own = study("a", doi="10.1000/182"), study("b", doi=None)
        assert not any(each.is_published for each in counted([published, own], by=["design"]))
        assert all(each.is_published for each in counted([published, own], studies=["a"]))


one_value = st.dictionaries(
    st.sampled_from(["modality", "condition", "moderated"]), st.sampled_from(["x", "y", "z"]), max_size=3
)
results = st.sampled_from([None, "positive", "no_difference", "harmful", "not_reported"])
any_studies = st.lists(st.tuples(one_value, results), min_size=1, max_size=12).map(
    lambda told: [
        study(f"s-{number}", result=result, attributes=[*kind.items()])
        for number, (kind, result) in enumerate(told)
    ]
)
ASKED: dict[str, Any] = {"by": ["modality", "condition", "result"], "crossed": [("modality", "condition")]}


@given(any_studies)
def test_parts_add_up_to_the_studies_and_crossings_to_their_margins(studies: list[Study]) -> None:
    parts = by_part([each for each in counted(studies, **ASKED) if each.name == "studies"])
    one_way = {part: count for part, count in parts.items() if " × " not in part}
    for asked in ASKED["by"]:
        assert sum(count for part, count in one_way.items() if part.startswith(f"{asked}:")) == len(studies)
    margins = Counter[str]()
    for part, count in parts.items():
        if " × " in part:
            margins.update(dict.fromkeys(part.split(" × "), count))
    assert margins == {part: count for part, count in one_way.items() if part.startswith(("mod", "cond"))}


@given(any_studies)
def test_votes_add_up_to_the_studies(studies: list[Study]) -> None:
    votes = [each for each in counted(studies) if each.name == "votes"]
    assert [each.part for each in votes] == [*DIRECTIONS]
    assert sum(each.count for each in votes) == len(studies)


@given(any_studies, st.randoms())
def test_the_order_of_the_rows_does_not_matter(studies: list[Study], chance: Any) -> None:
    mixed = chance.sample(studies, len(studies))
    assert counted(mixed, **ASKED) == counted(studies, **ASKED)


@given(any_studies)
def test_what_is_not_stated_is_unknown_in_every_part(studies: list[Study]) -> None:
    silent = sum("modality" not in dict(each["attributes"]) for each in studies)
    rows = [each for each in counted(studies, by=["modality"]) if each.part.startswith("modality")]
    assert {each.unknown for each in rows} == {silent}
    assert by_part(rows).get(f"modality: {NOT_STATED}", 0) == silent


def test_the_guides_example_is_a_counting() -> None:
    (example,) = re.findall("```\n(counting:.*?)```", GUIDE.read_text(), re.DOTALL)
    counting = StudyCounting.model_validate(yaml.safe_load(example)["counting"])
    assert counting.crossed == (("reported-design", "result"),)


@pytest.mark.parametrize("wrong", [{"bye": []}, {"crossed": [("design",)]}, {"by": "design"}])
def test_a_counting_that_says_something_impossible_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="StudyCounting"):
        StudyCounting.model_validate(wrong)
