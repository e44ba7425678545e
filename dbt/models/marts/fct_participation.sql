with events as (
    select * from {{ ref('int_participation_events_kept') }}
)

select
    events.tenant_id,
    events.event_id,
    events.data_class,
    events.group_id,
    events.participant_id,
    -- False for events about no person, as a session held: they carry no consent and need none.
    coalesce(people.has_research_consent, false) as has_research_consent,
    events.kind,
    events.occurred_at,
    cast(events.occurred_at at time zone 'UTC' as date) as occurred_on,
    events.is_late,
    events.session_id,
    events.attendance_role,
    events.attended_minutes,
    events.session_minutes,
    events.thread_id,
    events.act_id,
    events.in_reply_to_act_id,
    events.reaction,
    events.moderation_action,
    events.leave_reason,
    events.case_id,
    events.risk_kind,
    events.risk_answer
from events
left join {{ ref('dim_participant') }} as people
    on events.tenant_id = people.tenant_id and events.participant_id = people.participant_id
