{% set touched = {
    'model': 'int_memberships_touched', 'columns': ['tenant_id', 'group_id', 'participant_id']
} %}
{{ config(unique_key=['tenant_id', 'group_id', 'participant_id'], meta={'touched': touched}) }}

{#- Seconds: to add days to a time costs a calendar each. #}
{% set gap_seconds = 30 * 86400 %}
{% set activities = "('member_joined', 'session_attended', 'thread_started', 'reply_posted', 'reaction_given', 'thread_read', 'moderation_acted')" %}

with members as (
    select tenant_id, group_id, participant_id, data_class, has_research_consent, first_joined_at
    from {{ of_touched(ref('fct_group_membership'), touched) }} as events
),

events as (
    select tenant_id, group_id, participant_id, kind, leave_reason, occurred_at
    from {{ touched_participation(touched) }} as events
    where participant_id is not null and (kind in {{ activities }} or kind = 'member_left')
),

leavings as (
    select
        tenant_id,
        group_id,
        participant_id,
        min(occurred_at) filter (where leave_reason = 'completed') as completed_at,
        min(occurred_at) filter (where leave_reason in ('removed', 'group_closed')) as ended_at
    from events
    where kind = 'member_left'
    group by tenant_id, group_id, participant_id
),

-- Within so many days from a fixed one on there is no gap: their first and last activity tell enough.
active_months as (
    select
        events.tenant_id,
        events.group_id,
        events.participant_id,
        min(events.occurred_at) as from_at,
        max(events.occurred_at) as until_at
    from events
    inner join members
        on events.tenant_id = members.tenant_id
        and events.group_id = members.group_id
        and events.participant_id = members.participant_id
    where events.kind <> 'member_left' and events.occurred_at >= members.first_joined_at
    group by
        events.tenant_id,
        events.group_id,
        events.participant_id,
        floor(cast({{ seconds_of('events.occurred_at') }} as double) / {{ gap_seconds }})
),

silences as (
    select
        *,
        {{ seconds_of('next_at') }} - {{ seconds_of('until_at') }} as silent_seconds
    from (
        select
            tenant_id,
            group_id,
            participant_id,
            until_at,
            lead(from_at) over (
                partition by tenant_id, group_id, participant_id order by from_at
            ) as next_at
        from active_months
    ) as months
),

-- The last silence has no end: whether it has become a gap hangs on how far the data reach.
gaps as (
    select
        tenant_id,
        group_id,
        participant_id,
        min(until_at) filter (
            where silent_seconds is null or silent_seconds >= {{ gap_seconds }}
        ) as silent_from,
        min(next_at) filter (where silent_seconds >= {{ gap_seconds }}) as returned_at,
        max(until_at) as last_activity_at
    from silences
    group by tenant_id, group_id, participant_id
)

select
    members.tenant_id,
    members.group_id,
    members.participant_id,
    members.data_class,
    members.has_research_consent,
    members.first_joined_at,
    -- Whoever has done nothing but be there is silent from joining on.
    {{ moment_of(seconds_of('coalesce(gaps.silent_from, members.first_joined_at)') ~ ' + ' ~ gap_seconds) }} as gap_at,
    gaps.returned_at,
    gaps.last_activity_at,
    leavings.completed_at,
    leavings.ended_at
from members
left join gaps
    on members.tenant_id = gaps.tenant_id
    and members.group_id = gaps.group_id
    and members.participant_id = gaps.participant_id
left join leavings
    on members.tenant_id = leavings.tenant_id
    and members.group_id = leavings.group_id
    and members.participant_id = leavings.participant_id
