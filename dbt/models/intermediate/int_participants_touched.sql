{{ config(materialized='table') }}

-- A tenant's class is not meant to change. Where it did, it may have changed anybody's.
with tenants_of_several_classes as (
    select tenant_id
    from (
        select distinct tenant_id, data_class from {{ ref('stg_participation__events') }}
        union
        select distinct tenant_id, data_class from {{ ref('stg_outcomes__events') }}
    ) as classes
    group by tenant_id
    having count(*) > 1
),

touched as (
    select tenant_id, participant_id, false as has_changed_outcome, false as has_changed_consent
    from {{ ref('int_participation_events_changed') }}
    union all
    select
        tenant_id,
        participant_id,
        true as has_changed_outcome,
        kind in ('consent_given', 'consent_withdrawn') as has_changed_consent
    from {{ ref('int_outcome_events_changed') }}
)

select
    touched.tenant_id,
    touched.participant_id,
    bool_or(touched.has_changed_outcome) as has_changed_outcome,
    bool_or(touched.has_changed_consent or tenants.tenant_id is not null) as has_changed_consent
from touched
left join tenants_of_several_classes as tenants on touched.tenant_id = tenants.tenant_id
where touched.participant_id is not null
group by touched.tenant_id, touched.participant_id
