{% set touched = {
    'model': 'int_participation_events_changed', 'columns': ['tenant_id', 'event_id'],
    'found_by': 'landed_seq', 'writes_new_landings': true
} %}
{{ config(unique_key=['tenant_id', 'event_id'], meta={'touched': touched}) }}

-- depends_on: {{ ref('int_participation_events_changed') }}
select
    events.tenant_id,
    events.event_id,
    events.data_class,
    events.group_id,
    events.participant_id,
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
    events.risk_answer,
    events.landed_seq,
    events.topic_id,
    events.kafka_partition,
    events.kafka_offset,
    events.event_index
from {{ ref('int_participation_events_kept') }} as events
{% if is_update() %}
where {{ is_changed('stg_participation__events', 'events') }}
{% endif %}
