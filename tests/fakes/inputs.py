"""Inputs of evidence from rows made by hand: a frame that is not given has its columns and no rows."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pipelines.evidence.inputs import Inputs

COLUMNS = {
    "groups": "tenant_id group_id count_members",
    "members": "tenant_id group_id participant_id count_sessions_open count_sessions_attended",
    "online_members": "tenant_id group_id participant_id format moderation condition first_joined_at "
    "last_activity_at age_band data_until",
    "studies": "tenant_id data_class study_code design result risk_of_bias doi registered_at",
    "attributes": "tenant_id study_code attribute attribute_value",
    "covariates": "tenant_id study_code covariate covariate_value",
    "reports": "tenant_id study_code",
    "arms": "tenant_id study_code arm",
    "changes": "tenant_id study_code arm instrument instrument_version scale",
    "recoveries": "tenant_id study_code arm",
    "scores": "tenant_id data_class study_code participant_id event_id arm group_id instrument "
    "instrument_version scale time_point score age_band occurred_at count_posts_before count_sessions_before",
    "person_covariates": "tenant_id study_code participant_id covariate covariate_value",
    "person_attributes": "tenant_id participant_id gender employment education marital_status",
    "costs": "tenant_id study_code arm participant_id cost_currency cost_amount",
    "moderated_units": "study tenant_id moderation group_id data_class has_reads_collected count_groups "
    "count_members count_consented from_at until_at",
    "moderated_members": "study tenant_id moderation group_id participant_id joined_at is_followed "
    "count_posts has_acted followed_days gap_days completed_days ended_days has_returned member_weeks",
    "moderated_threads": "study tenant_id moderation group_id participant_id count_messages followed_hours "
    "reply_hours moderator_hours closed_hours",
    "moderated_networks": "study tenant_id moderation group_id count_dyads count_mutual max_in_degree "
    "sum_in_degree",
    "feature_trends": "tenant_id study_code group_id window_year feature data_class count_authors "
    "count_authors_with_value count_bins slope r_squared slope_times_r_squared",
    "feature_series": "tenant_id study_code group_id window_year feature step_days step data_class "
    "count_authors count_authors_about count_posts count_posts_about",
    "feature_authors": "tenant_id study_code group_id window_year feature data_class first_posted_on "
    "last_posted_on count_authors count_excluded count_before count_after count_both count_about_before "
    "count_about_after count_both_about_before count_both_about_after count_both_about_both",
    "surveys": "tenant_id survey_code data_class count_respondents count_consented first_answered_at "
    "last_answered_at",
    "survey_answers": "tenant_id survey_code participant_id question answer survey_weight survey_stratum "
    "survey_cluster",
    "coded_studies": "tenant_id study_code source data_class count_people count_consented first_told_at "
    "last_told_at",
    "themes": "tenant_id study_code participant_id gender theme coder_id group_id is_present",
    "group_people": "tenant_id group_id population participant_id gender count_sessions_open "
    "count_sessions_attended count_posts has_replied",
    "dyads": "tenant_id group_id one_id other_id is_mutual population one_gender other_gender",
}


def inputs(**frames: list[dict[str, Any]]) -> Inputs:
    return Inputs(
        **{
            name: pd.DataFrame(frames[name]) if frames.get(name) else pd.DataFrame(columns=columns.split())
            for name, columns in COLUMNS.items()
        }
    )
