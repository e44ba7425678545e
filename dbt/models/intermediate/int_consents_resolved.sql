with statements as (
    select
        tenant_id,
        participant_id,
        consent_scope,
        kind = 'consent_given' as is_given,
        occurred_at,
        -- Of a yes and a no at the same moment, the no counts.
        row_number() over (
            partition by tenant_id, participant_id, consent_scope
            order by occurred_at desc, kind desc, {{ arrival_order() }}
        ) as recency
    from {{ touched_outcomes() }} as events
    where kind in ('consent_given', 'consent_withdrawn') and consent_scope is not null
)

select tenant_id, participant_id, consent_scope, is_given, occurred_at as stated_at
from statements
where recency = 1
