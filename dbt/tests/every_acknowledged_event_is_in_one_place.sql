{{ config(meta={'dagster': {'ref': {'name': 'stg_failures__failed_events'}}}) }}

{#
  The promise to partners: an acknowledged event is in staging exactly once, or among the failed events
  exactly once. Rows of slices that wait for admission, or for an operator, are not asked about. Rows of a
  rejected slice are, those that have an identity: without one the gateway acknowledges nothing.
#}
{% set domains = {
    'participation': 'participation_events',
    'outcomes': 'outcome_events',
    'groups': 'group_events',
    'studies': 'study_events',
} %}

with landed as (
    {% for verdict in ['passed', 'rejected'] %}
    {% for raw_table in domains.values() %}
    select topic, tenant_id, event_id, body_hash
    from ({{ rows_of_slices(raw_table, verdict) }}) as landed_rows
    union all
    {% endfor %}
    select topic, tenant_id, event_id, body_hash
    from ({{ rows_of_slices('failed_events', verdict) }}) as deferred_rows
    where stage = 'ingestion'
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

acknowledged as (
    select distinct topic, tenant_id, event_id, body_hash
    from landed
    where tenant_id is not null and event_id is not null and body_hash is not null
),

places as (
    {% for domain in domains %}
    select identities.topic, events.tenant_id, events.event_id, events.body_hash
    from {{ ref('stg_' ~ domain ~ '__events') }} as events
    inner join {{ ref('stg_' ~ domain ~ '__identities') }} as identities
        on events.tenant_id = identities.tenant_id
        and events.event_id = identities.event_id
        and events.body_hash = identities.body_hash
    union all
    {% endfor %}
    select topic, tenant_id, event_id, body_hash
    from {{ ref('stg_failures__failed_events') }}
    where event_id is not null
)

select
    acknowledged.topic,
    acknowledged.tenant_id,
    acknowledged.event_id,
    acknowledged.body_hash,
    count(places.event_id) as count_places
from acknowledged
left join places
    on acknowledged.topic = places.topic
    and acknowledged.tenant_id = places.tenant_id
    and acknowledged.event_id = places.event_id
    and acknowledged.body_hash = places.body_hash
group by acknowledged.topic, acknowledged.tenant_id, acknowledged.event_id, acknowledged.body_hash
having count(places.event_id) <> 1
