{% set touched = {
    'model': 'int_participants_touched', 'columns': ['tenant_id', 'participant_id'],
    'where': 'has_changed_outcome or has_changed_consent',
} %}
{{ config(unique_key=['tenant_id', 'event_id'], meta={'touched': touched}) }}

select
    costs.tenant_id,
    costs.event_id,
    costs.data_class,
    costs.participant_id,
    people.has_research_consent,
    costs.study_code,
    arms.arm,
    costs.cost_category,
    costs.cost_currency,
    costs.cost_amount,
    costs.occurred_at
from {{ of_touched(touched_outcomes(), touched) }} as costs
inner join {{ ref('dim_participant') }} as people
    on costs.tenant_id = people.tenant_id and costs.participant_id = people.participant_id
left join {{ ref('int_arms_allocated') }} as arms
    on costs.tenant_id = arms.tenant_id
    and costs.participant_id = arms.participant_id
    and costs.study_code = arms.study_code
where costs.kind = 'cost_recorded'
