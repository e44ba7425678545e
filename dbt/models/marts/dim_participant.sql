{% set touched = {'model': 'int_participants_touched', 'columns': ['tenant_id', 'participant_id']} %}
{{ config(unique_key=['tenant_id', 'participant_id'], meta={'touched': touched}) }}

with mentions as (
    select tenant_id, participant_id, data_class, first_event_at, last_event_at
    from {{ of_touched(ref('int_participants_mentioned'), touched) }} as mentions
    union all
    select tenant_id, participant_id, data_class, occurred_at as first_event_at, occurred_at as last_event_at
    from {{ touched_outcomes() }} as events
    where participant_id is not null
),

people as (
    select
        tenant_id,
        participant_id,
        min(data_class) as data_class,
        min(first_event_at) as first_event_at,
        max(last_event_at) as last_event_at
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
