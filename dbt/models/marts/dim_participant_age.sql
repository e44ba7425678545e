{% set touched = {
    'model': 'int_participants_touched', 'columns': ['tenant_id', 'participant_id'],
    'where': 'has_changed_outcome or has_changed_consent',
} %}
{{ config(unique_key=['tenant_id', 'participant_id', 'stated_at'], meta={'touched': touched}) }}

with stated as (
    select
        tenant_id,
        data_class,
        participant_id,
        age_band,
        occurred_at as stated_at,
        lead(occurred_at) over (
            partition by tenant_id, participant_id order by occurred_at, {{ arrival_order() }}
        ) as next_stated_at
    from {{ of_touched(touched_outcomes(), touched) }} as events
    where kind = 'attribute_stated' and age_band is not null
)

select
    stated.tenant_id,
    stated.data_class,
    stated.participant_id,
    people.has_research_consent,
    stated.age_band,
    stated.stated_at,
    stated.next_stated_at
from stated
inner join {{ ref('dim_participant') }} as people
    on stated.tenant_id = people.tenant_id and stated.participant_id = people.participant_id
-- Of two at one moment the later arrival counts.
where stated.next_stated_at is null or stated.next_stated_at > stated.stated_at
