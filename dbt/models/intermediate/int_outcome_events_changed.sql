{{ config(materialized='table') }}

-- depends_on: {{ ref('int_slices_staged') }}
{{ changed_events('stg_outcomes__events', ['tenant_id', 'event_id', 'participant_id', 'kind']) }}
