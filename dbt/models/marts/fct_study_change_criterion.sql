{{ config(materialized='table') }}

{#
  What a change has to be to count, in a study: as the registry says, or by Jacobson and Truax (1991) from the scale's
  reliability r and the study's first scores (M₁, SD₁) and those of people who are not in treatment (M₀, SD₀):
  reliable is 1.96 · SD₁ · √2 · √(1 − r); the cut-off c = (SD₀·M₁ + SD₁·M₀) / (SD₀ + SD₁).
#}
with first_scores as (
    select
        tenant_id,
        study_code,
        instrument,
        instrument_version,
        scale,
        min(data_class) as data_class,
        cast(count(*) as bigint) as count_people,
        avg(first_score) as first_mean,
        stddev_samp(first_score) as first_sd
    from {{ ref('fct_outcome_change') }}
    where has_research_consent
    group by tenant_id, study_code, instrument, instrument_version, scale
)

select
    first_scores.tenant_id,
    first_scores.study_code,
    first_scores.instrument,
    first_scores.instrument_version,
    first_scores.scale,
    first_scores.data_class,
    scales.direction,
    first_scores.count_people,
    first_scores.first_mean,
    first_scores.first_sd,
    coalesce(
        scales.reliable_change, 1.96 * first_scores.first_sd * sqrt(2) * sqrt(1 - scales.reliability)
    ) as reliable_change,
    case
        when scales.reliable_change is not null then 'registry, ' || scales.reliable_change_mark
        when scales.reliability is not null and first_scores.first_sd is not null
            then 'Jacobson-Truax, reliability ' || scales.reliability_mark
    end as reliable_change_basis,
    coalesce(
        scales.case_at,
        (scales.norm_sd * first_scores.first_mean + first_scores.first_sd * scales.norm_mean)
        / (scales.norm_sd + first_scores.first_sd)
    ) as cut_off,
    case
        when scales.case_at is not null then 'registry, ' || scales.case_at_mark
        when scales.norm_sd is not null and first_scores.first_sd is not null
            then 'Jacobson-Truax criterion c, norm ' || scales.norm_mark
    end as cut_off_basis
from first_scores
inner join {{ ref('dim_instrument') }} as scales
    on first_scores.instrument = scales.instrument
    and first_scores.instrument_version = scales.instrument_version
    and first_scores.scale = scales.scale
