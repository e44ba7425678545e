with numbered as (
    select
        *,
        row_number() over (
            partition by tenant_id, participant_id order by occurred_at, {{ arrival_order() }}
        ) as statement_number
    from {{ touched_outcomes() }} as events
    where kind = 'attribute_stated'
)

-- Each attribute keeps its latest statement. Diagnoses are many per person and stay in staging.
select
    tenant_id,
    participant_id,
    max_by(age_band, statement_number) filter (where age_band is not null) as age_band,
    max_by(gender, statement_number) filter (where gender is not null) as gender,
    max_by(employment, statement_number) filter (where employment is not null) as employment,
    max_by(education, statement_number) filter (where education is not null) as education,
    max_by(marital_status, statement_number) filter (where marital_status is not null) as marital_status
from numbered
group by tenant_id, participant_id
