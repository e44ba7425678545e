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
    'stg_participation': 'participation-events',
    'stg_outcomes': 'outcome-events',
    'stg_groups': 'group-events',
    'stg_studies': 'study-events',
} %}

{% set asked_about = 'where ' ~ among('staged', 'body_hash', 'acknowledged') if tests_new_rows() %}

with landed as (
    {% for verdict in ['passed', 'rejected'] %}
    {% for source, topic in domains.items() %}
    select topic, tenant_id, event_id, body_hash
    from ({{ rows_of_slices(topic | replace('-', '_'), verdict, slices_before_this_build(source ~ '__events')) }}) as landed_rows
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

-- Each is looked for in its own domain. In an update both tables are cut down to the hashes that are asked about first.
places as (
    {% for source, topic in domains.items() %}
    select acknowledged.*, events.body_hash is not null and identities.body_hash is not null as is_there
    from acknowledged
    left join (select {{ identity | join(', ') }} from {{ ref(source ~ '__events') }} as staged {{ asked_about }}) as events
        on {{ equal(identity, 'acknowledged', 'events') }}
    left join (
        select topic, {{ identity | join(', ') }} from {{ ref(source ~ '__identities') }} as staged {{ asked_about }}
    ) as identities
        on {{ equal(['topic'] + identity, 'acknowledged', 'identities') }}
    where acknowledged.topic = '{{ topic }}'
    union all
    {% endfor %}
    select acknowledged.*, true as is_there
    from acknowledged
    inner join {{ ref('stg_failures__failed_events') }} as failures
        on {{ equal(['topic', 'tenant_id', 'event_id', 'body_hash'], 'acknowledged', 'failures') }}
    union all
    -- One of a topic that is of no domain is in no place.
    select acknowledged.*, false as is_there
    from acknowledged
    where topic not in ({% for topic in domains.values() %}'{{ topic }}'{{ ', ' if not loop.last }}{% endfor %})
)

select topic, tenant_id, event_id, body_hash, count_if(is_there) as count_places
from places
group by topic, tenant_id, event_id, body_hash
having count_if(is_there) <> 1
