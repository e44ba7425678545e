"""Responses of FHIR become answered questionnaires: numbers only, whatever stands in them."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.importing.fhir import ANSWERS, Options, read
from infra.importing.rows import Row, Unreadable
from services.runtime.instruments import instruments

EXAMPLE = Path(__file__).parents[2] / "docs" / "guides" / "examples" / "fhir.json"
PHQ: Any = instruments()["phq-9"].loinc
GAD: Any = instruments()["gad-7"].loinc
ITEM = "/44260-8"
"""PHQ-9's last, which PHQ-2 has not."""


def item(link: str, **value: Any) -> dict[str, Any]:
    return {"linkId": link, "text": "a question's words", "answer": [value]}


def response(*items: Any, **change: Any) -> dict[str, Any]:
    return {
        "resourceType": "QuestionnaireResponse", "status": "completed", "authored": "2026-03-02T18:05:00Z",
        "subject": {"reference": "Patient/17"}, "item": list(items),
    } | change  # fmt: skip


def rows(*resources: Any, **options: Any) -> list[Row]:
    """As NDJSON."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "responses.ndjson"
        path.write_text("".join(json.dumps(each) + "\n" for each in resources))
        return list(read(path, Options(**options)))


def answer(*items: Any, **options: Any) -> Any:
    """What a response's only event says."""
    (row,) = rows(response(*items), **options)
    assert not row.wrong
    (event,) = row.events
    return event.questionnaire_answered  # type: ignore[union-attr]


def points(told: Any) -> dict[int, int]:
    return {each.item: each.value for each in told.items}


class TestTheExample:
    def test_has_three_answered_questionnaires(self) -> None:
        events: list[Any] = [event for row in read(EXAMPLE, Options()) for event in row.events]
        told = [(each.participant_ref, each.questionnaire_answered) for each in events]
        assert [(who, one.instrument, len(one.items), one.total) for who, one in told] == [
            ("example-p1", "phq-9", 9, 0), ("example-p2", "gad-7", 7, 0), ("example-p1", "gad-7", 0, 11),
        ]  # fmt: skip

    def test_is_told_by_entry(self) -> None:
        places = [(row.place, bool(row.events)) for row in read(EXAMPLE, Options())]
        assert places == [
            ("entry 1", False),
            ("entry 2", True),
            ("entry 3", True),
            ("entry 4", True),
            ("entry 5", False),
        ]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=9, max_size=9), st.data())
def test_every_answer_comes_back(values: list[int], data: st.DataObject) -> None:
    """In whichever form it is given, and in any order of the items."""
    codes = list(ANSWERS)

    def form(value: int) -> dict[str, Any]:
        extension = [{"url": "http://hl7.org/fhir/StructureDefinition/ordinalValue", "valueDecimal": value}]
        return data.draw(
            st.sampled_from(
                [
                    {"valueInteger": value},
                    {"valueDecimal": float(value)},
                    {"valueCoding": {"system": "http://loinc.org", "code": codes[value]}},
                    {"valueCoding": {"code": "theirs", "extension": extension}},
                ]
            )
        )

    items = [item(f"/{code}", **form(value)) for code, value in zip(PHQ.items, values, strict=True)]
    told = answer(*data.draw(st.permutations(items)))
    assert points(told) == dict(enumerate(values, start=1))
    assert told.instrument == "phq-9"


def test_a_total_is_posted_where_there_are_no_items() -> None:
    assert answer(item(f"/{PHQ.total}", valueDecimal=16)).total == 16
    told = answer(item(f"/{PHQ.items[0]}", valueInteger=2), item(PHQ.total, valueDecimal=16))
    assert points(told) == {1: 2} and not told.HasField("total")


def test_two_instruments_in_one_response_are_two_events() -> None:
    group = {"linkId": "group", "item": [item(f"/{GAD.items[6]}", valueInteger=1)]}
    (row,) = rows(response(item(PHQ.items[8], valueInteger=0), group))
    told: list[Any] = [event.questionnaire_answered for event in row.events]  # type: ignore[union-attr]
    assert [(one.instrument, points(one)) for one in told] == [("phq-9", {9: 0}), ("gad-7", {7: 1})]


def test_items_within_answers_are_found() -> None:
    outer = {
        "linkId": "any",
        "answer": [{"valueBoolean": True, "item": [item(GAD.items[4], valueInteger=3)]}],
    }
    assert points(answer(outer)) == {5: 3}


def test_other_link_ids_count_where_a_pattern_is_given() -> None:
    items = [
        item(f"PHQ.{number}", valueInteger=1) for number in range(1, 11)
    ]  # the tenth is of something else
    assert points(answer(*items, items={"PHQ.{}": "phq-9"})) == dict.fromkeys(range(1, 10), 1)
    (row,) = rows(response(*items))
    assert [each.field for each in row.wrong] == ["item"]


@pytest.mark.parametrize(
    ("reference", "person"),
    [
        ("Patient/17", "17"),
        ("https://ehr.example.org/fhir/Patient/17/_history/3", "17"),
        ("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"),
    ],
)
def test_a_person_is_the_id_in_the_reference(reference: str, person: str) -> None:
    resource = response(item(PHQ.total, valueInteger=3), subject={"reference": reference, "display": "Mary"})
    (row,) = rows(resource, person_prefix="clinic-")
    assert row.events[0].participant_ref == f"clinic-{person}"  # type: ignore[union-attr]
    assert b"Mary" not in row.events[0].SerializeToString()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"status": "final"}, "status"),
        ({"status": None}, "status"),
        ({"subject": None}, "subject.reference"),
        ({"subject": {"reference": "#contained"}}, "subject.reference"),
        ({"subject": {"reference": "Group/1"}}, "subject.reference"),
        ({"subject": {"identifier": {"value": "943 476 5919"}}}, "subject.reference"),
        ({"subject": {"reference": "Patient/Mary Smith"}}, "subject.reference"),
        ({"authored": None}, "authored"),
        ({"authored": "2026-03"}, "authored"),
        ({"authored": 2026}, "authored"),
        ({"item": None}, "item"),
        ({"item": [7, {"linkId": 8}]}, "item"),
        ({"item": [{"linkId": ITEM, "answer": []}]}, "item"),
        ({"item": [item(ITEM, valueString="a secret")]}, ITEM),
        ({"item": [item(ITEM, valueBoolean=True)]}, ITEM),
        ({"item": [item(ITEM, valueInteger=True)]}, ITEM),
        ({"item": [item(ITEM, valueInteger=4)]}, ITEM),
        ({"item": [item(ITEM, valueInteger=10**30)]}, ITEM),
        ({"item": [item(ITEM, valueDecimal=0.5)]}, ITEM),
        ({"item": [item(ITEM, valueCoding={"system": "http://loinc.org", "code": "LA1-1"})]}, ITEM),
        ({"item": [item(ITEM, valueCoding={"system": "http://snomed.info/sct", "code": "LA6568-5"})]}, ITEM),
        ({"item": [{"linkId": ITEM, "answer": [{"valueInteger": 1}, {"valueInteger": 2}]}]}, ITEM),
        ({"item": [item(ITEM, valueInteger=1), item("44260-8", valueInteger=1)]}, "44260-8"),
        ({"item": [item("/44261-6", valueInteger=28)]}, "/44261-6"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_no_text_is_shown(change: dict[str, Any], field: str) -> None:
    (row,) = rows(response(item(ITEM, valueInteger=1)) | change)
    assert [each.field for each in row.wrong] == [field]
    assert not any(word in repr(row.wrong) for word in ("secret", "Mary", "943", "question's"))


@pytest.mark.parametrize("status", ["entered-in-error", "in-progress", "stopped"])
def test_what_is_not_final_is_passed_over_with_a_word(status: str) -> None:
    (row,) = rows(response(item(ITEM, valueInteger=1), status=status))
    assert (row.events, row.wrong, row.notes) == ([], [], [f"passed over: a response that is {status}"])


def test_questions_of_two_instruments_alike_need_the_panel() -> None:
    """The first two items of PHQ-9 are PHQ-2's."""
    two = [item(code, valueInteger=1) for code in PHQ.items[:2]]
    (row,) = rows(response(*two))
    assert [each.field for each in row.wrong] == ["questionnaire"]
    assert answer(*two, item(PHQ.items[2], valueInteger=0)).instrument == "phq-9"
    for panel, instrument in (("55757-9", "phq-2"), ("44249-1", "phq-9")):
        (row,) = rows(response(*two, questionnaire=f"http://loinc.org/q/{panel}|2.74"))
        assert row.events[0].questionnaire_answered.instrument == instrument  # type: ignore[union-attr]


class TestFiles:
    def file(self, folder: Path, text: bytes) -> list[Row]:
        path = folder / "file.json"
        path.write_bytes(text)
        return list(read(path, Options()))

    def test_may_be_a_single_response_over_several_lines(self, tmp_path: Path) -> None:
        text = json.dumps(response(item(ITEM, valueInteger=1)), indent=2).encode()
        assert len(self.file(tmp_path, b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))[0].events) == 1

    def test_may_be_a_bundle_on_one_line(self, tmp_path: Path) -> None:
        bundle = {
            "resourceType": "Bundle",
            "entry": [{"resource": response(item(ITEM, valueInteger=1))}, 7, {}],
        }
        found = self.file(tmp_path, json.dumps(bundle).encode())
        assert [(row.place, len(row.events)) for row in found] == [
            ("line 1 entry 1", 1), ("line 1 entry 2", 0), ("line 1 entry 3", 0),
        ]  # fmt: skip

    def test_a_broken_line_is_wrong_and_the_next_is_read(self, tmp_path: Path) -> None:
        good = json.dumps(response(item(ITEM, valueInteger=1))).encode()
        found = self.file(tmp_path, good + b"\n" + good[:40] + b"\n\n" + good + b"\n\xff\n")
        assert [(row.place, bool(row.wrong)) for row in found] == [
            ("line 1", False), ("line 2", True), ("line 4", False), ("line 5", True),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "text",
        [
            b"", b"<Bundle/>", b"[" * 100_000, b"\xff\xfe", b'{\n"a": NaN}',
            b'{\n"resourceType": "Bundle",\n"entry": [',
        ],
    )  # fmt: skip
    def test_that_are_not_json_say_so(self, tmp_path: Path, text: bytes) -> None:
        with pytest.raises(Unreadable, match="not JSON"):
            self.file(tmp_path, text)


names = st.sampled_from(
    ["item", "answer", "linkId", "valueCoding", "valueInteger", "extension", "url", "code"]
)
values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(
    values | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
)


@settings(max_examples=100)
@given(anything, st.sampled_from(["item", "subject", "authored", "status", "questionnaire", "resourceType"]))
def test_whatever_stands_in_a_response_nothing_ends_the_import(value: Any, name: str) -> None:
    rows(response(item(ITEM, valueInteger=1)) | {name: value}, value)
