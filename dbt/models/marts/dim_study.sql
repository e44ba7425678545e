{{ config(materialized='table') }}

with registrations as (
    select
        *,
        row_number() over (
            partition by tenant_id, study_code order by occurred_at, {{ arrival_order() }}
        ) as registration_number
    from {{ ref('int_study_events_kept') }}
    where kind = 'study_registered'
)

select
    tenant_id,
    study_code,
    min(data_class) as data_class,
    max_by(design, registration_number) filter (where design is not null) as design,
    max_by(result, registration_number) filter (where result is not null) as result,
    max_by(risk_of_bias, registration_number) filter (where risk_of_bias is not null) as risk_of_bias,
    max_by(publication_year, registration_number)
        filter (where publication_year is not null) as publication_year,
    max_by(doi, registration_number) filter (where doi is not null) as doi,
    min(occurred_at) as registered_at
from registrations
group by tenant_id, study_code
