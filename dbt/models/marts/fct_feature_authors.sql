{% set touched = {'model': 'int_groups_touched', 'columns': ['tenant_id', 'group_id']} %}
{{ config(
    unique_key=['tenant_id', 'study_code', 'group_id', 'window_year', 'feature'],
    meta={'touched': touched},
) }}

-- depends_on: {{ ref('int_groups_touched') }}
with topics as (
    {{ text_study_values('topics', 'feature', 'varchar') }}
    union all
    select distinct study_code, 'n_posts' as feature
    from ({{ text_windows() }}) as windows
),

communities as (
    select
        community_number,
        tenant_id,
        study_code,
        group_id,
        window_year,
        is_large_enough,
        min(data_class) as data_class,
        min(posted_on) as first_posted_on,
        max(posted_on) as last_posted_on,
        count_if(is_one_of_window and has_research_consent) as count_authors,
        count_if(is_one_of_window and not has_research_consent) as count_excluded
    from {{ ref('int_posts_measured') }}
    group by community_number, tenant_id, study_code, group_id, window_year, is_large_enough
),

-- One post on each side of the interruption, so that who writes much is not more often about anything.
told as (
    {{ topics_of_posts('is_one_of_side') }}
),

authors as (
    select
        community_number,
        feature,
        participant_id,
        bool_or(is_about) filter (where days_after < 0) as is_about_before,
        bool_or(is_about) filter (where days_after >= 0) as is_about_after
    from told
    group by community_number, feature, participant_id
),

counted as (
    select
        community_number,
        feature,
        count(is_about_before) as count_before,
        count(is_about_after) as count_after,
        count_if(is_about_before is not null and is_about_after is not null) as count_both,
        count_if(is_about_before) as count_about_before,
        count_if(is_about_after) as count_about_after,
        count_if(is_about_before and is_about_after is not null) as count_both_about_before,
        count_if(is_about_after and is_about_before is not null) as count_both_about_after,
        count_if(is_about_before and is_about_after) as count_both_about_both
    from authors
    group by community_number, feature
)

select
    communities.tenant_id,
    communities.study_code,
    communities.group_id,
    communities.window_year,
    topics.feature,
    communities.data_class,
    communities.first_posted_on,
    communities.last_posted_on,
    cast(communities.count_authors as bigint) as count_authors,
    cast(communities.count_excluded as bigint) as count_excluded,
    {% for part in ['before', 'after', 'both', 'about_before', 'about_after', 'both_about_before', 'both_about_after', 'both_about_both'] %}
    cast(coalesce(counted.count_{{ part }}, 0) as bigint) as count_{{ part }}{{ ',' if not loop.last }}
    {% endfor %}
from communities
-- Where too few write it is told how many, and nothing else.
inner join topics
    on communities.study_code = topics.study_code
    and (communities.is_large_enough or topics.feature = 'n_posts')
left join counted
    on communities.community_number = counted.community_number and topics.feature = counted.feature
