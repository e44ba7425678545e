{% set touched = {'model': 'int_groups_touched', 'columns': ['tenant_id', 'group_id']} %}
{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key=['tenant_id', 'group_id', 'participant_id'],
    meta={'touched': touched},
) }}

-- People are in several groups: whoever is touched is looked for here, and not among all events.
select
    tenant_id,
    group_id,
    participant_id,
    min(data_class) as data_class,
    min(occurred_at) as first_event_at,
    max(occurred_at) as last_event_at
from {{ touched_participation(touched) }} as events
where participant_id is not null
group by tenant_id, group_id, participant_id
