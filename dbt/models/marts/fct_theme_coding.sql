{% set touched = {
    'model': 'int_participants_touched', 'columns': ['tenant_id', 'participant_id'],
    'where': 'has_changed_outcome or has_changed_consent',
} %}
{{ config(
    unique_key=['tenant_id', 'study_code', 'participant_id', 'theme', 'coder_id'], meta={'touched': touched}
) }}

with coded as (
    select
        *,
        row_number() over (
            partition by tenant_id, study_code, participant_id, theme, coder_id
            order by occurred_at desc, landed_seq desc, kafka_partition desc, kafka_offset desc, event_index desc
        ) as recency
    from {{ of_touched(touched_outcomes(), touched) }} as events
    where kind = 'theme_coded'
)

select
    coded.tenant_id,
    coded.study_code,
    coded.participant_id,
    coded.theme,
    coded.coder_id,
    coded.data_class,
    people.has_research_consent,
    coded.group_id,
    -- A coder who looked and did not find it says false; a field that is left out is false in the contract.
    coalesce(coded.is_theme_present, false) as is_present,
    coded.occurred_at as coded_at
from coded
inner join {{ ref('dim_participant') }} as people
    on coded.tenant_id = people.tenant_id and coded.participant_id = people.participant_id
where coded.recency = 1
