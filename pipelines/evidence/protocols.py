"""Protocols: what a study set out to estimate, read from `protocols/*.yaml`. Dated and version-controlled.

A protocol names codes that partners post. Each evidence system has a kind of its own; estimates are made by
the tables' modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from pipelines.evidence.estimates import CI_LEVEL
from pipelines.evidence.gee import Correction
from pipelines.evidence.low2020 import UNDIVIDED
from pipelines.evidence.mixed import Likelihood
from pipelines.evidence.pooling import Conventions
from pipelines.evidence.sequences import BURN_IN, Watch
from pipelines.evidence.trends import Family

FOLDER = Path(__file__).parent / "protocols"

Design = Literal["randomised", "controlled", "cohort", "cross-sectional", "descriptive"]
STRENGTH: tuple[Design, ...] = ("descriptive", "cross-sectional", "cohort", "controlled", "randomised")
"""Designs from the weakest to the strongest."""

RiskOfBias = Literal["low", "some_concerns", "high"]
Scale = Literal[
    "hedges_g", "mean_difference", "log_risk_ratio", "log_odds_ratio", "fisher_z", "logit_proportion"
]
Direction = Literal["lower_is_better", "higher_is_better"]
Modality = Literal["online_forum", "chat", "video", "virtual_reality"]
Format = Literal["in_person", "online_forum", "chat", "video", "virtual_reality", "hybrid"]
Moderation = Literal["none", "peer", "trained_peer", "professional"]
Population = Literal[
    "anyone", "young_people", "men", "women", "carers", "parents", "older_adults", "veterans"
]
AgeBand = Literal["under_12", "12_15", "16_17", "18_25", "26_34", "35_49", "50_64", "65_and_over"]
ATTRIBUTES = ("gender", "employment", "education", "marital_status")


class WrongProtocol(ValueError):
    """A file says something that a protocol cannot: which line, and why."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Outcome(_Part):
    """What is measured, with what, and when: the baseline first. `times` puts time points on an axis."""

    outcome: str
    instrument: str
    instrument_version: str
    scale: str = "total"
    direction: Direction
    time_points: tuple[str, ...] = Field(min_length=1)
    times: dict[str, float] = {}
    """In a unit of the protocol's own, as months. Models of all time points need them."""

    @model_validator(mode="after")
    def _times_are_of_time_points(self) -> Outcome:
        for each in self.times:
            if each not in self.time_points[1:]:
                raise ValueError(f"times: {each} is no time point after the baseline")
        return self


class Margin(_Part):
    """How much worse, or different, would still do, in the outcome's unit. Dated before the data."""

    value: float = Field(gt=0)
    dated: date
    justification: str


class Covariate(_Part):
    """What is adjusted for: a covariate of the study, an attribute of the person, or a score.

    Without `numeric` each value but the first, in the order of the alphabet, has a column of its own.
    """

    covariate: str
    source: Literal["covariate", "attribute", "score"] = "covariate"
    numeric: bool = False
    instrument: str = ""
    instrument_version: str = ""
    scale: str = "total"
    time_point: str = ""

    @model_validator(mode="after")
    def _names_its_source(self) -> Covariate:
        if self.source == "attribute" and self.covariate not in ATTRIBUTES:
            raise ValueError(f"{self.covariate} is none of the attributes {', '.join(ATTRIBUTES)}")
        if (self.source == "score") != bool(self.instrument and self.instrument_version and self.time_point):
            raise ValueError("a score, and nothing else, has instrument, instrument_version and time_point")
        return self


class PooledOutcome(_Part):
    """What studies report, and on which scale it is pooled.

    Each list of codes is in order of priority: of a study that reports several, the first counts. Without a
    list a study that reports several cannot be used, and its row says so.
    """

    outcome: str
    scale: Scale
    direction: Direction
    arms: tuple[str, ...] = Field(min_length=1)
    reference_arms: tuple[str, ...] = ()
    """None: each study has one arm, whose share is pooled."""
    instruments: tuple[str, ...] = ()
    time_points: tuple[str, ...] = ()
    tightest_se: float | None = Field(default=None, gt=0)
    """The standard error at which the sequence of a pool with one effect for all shall be narrowest, on
    the scale. None: it has no sequence."""

    @model_validator(mode="after")
    def _compares_unless_a_share(self) -> PooledOutcome:
        if (self.scale == "logit_proportion") == bool(self.reference_arms):
            needs = "no reference_arms" if self.reference_arms else "reference_arms"
            raise ValueError(f"{self.scale} needs {needs}")
        return self


class StudyCounting(_Part):
    """Which registered studies are counted, and by what: codes of attributes, or `design`, `result` and
    `risk_of_bias`."""

    studies: tuple[str, ...] = ()
    """None: all that the tenant has registered."""
    by: tuple[str, ...] = ()
    crossed: tuple[tuple[str, str], ...] = ()


class Period(_Part):
    """What was answered or done from the first to the last day (UTC) counts, both included. None: open."""

    first: date | None = None
    last: date | None = None

    @model_validator(mode="after")
    def _is_in_order(self) -> Period:
        if self.first is not None and self.last is not None and self.first > self.last:
            raise ValueError(f"first {self.first} is after last {self.last}")
        return self


class Study(_Part):
    """What every protocol says."""

    study: str
    version: str
    dated: date
    population: str
    design: Design
    estimand: str | None = None
    """What exactly is estimated. None: it describes."""
    period: Period = Period()
    """Of answers to questionnaires, for a study of people; of what they did, or wrote, for one of groups."""
    burn_in: int = Field(default=BURN_IN, ge=BURN_IN)
    """Independent units from which on estimates are watched. More where values are very skewed."""

    @property
    def watch(self) -> Watch:
        return Watch(self.burn_in)

    def is_post_hoc(self, first_data: date | None) -> bool:
        """Whether the protocol is younger than its first datum. Without data it is not."""
        return first_data is not None and self.dated > first_data


class Engagement(Study):
    """Figures of every group."""

    system: Literal["group_engagement"]


class Arms(_Part):
    """What a comparison of arms has in common. Contrasts are an arm minus the reference arm."""

    arms: dict[str, str]
    """What each code means."""
    reference_arm: str
    outcomes: tuple[Outcome, ...] = Field(min_length=1)
    covariates: tuple[Covariate, ...] = ()
    multiplicity: Literal["none", "Bonferroni"] = "none"
    """Whether contrasts have intervals for all outcomes and time points together."""

    @model_validator(mode="after")
    def _reference_is_an_arm(self) -> Self:
        if self.reference_arm not in self.arms:
            raise ValueError(f"reference_arm {self.reference_arm} is none of {', '.join(self.arms)}")
        return self

    @property
    def level(self) -> float:
        """Of the interval of a contrast."""
        others = (len(self.arms) - 1) * sum(max(1, len(each.time_points) - 1) for each in self.outcomes)
        return CI_LEVEL if self.multiplicity == "none" else 1 - (1 - CI_LEVEL) / max(1, others)


class Comparison(Study, Arms):
    """One study of arms over time. `deltas`: how much worse, in points, missing outcomes may be than those of
    people who are alike."""

    system: Literal["carers_controlled"]
    estimand: str
    moderators: tuple[str, ...] = ()
    """Covariates that may change how far apart the arms are."""
    deltas: tuple[float, ...] = ()
    correction: Correction | None = None
    """Of the GEE's variance. None: by the number of people. Where people meet in groups it is of groups."""
    likelihood: Likelihood = "REML"
    """Of the mixed model."""

    @model_validator(mode="after")
    def _moderators_are_covariates(self) -> Comparison:
        known = [each.covariate for each in self.covariates]
        for each in self.moderators:
            if each not in known:
                raise ValueError(f"moderator {each} is no covariate of the protocol")
        return self


class MemberArms(Arms):
    """Members of a group against people who are none, and against professional treatment.

    `reference_arm` holds those who are no members.
    """

    members_arm: str
    professional_arm: str | None = None
    margins: dict[str, Margin] = {}
    """Against professional treatment, by outcome."""
    weights: Literal["overlap", "none"] = "overlap"
    """Whether members and those who are none are compared where they overlap as well."""
    per_protocol_sessions: int = Field(default=2, ge=1)
    """Members who attended fewer are left out of the analysis per protocol."""

    @model_validator(mode="after")
    def _are_arms(self) -> MemberArms:
        for name in ("members_arm", "professional_arm"):
            arm = getattr(self, name)
            if arm is not None and (arm not in self.arms or arm == self.reference_arm):
                raise ValueError(f"{name} {arm} is none of the other arms {', '.join(self.arms)}")
        known = [each.outcome for each in self.outcomes]
        for each in self.margins:
            if each not in known or self.professional_arm is None:
                raise ValueError(f"margin of {each}: no such outcome, or no professional_arm")
        return self


class CountsOrMembers(Study):
    """Counts of studies, members looked at, or both."""

    counting: StudyCounting | None = None

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self.counting is None and getattr(self, "members", None) is None:
            raise ValueError("counting or members: one of both")
        return self


class MutualHelp(CountsOrMembers):
    """Of mutual help."""

    system: Literal["mutual_help"]
    members: MemberArms | None = None


class YoungMembers(_Part):
    """Members of online groups who were in one of the bands when they answered."""

    ages: tuple[AgeBand, ...] = ("12_15", "16_17", "18_25")
    modalities: tuple[Modality, ...] = ("online_forum", "chat", "virtual_reality")
    moderations: tuple[Moderation, ...] = ()
    conditions: tuple[str, ...] = ()
    """Of the groups, as they are registered. None: all."""
    outcomes: tuple[Outcome, ...] = Field(min_length=1)
    reference_arm: str | None = None
    """People of these ages who are in no such group. None: change is told, and compared with nothing."""
    retention_days: tuple[int, ...] = (30, 90)


class YouthOnline(CountsOrMembers):
    """Of online groups for young people."""

    system: Literal["youth_online_peer_support"]
    members: YoungMembers | None = None


class Pooling(Study):
    """Many studies. Those of `studies` are eligible, or all that are registered, of which the design and the
    risk of bias are among those wanted."""

    system: Literal["group_peer_support_meta"]
    outcomes: tuple[PooledOutcome, ...]
    studies: tuple[str, ...] = ()
    designs: tuple[Design, ...] = ("randomised",)
    risk_of_bias: tuple[RiskOfBias, ...] = ()
    """None: all, also those that nobody has judged."""
    min_studies: int = Field(default=3, ge=1)
    """With fewer usable studies nothing is pooled."""
    conventions: Conventions = Conventions()
    subgroups: tuple[Literal["design", "risk_of_bias"], ...] = ()
    moderators: tuple[str, ...] = ()
    """`publication_year`, or codes of numbers that studies were registered with."""


class ModeratedGroups(Study):
    """Of groups: how people write and answer in them, and who moderates them.

    `period`: of what people did. Whoever had joined by its end is a member.
    """

    system: Literal["professional_moderation"]
    tenants: tuple[str, ...] = ()
    """Whose groups. None: everybody's."""
    formats: tuple[Format, ...] = ()
    conditions: tuple[str, ...] = ()
    """Of the groups, as they are registered. None: all."""
    by_group: bool = False
    """Whether each group has rows of its own."""
    reference_moderation: Moderation | None = None
    """The other kinds are compared with it. None: nothing is compared."""
    hours: tuple[float, ...] = (0.25, 1, 3, 6, 12, 24, 48, 72, 168)
    """At which the curves of first replies are told, beside 1 and 24."""
    days: tuple[int, ...] = (30, 60, 90, 180, 365)
    """At which retention is told."""
    cohorts: Literal["month", "quarter", "year"] = "quarter"
    """In which members joined, for retention."""

    @model_validator(mode="after")
    def _compares_what_is_observed(self) -> Self:
        if self.reference_moderation is not None and self.design == "randomised":
            raise ValueError("design: nobody draws lots for the kind of moderation here")
        return self


class Interruption(_Part):
    """What may have changed what is written: an event, and the first day (UTC) that counts as after it."""

    first: date
    event: str


class TextChange(Study):
    """Of what is written in all groups of a partner whose posts are measured with one dictionary."""

    system: Literal["covid_change"]
    dictionary: str
    interruption: Interruption
    earlier_years: tuple[int, ...] = ()
    """Years in which the same period, and the same day of the interruption, are looked at for comparison."""
    min_authors: int = Field(default=100, ge=1)
    """Consenting authors of the period whom a community needs to be looked at."""
    step: Literal["day", "week"] = "day"
    """Of the series of posts and authors."""
    family: Family = "Poisson"
    harmonics: int = Field(default=0, ge=0)
    """Waves of a year in the series, which has to be a year long for that."""
    topics: tuple[str, ...] = ()
    """Features that a post is about if they are above 0."""
    undivided: tuple[str, ...] = tuple(sorted(UNDIVIDED))
    """Features that are no counts of words, and so are not divided by `n_words`."""

    @model_validator(mode="after")
    def _has_a_window_with_an_interruption_in_it(self) -> Self:
        first, last = self.period.first, self.period.last
        if first is None or last is None:
            raise ValueError("period: needs a first and a last day")
        if not first < self.interruption.first <= last:
            raise ValueError("interruption: not inside of the period")
        if "n_posts" in self.topics:
            raise ValueError("topics: n_posts is the number of posts, and no feature of one")
        days = [each.first for each in self.windows]
        if len({*days}) < len(days) or max(days) != first:
            raise ValueError("earlier_years: each once, and before the period's")
        if self.earlier_years and (last - first).days > 364:
            raise ValueError("earlier_years: a period of more than a year would meet itself")
        return self

    @property
    def windows(self) -> tuple[Window, ...]:
        """The period, and the same days of earlier years."""
        first, last = self.period.first, self.period.last
        assert first is not None and last is not None  # noqa: S101  # the validator has looked
        days = (first, last, self.interruption.first)
        years = (first.year, *self.earlier_years)
        return tuple(Window(*(_moved(day, year - first.year) for day in days)) for year in years)

    @property
    def step_days(self) -> int:
        return {"day": 1, "week": 7}[self.step]


class Window(NamedTuple):
    """From the first to the last day, both included; `interrupted_on` is the first day after."""

    first: date
    last: date
    interrupted_on: date

    @property
    def year(self) -> int:
        return self.first.year


def _moved(day: date, years: int) -> date:
    """The same day of another year; 28 February for the 29th where there is none."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return day.replace(year=day.year + years, day=28)


class Answered(_Part):
    """A question of a survey, and the answers that count as yes."""

    question: str
    answers: tuple[str, ...] = Field(min_length=1)


class OddsModel(_Part):
    """Which answers go with the outcome: all predictors in one model, or one after the other."""

    model: str
    predictors: tuple[str, ...] = Field(min_length=1)
    """Questions. They have rows."""
    adjusted_for: tuple[str, ...] = ()
    """Questions beside them, without rows."""
    one_by_one: bool = False
    """Of overlapping predictors, as diagnoses are, each has a model of its own."""


class Survey(Study):
    """A survey of a population: how many use online support groups, who they are, and what goes with it."""

    system: Literal["osg_prevalence"]
    survey: str
    outcome: str
    case: Answered
    questions: dict[str, tuple[str, ...]]
    """Answers to each question that people are told apart by, in their order. Those that are given and not
    listed follow; one that nobody has given has a row that says so."""
    strata: tuple[str, ...] = ()
    crossed: tuple[tuple[str, str], ...] = ()
    references: dict[str, str] = {}
    """The answer that others are compared with, by question. Left out: the first."""
    models: tuple[OddsModel, ...] = ()
    treatment: Answered | None = None
    """Formal treatment, which people may have beside the group, or instead."""

    @model_validator(mode="after")
    def _has_no_period(self) -> Self:
        if self.period != Period():
            raise ValueError("period: a survey is told apart by its code, and all of its answers count")
        return self

    @model_validator(mode="after")
    def _asks_of_its_questions(self) -> Self:
        models = [
            (f"model {each.model}", name)
            for each in self.models
            for name in _all_of(each, self.case.question)
        ]
        asked = [
            *(("strata", name) for name in self.strata),
            *(("crossed", name) for pair in self.crossed for name in pair),
            *(("references", name) for name in self.references),
            *models,
        ]
        for place, name in asked:
            if name not in self.questions:
                raise ValueError(f"{place}: {name} is none of the questions {', '.join(self.questions)}")
        for question, answer in self.references.items():
            if answer not in self.questions[question]:
                raise ValueError(f"references: {answer} is no answer to {question}")
        if len({each.model for each in self.models}) < len(self.models):
            raise ValueError("models: two have the same name")
        return self

    def reference(self, question: str) -> str:
        return self.references.get(question, self.questions[question][0])


def _all_of(model: OddsModel, outcome: str) -> tuple[str, ...]:
    names = (*model.predictors, *model.adjusted_for)
    if outcome in names or len(set(names)) < len(names):
        raise ValueError(f"model {model.model}: the outcome, or the same question twice")
    return names


class ThemeCoding(_Part):
    """Themes that coders looked for in interviews."""

    themes: tuple[str, ...] = Field(min_length=1)
    found_by: Literal["majority", "any"] = "majority"
    """Of the coders of an interview: more than half, or one."""


class MensGroups(Study):
    """What members of groups tell, how they help each other, how lonely they are: by gender, and of groups
    for one kind of people."""

    system: Literal["mens_groups"]
    coding: ThemeCoding
    outcomes: tuple[Outcome, ...] = ()
    populations: tuple[Population, ...] = ("men",)
    """Whom groups are for that have rows of their own, beside all groups."""


Protocol = Annotated[
    Engagement
    | Comparison
    | MutualHelp
    | Pooling
    | YouthOnline
    | ModeratedGroups
    | TextChange
    | Survey
    | MensGroups,
    Field(discriminator="system"),
]
Kind = TypeVar(
    "Kind",
    Engagement,
    Comparison,
    MutualHelp,
    Pooling,
    YouthOnline,
    ModeratedGroups,
    TextChange,
    Survey,
    MensGroups,
)
_PROTOCOL: TypeAdapter[Protocol] = TypeAdapter(Protocol)

OfPeople = Comparison | MutualHelp | YouthOnline | MensGroups
"""Studies whose people answer questionnaires."""


def protocols(kind: type[Kind]) -> tuple[Kind, ...]:
    """Protocols of one kind, by name of file. Raises WrongProtocol."""
    return tuple(each for each in _all() if isinstance(each, kind))


def studies_of(system: str) -> list[str]:
    """Names of the studies that one system's table may have rows of. Raises WrongProtocol."""
    return [each.study for each in _all() if each.system == system]


def protocols_of(system: str) -> tuple[Protocol, ...]:
    """Protocols that one system's table follows. Raises WrongProtocol."""
    return tuple(each for each in _all() if each.system == system)


def studies_of_people() -> list[str]:
    """Names of the studies of which single people are looked at. Raises WrongProtocol."""
    return [each.study for each in _all() if isinstance(each, OfPeople)]


def surveys() -> list[str]:
    """Codes of the surveys of which single answers are looked at. Raises WrongProtocol."""
    return [each.survey for each in _all() if isinstance(each, Survey)]


def periods() -> dict[str, Period]:
    """By study of people, where a protocol has one. Raises WrongProtocol."""
    return {
        each.study: each.period for each in _all() if isinstance(each, OfPeople) and each.period != Period()
    }


def read_protocol(path: Path) -> Protocol:
    """Raises WrongProtocol, naming line, field and reason of all that is wrong."""
    text = path.read_text()
    try:
        return _PROTOCOL.validate_python(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise WrongProtocol(f"{path.name} is no YAML: {error}") from error
    except ValidationError as error:
        tree = yaml.compose(text)
        found = (
            f"{path.name}, line {_line(tree, each['loc'])}: "
            f"{'.'.join(str(part) for part in each['loc'][1:]) or 'the protocol'}: {each['msg']}"
            for each in error.errors()
        )
        raise WrongProtocol("\n".join(found)) from error


@cache
def _all() -> tuple[Protocol, ...]:
    return tuple(read_protocol(path) for path in sorted(FOLDER.glob("*.yaml")))


def _line(node: yaml.Node | None, place: Sequence[str | int]) -> int:
    """Where the place is written, or the nearest place around it that is."""
    line = 1
    for part in place:
        below = _below(node, part)
        if below is not None:
            line, node = below
    return line


def _below(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        value = node.value[part]
        return value.start_mark.line + 1, value
    return None
