{{ config(materialized='table') }}

with stated as (
    select
        studies.tenant_id,
        studies.data_class,
        studies.study_code,
        told.code as covariate,
        told.value as covariate_value,
        row_number() over (
            partition by studies.tenant_id, studies.study_code, told.code
            order by studies.occurred_at, {{ arrival_order() }}
        ) as statement_number
    from {{ ref('int_study_events_kept') }} as studies
    {{ with_pairs_of('studies.covariates', 'told') }}
    where studies.kind = 'study_registered'
)

-- What the last registration says that says anything of it.
select
    tenant_id,
    study_code,
    covariate,
    min(data_class) as data_class,
    max_by(covariate_value, statement_number) as covariate_value
from stated
group by tenant_id, study_code, covariate
