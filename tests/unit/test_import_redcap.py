"""Rows of a REDCap export become what its mapping says, and nothing else leaves them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from circles.outcomes.v1 import outcome_event_pb2 as outcomes
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.importing.mapping import Project, read_mapping, words_of
from infra.importing.redcap import AGE_BANDS, Options, read
from infra.importing.rows import Row, Unreadable

EXAMPLES = Path(__file__).parents[2] / "docs" / "guides" / "examples"
PROJECT = {
    "person": "record_id",
    "time": "on",
    "study": "trial-a",
    "missing": ["-99"],
    "events": {"base_arm_1": "baseline", "base_arm_1#2": "month-2", "enrol_arm_1": None},
    "arm": {"column": "arm", "codes": {"1": "group", "2": "waiting", "9": None}},
    "age": {"column": "age"},
    "attributes": {"gender": {"column": "gender"}},
    "covariates": {"episode": {"column": "episode"}},
    "consent": {"column": "consent", "time": "consent_on", "codes": {"1": "given", "0": "withdrawn"}},
    "instruments": [
        {"instrument": "gad-7", "version": 1, "items": ["g1", "g2", None, "g4", "g5", "g6", "g7"]},
        {"instrument": "wemwbs", "version": 1, "total": "wb"},
    ],
}
CELLS = dict.fromkeys(
    ["arm", "age", "gender", "episode", "consent", "consent_on", "g1", "g2", "g4", "g5", "g6", "g7", "wb"], ""
) | {
    "record_id": "7", "redcap_event_name": "base_arm_1", "redcap_repeat_instance": "",
    "on": "2026-03-02 18:05", "first_name": "Mary", "notes": "said she is unwell",
}  # fmt: skip


def rows(
    folder: Path, *changes: dict[str, str], project: dict[str, Any] = PROJECT, **options: Any
) -> list[Row]:
    path = folder / "export.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(CELLS))
        writer.writeheader()
        writer.writerows(CELLS | change for change in changes)
    return list(read(path, Options(mapping=Project.model_validate(project), **options)))


def events_of(found: list[Row]) -> list[Any]:
    assert [row.wrong for row in found if row.wrong] == []
    return [event for row in found for event in row.events]


def wrong_of(found: list[Row]) -> list[tuple[str, str, str]]:
    return [each[:3] for row in found for each in row.wrong]


def example() -> Iterator[Row]:
    project = read_mapping(EXAMPLES / "redcap.yaml")
    return read(EXAMPLES / "redcap.csv", Options(mapping=project, time_zone=ZoneInfo("Europe/London")))


class TestTheExample:
    def test_is_counted_by_hand(self) -> None:
        """12 people: one did not consent, two did not answer at two months; one total is missing."""
        kinds = Counter(event.WhichOneof("kind") for event in events_of(list(example())))
        assert kinds == {
            "consent_given": 11, "arm_allocated": 12, "attribute_stated": 24, "covariate_stated": 12,
            "questionnaire_answered": 12 * 2 + 10 * 2 - 1,
        }  # fmt: skip

    def test_leaves_names_where_they_are(self) -> None:
        assert "(made up)" in (EXAMPLES / "redcap.csv").read_text()
        assert b"made up" not in b"".join(event.SerializeToString() for event in events_of(list(example())))

    def test_leaves_out_the_item_that_was_not_answered(self) -> None:
        answers = [e for e in events_of(list(example())) if e.HasField("questionnaire_answered")]
        short = [e for e in answers if len(e.questionnaire_answered.items) == 8]
        assert [(e.participant_ref, e.questionnaire_answered.time_point) for e in short] == [
            ("example-3", "month-2")
        ]
        assert 4 not in {each.item for each in short[0].questionnaire_answered.items}


def test_items_keep_their_numbers_where_one_was_not_asked(tmp_path: Path) -> None:
    (event,) = events_of(rows(tmp_path, {"g1": "0", "g2": "1", "g4": "3", "g5": "-99"}))
    assert [(each.item, each.value) for each in event.questionnaire_answered.items] == [
        (1, 0),
        (2, 1),
        (4, 3),
    ]
    assert event.questionnaire_answered.study_code == "trial-a"
    assert event.questionnaire_answered.time_point == "baseline"


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 3), min_size=6, max_size=6), st.integers(14, 70)),
        min_size=1,
        max_size=4,
    )
)
def test_every_answer_comes_back(answers: list[tuple[list[int], int]]) -> None:
    columns = ("g1", "g2", "g4", "g5", "g6", "g7")
    changes = [
        {"record_id": str(i), "wb": str(total)} | dict(zip(columns, map(str, items), strict=True))
        for i, (items, total) in enumerate(answers)
    ]
    with TemporaryDirectory() as folder:
        events = events_of(rows(Path(folder), *changes))
    told = [event.questionnaire_answered for event in events]
    assert [[each.value for each in one.items] for one in told[::2]] == [items for items, _ in answers]
    assert [one.total for one in told[1::2]] == [total for _, total in answers]


@pytest.mark.parametrize(
    ("cells", "time_point"),
    [
        ({}, "baseline"),
        ({"redcap_repeat_instance": "2"}, "month-2"),
        ({"redcap_repeat_instance": "3"}, ""),
        ({"redcap_event_name": "enrol_arm_1"}, ""),
    ],
)
def test_a_repeated_event_is_planned_only_where_its_number_is_named(
    tmp_path: Path, cells: dict[str, str], time_point: str
) -> None:
    (event,) = events_of(rows(tmp_path, {"wb": "40", **cells}))
    assert event.questionnaire_answered.time_point == time_point


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("2026-03-02 18:05", "UTC", "2026-03-02T18:05:00Z"),
        ("2026-07-02 18:05", "Europe/London", "2026-07-02T17:05:00Z"),
        ("2026-07-02", "Europe/Berlin", "2026-07-01T22:00:00Z"),
        ("2026-03-02T18:05:30.5+02:00", "Europe/London", "2026-03-02T16:05:30.500Z"),
        (
            "2026-03-29 01:30",
            "Europe/London",
            "2026-03-29T01:30:00Z",
        ),  # in the hour that the clocks leave out
    ],
)
def test_times_are_those_of_the_zone_unless_they_name_one(
    tmp_path: Path, text: str, zone: str, moment: str
) -> None:
    (event,) = events_of(rows(tmp_path, {"wb": "40", "on": text}, time_zone=ZoneInfo(zone)))
    assert event.occurred_at.ToJsonString() == moment


@given(st.floats(0, 120))
@settings(max_examples=30)
def test_an_age_is_in_the_band_that_is_named_after_it(years: float) -> None:
    with TemporaryDirectory() as folder:
        (event,) = events_of(rows(Path(folder), {"age": f"{years:.6f}"}))
    name = outcomes.AgeBand.Name(event.attribute_stated.age_band).removeprefix("AGE_BAND_")
    first, last = {"UNDER_12": ("0", "11"), "65_AND_OVER": ("65", "120")}.get(name) or name.split("_")
    assert int(first) <= int(float(f"{years:.6f}")) <= int(last)


def test_every_band_of_the_contract_has_its_first_year() -> None:
    assert {band for _, band in AGE_BANDS} == set(words_of("age_band").values())


def test_a_value_without_a_word_is_not_posted(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, {"arm": "9"})
    assert (row.events, row.wrong) == ([], [])


def test_consent_has_its_own_time_and_can_be_refused(tmp_path: Path) -> None:
    given, refused = events_of(
        rows(
            tmp_path,
            {"consent": "1", "consent_on": "2026-03-01"},
            {"record_id": "8", "consent": "0", "consent_on": "2026-03-01"},
        )
    )
    assert given.consent_given.scope == outcomes.CONSENT_SCOPE_RESEARCH
    assert given.occurred_at.ToJsonString() == "2026-03-01T00:00:00Z"
    assert refused.HasField("consent_withdrawn")


def test_an_attribute_may_have_several_columns(tmp_path: Path) -> None:
    ticked = [
        {"column": "g1", "codes": {"1": "bipolar", "0": None}},
        {"column": "g2", "codes": {"1": "psychosis", "0": None}},
        {"column": "g4", "codes": {"1": "adhd", "0": None}},
    ]
    project = PROJECT | {"instruments": [], "attributes": {"diagnosis": ticked}}
    events = events_of(rows(tmp_path, {"g1": "1", "g2": "0", "g4": "1"}, project=project))
    assert [event.attribute_stated.diagnosis for event in events] == [
        outcomes.DIAGNOSIS_BIPOLAR, outcomes.DIAGNOSIS_ADHD,
    ]  # fmt: skip


def test_columns_of_one_row_may_have_time_points_of_their_own(tmp_path: Path) -> None:
    """As in a table with a row for each person."""
    wide = [{"instrument": "ors", "version": 1, "total": name, "time_point": name} for name in ("g1", "g2")]
    project = PROJECT | {"instruments": wide, "events": {}}
    events = events_of(rows(tmp_path, {"g1": "20", "g2": "25"}, project=project))
    told = [event.questionnaire_answered for event in events]
    assert [(one.total, one.time_point) for one in told] == [(20, "g1"), (25, "g2")]


def test_values_without_codes_become_codes(tmp_path: Path) -> None:
    gender, episode = events_of(rows(tmp_path, {"gender": "non-binary", "episode": "Under 6 months"}))
    assert gender.attribute_stated.gender == outcomes.GENDER_NON_BINARY
    assert episode.covariate_stated.value == "under-6-months"


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        ({"wb": "71"}, "wb"),
        ({"wb": "40,5"}, "wb"),
        ({"g4": "4"}, "g4"),
        ({"g4": "1.5"}, "g4"),
        ({"g4": "99999999999"}, "g4"),
        ({"wb": "40", "on": ""}, "on"),
        ({"wb": "40", "on": "02/03/2026"}, "on"),
        ({"wb": "40", "on": "2026-02-30"}, "on"),
        ({"wb": "40", "on": "9999-12-31"}, "on"),
        ({"wb": "40", "on": "1899-01-01"}, "on"),
        ({"wb": "40", "record_id": ""}, "record_id"),
        ({"wb": "40", "record_id": "mary@example.org"}, "record_id"),
        ({"wb": "40", "record_id": "Mary Smith"}, "record_id"),
        ({"wb": "40", "redcap_event_name": "other_arm_1"}, "redcap_event_name"),
        ({"arm": "3"}, "arm"),
        ({"gender": "1"}, "gender"),
        ({"age": "-1"}, "age"),
        ({"age": "1968-03-02"}, "age"),
        ({"consent": "1"}, "consent_on"),
    ],
)
def test_a_wrong_value_is_named_with_its_column(tmp_path: Path, cells: dict[str, str], field: str) -> None:
    assert [place[:2] for place in wrong_of(rows(tmp_path, cells))] == [("line 2", field)]


def test_a_reference_that_is_refused_is_not_shown(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, {"wb": "40", "record_id": "mary@example.org"})
    assert "mary" not in repr(row.wrong)


def test_an_instrument_that_is_not_known_here_is_noted(tmp_path: Path) -> None:
    project = PROJECT | {"instruments": [{"instrument": "our-diary", "version": "2", "total": "wb"}]}
    (row,) = rows(tmp_path, {"wb": "4000"}, project=project)
    assert [each.field for each in row.wrong] == ["wb"]  # the contract's own limit still holds
    (row,) = rows(tmp_path, {"wb": "400"}, project=project)
    assert len(row.events) == 1 and "our-diary version 2 is not known" in row.notes[0]


class TestAMapping:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"persn": "x"}, "persn"),
            ({"person": None}, "person"),
            ({"study": ""}, "study"),
            ({"study": "My Trial"}, "'My Trial' is not a code"),
            ({"events": {"a": "Month 2"}}, "'Month 2' is not a code"),
            ({"attributes": {"shoe_size": {"column": "x"}}}, "shoe_size"),
            ({"attributes": {"gender": {"column": "x", "codes": {"1": "female"}}}}, "one of woman, man"),
            ({"consent": {"column": "x", "codes": {"1": "yes"}}}, "neither given nor withdrawn"),
            ({"instruments": [{"instrument": "a", "version": "1"}]}, "either items or total"),
        ],
    )
    def test_that_is_wrong_says_where(self, tmp_path: Path, change: dict[str, Any], words: str) -> None:
        path = tmp_path / "mapping.yaml"
        path.write_text(yaml.safe_dump(PROJECT | change))
        with pytest.raises(Unreadable) as caught:
            read_mapping(path)
        assert words in str(caught.value)

    @pytest.mark.parametrize("text", ["a: [", "", "- a", "\x00"])
    def test_that_is_none_says_so(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "mapping.yaml"
        path.write_text(text)
        with pytest.raises(Unreadable, match=r"mapping\.yaml is not"):
            read_mapping(path)

    def test_of_columns_that_are_not_there_names_them(self, tmp_path: Path) -> None:
        with pytest.raises(Unreadable, match="no column elsewhere, which the mapping names"):
            rows(tmp_path, {}, project=PROJECT | {"age": {"column": "elsewhere"}})
