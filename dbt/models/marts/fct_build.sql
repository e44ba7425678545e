{{ config(materialized='table') }}

-- Last of all, when every other model is there and no test of them has failed:
-- depends_on: {{ ref('dim_group') }}
-- depends_on: {{ ref('dim_instrument') }}
-- depends_on: {{ ref('dim_instrument_band') }}
-- depends_on: {{ ref('dim_instrument_item') }}
-- depends_on: {{ ref('dim_participant') }}
-- depends_on: {{ ref('dim_participant_age') }}
-- depends_on: {{ ref('dim_participant_covariate') }}
-- depends_on: {{ ref('dim_study') }}
-- depends_on: {{ ref('dim_study_attribute') }}
-- depends_on: {{ ref('dim_study_covariate') }}
-- depends_on: {{ ref('fct_cost') }}
-- depends_on: {{ ref('fct_group_engagement') }}
-- depends_on: {{ ref('fct_group_engagement_daily') }}
-- depends_on: {{ ref('fct_group_engagement_rolling') }}
-- depends_on: {{ ref('fct_group_membership') }}
-- depends_on: {{ ref('fct_member_gap') }}
-- depends_on: {{ ref('fct_outcome') }}
-- depends_on: {{ ref('fct_outcome_change') }}
-- depends_on: {{ ref('fct_participant_dose') }}
-- depends_on: {{ ref('fct_participation') }}
-- depends_on: {{ ref('fct_reply_edge') }}
-- depends_on: {{ ref('fct_study_arm_change') }}
-- depends_on: {{ ref('fct_study_arm_outcome') }}
-- depends_on: {{ ref('fct_study_arm_recovery') }}
-- depends_on: {{ ref('fct_study_change_criterion') }}
-- depends_on: {{ ref('fct_study_report') }}
-- depends_on: {{ ref('fct_survey_answer') }}
-- depends_on: {{ ref('fct_theme_coding') }}
-- depends_on: {{ ref('fct_thread') }}
-- depends_on: {{ ref('fct_feature_authors') }}
-- depends_on: {{ ref('fct_feature_series') }}
-- depends_on: {{ ref('fct_feature_trend') }}
-- depends_on: {{ ref('stg_failures__failed_events') }}
select
    staging_table,
    through_slice_id,
    '{{ definition() }}' as definition,
    cast('{{ run_started_at.isoformat() }}' as timestamp with time zone) as started_at
from {{ ref('int_slices_staged') }}
