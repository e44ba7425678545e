{{ config(materialized='table') }}

-- depends_on: {{ ref('int_slices_staged') }}
with changed as (
    {{ changed_events('stg_participation__events') }}
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
