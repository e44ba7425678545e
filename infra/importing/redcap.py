"""A flat export of REDCap, a row for each record and event, as events about people.

A mapping says which columns are what; no other column is read, and no text but codes leaves the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from circles.outcomes.v1 import outcome_event_pb2 as outcomes
from circles.outcomes.v1.outcome_event_pb2 import OutcomeEvent

from infra.importing import rows, values
from infra.importing.codes import Codes
from infra.importing.mapping import SCOPES, Answers, Coded, Column, Project, words_of
from infra.importing.rows import Row, Unreadable
from infra.importing.tables import MISSING, read_table
from services.client import events

EVENT = "redcap_event_name"
INSTANCE = "redcap_repeat_instance"

AGE_BANDS = (
    (65, outcomes.AGE_BAND_65_AND_OVER),
    (50, outcomes.AGE_BAND_50_64),
    (35, outcomes.AGE_BAND_35_49),
    (26, outcomes.AGE_BAND_26_34),
    (18, outcomes.AGE_BAND_18_25),
    (16, outcomes.AGE_BAND_16_17),
    (12, outcomes.AGE_BAND_12_15),
    (0, outcomes.AGE_BAND_UNDER_12),
)
"""From the oldest, each with its first year of age."""

OLDEST = 120


@dataclass(frozen=True, kw_only=True)
class Options(rows.Options):
    """`missing`: words for no value, beside those of the mapping and of all tables."""

    mapping: Project
    missing: tuple[str, ...] = ()
    codes: dict[str, str] = field(default_factory=dict)


def read(path: Path, options: Options) -> Iterator[Row]:
    """Raises Unreadable, when the file is opened or while it is read."""
    mapping = options.mapping
    missing = MISSING | {*options.missing, *mapping.missing}
    table = read_table(path, missing=missing, revision=options.revision)
    wanted = [*mapping.columns(), *([EVENT] if mapping.events else [])]
    absent = sorted({name for name in wanted if name not in table.columns})
    if absent:
        raise Unreadable(f"{path.name} has no column {', '.join(absent)}, which the mapping names.")
    codes = Codes(options.codes)
    for row in table.rows:
        if not row.wrong:
            _Filling(row, options, codes).fill()
        yield row


@dataclass
class _Filling:
    """One row, and what turns it into events."""

    row: Row
    options: Options
    codes: Codes

    def fill(self) -> None:
        mapping = self.options.mapping
        if not self._cell(mapping.person.column):
            self.row.refuse(mapping.person.column, "", "the id of a record")
            return
        time_point = self._time_point()
        self._consent()
        self._arm()
        self._age()
        for name, several in mapping.attributes.items():
            for coded in several:
                self._attribute(name, coded)
        for covariate, coded in mapping.covariates.items():
            self._covariate(covariate, coded)
        for answers in mapping.instruments:
            self._answers(answers, time_point)
        if not self.row.events and not self.row.wrong:
            self.row.notes.append("rows with nothing of what the mapping names")

    def _consent(self) -> None:
        consent = self.options.mapping.consent
        word = self._word(consent, lambda text: text) if consent else None
        if consent is not None and word is not None:
            make = events.consent_given if word == "given" else events.consent_withdrawn
            self._add(make, consent, scope=SCOPES[consent.scope])

    def _arm(self) -> None:
        arm = self.options.mapping.arm
        code = self._word(arm, lambda text: self.codes.code("arm", text)) if arm else None
        if arm is not None and code is not None:
            self._add(events.arm_allocated, arm, study=self.options.mapping.study, arm=code)

    def _age(self) -> None:
        age = self.options.mapping.age
        if age is not None and (text := self._cell(age.column)):
            years = self._number(age.column, text)
            if years is not None and not 0 <= years <= OLDEST:
                self.row.refuse(age.column, text, f"years of age, from 0 to {OLDEST}")
            elif years is not None:
                band = next(band for first, band in AGE_BANDS if years >= first)
                self._add(events.attribute_stated, age, age_band=band)

    def _attribute(self, name: str, coded: Coded) -> None:
        known = words_of(name)

        def known_word(text: str) -> str:
            if text not in known:
                raise ValueError(f"one of {', '.join(known)}; `codes` of the mapping translates others")
            return text

        word = self._word(coded, known_word)
        if word is not None:
            said: dict[str, Any] = {name: known[word]}
            self._add(events.attribute_stated, coded, **said)

    def _covariate(self, covariate: str, coded: Coded) -> None:
        value = self._word(coded, lambda text: self.codes.code(f"covariate {covariate}", text))
        if value is not None:
            study = self.options.mapping.study
            self._add(events.covariate_stated, coded, study=study, covariate=covariate, value=value)

    def _answers(self, answers: Answers, time_point: str) -> None:
        columns = answers.items or (answers.total,)
        given = {number: name for number, name in enumerate(columns, start=1) if name and self._cell(name)}
        if not given:
            return
        parse = self._whole if answers.items else self._number
        found = {number: parse(name, self._cell(name)) for number, name in given.items()}
        if None in found.values():
            return
        path = "questionnaire_answered"
        places = {f"{path}.items[{i}].value": name for i, name in enumerate(given.values())}
        if answers.total:
            places = {f"{path}.total": answers.total}
        self._add(
            events.questionnaire_answered,
            Column(column=next(iter(given.values())), time=answers.time),
            places,
            instrument=answers.instrument,
            instrument_version=answers.version,
            items=found if answers.items else None,
            total=None if answers.items else found[1],
            study=self.options.mapping.study,
            time_point=answers.time_point or time_point,
        )

    def _add(
        self,
        make: Callable[..., OutcomeEvent],
        column: Column,
        places: dict[str, str] | None = None,
        **said: Any,
    ) -> None:
        """An event of this row's person, at the time that goes with the column."""
        mapping = self.options.mapping
        at = self._time(column)
        if at is None:
            return
        person = mapping.person.prefix + self._cell(mapping.person.column)
        group = self._cell(mapping.group) if mapping.group else ""
        event = make(participant=person, group=group, at=at, event_id="", **said)
        where = {"participant_ref": mapping.person.column, "group_ref": mapping.group or ""}
        self.row.add(event, where | {"occurred_at": column.time or mapping.time or ""} | (places or {}))

    def _time(self, column: Column) -> datetime | None:
        name = column.time or self.options.mapping.time
        if name is None:
            self.row.refuse(column.column, "", "a time: name its column in the mapping")
            return None
        zone = self.options.time_zone
        return self.row.parsed(name, self._cell(name), lambda text: values.moment(text, zone))

    def _time_point(self) -> str:
        """Of the row's event. A repeated one is planned only where the mapping names its number."""
        planned = self.options.mapping.events
        name, instance = self._cell(EVENT), self._cell(INSTANCE)
        if not planned:
            return ""
        if instance:
            return planned.get(f"{name}#{instance}") or ""
        if name not in planned:
            self.row.refuse(EVENT, name, f"one of the mapping's events: {', '.join(planned)}")
        return planned.get(name) or ""

    def _word(self, coded: Coded, make: Callable[[str], str]) -> str | None:
        """Our word for the value of a column; None: missing, nothing to be posted, or wrong."""
        text = self._cell(coded.column)
        if not text:
            return None
        if coded.codes is None:
            return self.row.parsed(coded.column, text, make)
        if text not in coded.codes:
            self.row.refuse(coded.column, text, f"one of the mapping's codes: {', '.join(coded.codes)}")
        return coded.codes.get(text)

    def _number(self, column: str, text: str) -> float | None:
        comma = self.options.decimal_comma
        return self.row.parsed(column, text, lambda it: values.number(it, decimal_comma=comma))

    def _whole(self, column: str, text: str) -> int | None:
        comma = self.options.decimal_comma
        return self.row.parsed(column, text, lambda it: values.whole(it, decimal_comma=comma))

    def _cell(self, column: str) -> str:
        return self.row.cells.get(column, "")
