{{ config(materialized='table') }}

with judged as (
    select
        changes.*,
        criteria.cut_off,
        criteria.reliable_change,
        changes.improvement >= criteria.reliable_change as is_improved,
        changes.improvement <= -criteria.reliable_change as is_deteriorated,
        case
            when criteria.direction = 'lower_is_better' then changes.first_score >= criteria.cut_off
            else changes.first_score <= criteria.cut_off
        end as is_case_at_first,
        case
            when criteria.direction = 'lower_is_better' then changes.last_score >= criteria.cut_off
            else changes.last_score <= criteria.cut_off
        end as is_case_at_last
    from {{ ref('fct_outcome_change') }} as changes
    inner join {{ ref('fct_study_change_criterion') }} as criteria
        on changes.tenant_id = criteria.tenant_id
        and changes.study_code = criteria.study_code
        and changes.instrument = criteria.instrument
        and changes.instrument_version = criteria.instrument_version
        and changes.scale = criteria.scale
    -- As allocated: people of no arm are in no arm's counts.
    where changes.has_research_consent and changes.arm is not null
)

select
    tenant_id,
    study_code,
    arm,
    instrument,
    instrument_version,
    scale,
    min(data_class) as data_class,
    cast(count(*) as bigint) as count_started,
    cast(count(last_score) as bigint) as count_paired,
    -- NULL: the registry tells neither a reliable change nor a reliability.
    case when max(reliable_change) is not null then cast(count_if(is_improved) as bigint) end as count_improved,
    case when max(reliable_change) is not null then cast(count_if(is_deteriorated) as bigint) end as count_deteriorated,
    case when max(cut_off) is not null then cast(count_if(is_case_at_first and last_score is not null) as bigint) end as count_cases,
    case
        when max(cut_off) is not null then cast(count_if(is_case_at_first and not is_case_at_last) as bigint)
    end as count_crossed,
    case
        when max(cut_off) is not null and max(reliable_change) is not null
            then cast(count_if(is_improved and is_case_at_first and not is_case_at_last) as bigint)
    end as count_recovered
from judged
group by tenant_id, study_code, arm, instrument, instrument_version, scale
