"""The row of every evidence table: which columns an estimate carries, in their order, with their meaning.

This is the one place where published columns are described: the views' comments and the data dictionary
are made from it. How a row is computed stands in the tables' modules; what is suppressed, in publication.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from pipelines.evidence.estimates import CI_LEVEL, Estimate
from pipelines.evidence.protocols import Protocol
from pipelines.evidence.watched import ESTIMATED, WATCH, anytime_columns

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """A published column: name, type in PostgreSQL, meaning."""

    name: str
    sql_type: str
    description: str


@dataclass(frozen=True)
class Table:
    """A published table: its columns, and those that name a row within tenant and study."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]


_NUMBER = "double precision"
_SMALL = "NULL: suppressed, or would tell of fewer people than the threshold."

HEAD = (
    Column("system", "text", "Evidence system that the estimate belongs to."),
    Column("study", "text", "Study whose protocol asks for the estimate."),
    Column("protocol_version", "text", "Version of that protocol."),
    Column("post_hoc", "boolean", "True: the protocol is younger than its data."),
    Column("tenant", "text", "Partner whose data it is. Data of two partners are never joined."),
    Column(
        "data_class", "text", "live, public or synthetic (made by a program, about nobody). Never pooled."
    ),
    Column("source_kind", "text", "own: computed here from events. literature: as printed in a publication."),
    Column("release_id", "bigint", "Release that brought the row. See evidence.releases."),
    Column("population", "text", "Whom the estimate is about."),
    Column(
        "estimand", "text", "What is estimated, as the protocol has it. NULL: a description, or as printed."
    ),
)

ESTIMATE = (
    Column("outcome", "text", "What is measured. NULL: the estimate is about engagement itself."),
    Column("instrument", "text", "Code of the questionnaire. NULL: none."),
    Column("contrast", "text", "What is compared with what, and how it may be worded. NULL: no comparison."),
    Column("estimate_name", "text", "Name of the estimate."),
    Column("estimate", _NUMBER, "The estimate. NULL: suppressed or not estimable."),
    Column("se", _NUMBER, "Standard error. NULL: suppressed, not estimable, or a plain count."),
    Column("ci_low", _NUMBER, "Lower end of the fixed-sample interval."),
    Column("ci_high", _NUMBER, "Upper end of the fixed-sample interval."),
    Column("ci_level", _NUMBER, "Level of that interval, as 0.95. NULL: no interval."),
    Column("not_estimated_reason", "text", "Why estimate or interval is missing although not suppressed."),
    Column("n", "bigint", "People that the estimate rests on. NULL: suppressed, or not told by a study."),
    Column("denominator", "bigint", "What the estimate is out of. NULL: suppressed."),
    Column("denominator_unit", "text", "What the denominator counts, as people or sessions open to people."),
    Column(
        "missing_share",
        _NUMBER,
        f"Share of the consenting people without a value, or of eligible studies without effect. {_SMALL}",
    ),
    Column("n_consented", "bigint", f"People whose events may be used. {_SMALL}"),
    Column("n_excluded", "bigint", f"People left out because no consent is recorded. {_SMALL}"),
    Column(
        "anytime_low",
        _NUMBER,
        "Lower end of the confidence sequence, which may be looked at in every release. NULL: none.",
    ),
    Column("anytime_high", _NUMBER, "Upper end of the confidence sequence. NULL: none."),
    Column(
        "looks",
        "bigint",
        "Releases that brought the estimate from changed data, this one included. NULL: suppressed, or none.",
    ),
    Column(
        "anytime_reason",
        "text",
        "Why there is no sequence: 'fixed-sample only: …', or what voids it. NULL: there is, or suppressed.",
    ),
    Column("method", "text", "Estimator and interval, with their conventions."),
    Column("design", "text", "randomised, controlled, cohort, cross-sectional or descriptive."),
    Column("period", "text", "First and last day of the data, as 2026-01-01/2026-06-30. NULL: suppressed."),
)

TAIL = (
    Column("suppressed", "boolean", "True: the cell is about too few people to be shown."),
    Column("suppression_reason", "text", "Why it is suppressed."),
    Column("lake_snapshot", "bigint", "Snapshot of the lake that it was computed from."),
    Column("code_version", "text", "Version of the code that computed it."),
    Column("computed_at", "timestamptz", "When it was computed."),
)

GROUP_ENGAGEMENT = Table(
    name="group_engagement",
    description="How people take part in a support group: one row per group and estimate. Descriptive.",
    columns=(*HEAD, Column("group_id", "text", "Pseudonym of the group."), *ESTIMATE, *TAIL),
    key=("tenant", "study", "group_id", "estimate_name"),
)


def _of_people(name: str, description: str) -> Table:
    """A table about the outcomes of people, in arms or strata, at time points."""
    return Table(
        name,
        description,
        (
            *HEAD,
            Column("arm", "text", "Code of the arm. NULL: of no arm."),
            Column("reference_arm", "text", "Arm that it is compared with. NULL: no comparison."),
            Column("instrument_scale", "text", "Which score of the questionnaire: total, or a subscale."),
            Column("time_point", "text", "Planned time point. NULL: of several, or of none."),
            Column("part", "text", "What the row is about: a term, a stratum, studies. NULL: all of it."),
            *ESTIMATE,
            Column("n_arm", "bigint", "People of the arm in the estimate. NULL: none or suppressed."),
            Column(
                "n_reference", "bigint", "People of the reference arm in it. NULL: none or suppressed."
            ),
            Column("k", "bigint", "Studies that the estimate rests on. NULL: it rests on people."),
            *TAIL,
        ),
        (
            "tenant", "study", "outcome", "instrument", "instrument_scale", "arm", "reference_arm",
            "time_point", "estimate_name", "part",
        ),
    )  # fmt: skip


YOUTH_ONLINE_PEER_SUPPORT = _of_people(
    "youth_online_peer_support",
    "Young members of online groups: studies of them, their change, dose and retention by kind of group.",
)

MUTUAL_HELP = _of_people(
    "mutual_help",
    "Members of mutual-help groups against people who are none and against professional treatment.",
)

CARERS_CONTROLLED = _of_people(
    "carers_controlled",
    "Arms of a study over time: at each time point, with covariates, and over all time points by models.",
)

GROUP_PEER_SUPPORT_META = Table(
    name="group_peer_support_meta",
    description="Effects of studies, pooled by a protocol, and how much they differ: a meta-analysis.",
    columns=(
        *HEAD,
        Column("scale", "text", "Scale on which effects are pooled, as hedges_g or log_risk_ratio."),
        Column(
            "part", "text", "What of the pool the row is about: all studies, one, a subgroup, another choice."
        ),
        *ESTIMATE,
        Column("k", "bigint", "Studies that the estimate rests on."),
        *TAIL,
    ),
    key=("tenant", "study", "outcome", "estimate_name", "part"),
)

PROFESSIONAL_MODERATION = Table(
    name="professional_moderation",
    description="How people write, answer and stay in groups, by who moderates them.",
    columns=(
        *HEAD,
        Column("group_id", "text", "Pseudonym of the group. NULL: of several groups."),
        Column("moderation", "text", "Who moderates the groups, as none, peer, professional. NULL: anybody."),
        Column("reference_moderation", "text", "Kind that it is compared with. NULL: no comparison."),
        Column(
            "part", "text", "What of it the row is about: a time, a class, a rank, a cohort. NULL: all of it."
        ),
        *ESTIMATE,
        Column("n_arm", "bigint", "People of the kind in the estimate. NULL: no comparison, or suppressed."),
        Column("n_reference", "bigint", "People of the reference in it. NULL: no comparison, or suppressed."),
        Column("k", "bigint", "Groups that the estimate rests on; of printed rows, studies."),
        *TAIL,
    ),
    key=("tenant", "study", "group_id", "moderation", "reference_moderation", "estimate_name", "part"),
)

COVID_CHANGE = Table(
    name="covid_change",
    description="Change of what is written in communities: over a period, against other years, at an event.",
    columns=(
        *HEAD,
        Column("group_id", "text", "Pseudonym of the community. NULL: of all of a partner, or as printed."),
        Column("part", "text", "Which year, side of the interruption, week or, as printed, community."),
        *ESTIMATE,
        Column(
            "p_adjusted",
            _NUMBER,
            "p of a slope, by Benjamini and Hochberg among all of its year. NULL: no slope.",
        ),
        *TAIL,
    ),
    key=("tenant", "study", "group_id", "outcome", "estimate_name", "part"),
)
OSG_PREVALENCE = Table(
    name="osg_prevalence",
    description="Online support groups in a population, by a survey: who uses them, and what goes with it.",
    columns=(
        *HEAD,
        Column("model", "text", "Name of the model, as the protocol has it. NULL: no model."),
        Column(
            "part", "text", "Whom the row is about: a stratum, one answer against another. NULL: everybody."
        ),
        *ESTIMATE,
        Column("n_cases", "bigint", "People of n who have the outcome, unweighted. NULL: suppressed."),
        Column("psus", "bigint", "Primary sampling units of the survey. NULL: as printed."),
        Column("strata", "bigint", "Strata that these were drawn in. NULL: as printed."),
        Column("k", "bigint", "Studies that the estimate rests on. NULL: it rests on people."),
        *TAIL,
    ),
    key=("tenant", "study", "outcome", "estimate_name", "model", "part"),
)

MENS_GROUPS = Table(
    name="mens_groups",
    description="Groups, and men in them: themes of interviews, mutual help, loneliness, attendance.",
    columns=(
        *HEAD,
        Column("instrument_scale", "text", "Which score of the questionnaire: total, or a subscale."),
        Column("time_point", "text", "Planned time point. NULL: of several, or of none."),
        Column("part", "text", "Whom the row is about: everybody, a gender, groups for one kind of people."),
        *ESTIMATE,
        Column("coders", "bigint", "Coders who looked for the theme. NULL: no theme is coded."),
        Column("k", "bigint", "Studies that the estimate rests on. NULL: it rests on people."),
        *TAIL,
    ),
    key=(
        "tenant",
        "study",
        "outcome",
        "instrument",
        "instrument_scale",
        "time_point",
        "estimate_name",
        "part",
    ),
)

TABLES = {
    table.name: table
    for table in (
        GROUP_ENGAGEMENT,
        YOUTH_ONLINE_PEER_SUPPORT,
        MUTUAL_HELP,
        GROUP_PEER_SUPPORT_META,
        CARERS_CONTROLLED,
        PROFESSIONAL_MODERATION,
        COVID_CHANGE,
        OSG_PREVALENCE,
        MENS_GROUPS,
    )
}
"""The published tables by name."""


def estimate_columns(estimate: Estimate, level: float = CI_LEVEL) -> dict[str, Any]:
    """The columns of a row that come from an estimate, whose interval has this level. What looking every day
    makes of it is said by `frame`, which knows the whole row."""
    return {
        "estimate": estimate.estimate,
        "se": estimate.se,
        "ci_low": estimate.ci_low,
        "ci_high": estimate.ci_high,
        "ci_level": None if estimate.ci_low is None else level,
        "not_estimated_reason": estimate.reason,
        "method": estimate.method,
        ESTIMATED: (estimate, level),
    }


def protocol_columns(
    protocol: Protocol, tenant: str, data_class: str, first_data: date | None
) -> dict[str, Any]:
    """The columns of a row that say who asks for it, of whose data."""
    return {
        "system": protocol.system,
        "study": protocol.study,
        "protocol_version": protocol.version,
        "post_hoc": protocol.is_post_hoc(first_data),
        "tenant": tenant,
        "data_class": data_class,
        "population": protocol.population,
        "estimand": protocol.estimand,
        WATCH: protocol.watch,
    }


def frame(rows: Iterable[dict[str, Any]], table: Table, extra: tuple[str, ...] = ()) -> pd.DataFrame:
    """Rows as a frame of objects with the table's columns and `extra` ones, missing ones as None."""
    import pandas as pd

    names = [*(column.name for column in table.columns), *extra]
    told = (row | anytime_columns(row) for row in rows)
    return pd.DataFrame(
        [{name: row.get(name) for name in names} for row in told], columns=names, dtype=object
    )
