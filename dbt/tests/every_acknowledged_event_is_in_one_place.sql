{{ config(meta={'dagster': {'ref': {'name': 'stg_failures__failed_events'}}}) }}

{#
  The promise to partners: an acknowledged event is in staging exactly once, or among the failed events
  exactly once. Rows of slices that wait for admission, or for an operator, are not asked about. Rows of a
  rejected slice are, those that have an identity: without one the gateway acknowledges nothing. An update asks
  about the events of its own slices, and looks for them everywhere: by their hash, which is of all bytes of an
  event, its id among them. Numbers cost a seventh of ids to look through.
#}
{% set identity = ['tenant_id', 'body_hash'] if tests_new_rows() else ['tenant_id', 'event_id', 'body_hash'] %}
{% set domains = {
    'stg_participation': 'participation_events',
    'stg_outcomes': 'outcome_events',
    'stg_groups': 'group_events',
    'stg_studies': 'study_events',
} %}

with landed as (
    {% for verdict in ['passed', 'rejected'] %}
    {% for source, raw_table in domains.items() %}
    select topic, tenant_id, event_id, body_hash
    from ({{ rows_of_slices(raw_table, verdict, slices_before_this_build(source ~ '__events')) }}) as landed_rows
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
    {% for source in domains %}
    select acknowledged.*
    from acknowledged
    inner join {{ ref(source ~ '__events') }} as events
        on {{ equal(identity, 'acknowledged', 'events') }}
    inner join {{ ref(source ~ '__identities') }} as identities
        on {{ equal(['topic'] + identity, 'acknowledged', 'identities') }}
    union all
    {% endfor %}
    select acknowledged.*
    from acknowledged
    inner join {{ ref('stg_failures__failed_events') }} as failures
        on {{ equal(['topic', 'tenant_id', 'event_id', 'body_hash'], 'acknowledged', 'failures') }}
)

select
    acknowledged.topic,
    acknowledged.tenant_id,
    acknowledged.event_id,
    acknowledged.body_hash,
    count(places.event_id) as count_places
from acknowledged
left join places
    on {{ equal(['topic', 'tenant_id', 'event_id', 'body_hash'], 'acknowledged', 'places') }}
group by acknowledged.topic, acknowledged.tenant_id, acknowledged.event_id, acknowledged.body_hash
having count(places.event_id) <> 1
