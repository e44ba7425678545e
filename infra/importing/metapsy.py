"""Studies in the columns of the Metapsy data standard, as events: rows that compare two arms.

One row becomes the registration of its study, a summary of each arm, and the effects that are ready made.
What its cells mean is `comparison`'s; which of the events a pool uses is the protocol's business (decision
0027).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from circles.studies.v1.study_event_pb2 import StudyEvent

from infra.importing.comparison import (
    ATTRIBUTE,
    COVARIATE,
    READ,
    REQUIRED,
    CellReader,
    Comparison,
    Effect,
    Fact,
    Options,
    Place,
    column_of,
)
from infra.importing.rows import Row, Unreadable
from infra.importing.tables import read_table
from services.client import events


class _Statement(NamedTuple):
    """One thing that a row says. Another row may say it again, and not otherwise.

    `column` is named when it does. `event` None: a fact of the study, which its registration tells.
    """

    about: tuple[Hashable, ...]
    value: Hashable
    column: str
    event: StudyEvent | None = None
    columns: Mapping[str, str] = {}


def read(path: Path, options: Options) -> Iterator[Row]:
    """Raises Unreadable, when the file is opened or while it is read."""
    table = read_table(path, revision=options.revision)
    _check(path, table.columns, options)
    unused = [name for name in table.columns if name and name not in READ | set(options.chosen)]
    if unused:
        yield Row("header", notes=[f"columns that are not used: {', '.join(unused)}"])
    studies = _Studies(options)
    for row in table.rows:
        if not row.wrong:
            studies.fill(row)
        yield row


def _check(path: Path, columns: Sequence[str], options: Options) -> None:
    absent = [name for name in (*REQUIRED, *options.chosen) if name not in columns]
    if absent:
        raise Unreadable(f"{path.name} has no column {', '.join(absent)}. It has: {', '.join(columns)}.")


class _Studies:
    """Remembers what the rows so far have said, so that none says otherwise."""

    def __init__(self, options: Options) -> None:
        self._cells = CellReader(options)
        self._told: dict[tuple[Hashable, ...], tuple[Hashable, str]] = {}
        """What has been said of each thing, and where."""
        self._facts: dict[str, dict[Fact, Any]] = {}
        """What is known of each study that is registered."""

    def fill(self, row: Row) -> None:
        """Adds the row's events to it, or what is wrong."""
        said = self._cells.read(row)
        if said is None:
            return
        statements = _statements(row, said)
        self._refuse_contradictions(row, statements)
        if row.wrong:
            return
        news = [each for each in statements if each.about not in self._told]
        if any(each.event is None for each in news):
            self._register(row, said)
        for each in news:
            if each.event is not None:
                row.add(each.event, each.columns)
        if not row.wrong:
            self._told |= {each.about: (each.value, row.place) for each in news}
            self._facts.setdefault(said.place.study, {}).update(said.facts)

    def _refuse_contradictions(self, row: Row, statements: Sequence[_Statement]) -> None:
        for each in statements:
            value, where = self._told.get(each.about, (each.value, ""))
            if value != each.value:
                what = "arm, outcome, instrument and time point" if each.event else "study"
                shown = row.cells.get(each.column, "")
                row.refuse(each.column, shown, f"the same as in {where}, of the same {what}")

    def _register(self, row: Row, said: Comparison) -> None:
        """Once, and again when a later row knows more: all that is known so far."""
        study = said.place.study
        known = {**self._facts.get(study, {}), **said.facts}
        fields: dict[str, Any] = {}
        covariates: dict[str, float] = {}
        attributes: defaultdict[str, list[str]] = defaultdict(list)
        for (kind, *column), value in known.items():
            if kind == COVARIATE:
                covariates[self._cells.names[column[0]]] = value
            elif kind == ATTRIBUTE:
                attributes[self._cells.names[column[0]]].append(value)
            else:
                fields[kind] = value
        registered = events.study_registered(
            study=study, at=said.at, covariates=covariates, attributes=attributes, event_id="", **fields
        )
        columns = {f"study_registered.{name}": column_of(row, (name,)) for name in fields}
        row.add(registered, {"study_code": "study"} | columns)


def _statements(row: Row, said: Comparison) -> list[_Statement]:
    study = said.place.study
    return [
        *(
            _Statement(("study", study, *fact), value, column_of(row, fact))
            for fact, value in said.facts.items()
        ),
        *(_summary(said.place, arm, summary, said.at) for arm, summary in said.summaries.items()),
        *(_estimate(said.place, effect, said.at) for effect in said.effects),
    ]


def _summary(place: Place, arm: int, summary: Mapping[str, Any], at: datetime) -> _Statement:
    """Of one arm; the row's other arm is not in what it is about, as several are compared with one."""
    code = place.arms[arm - 1]
    event = events.arm_summarised(arm=code, at=at, event_id="", **_told_of(place), **summary)
    names = {"n": "n", "mean": "mean", "sd": "sd", "events": "event"}
    columns = {f"arm_summarised.{name}": f"{column}_arm{arm}" for name, column in names.items()}
    columns["arm_summarised"] = f"mean_arm{arm}, sd_arm{arm}"
    about = ("arm", code, *_told_of(place).values())
    return _Statement(about, tuple(summary.values()), f"n_arm{arm}", event, columns)


def _estimate(place: Place, effect: Effect, at: datetime) -> _Statement:
    event = events.effect_estimated(
        arm=place.arms[0],
        comparison_arm=place.arms[1],
        scale=effect.scale,
        estimate=effect.estimate,
        standard_error=effect.standard_error,
        at=at,
        event_id="",
        **_told_of(place),
    )
    names = ("effect_estimated.estimate", "effect_estimated.standard_error")
    columns = dict(zip(names, effect.columns, strict=True))
    about = ("effect", effect.scale, *place.arms, *_told_of(place).values())
    value = (effect.estimate, effect.standard_error)
    return _Statement(about, value, effect.columns[0], event, columns)


def _told_of(place: Place) -> dict[str, Any]:
    return {
        "study": place.study,
        "outcome": place.outcome,
        "instrument": place.instrument,
        "time_point": place.time_point,
    }
