-- From when to when a statement of age is the latest one. Half-open; NULL: until now.
select
    tenant_id,
    participant_id,
    age_band,
    occurred_at as stated_at,
    lead(occurred_at) over (
        partition by tenant_id, participant_id order by occurred_at, {{ arrival_order() }}
    ) as next_stated_at
from {{ touched_outcomes() }} as events
where kind = 'attribute_stated' and age_band is not null
