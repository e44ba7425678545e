"""What evidence is computed from: the marts of the lake at one snapshot, as frames.

Only rows of people who consented to research, or whose rows are published already, come through here; single
people only of studies that a protocol asks for. The arithmetic is done elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import duckdb

from pipelines.evidence import moderation_statements
from pipelines.evidence.protocols import studies_of, studies_of_people, surveys
from pipelines.evidence.rows import (
    CARERS_CONTROLLED,
    COVID_CHANGE,
    GROUP_ENGAGEMENT,
    GROUP_PEER_SUPPORT_META,
    MENS_GROUPS,
    MUTUAL_HELP,
    OSG_PREVALENCE,
    PROFESSIONAL_MODERATION,
    YOUTH_ONLINE_PEER_SUPPORT,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Inputs:
    """Frames, one row per:

    `groups`: group. `members`: group and consenting person. `online_members`: the same, of online groups,
    with the age as stated by the last activity.

    `studies`: registered study; `attributes`, `covariates`: what it was registered with; `reports`: summary
    of an arm, or effect, that it reports.

    `arms`: study, arm, scale and time point. `changes`: study, arm and scale. `recoveries`: study and arm.

    `scores`: answer of a person that counts, with the age at it and what the person had done before it.
    `person_covariates`, `person_attributes`, `costs`: what else is known of these people.

    By protocol of groups: `moderated_units`: all of a partner's groups, those of one kind of moderation, or
    one group. `moderated_members`: group and consenting person. `moderated_threads`: thread that such a
    person started. `moderated_networks`: group in which such people replied to each other.

    `feature_trends`, `feature_authors`: study of what is written, community, year and feature;
    `feature_series`: the same, and step of days.
    `surveys`: survey. `survey_answers`: respondent and question.

    `coded_studies`: study of members of groups, and source. `themes`: interview, theme and coder.
    `group_people`: group and member, of the tenants of these studies. `dyads`: group and two members of
    whom one has replied to the other.
    """

    groups: pd.DataFrame
    members: pd.DataFrame
    online_members: pd.DataFrame
    studies: pd.DataFrame
    attributes: pd.DataFrame
    covariates: pd.DataFrame
    reports: pd.DataFrame
    arms: pd.DataFrame
    changes: pd.DataFrame
    recoveries: pd.DataFrame
    scores: pd.DataFrame
    person_covariates: pd.DataFrame
    person_attributes: pd.DataFrame
    costs: pd.DataFrame
    moderated_units: pd.DataFrame
    moderated_members: pd.DataFrame
    moderated_threads: pd.DataFrame
    moderated_networks: pd.DataFrame
    feature_trends: pd.DataFrame
    feature_series: pd.DataFrame
    feature_authors: pd.DataFrame
    surveys: pd.DataFrame
    survey_answers: pd.DataFrame
    coded_studies: pd.DataFrame
    themes: pd.DataFrame
    group_people: pd.DataFrame
    dyads: pd.DataFrame


def read_inputs(lake: duckdb.DuckDBPyConnection, names: Collection[str] | None = None) -> Inputs:
    """Reads the marts, ordered, so that equal snapshots give equal tables. Where frames are named, the others
    have no columns."""
    import pandas as pd

    return Inputs(
        **{
            each.name: _read(lake, each.name) if names is None or each.name in names else pd.DataFrame()
            for each in fields(Inputs)
        }
    )


def _read(lake: duckdb.DuckDBPyConnection, name: str) -> pd.DataFrame:
    statement = _STATEMENTS[name]
    if moderation_statements.MODERATED in statement:
        return lake.execute(statement, {"moderated": moderation_statements.moderated()}).df()
    return lake.execute(statement, [_asked(name)] if "?" in statement else []).df()


def _asked(name: str) -> list[str]:
    """Codes that a frame is about, where it is not about all."""
    return _CODES.get(name, studies_of_people)()


_SCALE = "instrument, instrument_version, scale"
_FEATURE = "tenant_id, study_code, group_id, window_year, feature"

_OF_CODED = """
        asked AS (SELECT unnest(?) AS study_code), told AS (
            SELECT tenant_id, study_code, 'interviews' AS source, participant_id, data_class,
                   has_research_consent, coded_at AS told_at
            FROM marts.fct_theme_coding JOIN asked USING (study_code)
            UNION ALL
            SELECT tenant_id, study_code, 'answers', participant_id, data_class, has_research_consent,
                   occurred_at
            FROM marts.fct_outcome JOIN asked USING (study_code) WHERE is_counted
        )"""

_STATEMENTS = {
    "groups": "SELECT * FROM marts.fct_group_engagement ORDER BY tenant_id, group_id",
    "members": """
        SELECT tenant_id, group_id, participant_id, count_sessions_open, count_sessions_attended, count_posts,
               count_threads_started
        FROM marts.fct_group_membership WHERE has_research_consent
        ORDER BY tenant_id, group_id, participant_id
    """,
    "online_members": """
        SELECT members.tenant_id, members.data_class, members.group_id, members.participant_id, groups.format,
               groups.moderation, groups.condition, members.first_joined_at, doses.last_activity_at,
               ages.age_band, groups.last_event_at AS data_until
        FROM marts.fct_group_membership AS members
        JOIN marts.dim_group AS groups USING (tenant_id, group_id)
        JOIN marts.fct_participant_dose AS doses USING (tenant_id, group_id, participant_id)
        -- The newest of before. As a join of two ends it is planned by tenant alone, at fifty times the cost.
        ASOF JOIN marts.dim_participant_age AS ages
          ON ages.tenant_id = members.tenant_id AND ages.participant_id = members.participant_id
          AND doses.last_activity_at >= ages.stated_at
        WHERE members.has_research_consent AND groups.format <> 'in_person'
        ORDER BY members.tenant_id, members.group_id, members.participant_id
    """,
    "studies": "SELECT * FROM marts.dim_study ORDER BY tenant_id, study_code",
    "attributes": """
        SELECT * FROM marts.dim_study_attribute ORDER BY tenant_id, study_code, attribute, attribute_value
    """,
    "covariates": "SELECT * FROM marts.dim_study_covariate ORDER BY tenant_id, study_code, covariate",
    "reports": """
        SELECT * FROM marts.fct_study_report
        ORDER BY tenant_id, study_code, kind, arm, comparison_arm, outcome, instrument, time_point,
                 effect_scale
    """,
    "arms": f"""
        SELECT * FROM marts.fct_study_arm_outcome ORDER BY tenant_id, study_code, arm, {_SCALE}, time_point
    """,  # noqa: S608
    "changes": f"""
        SELECT changes.*, reliable_change, reliable_change_basis, cut_off, cut_off_basis
        FROM marts.fct_study_arm_change AS changes
        JOIN marts.fct_study_change_criterion USING (tenant_id, study_code, {_SCALE})
        ORDER BY tenant_id, study_code, arm, {_SCALE}
    """,  # noqa: S608
    "recoveries": "SELECT * FROM marts.fct_study_arm_recovery ORDER BY tenant_id, study_code, arm",
    "scores": f"""
        WITH scores AS (
            SELECT tenant_id, data_class, study_code, participant_id, event_id, arm, group_id, {_SCALE},
                   time_point, score, age_band, occurred_at
            FROM marts.fct_outcome
            WHERE is_counted AND has_research_consent AND score IS NOT NULL
              AND study_code IN (SELECT unnest(?))
        ), answers AS (
            SELECT DISTINCT tenant_id, participant_id, event_id, occurred_at FROM scores
        ), done AS (
            -- Exposure precedes the outcome.
            SELECT answers.tenant_id, answers.event_id,
                   count_if(acts.kind IN ('thread_started', 'reply_posted')) AS count_posts_before,
                   count(DISTINCT acts.session_id) FILTER (WHERE acts.kind = 'session_attended')
                     AS count_sessions_before
            FROM answers
            JOIN marts.fct_participation AS acts
              ON acts.tenant_id = answers.tenant_id AND acts.participant_id = answers.participant_id
              AND acts.occurred_at < answers.occurred_at
            WHERE acts.kind IN ('thread_started', 'reply_posted', 'session_attended')
            GROUP BY answers.tenant_id, answers.event_id
        )
        SELECT scores.*, coalesce(count_posts_before, 0) AS count_posts_before,
               coalesce(count_sessions_before, 0) AS count_sessions_before
        FROM scores LEFT JOIN done USING (tenant_id, event_id)
        ORDER BY tenant_id, study_code, participant_id, {_SCALE}, time_point
    """,  # noqa: S608
    "person_covariates": """
        SELECT tenant_id, study_code, participant_id, covariate, covariate_value
        FROM marts.dim_participant_covariate
        WHERE has_research_consent AND study_code IN (SELECT unnest(?))
        ORDER BY tenant_id, study_code, participant_id, covariate
    """,
    "person_attributes": """
        SELECT tenant_id, participant_id, gender, employment, education, marital_status
        FROM marts.dim_participant
        WHERE has_research_consent AND participant_id IN (
            SELECT participant_id FROM marts.fct_outcome WHERE study_code IN (SELECT unnest(?))
        )
        ORDER BY tenant_id, participant_id
    """,
    "costs": """
        SELECT tenant_id, study_code, arm, participant_id, cost_currency, sum(cost_amount) AS cost_amount
        FROM marts.fct_cost
        WHERE has_research_consent AND arm IS NOT NULL AND study_code IN (SELECT unnest(?))
        GROUP BY ALL
        ORDER BY tenant_id, study_code, arm, cost_currency, participant_id
    """,
    **moderation_statements.STATEMENTS,
    "feature_trends": f"SELECT * FROM marts.fct_feature_trend ORDER BY {_FEATURE}",  # noqa: S608
    "feature_series": f"SELECT * FROM marts.fct_feature_series ORDER BY {_FEATURE}, step_days, step",  # noqa: S608
    "feature_authors": f"SELECT * FROM marts.fct_feature_authors ORDER BY {_FEATURE}",  # noqa: S608
    "surveys": """
        SELECT tenant_id, survey_code, min(data_class) AS data_class,
               count(DISTINCT participant_id) AS count_respondents,
               count(DISTINCT participant_id) FILTER (WHERE has_research_consent) AS count_consented,
               min(answered_at) FILTER (WHERE has_research_consent) AS first_answered_at,
               max(answered_at) FILTER (WHERE has_research_consent) AS last_answered_at
        FROM marts.fct_survey_answer WHERE survey_code IN (SELECT unnest(?))
        GROUP BY tenant_id, survey_code ORDER BY tenant_id, survey_code
    """,
    "survey_answers": """
        SELECT tenant_id, survey_code, participant_id, question, answer, survey_weight, survey_stratum,
               survey_cluster
        FROM marts.fct_survey_answer WHERE has_research_consent AND survey_code IN (SELECT unnest(?))
        ORDER BY tenant_id, survey_code, participant_id, question
    """,
    "coded_studies": f"""
        WITH {_OF_CODED}, members AS (
            SELECT DISTINCT tenant_id, study_code, participant_id FROM marts.fct_group_membership
            JOIN (SELECT DISTINCT tenant_id, study_code FROM told) USING (tenant_id)
        ), everything AS (
            SELECT * FROM told
            UNION ALL
            SELECT members.tenant_id, members.study_code, 'members', participant_id, people.data_class,
                   people.has_research_consent, NULL
            FROM members JOIN marts.dim_participant AS people USING (tenant_id, participant_id)
        )
        SELECT tenant_id, study_code, source, min(data_class) AS data_class,
               count(DISTINCT participant_id) AS count_people,
               count(DISTINCT participant_id) FILTER (WHERE has_research_consent) AS count_consented,
               min(told_at) FILTER (WHERE has_research_consent) AS first_told_at,
               max(told_at) FILTER (WHERE has_research_consent) AS last_told_at
        FROM everything GROUP BY tenant_id, study_code, source ORDER BY tenant_id, study_code, source
    """,  # noqa: S608
    "themes": """
        SELECT tenant_id, study_code, participant_id, people.gender, theme, coder_id, group_id, is_present
        FROM marts.fct_theme_coding AS codings
        JOIN marts.dim_participant AS people USING (tenant_id, participant_id)
        WHERE codings.has_research_consent AND codings.study_code IN (SELECT unnest(?))
        ORDER BY tenant_id, study_code, participant_id, theme, coder_id
    """,
    "group_people": f"""
        WITH {_OF_CODED}, givers AS (
            SELECT DISTINCT tenant_id, group_id, from_participant_id AS participant_id
            FROM marts.fct_reply_edge WHERE has_research_consent
        )
        SELECT tenant_id, group_id, groups.population, participant_id, people.gender,
               members.count_sessions_open, members.count_sessions_attended, members.count_posts,
               givers.participant_id IS NOT NULL AS has_replied
        FROM marts.fct_group_membership AS members
        JOIN marts.dim_participant AS people USING (tenant_id, participant_id)
        JOIN marts.dim_group AS groups USING (tenant_id, group_id)
        LEFT JOIN givers USING (tenant_id, group_id, participant_id)
        WHERE members.has_research_consent AND tenant_id IN (SELECT tenant_id FROM told)
        ORDER BY tenant_id, group_id, participant_id
    """,  # noqa: S608
    "dyads": f"""
        WITH {_OF_CODED}, dyads AS (
            SELECT tenant_id, group_id, least(from_participant_id, to_participant_id) AS one_id,
                   greatest(from_participant_id, to_participant_id) AS other_id, count(*) > 1 AS is_mutual
            FROM marts.fct_reply_edge
            WHERE has_research_consent AND tenant_id IN (SELECT tenant_id FROM told)
            GROUP BY ALL
        )
        SELECT dyads.*, groups.population, one.gender AS one_gender, other.gender AS other_gender
        FROM dyads
        JOIN marts.dim_group AS groups USING (tenant_id, group_id)
        JOIN marts.dim_participant AS one
          ON one.tenant_id = dyads.tenant_id AND one.participant_id = dyads.one_id
        JOIN marts.dim_participant AS other
          ON other.tenant_id = dyads.tenant_id AND other.participant_id = dyads.other_id
        ORDER BY tenant_id, group_id, one_id, other_id
    """,  # noqa: S608
}
"""By frame. `?`: codes of the studies and surveys that protocols ask of."""

_CODES: Mapping[str, Callable[[], list[str]]] = {
    **dict.fromkeys(("surveys", "survey_answers"), surveys),
    **dict.fromkeys(
        ("coded_studies", "themes", "group_people", "dyads"), lambda: studies_of(MENS_GROUPS.name)
    ),
}

_ARMS = (
    "studies",
    "arms",
    "changes",
    "recoveries",
    "scores",
    "person_covariates",
    "person_attributes",
    "members",
    "costs",
)

USES: Mapping[str, tuple[str, ...]] = {
    GROUP_ENGAGEMENT.name: ("groups", "members"),
    YOUTH_ONLINE_PEER_SUPPORT.name: ("studies", "attributes", "scores", "online_members"),
    MUTUAL_HELP.name: (*_ARMS, "attributes"),
    GROUP_PEER_SUPPORT_META.name: ("studies", "covariates", "reports"),
    CARERS_CONTROLLED.name: _ARMS,
    PROFESSIONAL_MODERATION.name: (*moderation_statements.STATEMENTS,),
    COVID_CHANGE.name: ("feature_trends", "feature_series", "feature_authors"),
    OSG_PREVALENCE.name: ("surveys", "survey_answers"),
    MENS_GROUPS.name: ("coded_studies", "themes", "scores", "person_attributes", "group_people", "dyads"),
}
"""Frames that each published table is computed from. Its builder is given no others."""


def marts_of(table: str) -> list[str]:
    """Names of the marts that a published table is computed from."""
    return sorted({mart for name in USES[table] for mart in re.findall(r"marts\.(\w+)", _STATEMENTS[name])})
