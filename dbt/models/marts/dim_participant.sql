{% set touched = {'model': 'int_participants_touched', 'columns': ['tenant_id', 'participant_id']} %}
{{ config(unique_key=['tenant_id', 'participant_id'], meta={'touched': touched}) }}

{% set all_of_somebody = of_touched(ref('fct_participation'), touched) %}
{% set adds_to_last_build = is_update() and not var('recompute_landed_from', none) %}

-- depends_on: {{ ref('int_participation_events_changed') }}
-- depends_on: {{ ref('int_outcome_events_changed') }}
{% set taken_back %}
    select tenant_id, participant_id from {{ ref('int_participation_events_changed') }} where is_taken_back
    union
    select tenant_id, participant_id from {{ ref('int_outcome_events_changed') }} where is_taken_back
{% endset %}
{% set known %}
    (
        select people.tenant_id, people.participant_id, people.data_class, people.first_event_at, people.last_event_at
        from {{ this }} as people
        inner join ({{ touched_keys(touched, ref(touched.model)) }}) as touched
            on {{ equal(touched.columns, 'people', 'touched') }}
        where not exists (
            select 1 from ({{ taken_back }}) as taken_back
            where {{ equal(touched.columns, 'taken_back', 'people') }}
        )
    )
{% endset %}

with participation_mentions as (
    {% if adds_to_last_build %}
    -- To whose past nothing was done, what is new is added. What was taken back may have been the first or the last.
    select known.tenant_id, known.participant_id, known.data_class, known.first_event_at as occurred_at
    from {{ known }} as known
    union all
    select known.tenant_id, known.participant_id, known.data_class, known.last_event_at as occurred_at
    from {{ known }} as known
    union all
    select events.tenant_id, events.participant_id, events.data_class, events.occurred_at
    from {{ ref('fct_participation') }} as events
    where {{ is_newly_landed('events') }}
    union all
    select events.tenant_id, events.participant_id, events.data_class, events.occurred_at
    from {{ ref('fct_participation') }} as events
    inner join ({{ taken_back }}) as people
        on events.tenant_id = people.tenant_id and events.participant_id = people.participant_id
    {% else %}
    select tenant_id, participant_id, data_class, occurred_at
    from {{ all_of_somebody }} as events
    {% endif %}
),

mentions as (
    select tenant_id, participant_id, data_class, occurred_at
    from participation_mentions
    where participant_id is not null
    union all
    select tenant_id, participant_id, data_class, occurred_at
    from {{ of_touched(ref('int_outcome_events_kept'), touched) }} as events
    where participant_id is not null
),

people as (
    select
        tenant_id,
        participant_id,
        min(data_class) as data_class,
        min(occurred_at) as first_event_at,
        max(occurred_at) as last_event_at
    from mentions
    group by tenant_id, participant_id
),

research_consents as (
    select tenant_id, participant_id, is_given, stated_at
    from {{ ref('int_consents_resolved') }}
    where consent_scope = 'research'
)

select
    people.tenant_id,
    people.participant_id,
    people.data_class,
    -- Rows that somebody has published already need no consent of ours.
    case when people.data_class = 'public' then 'published_data' else 'recorded' end as consent_basis,
    people.data_class = 'public' or coalesce(research_consents.is_given, false) as has_research_consent,
    research_consents.stated_at as research_consent_stated_at,
    withdrawals.withdrawn_at,
    attributes.age_band,
    attributes.gender,
    attributes.employment,
    attributes.education,
    attributes.marital_status,
    people.first_event_at,
    people.last_event_at
from people
left join research_consents
    on people.tenant_id = research_consents.tenant_id
    and people.participant_id = research_consents.participant_id
left join {{ ref('int_withdrawals_resolved') }} as withdrawals
    on people.tenant_id = withdrawals.tenant_id and people.participant_id = withdrawals.participant_id
left join {{ ref('int_attributes_resolved') }} as attributes
    on people.tenant_id = attributes.tenant_id and people.participant_id = attributes.participant_id
