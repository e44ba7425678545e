{{ config(materialized='table') }}

-- A session is open to all members of its group: one more, or one less, concerns each of them.
with groups_with_changed_sessions as (
    select distinct tenant_id, group_id
    from {{ ref('int_participation_events_changed') }}
    where kind in ('session_held', 'session_cancelled', 'session_attended')
),

people_with_changed_consent as (
    select tenant_id, participant_id
    from {{ ref('int_participants_touched') }}
    where has_changed_consent
),

touched as (
    select tenant_id, group_id, participant_id
    from {{ ref('int_participation_events_changed') }}
    union all
    select events.tenant_id, events.group_id, events.participant_id
    from {{ ref('fct_participation') }} as events
    inner join groups_with_changed_sessions as groups
        on events.tenant_id = groups.tenant_id and events.group_id = groups.group_id
    union all
    select events.tenant_id, events.group_id, events.participant_id
    from {{ ref('fct_participation') }} as events
    inner join people_with_changed_consent as people
        on events.tenant_id = people.tenant_id and events.participant_id = people.participant_id
)

select distinct tenant_id, group_id, participant_id
from touched
where participant_id is not null
