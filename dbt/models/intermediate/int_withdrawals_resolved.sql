with statements as (
    select
        tenant_id,
        participant_id,
        kind,
        occurred_at,
        -- Of a yes and a no in the same second, the no counts.
        row_number() over (
            partition by tenant_id, participant_id
            order by {{ seconds_of('occurred_at') }} desc, kind desc, {{ arrival_order() }}
        ) as recency
    from {{ touched_outcomes() }} as events
    where kind in ('consent_given', 'consent_withdrawn')
)

select tenant_id, participant_id, occurred_at as withdrawn_at
from statements
where recency = 1 and kind = 'consent_withdrawn'
