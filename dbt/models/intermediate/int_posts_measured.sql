{{ config(materialized='table') }}

{#
  Posts with text features, in the windows of studies: of the groups that are touched in an update, of all in a build of
  everything. Three marts read it. Which posts there are is found without their lists of features, which come last.
#}
{% set events = of_touched_groups(ref('int_participation_events_kept')) %}
{% set kept = '(select * from ' ~ events ~ ' where is_kept)' if is_update() else events %}

with windows as (
    {{ text_windows() }}
),

measurements as (
    select
        tenant_id,
        event_id,
        group_id,
        participant_id,
        act_id,
        text_features_dictionary as dictionary,
        occurred_at,
        -- A post may be measured anew: the later one counts.
        row_number() over (
            partition by tenant_id, group_id, act_id, text_features_dictionary
            order by occurred_at desc, landed_seq desc, topic_id desc, kafka_partition desc, kafka_offset desc, event_index desc
        ) as recency
    from {{ kept }} as events
    where kind = 'text_features_measured' and text_features_dictionary in (select dictionary from windows)
),

-- Who wrote it and when, as the post itself says; where it did not come in, as its measurement says.
dated as (
    select
        measurements.tenant_id,
        measurements.event_id,
        measurements.group_id,
        measurements.dictionary,
        measurements.act_id,
        coalesce(acts.participant_id, measurements.participant_id) as participant_id,
        cast(coalesce(acts.occurred_at, measurements.occurred_at) at time zone 'UTC' as date) as posted_on,
        row_number() over (
            partition by measurements.tenant_id, measurements.event_id order by acts.occurred_at, acts.event_id
        ) as act_number
    from measurements
    left join {{ kept }} as acts
        on measurements.tenant_id = acts.tenant_id
        and measurements.group_id = acts.group_id
        and measurements.act_id = acts.act_id
        and acts.kind in ('thread_started', 'reply_posted')
    where measurements.recency = 1
),

windowed as (
    select
        dated.tenant_id,
        dated.event_id,
        windows.study_code,
        windows.main_year,
        windows.min_authors,
        dated.group_id,
        windows.window_year,
        dated.participant_id,
        dated.act_id,
        people.data_class,
        people.has_research_consent,
        dated.posted_on,
        {{ days_from('dated.posted_on', 'windows.interrupted_on') }} as days_after
    from dated
    inner join windows
        on dated.dictionary = windows.dictionary
        and dated.posted_on between windows.first_day and windows.last_day
    inner join {{ ref('dim_participant') }} as people
        on dated.tenant_id = people.tenant_id and dated.participant_id = people.participant_id
    where dated.act_number = 1
),

sized as (
    select
        tenant_id,
        study_code,
        group_id,
        window_year,
        min_authors,
        count(distinct case when has_research_consent and window_year = main_year then participant_id end) as count_main
    from windowed
    group by tenant_id, study_code, group_id, window_year, min_authors
),

-- To compare one number costs less than four names.
communities as (
    select
        tenant_id,
        study_code,
        group_id,
        window_year,
        row_number() over (order by tenant_id, study_code, group_id, window_year) as community_number,
        max(count_main) over (partition by tenant_id, study_code, group_id) >= min_authors as is_large_enough
    from sized
),

numbered as (
    select
        windowed.*,
        communities.community_number,
        communities.is_large_enough,
        -- One post of an author in a window, and one on each side of the interruption. Pseudonyms of acts are keyed
        -- hashes: the lowest is any of the author's posts, not the first, and the same in every build.
        row_number() over (
            partition by communities.community_number, windowed.participant_id order by windowed.act_id
        ) = 1 as is_one_of_window,
        row_number() over (
            partition by communities.community_number, windowed.participant_id, windowed.days_after >= 0
            order by windowed.act_id
        ) = 1 as is_one_of_side
    from windowed
    inner join communities
        on windowed.tenant_id = communities.tenant_id
        and windowed.study_code = communities.study_code
        and windowed.group_id = communities.group_id
        and windowed.window_year = communities.window_year
),

-- With a code twice nobody knows which value is meant.
listed as (
    select
        tenant_id,
        event_id,
        case when {{ has_each_code_once('text_features') }} then text_features end as features
    from {{ kept }} as events
    where kind = 'text_features_measured' and text_features_dictionary in (select dictionary from windows)
)

-- Of who has not consented, and where too few write, nothing but that somebody wrote.
select
    numbered.tenant_id,
    numbered.study_code,
    numbered.group_id,
    numbered.window_year,
    numbered.community_number,
    numbered.is_large_enough,
    numbered.participant_id,
    numbered.act_id,
    numbered.data_class,
    numbered.has_research_consent,
    numbered.posted_on,
    numbered.days_after,
    numbered.is_one_of_window,
    numbered.is_one_of_side,
    {% set is_told = 'numbered.has_research_consent and numbered.is_large_enough' %}
    case when {{ is_told }} then {{ value_under('listed.features', 'n_words') }} end as n_words,
    case when {{ is_told }} then {{ pairs_under('listed.features', all_topics()) }} end as topics,
    case when {{ is_told }} then listed.features end as features
from numbered
inner join listed on numbered.tenant_id = listed.tenant_id and numbered.event_id = listed.event_id
