{% set touched = {
    'model': 'int_participants_touched', 'columns': ['tenant_id', 'participant_id'], 'where': 'has_changed_outcome or has_changed_consent'
} %}
{{ config(unique_key=['tenant_id', 'event_id', 'scale'], meta={'touched': touched}) }}

with periods as (
    select cast(study_code as varchar) as study_code, cast(first_day as date) as first_day, cast(last_day as date) as last_day
    from ({{ table_of(['study_code', 'first_day', 'last_day'], study_periods()) }}) as listed
),

answered as (
    select
        scored.*,
        -- By the protocol of the study, where it has a period.
        cast(scored.occurred_at at time zone 'UTC' as date)
        between coalesce(periods.first_day, date '0001-01-01') and coalesce(periods.last_day, date '9999-12-31') as is_in_period
    from {{ ref('int_questionnaires_scored') }} as scored
    left join periods on scored.study_code = periods.study_code
),

scored as (
    select
        *,
        -- Where a person answered twice at one planned time point, the later answer counts that has a score.
        row_number() over (
            partition by
                tenant_id, participant_id, study_code, time_point, instrument, instrument_version, scale
            order by is_in_period desc, (score is not null) desc, occurred_at desc, landed_seq desc, kafka_partition desc, kafka_offset desc, event_index desc
        ) as recency
    from answered
)

select
    scored.tenant_id,
    scored.event_id,
    scored.scale,
    scored.data_class,
    scored.participant_id,
    people.has_research_consent,
    scored.group_id,
    scored.study_code,
    arms.arm,
    scored.time_point,
    scored.instrument,
    scored.instrument_version,
    scored.score,
    scored.scoring,
    scored.not_scored_reason,
    scored.count_items,
    scored.study_code is not null and scored.time_point is not null and scored.is_in_period and scored.recency = 1
        as is_counted,
    ages.age_band,
    scored.occurred_at,
    scored.is_late
from scored
inner join {{ ref('dim_participant') }} as people
    on scored.tenant_id = people.tenant_id and scored.participant_id = people.participant_id
left join {{ ref('int_arms_allocated') }} as arms
    on scored.tenant_id = arms.tenant_id
    and scored.participant_id = arms.participant_id
    and scored.study_code = arms.study_code
-- Age when it was answered, as last stated by then.
left join {{ ref('dim_participant_age') }} as ages
    on scored.tenant_id = ages.tenant_id
    and scored.participant_id = ages.participant_id
    and scored.occurred_at >= ages.stated_at
    and (ages.next_stated_at is null or scored.occurred_at < ages.next_stated_at)
