{% set touched = {
    'model': 'int_participants_touched', 'columns': ['tenant_id', 'participant_id'],
    'where': 'has_changed_outcome or has_changed_consent',
} %}
{{ config(unique_key=['tenant_id', 'survey_code', 'participant_id', 'question'], meta={'touched': touched}) }}

with surveyed as (
    select
        *,
        row_number() over (
            partition by tenant_id, survey_code, participant_id
            order by occurred_at desc, landed_seq desc, kafka_partition desc, kafka_offset desc, event_index desc
        ) as call_recency
    from {{ of_touched(touched_outcomes(), touched) }} as events
    where kind = 'survey_answered'
),

-- How somebody was drawn is said by the last call alone: weight, stratum and cluster belong together.
drawn as (
    select tenant_id, survey_code, participant_id, data_class, survey_weight, survey_stratum, survey_cluster
    from surveyed
    where call_recency = 1
),

answered as (
    select
        surveyed.tenant_id,
        surveyed.survey_code,
        surveyed.participant_id,
        told.question,
        told.answer,
        surveyed.occurred_at,
        row_number() over (
            partition by surveyed.tenant_id, surveyed.survey_code, surveyed.participant_id, told.question
            -- Two answers to a question in one call: either would do, as long as it is always the same.
            order by surveyed.call_recency, told.answer
        ) as recency
    from surveyed
    {{ with_pairs_of('surveyed.survey_answers', 'told', 'question', 'answer') }}
)

select
    answered.tenant_id,
    answered.survey_code,
    answered.participant_id,
    answered.question,
    drawn.data_class,
    people.has_research_consent,
    answered.answer,
    drawn.survey_weight,
    drawn.survey_stratum,
    drawn.survey_cluster,
    answered.occurred_at as answered_at
from answered
inner join drawn
    on answered.tenant_id = drawn.tenant_id
    and answered.survey_code = drawn.survey_code
    and answered.participant_id = drawn.participant_id
inner join {{ ref('dim_participant') }} as people
    on answered.tenant_id = people.tenant_id and answered.participant_id = people.participant_id
where answered.recency = 1
