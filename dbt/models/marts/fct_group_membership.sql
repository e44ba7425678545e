{% set touched = {
    'model': 'int_memberships_touched', 'columns': ['tenant_id', 'group_id', 'participant_id']
} %}
{{ config(unique_key=['tenant_id', 'group_id', 'participant_id'], meta={'touched': touched}) }}

with members as (
    select
        tenant_id,
        group_id,
        participant_id,
        min(joined_at) as first_joined_at,
        count_if(is_inferred) > 0 as is_inferred
    from {{ ref('int_memberships_bounded') }}
    group by tenant_id, group_id, participant_id
),

held_sessions as (
    select tenant_id, group_id, session_id, held_at
    from {{ ref('int_sessions_resolved') }}
    where not is_cancelled
),

open_sessions as (
    select spells.tenant_id, spells.group_id, spells.participant_id, sessions.session_id
    from {{ ref('int_memberships_bounded') }} as spells
    inner join held_sessions as sessions
        on spells.tenant_id = sessions.tenant_id
        and spells.group_id = sessions.group_id
        and sessions.held_at >= spells.joined_at
        and (spells.left_at is null or sessions.held_at < spells.left_at)
),

attended as (
    select distinct tenant_id, group_id, participant_id, session_id
    from {{ touched_participation(touched) }} as events
    where
        kind = 'session_attended'
        and coalesce(attendance_role, 'member') = 'member'
        and participant_id is not null
),

attendance as (
    select
        open_sessions.tenant_id,
        open_sessions.group_id,
        open_sessions.participant_id,
        cast(count(*) as bigint) as count_sessions_open,
        cast(count(attended.session_id) as bigint) as count_sessions_attended
    from open_sessions
    left join attended
        on open_sessions.tenant_id = attended.tenant_id
        and open_sessions.group_id = attended.group_id
        and open_sessions.participant_id = attended.participant_id
        and open_sessions.session_id = attended.session_id
    group by open_sessions.tenant_id, open_sessions.group_id, open_sessions.participant_id
),

acts as (
    select
        tenant_id,
        group_id,
        participant_id,
        cast(count_if(kind = 'thread_started') as bigint) as count_threads_started,
        cast(count_if(kind = 'reply_posted') as bigint) as count_replies,
        cast(count_if(kind = 'reaction_given') as bigint) as count_reactions,
        cast(count_if(kind = 'thread_read') as bigint) as count_reads
    from {{ touched_participation(touched) }} as events
    where participant_id is not null
    group by tenant_id, group_id, participant_id
)

select
    members.tenant_id,
    members.group_id,
    members.participant_id,
    people.data_class,
    people.has_research_consent,
    members.first_joined_at,
    members.is_inferred,
    coalesce(attendance.count_sessions_open, 0) as count_sessions_open,
    coalesce(attendance.count_sessions_attended, 0) as count_sessions_attended,
    coalesce(acts.count_threads_started, 0) as count_threads_started,
    coalesce(acts.count_replies, 0) as count_replies,
    coalesce(acts.count_threads_started, 0) + coalesce(acts.count_replies, 0) as count_posts,
    coalesce(acts.count_reactions, 0) as count_reactions,
    coalesce(acts.count_reads, 0) as count_reads,
    -- Reading is not counted as activity: most services do not post it.
    coalesce(attendance.count_sessions_attended, 0)
    + coalesce(acts.count_threads_started, 0)
    + coalesce(acts.count_replies, 0)
    + coalesce(acts.count_reactions, 0) > 0 as is_active
from members
inner join {{ ref('dim_participant') }} as people
    on members.tenant_id = people.tenant_id and members.participant_id = people.participant_id
left join attendance
    on members.tenant_id = attendance.tenant_id
    and members.group_id = attendance.group_id
    and members.participant_id = attendance.participant_id
left join acts
    on members.tenant_id = acts.tenant_id
    and members.group_id = acts.group_id
    and members.participant_id = acts.participant_id
