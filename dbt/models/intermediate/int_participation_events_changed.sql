{{ config(materialized='table') }}

-- depends_on: {{ ref('int_slices_staged') }}
{% set columns = ['tenant_id', 'event_id', 'group_id', 'participant_id', 'kind', 'occurred_at', 'landed_seq'] %}

with changed as (
    {{ changed_events('stg_participation__events', columns) }}
)

select
    tenant_id,
    event_id,
    group_id,
    participant_id,
    kind,
    cast(occurred_at at time zone 'UTC' as date) as occurred_on,
    landed_seq
from changed
