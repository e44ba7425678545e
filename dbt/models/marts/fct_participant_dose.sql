{% set touched = {
    'model': 'int_memberships_touched', 'columns': ['tenant_id', 'group_id', 'participant_id']
} %}
{{ config(unique_key=['tenant_id', 'group_id', 'participant_id'], meta={'touched': touched}) }}

{% set activities = "('member_joined', 'session_attended', 'thread_started', 'reply_posted', 'reaction_given', 'thread_read', 'moderation_acted')" %}

with activities as (
    select
        events.*,
        people.has_research_consent,
        coalesce(sessions.is_cancelled, false) as is_cancelled
    from {{ touched_participation(touched) }} as events
    inner join {{ ref('dim_participant') }} as people
        on events.tenant_id = people.tenant_id and events.participant_id = people.participant_id
    left join {{ ref('int_sessions_resolved') }} as sessions
        on events.tenant_id = sessions.tenant_id
        and events.group_id = sessions.group_id
        and events.session_id = sessions.session_id
    where events.participant_id is not null and events.kind in {{ activities }}
)

select
    tenant_id,
    group_id,
    participant_id,
    min(data_class) as data_class,
    bool_or(has_research_consent) as has_research_consent,
    cast(count(distinct occurred_on) as bigint) as count_active_days,
    cast(count_if(kind = 'thread_started') as bigint) as count_threads_started,
    cast(count_if(kind = 'reply_posted') as bigint) as count_replies,
    cast(count_if(kind in ('thread_started', 'reply_posted')) as bigint) as count_posts,
    cast(count_if(kind = 'reaction_given') as bigint) as count_reactions,
    cast(count_if(kind = 'thread_read') as bigint) as count_reads,
    cast(
        count(distinct session_id) filter (
            where not is_cancelled and coalesce(attendance_role, 'member') = 'member'
        ) as bigint
    ) as count_sessions_attended,
    cast(
        sum(attended_minutes) filter (
            where not is_cancelled and coalesce(attendance_role, 'member') = 'member'
        ) as bigint
    ) as attended_minutes,
    min(occurred_at) as first_activity_at,
    max(occurred_at) as last_activity_at
from activities
group by tenant_id, group_id, participant_id
