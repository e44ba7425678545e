"""Rows of studies in the columns of the Metapsy data standard (docs.metapsy.org), as events of studies.

One row compares two arms: it becomes the registration of its study, a summary of each arm, and the effects
that are ready made. Which of them a pool uses is the protocol's business (decision 0027).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from circles.studies.v1 import study_event_pb2 as studies
from circles.studies.v1.study_event_pb2 import StudyEvent

from infra.importing import rows, values
from infra.importing.codes import Codes
from infra.importing.rows import Row, Unreadable
from infra.importing.tables import read_table
from services.client import events

REQUIRED = ("study", "condition_arm1", "condition_arm2")

YEAR = ("year", "publication_year")
RISK_OF_BIAS = ("rob", "risk_of_bias")
EFFECTS = {
    studies.EFFECT_SCALE_HEDGES_G: ((".g", ".g_se"), ("g", "g_se"), ("precalc_g", "precalc_g_se")),
    studies.EFFECT_SCALE_LOG_RISK_RATIO: (
        (".log_rr", ".log_rr_se"),
        ("log_rr", "log_rr_se"),
        ("precalc_log_rr", "precalc_log_rr_se"),
    ),
    studies.EFFECT_SCALE_LOG_ODDS_RATIO: (
        (".log_or", ".log_or_se"),
        ("log_or", "log_or_se"),
        ("precalc_log_or", "precalc_log_or_se"),
    ),
}
"""Columns of ready-made effects and their standard errors; the first pair with a value counts."""

ARM_NUMBERS = (1, 2)
ARMS = ("condition_arm", "multi_arm", "n_arm", "mean_arm", "sd_arm", "event_arm", "totaln_arm")
READ = frozenset(
    {"study", "outcome_type", "instrument", "time", "time_weeks", "design", "doi", *YEAR, *RISK_OF_BIAS}
    | {f"{name}{arm}" for name in ARMS for arm in ARM_NUMBERS}
    | {column for pairs in EFFECTS.values() for pair in pairs for column in pair}
)
"""Columns that may become something. `.event_arm1` and its kin do not: metapsyTools may have imputed them."""

COVARIATE = "covariate"
ATTRIBUTE = "attribute"

ONLY_HOW = frozenset({"", "msd", "change", "dich", "es", "other", "precalc", "precalc_g", "precalc_log_rr"})
"""Values of `outcome_type` that say how an outcome was measured, not which it is."""

FOLLOW_UPS = ("fu", "follow")

DESIGNS = {
    "randomised": studies.STUDY_DESIGN_RANDOMISED,
    "controlled": studies.STUDY_DESIGN_CONTROLLED,
    "cohort": studies.STUDY_DESIGN_COHORT,
    "cross-sectional": studies.STUDY_DESIGN_CROSS_SECTIONAL,
    "descriptive": studies.STUDY_DESIGN_DESCRIPTIVE,
}
_ALSO_RANDOMISED = ("randomized", "rct")

BIASES = {
    "low": studies.RISK_OF_BIAS_LOW,
    "some concerns": studies.RISK_OF_BIAS_SOME_CONCERNS,
    "high": studies.RISK_OF_BIAS_HIGH,
}


@dataclass(frozen=True, kw_only=True)
class Options(rows.Options):
    """`design`: of studies whose row has none. `outcome`: of rows that do not name theirs.

    `covariates`: columns of numbers that describe the study; `attributes`: columns of words that do.
    `codes`: by name, where others are wanted.
    `flip_g`: the file's Hedges g is above 0 where the first arm's mean is below the second's.
    `reported_on`: when the rows were reported; None: on the first of January of their year.
    """

    design: str = ""
    outcome: str = ""
    covariates: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    flip_g: bool = False
    codes: Mapping[str, str] = field(default_factory=dict)
    reported_on: date | None = None


Fact = tuple[str, ...]
"""What is told of a study: a field of its registration, a covariate and its column, or an attribute with its
column and value, of which a study may have several."""


class _Place(NamedTuple):
    """What a row is about, in codes."""

    study: str
    arms: tuple[str, str]
    outcome: str
    instrument: str
    time_point: str


class _Effect(NamedTuple):
    """Ready made; `columns` of the estimate and its standard error."""

    scale: Any
    estimate: float
    standard_error: float
    columns: tuple[str, str]


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
    unused = [name for name in table.columns if name and name not in READ | set(_chosen(options))]
    if unused:
        yield Row("header", notes=[f"columns that are not used: {', '.join(unused)}"])
    reader = _Reader(options)
    for row in table.rows:
        if not row.wrong:
            reader.fill(row)
        yield row


def _check(path: Path, columns: Sequence[str], options: Options) -> None:
    absent = [name for name in (*REQUIRED, *_chosen(options)) if name not in columns]
    if absent:
        raise Unreadable(f"{path.name} has no column {', '.join(absent)}. It has: {', '.join(columns)}.")


def _chosen(options: Options) -> tuple[str, ...]:
    return options.covariates + options.attributes


class _Reader:
    """Remembers what the rows so far have said, so that none says otherwise."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._codes = Codes(options.codes)
        self._told: dict[tuple[Hashable, ...], tuple[Hashable, str]] = {}
        """What has been said of each thing, and where."""
        self._facts: dict[str, dict[Fact, Any]] = {}
        """What is known of each study that is registered."""
        try:
            self._names = {column: self._codes.code("column", column) for column in _chosen(options)}
        except ValueError as rule:
            raise Unreadable(f"--covariate, --attribute: should be {rule}") from rule

    def fill(self, row: Row) -> None:
        """Adds the row's events to it, or what is wrong."""
        place = self._place(row)
        facts = self._read_facts(row)
        at = self._time(row, facts)
        summaries = {arm: summary for arm in ARM_NUMBERS if (summary := self._read_arm(row, arm))}
        effects = [each for each in self._read_effects(row) if _has_sign_of_means(row, each, summaries)]
        if not row.wrong and not summaries and not effects:
            row.refuse(
                "", "", "mean, sd and n of an arm, its events and their n, or an effect with its error"
            )
        if row.wrong or place is None or at is None:
            return
        statements = [
            *(
                _Statement(("study", place.study, *fact), value, _column(row, fact))
                for fact, value in facts.items()
            ),
            *(_summary(place, arm, summary, at) for arm, summary in summaries.items()),
            *(_estimate(place, effect, at) for effect in effects),
        ]
        self._refuse_contradictions(row, statements)
        if row.wrong:
            return
        news = [each for each in statements if each.about not in self._told]
        if any(each.event is None for each in news):
            self._register(row, place.study, facts, at)
        for each in news:
            if each.event is not None:
                row.add(each.event, each.columns)
        if not row.wrong:
            self._told |= {each.about: (each.value, row.place) for each in news}
            self._facts.setdefault(place.study, {}).update(facts)

    def _place(self, row: Row) -> _Place | None:
        study = self._code(row, "study", "study", row.cells["study"])
        arms = [self._arm(row, arm) for arm in ARM_NUMBERS]
        outcome = self._outcome(row)
        instrument = self._optional(row, "instrument", row.cells.get("instrument", ""))
        time_point = self._optional(row, "time", _time_point(row.cells))
        if row.wrong or study is None or outcome is None or arms[0] is None or arms[1] is None:
            return None
        if arms[0] == arms[1]:
            row.refuse(
                "condition_arm2", row.cells["condition_arm2"], f"another arm than the first, {arms[0]}"
            )
        return _Place(study, (arms[0], arms[1]), outcome, instrument or "", time_point or "")

    def _code(self, row: Row, vocabulary: str, column: str, name: str) -> str | None:
        if not name:
            row.refuse(column, "", "a name")
            return None
        return row.parsed(column, name, lambda text: self._codes.code(vocabulary, text))

    def _optional(self, row: Row, column: str, name: str) -> str | None:
        return self._code(row, column, column, name) if name else ""

    def _arm(self, row: Row, arm: int) -> str | None:
        """In trials of several arms `multi_arm1` tells apart what has the same condition."""
        column = f"condition_arm{arm}"
        parts = (row.cells[column], row.cells.get(f"multi_arm{arm}", ""))
        return self._code(row, "arm", column, " ".join(filter(None, parts)) if parts[0] else "")

    def _outcome(self, row: Row) -> str | None:
        told = row.cells.get("outcome_type", "")
        if told.casefold() not in ONLY_HOW:
            return self._code(row, "outcome", "outcome_type", told)
        if self._options.outcome:
            return self._code(row, "outcome", "--outcome", self._options.outcome)
        row.refuse("outcome_type", told, "which outcome it is; --outcome names that of such rows")
        return None

    def _read_facts(self, row: Row) -> dict[Fact, Any]:
        """What the row says of its study."""
        design = row.cells.get("design", "") or self._options.design
        found: dict[Fact, Any] = {
            ("design",): row.parsed("design", design, _design),
            ("publication_year",): self._read_year(row),
            ("doi",): re.sub(
                r"^(https?://(dx\.)?doi\.org/|doi:\s*)", "", row.cells.get("doi", ""), flags=re.I
            ),
            ("risk_of_bias",): self._read_bias(row),
        }
        for column in self._options.covariates:
            found[COVARIATE, column] = self._number(row, column)
        for column in self._options.attributes:
            word = self._optional(row, column, row.cells[column])
            found[ATTRIBUTE, column, word or ""] = word
        return {fact: value for fact, value in found.items() if value not in (None, "")}

    def _read_year(self, row: Row) -> int | None:
        """The standard writes a study's name as `Smith, 2011`."""
        for column in YEAR:
            if text := row.cells.get(column, ""):
                return self._count(row, column, text)
        named = re.search(r"\b((?:19|20)\d\d)[a-z]?$", row.cells["study"])
        return int(named[1]) if named else None

    def _read_bias(self, row: Row) -> Any:
        column, text = _first(row.cells, RISK_OF_BIAS)
        if text.replace(".", "", 1).isdigit():
            row.notes.append(
                f"{column} is a number: of criteria that were met, not a judgement; it is not posted as one "
                f"(--covariate {column} posts it as a number)"
            )
            return None
        return row.parsed(column, text, _bias) if text else None

    def _time(self, row: Row, facts: Mapping[Fact, Any]) -> datetime | None:
        if on := self._options.reported_on:
            return datetime(on.year, on.month, on.day, tzinfo=self._options.time_zone)
        year = facts.get(("publication_year",), 0)
        if 1900 <= year <= 2100:
            return datetime(year, 1, 1, tzinfo=UTC)
        if not any(each.field in YEAR for each in row.wrong):
            row.refuse("year", year or "", "a year of publication from 1900 on, or --reported-on for all")
        return None

    def _read_arm(self, row: Row, arm: int) -> dict[str, Any]:
        """n with mean and sd, with events, or with both. Empty: nothing is reported of it."""
        cells = row.cells
        mean, sd = (self._number(row, f"{name}_arm{arm}") for name in ("mean", "sd"))
        events_column = f"event_arm{arm}"
        happened = self._count(row, events_column, cells[events_column]) if cells.get(events_column) else None
        if mean is None and sd is None and happened is None:
            return {}
        wanted = [f"n_arm{arm}"] if mean is not None or sd is not None else []
        if happened is not None:
            wanted.append(f"totaln_arm{arm}" if cells.get(f"totaln_arm{arm}") else f"n_arm{arm}")
        counts = {column: self._count(row, column, cells.get(column, "")) for column in wanted}
        if len(set(counts.values())) > 1:
            row.refuse(wanted[-1], cells[wanted[-1]], f"the same people as {wanted[0]}, in one row")
        return {"n": counts[wanted[0]] or 0, "mean": mean, "sd": sd, "events": happened}

    def _read_effects(self, row: Row) -> Iterator[_Effect]:
        for scale, pairs in EFFECTS.items():
            columns = next((pair for pair in pairs if row.cells.get(pair[0])), None)
            if columns is not None:
                if not row.cells.get(columns[1]):
                    row.refuse(columns[1], "", f"the standard error of {columns[0]}")
                estimate, error = (self._number(row, column) or 0.0 for column in columns)
                is_turned = self._options.flip_g and scale == studies.EFFECT_SCALE_HEDGES_G
                yield _Effect(scale, -estimate if is_turned else estimate, error, columns)

    def _number(self, row: Row, column: str) -> float | None:
        """None: missing, or wrong."""
        text = row.cells.get(column, "")
        comma = self._options.decimal_comma
        return row.parsed(column, text, lambda it: values.number(it, decimal_comma=comma)) if text else None

    def _count(self, row: Row, column: str, text: str) -> int | None:
        comma = self._options.decimal_comma
        return row.parsed(column, text, lambda it: values.whole(it, least=0, decimal_comma=comma))

    def _refuse_contradictions(self, row: Row, statements: Sequence[_Statement]) -> None:
        for each in statements:
            value, where = self._told.get(each.about, (each.value, ""))
            if value != each.value:
                what = "arm, outcome, instrument and time point" if each.event else "study"
                shown = row.cells.get(each.column, "")
                row.refuse(each.column, shown, f"the same as in {where}, of the same {what}")

    def _register(self, row: Row, study: str, facts: Mapping[Fact, Any], at: datetime) -> None:
        """Once, and again when a later row knows more: all that is known so far."""
        fields: dict[str, Any] = {}
        covariates: dict[str, float] = {}
        attributes: defaultdict[str, list[str]] = defaultdict(list)
        for (kind, *column), value in {**self._facts.get(study, {}), **facts}.items():
            if kind == COVARIATE:
                covariates[self._names[column[0]]] = value
            elif kind == ATTRIBUTE:
                attributes[self._names[column[0]]].append(value)
            else:
                fields[kind] = value
        registered = events.study_registered(
            study=study, at=at, covariates=covariates, attributes=attributes, event_id="", **fields
        )
        columns = {f"study_registered.{name}": _column(row, (name,)) for name in fields}
        row.add(registered, {"study_code": "study"} | columns)


def _has_sign_of_means(row: Row, effect: _Effect, summaries: Mapping[int, Mapping[str, Any]]) -> bool:
    """Files differ in whether a positive g favours the first arm: beside the means it must say as they do."""
    means = [summary["mean"] for summary in summaries.values() if summary["mean"] is not None]
    if effect.scale != studies.EFFECT_SCALE_HEDGES_G or len(means) < len(ARM_NUMBERS):
        return True
    if effect.estimate * (means[0] - means[1]) >= 0:
        return True
    row.notes.append(
        f"{effect.columns[0]} is not of the sign of mean_arm1 - mean_arm2, and not posted beside the means; "
        "if that is so in rows without means too, --flip-g turns the sign of all"
    )
    return False


def _column(row: Row, fact: Fact) -> str:
    """Where a fact of the study stands in the file."""
    among = {"publication_year": YEAR, "risk_of_bias": RISK_OF_BIAS}
    return _first(row.cells, among.get(fact[0], fact[1:2] or fact))[0]


def _summary(place: _Place, arm: int, summary: Mapping[str, Any], at: datetime) -> _Statement:
    """Of one arm; the row's other arm is not in what it is about, as several are compared with one."""
    code = place.arms[arm - 1]
    event = events.arm_summarised(arm=code, at=at, event_id="", **_told_of(place), **summary)
    names = {"n": "n", "mean": "mean", "sd": "sd", "events": "event"}
    columns = {f"arm_summarised.{name}": f"{column}_arm{arm}" for name, column in names.items()}
    columns["arm_summarised"] = f"mean_arm{arm}, sd_arm{arm}"
    about = ("arm", code, *_told_of(place).values())
    return _Statement(about, tuple(summary.values()), f"n_arm{arm}", event, columns)


def _estimate(place: _Place, effect: _Effect, at: datetime) -> _Statement:
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


def _told_of(place: _Place) -> dict[str, Any]:
    return {
        "study": place.study,
        "outcome": place.outcome,
        "instrument": place.instrument,
        "time_point": place.time_point,
    }


def _time_point(cells: Mapping[str, str]) -> str:
    """Follow-ups are many: the weeks since allocation tell them apart."""
    time, weeks = cells.get("time", ""), cells.get("time_weeks", "")
    if weeks and time.casefold().startswith(FOLLOW_UPS):
        return f"{time} {weeks.removesuffix('.0')} weeks"
    return time


def _first(cells: Mapping[str, str], columns: Sequence[str]) -> tuple[str, str]:
    """The first of the columns with a value, and its text."""
    return next(((name, cells[name]) for name in columns if cells.get(name)), (columns[0], ""))


def _design(text: str) -> int:
    word = text.casefold().replace("_", "-")
    found = DESIGNS.get("randomised" if word in _ALSO_RANDOMISED else word)
    if found is None:
        raise ValueError(f"one of {', '.join(DESIGNS)}; --design gives that of rows without")
    return found


def _bias(text: str) -> int:
    found = BIASES.get(text.casefold().replace("_", " ").replace("-", " "))
    if found is None:
        raise ValueError(f"one of {', '.join(BIASES)}")
    return found
