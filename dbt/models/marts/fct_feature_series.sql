{% set touched = {'model': 'int_groups_touched', 'columns': ['tenant_id', 'group_id']} %}
{{ config(
    unique_key=['tenant_id', 'study_code', 'group_id', 'window_year', 'feature', 'step_days', 'step'],
    meta={'touched': touched},
) }}

-- depends_on: {{ ref('int_groups_touched') }}
-- Steps in which nobody wrote have no row.
with communities as (
    select
        community_number,
        tenant_id,
        study_code,
        group_id,
        window_year,
        min(data_class) as data_class
    from {{ ref('int_posts_measured') }}
    group by community_number, tenant_id, study_code, group_id, window_year
),

steps as (
    select communities.community_number, listed.step_days
    from communities
    inner join ({{ text_study_values('steps', 'step_days', 'bigint') }}) as listed
        on communities.study_code = listed.study_code
),

told as (
    {{ topics_of_posts('true') }}
),

stepped as (
    select
        told.community_number,
        told.feature,
        steps.step_days,
        -- From the interruption on: no step has days of both sides.
        cast(floor(cast(told.days_after as double) / steps.step_days) as bigint) as step,
        told.participant_id,
        count(*) as count_posts,
        count_if(told.is_about) as count_posts_about
    from told
    inner join steps on told.community_number = steps.community_number
    group by
        told.community_number,
        told.feature,
        steps.step_days,
        cast(floor(cast(told.days_after as double) / steps.step_days) as bigint),
        told.participant_id
),

counted as (
    select
        community_number,
        feature,
        step_days,
        step,
        count(*) as count_authors,
        count_if(count_posts_about > 0) as count_authors_about,
        sum(count_posts) as count_posts,
        sum(count_posts_about) as count_posts_about
    from stepped
    group by community_number, feature, step_days, step
)

select
    communities.tenant_id,
    communities.study_code,
    communities.group_id,
    communities.window_year,
    counted.feature,
    counted.step_days,
    counted.step,
    communities.data_class,
    cast(counted.count_authors as bigint) as count_authors,
    cast(counted.count_authors_about as bigint) as count_authors_about,
    cast(counted.count_posts as bigint) as count_posts,
    cast(counted.count_posts_about as bigint) as count_posts_about
from counted
inner join communities on counted.community_number = communities.community_number
