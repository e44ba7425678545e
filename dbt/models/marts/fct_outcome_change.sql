{% set touched = {
    'model': 'int_participants_touched', 'columns': ['tenant_id', 'participant_id'],
    'where': 'has_changed_outcome or has_changed_consent',
} %}
{{ config(
    unique_key=['tenant_id', 'study_code', 'participant_id', 'instrument', 'instrument_version', 'scale'],
    meta={'touched': touched},
) }}

with scores as (
    select
        *,
        row_number() over (
            partition by tenant_id, study_code, participant_id, instrument, instrument_version, scale
            order by occurred_at, event_id
        ) as score_number
    from {{ of_touched(ref('fct_outcome'), touched) }} as events
    where is_counted and score is not null
),

paired as (
    select
        tenant_id,
        study_code,
        participant_id,
        instrument,
        instrument_version,
        scale,
        min(data_class) as data_class,
        bool_or(has_research_consent) as has_research_consent,
        max(arm) as arm,
        cast(count(*) as bigint) as count_scores,
        min_by(score, score_number) as first_score,
        max_by(score, score_number) as latest_score,
        min(occurred_at) as first_answered_at,
        max(occurred_at) as last_answered_at
    from scores
    group by tenant_id, study_code, participant_id, instrument, instrument_version, scale
)

select
    paired.tenant_id,
    paired.study_code,
    paired.participant_id,
    paired.instrument,
    paired.instrument_version,
    paired.scale,
    paired.data_class,
    paired.has_research_consent,
    paired.arm,
    paired.count_scores,
    paired.first_score,
    -- One score is no pair: nobody knows what has become of it.
    case when paired.count_scores > 1 then paired.latest_score end as last_score,
    case
        when paired.count_scores > 1 and scales.direction = 'lower_is_better' then paired.first_score - paired.latest_score
        when paired.count_scores > 1 then paired.latest_score - paired.first_score
    end as improvement,
    paired.first_answered_at,
    paired.last_answered_at
from paired
-- Without the instrument, and its direction, nobody knows which way is better.
inner join {{ ref('dim_instrument') }} as scales
    on paired.instrument = scales.instrument
    and paired.instrument_version = scales.instrument_version
    and paired.scale = scales.scale
where scales.direction is not null
