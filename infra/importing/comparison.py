"""One row in the columns of the Metapsy data standard (docs.metapsy.org), as codes and numbers: which arms it
compares, by what, and what it says of them and of their study. What becomes of it is `metapsy`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from circles.studies.v1 import study_event_pb2 as studies

from infra.importing import rows, values
from infra.importing.codes import Codes
from infra.importing.rows import Row, Unreadable

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

    @property
    def chosen(self) -> tuple[str, ...]:
        return self.covariates + self.attributes


Fact = tuple[str, ...]
"""What is told of a study: a field of its registration, a covariate and its column, or an attribute with its
column and value, of which a study may have several."""


class Place(NamedTuple):
    """What a row is about, in codes."""

    study: str
    arms: tuple[str, str]
    outcome: str
    instrument: str
    time_point: str


class Effect(NamedTuple):
    """Ready made; `columns` of the estimate and its standard error."""

    scale: Any
    estimate: float
    standard_error: float
    columns: tuple[str, str]


class Comparison(NamedTuple):
    """What a row says. `summaries` are by number of the arm: n with mean and sd, with events, or both."""

    place: Place
    at: datetime
    facts: Mapping[Fact, Any]
    summaries: Mapping[int, Mapping[str, Any]]
    effects: Sequence[Effect]


class CellReader:
    """Reads one row after the other. The codes of all are its own, so that no two names share one."""

    def __init__(self, options: Options) -> None:
        """Raises Unreadable for a column of the options whose name makes no code."""
        self._options = options
        self._codes = Codes(options.codes)
        try:
            self.names = {column: self._codes.code("column", column) for column in options.chosen}
        except ValueError as rule:
            raise Unreadable(f"--covariate, --attribute: should be {rule}") from rule

    def read(self, row: Row) -> Comparison | None:
        """None: something is wrong, and the row says so."""
        place = self._place(row)
        facts = self._read_facts(row)
        at = self._time(row, facts)
        summaries = {arm: summary for arm in ARM_NUMBERS if (summary := self._read_arm(row, arm))}
        effects = [each for each in self._read_effects(row) if _has_sign_of_means(row, each, summaries)]
        if not row.wrong and not summaries and not effects:
            rule = "mean, sd and n of an arm, its events and their n, or an effect with its error"
            row.refuse("", "", rule)
        if row.wrong or place is None or at is None:
            return None
        return Comparison(place, at, facts, summaries, effects)

    def _place(self, row: Row) -> Place | None:
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
        return Place(study, (arms[0], arms[1]), outcome, instrument or "", time_point or "")

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

    def _read_effects(self, row: Row) -> Iterator[Effect]:
        for scale, pairs in EFFECTS.items():
            columns = next((pair for pair in pairs if row.cells.get(pair[0])), None)
            if columns is not None:
                if not row.cells.get(columns[1]):
                    row.refuse(columns[1], "", f"the standard error of {columns[0]}")
                estimate, error = (self._number(row, column) or 0.0 for column in columns)
                is_turned = self._options.flip_g and scale == studies.EFFECT_SCALE_HEDGES_G
                yield Effect(scale, -estimate if is_turned else estimate, error, columns)

    def _number(self, row: Row, column: str) -> float | None:
        """None: missing, or wrong."""
        text = row.cells.get(column, "")
        comma = self._options.decimal_comma
        return row.parsed(column, text, lambda it: values.number(it, decimal_comma=comma)) if text else None

    def _count(self, row: Row, column: str, text: str) -> int | None:
        comma = self._options.decimal_comma
        return row.parsed(column, text, lambda it: values.whole(it, least=0, decimal_comma=comma))


def column_of(row: Row, fact: Fact) -> str:
    """Where a fact of the study stands in the file."""
    among = {"publication_year": YEAR, "risk_of_bias": RISK_OF_BIAS}
    return _first(row.cells, among.get(fact[0], fact[1:2] or fact))[0]


def _has_sign_of_means(row: Row, effect: Effect, summaries: Mapping[int, Mapping[str, Any]]) -> bool:
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
