{{ config(materialized='table') }}

with reports as (
    select
        *,
        -- A correction is a newer report of the same: the last one counts.
        lead(event_id) over (
            partition by
                tenant_id, study_code, kind, arm, comparison_arm, outcome, instrument, time_point, effect_scale
            order by occurred_at, {{ arrival_order() }}
        ) is null as is_newest
    from {{ ref('int_study_events_kept') }}
    where kind in ('arm_summarised', 'effect_estimated')
)

select
    tenant_id,
    data_class,
    study_code,
    kind,
    arm,
    comparison_arm,
    outcome,
    instrument,
    time_point,
    count_people,
    mean,
    sd,
    count_people_with_event,
    effect_scale,
    estimate,
    standard_error,
    occurred_at as reported_at
from reports
where is_newest
