{% set touched = {'model': 'int_groups_touched', 'columns': ['tenant_id', 'group_id']} %}
{{ config(unique_key=['tenant_id', 'group_id'], meta={'touched': touched}) }}

with members as (
    select * from {{ of_touched(ref('fct_group_membership'), touched) }} as events
),

-- Only those who consented to research count in any figure.
membership as (
    select
        tenant_id,
        group_id,
        cast(count(*) as bigint) as count_members,
        cast(count_if(has_research_consent) as bigint) as count_consented,
        cast(count_if(has_research_consent and is_active) as bigint) as count_active,
        cast(count_if(has_research_consent and count_posts > 0) as bigint) as count_posters,
        cast(count_if(has_research_consent and count_posts = 1) as bigint) as count_posters_once,
        cast(coalesce(sum(count_posts) filter (where has_research_consent), 0) as bigint) as count_posts,
        cast(
            coalesce(sum(count_sessions_attended) filter (where has_research_consent), 0) as bigint
        ) as count_attendances,
        cast(
            coalesce(sum(count_sessions_open) filter (where has_research_consent), 0) as bigint
        ) as count_sessions_open
    from members
    group by tenant_id, group_id
),

sessions as (
    select tenant_id, group_id, cast(count(*) as bigint) as count_sessions_held
    from {{ ref('int_sessions_resolved') }}
    where not is_cancelled
    group by tenant_id, group_id
),

thread_sizes as (
    select
        events.tenant_id,
        events.group_id,
        events.thread_id,
        count_if(events.kind = 'thread_started') > 0 as is_started,
        count_if(events.kind = 'reply_posted') as count_replies
    from {{ touched_participation(touched) }} as events
    inner join {{ ref('dim_participant') }} as people
        on events.tenant_id = people.tenant_id and events.participant_id = people.participant_id
    where
        events.kind in ('thread_started', 'reply_posted')
        and events.thread_id is not null
        and people.has_research_consent
    group by events.tenant_id, events.group_id, events.thread_id
),

threads as (
    select
        tenant_id,
        group_id,
        cast(count(*) as bigint) as count_threads,
        cast(count_if(count_replies > 0) as bigint) as count_threads_with_reply
    from thread_sizes
    where is_started
    group by tenant_id, group_id
)

select
    groups.tenant_id,
    groups.group_id,
    groups.data_class,
    coalesce(membership.count_members, 0) as count_members,
    coalesce(membership.count_consented, 0) as count_consented,
    coalesce(membership.count_active, 0) as count_active,
    coalesce(sessions.count_sessions_held, 0) as count_sessions_held,
    coalesce(membership.count_attendances, 0) as count_attendances,
    coalesce(membership.count_sessions_open, 0) as count_sessions_open,
    coalesce(membership.count_posters, 0) as count_posters,
    coalesce(membership.count_posters_once, 0) as count_posters_once,
    coalesce(membership.count_posts, 0) as count_posts,
    coalesce(threads.count_threads, 0) as count_threads,
    coalesce(threads.count_threads_with_reply, 0) as count_threads_with_reply,
    groups.first_event_at,
    groups.last_event_at
from {{ of_touched(ref('dim_group'), touched) }} as groups
left join membership on groups.tenant_id = membership.tenant_id and groups.group_id = membership.group_id
left join sessions on groups.tenant_id = sessions.tenant_id and groups.group_id = sessions.group_id
left join threads on groups.tenant_id = threads.tenant_id and groups.group_id = threads.group_id
