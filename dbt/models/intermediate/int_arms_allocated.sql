{% set touched = {'model': 'int_participants_touched', 'columns': ['tenant_id', 'participant_id']} %}
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['tenant_id', 'study_code', 'participant_id'],
    meta={'touched': touched},
) }}

with allocations as (
    select
        tenant_id,
        data_class,
        study_code,
        participant_id,
        arm,
        occurred_at,
        -- People are analysed as first allocated, whatever happened afterwards.
        row_number() over (
            partition by tenant_id, study_code, participant_id order by occurred_at, {{ arrival_order() }}
        ) as allocation_number
    from {{ touched_outcomes() }} as events
    where kind = 'arm_allocated' and study_code is not null and arm is not null
)

select tenant_id, data_class, study_code, participant_id, arm, occurred_at as allocated_at
from allocations
where allocation_number = 1
