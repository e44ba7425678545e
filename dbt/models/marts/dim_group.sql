{% set touched = {'model': 'int_groups_touched', 'columns': ['tenant_id', 'group_id']} %}
{{ config(unique_key=['tenant_id', 'group_id'], meta={'touched': touched}) }}

with group_events as (
    select
        *,
        row_number() over (
            partition by tenant_id, group_id order by occurred_at, {{ arrival_order() }}
        ) as event_number
    from {{ of_touched(ref('int_group_events_kept'), touched) }} as events
),

-- A change keeps what it does not mention, so each fact has its own latest statement.
facts as (
    select
        tenant_id,
        group_id,
        min(data_class) as data_class,
        max_by(format, event_number) filter (where format is not null) as format,
        max_by(moderation, event_number) filter (where moderation is not null) as moderation,
        max_by(condition, event_number) filter (where condition is not null) as condition,
        max_by(population, event_number) filter (where population is not null) as population,
        max_by(capacity, event_number) filter (where capacity is not null) as capacity,
        max_by(time_zone, event_number) filter (where time_zone is not null) as time_zone,
        max_by(has_reads_collected, event_number)
            filter (where has_reads_collected is not null) as has_reads_collected,
        min(occurred_at) filter (where kind = 'group_registered') as registered_at,
        max(occurred_at) filter (where kind = 'group_closed') as closed_at
    from group_events
    group by tenant_id, group_id
),

acted as (
    select
        tenant_id,
        group_id,
        min(data_class) as data_class,
        min(occurred_at) as first_event_at,
        max(occurred_at) as last_event_at
    from {{ touched_participation(touched) }} as events
    group by tenant_id, group_id
)

select
    coalesce(facts.tenant_id, acted.tenant_id) as tenant_id,
    coalesce(facts.group_id, acted.group_id) as group_id,
    coalesce(facts.data_class, acted.data_class) as data_class,
    facts.registered_at is not null as is_registered,
    facts.closed_at is not null as is_closed,
    facts.format,
    facts.moderation,
    facts.condition,
    facts.population,
    facts.capacity,
    coalesce(facts.time_zone, 'UTC') as time_zone,
    coalesce(facts.has_reads_collected, false) as has_reads_collected,
    facts.registered_at,
    facts.closed_at,
    acted.first_event_at,
    acted.last_event_at
from facts
full outer join acted on facts.tenant_id = acted.tenant_id and facts.group_id = acted.group_id
