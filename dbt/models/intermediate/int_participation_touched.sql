{{ config(materialized='table') }}

{#
  What an update reads of participation, read once: without order among the groups each look at some of them is a look
  at all. When everything is computed nobody asks for it, and it is empty.
#}
{% set touched = {'model': 'int_groups_touched', 'columns': ['tenant_id', 'group_id']} %}

with retractions as (
    {{ retractions(ref('stg_participation__events')) }}
)

select
    events.tenant_id,
    events.event_id,
    events.data_class,
    events.group_id,
    events.participant_id,
    events.kind,
    events.occurred_at,
    cast(events.occurred_at at time zone 'UTC' as date) as occurred_on,
    events.session_id,
    events.attendance_role,
    events.attended_minutes,
    events.session_minutes,
    events.thread_id,
    events.act_id,
    events.in_reply_to_act_id,
    events.moderation_action,
    events.leave_reason,
    events.text_features_dictionary,
    events.text_features,
    events.retracted_event_id,
    events.landed_seq,
    events.topic_id,
    events.kafka_partition,
    events.kafka_offset,
    events.event_index,
    events.kind <> 'event_retracted' and retractions.retracted_event_id is null as is_kept
from {{ of_touched(ref('stg_participation__events'), touched) }} as events
left join retractions
    on events.tenant_id = retractions.tenant_id
    and events.event_id = retractions.retracted_event_id
{{ 'where false' if not is_update() }}
