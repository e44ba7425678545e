{{ config(materialized='table') }}

{#
  The rule of NHS Talking Therapies: a case is one on either of two questionnaires, recovered is a case no more on both;
  reliably improved is so on one of them and on neither reliably worse. Out of people who have finished: at least two
  attended sessions of any group, and a first and a last score on both.
#}
{% set depression, anxiety = 'phq-9', 'gad-7' %}
with pairs as (
    select
        changes.tenant_id,
        changes.study_code,
        changes.arm,
        changes.participant_id,
        changes.data_class,
        changes.instrument,
        changes.first_score >= scales.case_at as is_case_at_first,
        changes.last_score >= scales.case_at as is_case_at_last,
        changes.improvement >= scales.reliable_change as is_improved,
        changes.improvement <= -scales.reliable_change as is_deteriorated
    from {{ ref('fct_outcome_change') }} as changes
    inner join {{ ref('dim_instrument') }} as scales
        on changes.instrument = scales.instrument
        and changes.instrument_version = scales.instrument_version
        and changes.scale = scales.scale
    where
        changes.has_research_consent
        and changes.arm is not null
        and changes.last_score is not null
        and changes.scale = 'total'
        and changes.instrument in ('{{ depression }}', '{{ anxiety }}')
),

attended as (
    select tenant_id, participant_id, sum(count_sessions_attended) as count_sessions
    from {{ ref('fct_group_membership') }}
    group by tenant_id, participant_id
),

people as (
    select
        pairs.tenant_id,
        pairs.study_code,
        pairs.arm,
        pairs.participant_id,
        min(pairs.data_class) as data_class,
        coalesce(max(attended.count_sessions), 0) >= 2 as has_finished,
        bool_or(pairs.is_case_at_first) as was_case,
        bool_or(pairs.is_case_at_last) as is_case,
        bool_or(pairs.is_improved) and not bool_or(pairs.is_deteriorated) as is_improved,
        bool_or(pairs.is_deteriorated) and not bool_or(pairs.is_improved) as is_deteriorated
    from pairs
    left join attended on pairs.tenant_id = attended.tenant_id and pairs.participant_id = attended.participant_id
    group by pairs.tenant_id, pairs.study_code, pairs.arm, pairs.participant_id
    having count(distinct pairs.instrument) = 2
)

select
    tenant_id,
    study_code,
    arm,
    min(data_class) as data_class,
    cast(count(*) as bigint) as count_paired,
    cast(count_if(has_finished) as bigint) as count_finished,
    cast(count_if(has_finished and was_case) as bigint) as count_finished_cases,
    cast(count_if(has_finished and was_case and not is_case) as bigint) as count_recovered,
    cast(count_if(has_finished and was_case and not is_case and is_improved) as bigint) as count_reliably_recovered,
    cast(count_if(has_finished and is_improved) as bigint) as count_reliably_improved,
    cast(count_if(has_finished and is_deteriorated) as bigint) as count_reliably_deteriorated
from people
group by tenant_id, study_code, arm
