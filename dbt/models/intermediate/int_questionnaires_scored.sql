{% set touched = {
    'model': 'int_participants_touched', 'columns': ['tenant_id', 'participant_id'],
    'where': 'has_changed_outcome or has_changed_consent',
} %}

with answered as (
    select
        *,
        {{ sum_of_items('items') }} as sum_of_items,
        coalesce({{ count_of_items('items') }}, 0) as count_items
    from {{ of_touched(touched_outcomes(), touched) }} as events
    where kind = 'questionnaire_answered'
)

select
    tenant_id,
    data_class,
    event_id,
    participant_id,
    group_id,
    study_code,
    time_point,
    instrument,
    instrument_version,
    coalesce(total, case when count_items > 0 then sum_of_items end) as score,
    case when total is not null then 'total' when count_items > 0 then 'sum_of_items' end as scoring,
    count_items,
    occurred_at,
    is_late,
    landed_seq,
    topic_id,
    kafka_partition,
    kafka_offset,
    event_index
from answered
