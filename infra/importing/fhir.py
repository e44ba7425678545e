"""Responses to questionnaires as FHIR R4 has them (QuestionnaireResponse), as answered questionnaires.

A file is a Bundle, a single response, or a line of JSON for each (NDJSON). Only numbers leave it: neither the
words of questions nor those of answers, and of a person the id alone. All other resources are passed over.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.importing import rows, values
from infra.importing.rows import Row, Unreadable
from services.client import events
from services.runtime.instruments import Loinc, instruments

FINAL = ("completed", "amended")
NOT_FINAL = ("in-progress", "entered-in-error", "stopped")
LOINC = "http://loinc.org"
ANSWERS = {"LA6568-5": 0, "LA6569-3": 1, "LA6570-1": 2, "LA6571-9": 3}
"""Points by LOINC's code of an answer, of its list LL358-3: not at all, …, nearly every day."""

POINTS = (
    "http://hl7.org/fhir/StructureDefinition/ordinalValue",
    "http://hl7.org/fhir/StructureDefinition/itemWeight",
)
"""Extensions that say how many points an answer is worth."""

TOTAL = 0
"""In place of an item's number."""

Question = tuple[str, int]
"""An instrument and the number of its item, or TOTAL."""


@dataclass(frozen=True, kw_only=True)
class Options(rows.Options):
    """`person_prefix`: put before each id, where another system has people of the same ids.

    `study` and `time_point`: of all responses; empty: routine measurement, unplanned.
    `items`: instruments by a pattern of linkIds that are not LOINC's, as `gad7-{}` for gad7-1, gad7-2, ….
    """

    person_prefix: str = ""
    study: str = ""
    time_point: str = ""
    items: Mapping[str, str] = field(default_factory=dict)


def read(path: Path, options: Options) -> Iterator[Row]:
    """Raises Unreadable, when the file is opened or while it is read."""
    for place, resource in _resources(path):
        row = Row(place, revision=options.revision)
        if isinstance(resource, Mapping):
            _fill(row, resource, options)
        else:
            row.refuse("", "", str(resource) if isinstance(resource, ValueError) else "a resource")
        yield row


# The file ------------------------------------------------------------------------------------------------


def _resources(path: Path) -> Iterator[tuple[str, Any]]:
    """Each resource with its place. In place of a line that is not JSON the ValueError that says so."""
    with path.open("rb") as file:
        first = file.readline().removeprefix(b"\xef\xbb\xbf")
        if not isinstance(_parsed(first), Mapping):
            yield from _entries("", _whole(path, first + file.read()))
            return
        yield from _entries("line 1", _parsed(first))
        for number, line in enumerate(file, start=2):
            if line.strip():
                yield from _entries(f"line {number}", _parsed(line))


def _whole(path: Path, text: bytes) -> Any:
    found = _parsed(text)
    if isinstance(found, ValueError):
        raise Unreadable(f"{path.name} is {found}.")
    return found


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except UnicodeDecodeError:
        return ValueError("not JSON in UTF-8")
    except json.JSONDecodeError as error:
        return ValueError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}")
    except (ValueError, RecursionError) as error:
        return ValueError(f"not JSON that can be read: {error}")


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number in JSON")


def _entries(place: str, resource: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(resource, Mapping) or resource.get("resourceType") != "Bundle":
        yield place or "resource", resource
        return
    entries = resource.get("entry", [])
    for number, entry in enumerate(entries if isinstance(entries, list) else [], start=1):
        where = f"{place} entry {number}".strip()
        yield where, entry.get("resource", {}) if isinstance(entry, Mapping) else entry


# A response ----------------------------------------------------------------------------------------------


def _fill(row: Row, resource: Mapping[str, Any], options: Options) -> None:
    kind, status = resource.get("resourceType"), resource.get("status")
    if kind != "QuestionnaireResponse":
        row.notes.append(
            f"passed over: {kind if isinstance(kind, str) and kind.isalpha() else 'no resource'}"
        )
        return
    if status in NOT_FINAL:
        row.notes.append(f"passed over: a response that is {status}")
        return
    if status not in FINAL:
        row.refuse("status", status, f"one of {', '.join(FINAL + NOT_FINAL)}")
    person = _person(row, resource.get("subject"))
    authored = resource.get("authored")
    at = row.parsed("authored", str(authored or ""), lambda text: values.moment(text, options.time_zone))
    answers = _answers(row, resource, options)
    if not answers and not row.wrong:
        row.refuse("item", "", "answers to an instrument whose LOINC codes are known, or --items")
    if row.wrong or at is None:
        return
    for instrument, given in answers.items():
        total = given.pop(TOTAL, None)
        items = {item: int(value) for item, (value, _) in sorted(given.items())}
        if items and total is not None:
            row.notes.append("totals that came with their items: the items are posted, the total is not")
        answered = events.questionnaire_answered(
            participant=options.person_prefix + person,
            instrument=instrument,
            instrument_version=_version(row, instrument),
            items=items,
            total=None if items or total is None else total[0],
            study=options.study,
            time_point=options.time_point,
            at=at,
            event_id="",
        )
        path = "questionnaire_answered"
        columns = {
            "participant_ref": "subject.reference",
            "occurred_at": "authored",
            f"{path}.study_code": "--study",
            f"{path}.time_point": "--time-point",
            f"{path}.total": total[1] if total else "",
        }
        links = [link for _, (_, link) in sorted(given.items())]
        columns |= {f"{path}.items[{i}].value": link for i, link in enumerate(links)}
        row.add(answered, columns)


def _person(row: Row, subject: Any) -> str:
    """The id in `Patient/17`, `urn:uuid:…` or `https://…/Patient/17/_history/2`."""
    reference = subject.get("reference") if isinstance(subject, Mapping) else None
    reference = reference.partition("/_history/")[0] if isinstance(reference, str) else ""
    kind, _, person = reference.rpartition("/")
    if not person or reference.startswith("#") or kind.rpartition("/")[2] not in ("", "Patient"):
        row.refuse("subject.reference", f"{len(reference)} characters", "a reference as Patient/17")
    return person.removeprefix("urn:uuid:")


def _version(row: Row, instrument: str) -> str:
    known = instruments().get(instrument)
    versions = known.versions if known else ("1",)
    if len(versions) > 1:
        row.refuse("questionnaire", instrument, f"an instrument of one version, not {', '.join(versions)}")
    return versions[0]


# Its answers ---------------------------------------------------------------------------------------------


def _answers(
    row: Row, resource: Mapping[str, Any], options: Options
) -> dict[str, dict[int, tuple[float, str]]]:
    """Values with their linkId, by number of the item, by instrument."""
    found = list(_answered(resource))
    asked = _asked(row, resource, {code for code, _, _ in found})
    answers: defaultdict[str, dict[int, tuple[float, str]]] = defaultdict(dict)
    count_others = 0
    for code, link, given in found:
        question = _question(code, link, asked, options)
        if question is None:
            count_others += 1
            continue
        instrument, item = question
        value = _value(row, link, given, is_item=item != TOTAL)
        if item in answers[instrument]:
            row.refuse(link, "", "each question once")
        answers[instrument][item] = (value, link)
    if count_others and answers:
        row.notes.append("responses with answers to other questions, which are not posted")
    return dict(answers)


def _answered(resource: Mapping[str, Any]) -> Iterator[tuple[str, str, list[Any]]]:
    """LOINC's code where there is one, the linkId, and what was answered; groups are opened."""
    to_do = [resource]
    while to_do:
        each = to_do.pop()
        given, link = each.get("answer"), str(each.get("linkId", ""))
        given = given if isinstance(given, list) else []
        if given:
            yield _last_part(link) or _last_part(str(each.get("definition", ""))), link, given
        parents = [each, *(answer for answer in given if isinstance(answer, Mapping))]
        inner = [item for parent in parents for item in _items(parent)]
        to_do += reversed(inner)


def _items(parent: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    found = parent.get("item")
    if isinstance(found, list):
        yield from (item for item in found if isinstance(item, Mapping))


def _last_part(path: str) -> str:
    """A code of LOINC at the end of a linkId or of the address of a definition."""
    end = path.rpartition("/")[2].rpartition("#")[2]
    number, hyphen, digit = end.partition("-")
    return end if hyphen and number.isdigit() and digit.isdigit() and len(digit) == 1 else ""


def _asked(row: Row, resource: Mapping[str, Any], codes: Collection[str]) -> dict[str, Loinc]:
    """The instruments that the answers belong to.

    PHQ-2 and PHQ-9 share items: the panel that is named decides. Where none is, an instrument counts when no
    other one has all of its answers and more.
    """
    canonical = str(resource.get("questionnaire", "")).partition("|")[0]
    panel = _last_part(canonical)
    known = {code: each.loinc for code, each in instruments().items() if each.loinc}
    named = {code: each for code, each in known.items() if panel and each.panel == panel}
    if named:
        return named
    has = {
        code: answered
        for code, each in known.items()
        if (answered := frozenset(codes) & {*each.items, each.total or ""} - {""})
    }
    largest = {code for code in has if not any(has[code] < other for other in has.values())}
    for code in sorted(largest):
        alike = sorted(other for other in largest if has[other] == has[code])
        if len(alike) > 1:
            row.refuse("questionnaire", canonical, f"which of {' and '.join(alike)} was asked, by its panel")
            break
    return {code: known[code] for code in largest}


def _question(code: str, link: str, asked: Mapping[str, Loinc], options: Options) -> Question | None:
    for pattern, instrument in options.items.items():
        before, _, after = pattern.partition("{}")
        number = link.removeprefix(before).removesuffix(after)
        known = instruments().get(instrument)
        if number.isdecimal() and link == f"{before}{int(number)}{after}":
            # A question behind the last item is of something else, as PHQ-9's tenth.
            return None if known and int(number) > known.items.count else (instrument, int(number))
    for instrument, each in asked.items():
        if code and code == each.total:
            return instrument, TOTAL
        if code in each.items:
            return instrument, each.items.index(code) + 1
    return None


def _value(row: Row, link: str, given: list[Any], *, is_item: bool) -> float:
    """The number that was answered. A text is never shown."""
    if len(given) != 1 or not isinstance(given[0], Mapping):
        row.refuse(link, f"{len(given)} answers", "one answer")
        return 0
    value = _points(given[0])
    if value is None:
        shown = next((name for name in given[0] if name.startswith("value")), "no value")
        row.refuse(
            link, shown, "valueInteger, valueDecimal, or valueCoding with LOINC's code or ordinalValue"
        )
    elif is_item and not float(value).is_integer():
        row.refuse(link, value, "a whole number")
    elif abs(value) > values.MOST:
        row.refuse(link, value, "a number of the instrument's range")
    else:
        return float(value)
    return 0


def _points(answer: Mapping[str, Any]) -> float | None:
    for name in ("valueInteger", "valueDecimal"):
        if name in answer:
            return _number(answer[name])
    coding = answer.get("valueCoding")
    if not isinstance(coding, Mapping):
        return None
    for holder in (answer, coding):
        extensions = holder.get("extension")
        for each in extensions if isinstance(extensions, list) else []:
            if isinstance(each, Mapping) and each.get("url") in POINTS:
                return _number(each.get("valueDecimal", each.get("valueInteger")))
    return ANSWERS.get(str(coding.get("code"))) if coding.get("system", LOINC) == LOINC else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) < 1e15 else None
