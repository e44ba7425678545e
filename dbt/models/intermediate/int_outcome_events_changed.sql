{{ config(materialized='table') }}

-- depends_on: {{ ref('int_slices_staged') }}
with changed as (
    {{ changed_events('stg_outcomes__events') }}
)

select tenant_id, event_id, participant_id, kind
from changed
