{{ config(materialized='table') }}

-- depends_on: {{ ref('int_participants_touched') }}
-- depends_on: {{ ref('int_participation_events_changed') }}
{#
  Whoever was there before has a row of the last build, whoever is new has an event that is new.
#}
with touched as (
    select tenant_id, group_id, participant_id
    from {{ ref('int_participation_events_changed') }}
    {% if is_update() %}
    {% for mart in ['fct_group_membership', 'fct_participant_dose'] %}
    union all
    select known.tenant_id, known.group_id, known.participant_id
    from {{ as_last_built(mart) }} as known
    -- A session is open to all members of its group: one more, or one less, concerns each of them.
    left join (
        select distinct tenant_id, group_id
        from {{ ref('int_participation_events_changed') }}
        where kind in ('session_held', 'session_cancelled', 'session_attended')
    ) as groups
        on known.tenant_id = groups.tenant_id and known.group_id = groups.group_id
    left join (
        select tenant_id, participant_id
        from {{ ref('int_participants_touched') }}
        where has_changed_consent
    ) as people
        on known.tenant_id = people.tenant_id and known.participant_id = people.participant_id
    where groups.tenant_id is not null or people.tenant_id is not null
    {% endfor %}
    {% endif %}
)

select distinct tenant_id, group_id, participant_id
from touched
where participant_id is not null
