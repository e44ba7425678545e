{{ config(materialized='table') }}

-- depends_on: {{ ref('int_slices_staged') }}
with changed_groups as (
    {{ changed_events('stg_groups__events', ['tenant_id', 'group_id']) }}
)

select tenant_id, group_id from changed_groups
union
select tenant_id, group_id from {{ ref('int_participation_events_changed') }}
union
select tenant_id, group_id from {{ ref('int_memberships_touched') }}
