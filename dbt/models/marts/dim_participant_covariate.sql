{% set touched = {
    'model': 'int_participants_touched', 'columns': ['tenant_id', 'participant_id'],
    'where': 'has_changed_outcome or has_changed_consent',
} %}
{{ config(unique_key=['tenant_id', 'study_code', 'participant_id', 'covariate'], meta={'touched': touched}) }}

with stated as (
    select
        *,
        row_number() over (
            partition by tenant_id, study_code, participant_id, covariate
            order by occurred_at desc, landed_seq desc, kafka_partition desc, kafka_offset desc, event_index desc
        ) as recency
    from {{ of_touched(touched_outcomes(), touched) }} as events
    where kind = 'covariate_stated'
)

select
    stated.tenant_id,
    stated.data_class,
    stated.study_code,
    stated.participant_id,
    people.has_research_consent,
    stated.covariate,
    stated.covariate_value,
    stated.occurred_at as stated_at
from stated
inner join {{ ref('dim_participant') }} as people
    on stated.tenant_id = people.tenant_id and stated.participant_id = people.participant_id
where stated.recency = 1
