{% set touched = {'model': 'int_groups_touched', 'columns': ['tenant_id', 'group_id']} %}

with mentions as (
    select tenant_id, group_id, session_id, kind, occurred_at, session_minutes
    from {{ touched_participation(touched) }} as events
    where kind in ('session_held', 'session_cancelled', 'session_attended') and session_id is not null
)

-- A session that somebody attended was held, also where the service did not post `session_held`.
select
    tenant_id,
    group_id,
    session_id,
    coalesce(
        min(occurred_at) filter (where kind = 'session_held'),
        min(occurred_at) filter (where kind = 'session_attended'),
        min(occurred_at)
    ) as held_at,
    max(session_minutes) as session_minutes,
    count_if(kind = 'session_cancelled') > 0 as is_cancelled
from mentions
group by tenant_id, group_id, session_id
