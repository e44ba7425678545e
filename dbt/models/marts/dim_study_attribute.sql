{{ config(materialized='table') }}

with stated as (
    select
        studies.tenant_id,
        studies.data_class,
        studies.study_code,
        told.code as attribute,
        told.value as attribute_value,
        -- Values of one registration share their number.
        rank() over (
            partition by studies.tenant_id, studies.study_code, told.code
            order by studies.occurred_at, {{ arrival_order() }}
        ) as statement_number
    from {{ ref('int_study_events_kept') }} as studies
    {{ with_pairs_of('studies.attributes', 'told') }}
    where studies.kind = 'study_registered'
),

numbered as (
    select
        *,
        max(statement_number) over (partition by tenant_id, study_code, attribute) as last_statement_number
    from stated
)

-- All that the last registration says that says anything of it.
select
    tenant_id,
    study_code,
    attribute,
    attribute_value,
    min(data_class) as data_class
from numbered
where statement_number = last_statement_number
group by tenant_id, study_code, attribute, attribute_value
