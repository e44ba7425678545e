"""What a REDCap project calls what Circles knows: read from a YAML file, and checked before any row is.

`docs/guides/import.md` shows one. How rows become events is `redcap`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from circles.outcomes.v1 import outcome_event_pb2 as outcomes
from circles.outcomes.v1.outcome_event_pb2 import AttributeStated
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from infra.importing.codes import RULE
from infra.importing.rows import Unreadable

Attribute = Literal["age_band", "gender", "employment", "education", "marital_status", "diagnosis"]
Text = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    # `version: 1` and `-99` are text to us and numbers to YAML.
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class Person(_Part):
    """`prefix` goes before each id: record 7 of another project is somebody else."""

    column: Text
    prefix: str = ""


class Column(_Part):
    """A column; `time`: that of when it was so, where it is another than the row's."""

    column: Text
    time: str | None = None


class Coded(Column):
    """`codes`: words of ours by the export's values; None for a value of which nothing is posted."""

    codes: dict[str, str | None] | None = None


class Consent(Coded):
    scope: Literal["research", "service"] = "research"
    codes: dict[str, str | None] = {"1": "given"}


class Answers(_Part):
    """The columns of an instrument's items in its order, None for one that was not asked; or of its total.

    `time_point`: of columns that have one of their own; else the row's event says it.
    """

    instrument: Text
    version: Text
    items: tuple[str | None, ...] = ()
    total: str | None = None
    time: str | None = None
    time_point: str | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if bool(self.items) == bool(self.total):
            raise ValueError("either items or total")
        return self


class Project(_Part):
    """`events`: time points by `redcap_event_name`, or by `name#2` for the second of a repeating one.

    An attribute may have several columns, as diagnoses that are ticked.
    """

    person: Person
    time: str | None = None
    study: str = ""
    group: str | None = None
    missing: tuple[str, ...] = ()
    events: dict[str, str | None] = {}
    instruments: tuple[Answers, ...] = ()
    arm: Coded | None = None
    age: Column | None = None
    attributes: dict[Attribute, tuple[Coded, ...]] = {}
    covariates: dict[str, Coded] = {}
    consent: Consent | None = None

    @field_validator("attributes", mode="before")
    @classmethod
    def _attributes_may_have_one_column(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {name: [coded] if isinstance(coded, dict) else coded for name, coded in body.items()}

    @model_validator(mode="before")
    @classmethod
    def _person_may_be_a_column(cls, body: Any) -> Any:
        if isinstance(body, dict) and isinstance(body.get("person"), str):
            return {**body, "person": {"column": body["person"]}}
        return body

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        planned = self.events or any(answers.time_point for answers in self.instruments)
        if not self.study and (self.arm or self.covariates or planned):
            raise ValueError("study: arm, covariates and time points are those of a study")
        wrong = [*self._wrong_codes(), *self._wrong_words()]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def columns(self) -> Iterator[str]:
        """All that it names, each where it stands."""
        ticked = [coded for several in self.attributes.values() for coded in several]
        coded = (self.arm, self.age, self.consent, *ticked, *self.covariates.values())
        named = [self.person.column, self.group, self.time]
        for each in coded:
            named += [each.column, each.time] if each else []
        for answers in self.instruments:
            named += [*answers.items, answers.total, answers.time]
        yield from filter(None, named)

    def _wrong_codes(self) -> Iterator[str]:
        """Ours are as the contract wants them; the export's own values become codes later."""
        codes = [self.study, *self.covariates, *self.events.values()]
        for each in (self.arm, *self.covariates.values()):
            codes += [*(each.codes or {}).values()] if each else []
        for answers in self.instruments:
            codes += [answers.instrument, answers.version, answers.time_point]
        yield from (f"{code!r} is not {RULE.words}" for code in codes if code and not RULE.holds(code))

    def _wrong_words(self) -> Iterator[str]:
        for name, several in self.attributes.items():
            known = words_of(name)
            words = [word for coded in several for word in (coded.codes or {}).values()]
            wrong = [word for word in words if word and word not in known]
            yield from (f"{name}: {word!r} is not one of {', '.join(known)}" for word in wrong)
        for word in (self.consent.codes if self.consent else {}).values():
            if word not in ("given", "withdrawn", None):
                yield f"consent: {word!r} is neither given nor withdrawn"


def read_mapping(path: Path) -> Project:
    """Raises Unreadable with all that is wrong."""
    try:
        return Project.model_validate(yaml.safe_load(path.read_text("utf-8-sig")))
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, each['loc'])) or 'as a whole'}: {each['msg']}" for each in error.errors()
        ]
        raise Unreadable("\n".join((f"{path.name} is not a mapping:", *lines))) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path.name} is not YAML: {error}") from error


def words_of(attribute: str) -> dict[str, int]:
    """The contract's values of an attribute by our words for them, as `marital_status`: `never-married`."""
    enum = AttributeStated.DESCRIPTOR.fields_by_name[attribute].enum_type
    assert enum is not None  # noqa: S101  # every attribute is a code
    prefix = f"{attribute.upper()}_"
    return {
        value.name.removeprefix(prefix).lower().replace("_", "-"): value.number
        for value in enum.values
        if value.number
    }


SCOPES = {"research": outcomes.CONSENT_SCOPE_RESEARCH, "service": outcomes.CONSENT_SCOPE_SERVICE}
