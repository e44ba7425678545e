{% set touched = {
    'model': 'int_participation_events_changed', 'columns': ['tenant_id', 'group_id', 'occurred_on']
} %}
{{ config(unique_key=['tenant_id', 'group_id', 'occurred_on'], meta={'touched': touched}) }}

-- Everybody's activity, for operators: not limited to those who consented to research, never published.
select
    tenant_id,
    group_id,
    occurred_on,
    min(data_class) as data_class,
    cast(count(*) as bigint) as count_events,
    cast(count(distinct participant_id) as bigint) as count_active_participants,
    cast(count_if(kind = 'member_joined') as bigint) as count_joined,
    cast(count_if(kind = 'member_left') as bigint) as count_left,
    cast(count_if(kind = 'thread_started') as bigint) as count_threads_started,
    cast(count_if(kind = 'reply_posted') as bigint) as count_replies,
    cast(count_if(kind = 'reaction_given') as bigint) as count_reactions,
    cast(count_if(kind = 'thread_read') as bigint) as count_reads,
    cast(count_if(kind = 'session_held') as bigint) as count_sessions_held,
    cast(count_if(kind = 'session_attended') as bigint) as count_attendances,
    cast(count_if(kind = 'moderation_acted') as bigint) as count_moderation_actions,
    cast(count_if(kind = 'risk_raised') as bigint) as count_risks_raised
from {{ touched_participation(touched) }} as events
group by tenant_id, group_id, occurred_on
