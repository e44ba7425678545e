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

-- Whoever was there before has a row of the last build, whoever is new has an event that is new.
touched as (
    select tenant_id, group_id, participant_id
    from {{ ref('int_participation_events_changed') }}
    {% for mart in ['fct_group_membership', 'fct_participant_dose'] if is_update() %}
    union all
    select known.tenant_id, known.group_id, known.participant_id
    from {{ as_last_built(mart) }} as known
    left join groups_with_changed_sessions as groups
        on known.tenant_id = groups.tenant_id and known.group_id = groups.group_id
    left join people_with_changed_consent as people
        on known.tenant_id = people.tenant_id and known.participant_id = people.participant_id
    where groups.tenant_id is not null or people.tenant_id is not null
    {% endfor %}
)

select distinct tenant_id, group_id, participant_id
from touched
where participant_id is not null
