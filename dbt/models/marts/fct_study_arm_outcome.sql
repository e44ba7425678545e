{{ config(materialized='table') }}

with allocated as (
    select arms.*, people.has_research_consent
    from {{ ref('int_arms_allocated') }} as arms
    inner join {{ ref('dim_participant') }} as people
        on arms.tenant_id = people.tenant_id and arms.participant_id = people.participant_id
),

arms as (
    select
        tenant_id,
        study_code,
        arm,
        min(data_class) as data_class,
        cast(count(*) as bigint) as count_allocated,
        cast(count_if(has_research_consent) as bigint) as count_consented,
        min(allocated_at) as first_allocated_at
    from allocated
    group by tenant_id, study_code, arm
),

-- As allocated: whoever was allocated and answered counts, whatever else happened.
scores as (
    select
        tenant_id,
        study_code,
        arm,
        instrument,
        instrument_version,
        scale,
        time_point,
        cast(count(score) as bigint) as count_scored,
        avg(score) as mean,
        stddev_samp(score) as sd,
        min(occurred_at) as first_answered_at,
        max(occurred_at) as last_answered_at
    from {{ ref('fct_outcome') }}
    where is_counted and has_research_consent and arm is not null and score is not null
    group by tenant_id, study_code, arm, instrument, instrument_version, scale, time_point
)

select
    arms.tenant_id,
    arms.data_class,
    arms.study_code,
    arms.arm,
    scores.instrument,
    scores.instrument_version,
    scores.scale,
    scores.time_point,
    arms.count_allocated,
    arms.count_consented,
    coalesce(scores.count_scored, 0) as count_scored,
    scores.mean,
    scores.sd,
    arms.first_allocated_at,
    scores.first_answered_at,
    scores.last_answered_at
from arms
-- An arm in which nobody has answered yet keeps its row.
left join scores
    on arms.tenant_id = scores.tenant_id
    and arms.study_code = scores.study_code
    and arms.arm = scores.arm
