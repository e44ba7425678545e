{{ config(materialized='table') }}

{% set event_tables = ['participation_events', 'outcome_events', 'group_events', 'study_events'] %}
{% set identity_models = [
    'stg_participation__identities',
    'stg_outcomes__identities',
    'stg_groups__identities',
    'stg_studies__identities',
] %}

with reported as (
    {{ rows_of_slices('failed_events', 'passed') }}
),

numbered_reports as (
    select
        *,
        -- A stage that was restarted reports the same record again.
        row_number() over (
            partition by stage, topic, topic_id, kafka_partition, kafka_offset
            order by landed_seq, failed_at
        ) as report_number
    from reported
    where stage <> 'ingestion'
),

set_aside as (
    select
        stage,
        reason,
        detail,
        topic,
        topic_id,
        kafka_partition,
        kafka_offset,
        cast(null as integer) as event_index,
        failed_at,
        tenant_id,
        event_id,
        cast(null as bigint) as body_hash,
        data_class,
        received_at,
        event_bytes is not null as has_event_bytes,
        record_size_bytes,
        landed_seq
    from numbered_reports
    where report_number = 1
),

rejected_rows as (
    {% for raw_table in event_tables %}
    select
        topic,
        topic_id,
        cast(kafka_partition as bigint) as kafka_partition,
        kafka_offset,
        event_index,
        tenant_id,
        event_id,
        body_hash,
        data_class,
        received_at,
        verdict_reason,
        verdict_at,
        landed_seq
    from ({{ rows_of_slices(raw_table, 'rejected') }}) as landed_rows
    union all
    {% endfor %}
    select
        topic,
        cast(null as varchar) as topic_id,
        cast(null as bigint) as kafka_partition,
        cast(null as bigint) as kafka_offset,
        cast(null as integer) as event_index,
        tenant_id,
        event_id,
        body_hash,
        data_class,
        received_at,
        verdict_reason,
        verdict_at,
        landed_seq
    from ({{ rows_of_slices('failed_events', 'rejected') }}) as deferred_rows
    where stage = 'ingestion'
),

numbered_rejections as (
    select
        *,
        row_number() over (
            partition by topic, tenant_id, event_id, body_hash
            order by landed_seq, topic_id, kafka_partition, kafka_offset, event_index
        ) as rejection_number
    from rejected_rows
),

numbered_deferrals as (
    select
        *,
        -- A partner who got no answer posts the same event again.
        row_number() over (
            partition by topic, tenant_id, event_id, body_hash order by landed_seq, failed_at
        ) as deferral_number
    from reported
    where stage = 'ingestion'
),

-- Few, so that the identities are looked through once, for these.
asked_about as (
    select topic, tenant_id, event_id, body_hash from numbered_rejections
    union
    select topic, tenant_id, event_id, body_hash from numbered_deferrals
),

passed as (
    {% for identities in identity_models %}
    select asked_about.*
    from {{ ref(identities) }} as identities
    inner join asked_about on {{ equal(['topic', 'tenant_id', 'event_id', 'body_hash'], 'identities', 'asked_about') }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

-- What an operator has kept out, unless another copy of it passed.
rejected as (
    select
        'admission' as stage,
        'rejected' as reason,
        rejections.verdict_reason as detail,
        rejections.topic,
        rejections.topic_id,
        rejections.kafka_partition,
        rejections.kafka_offset,
        rejections.event_index,
        rejections.verdict_at as failed_at,
        rejections.tenant_id,
        rejections.event_id,
        rejections.body_hash,
        rejections.data_class,
        rejections.received_at,
        false as has_event_bytes,
        cast(null as bigint) as record_size_bytes,
        rejections.landed_seq
    from numbered_rejections as rejections
    left join passed
        on rejections.topic = passed.topic
        and rejections.tenant_id = passed.tenant_id
        and rejections.event_id = passed.event_id
        and rejections.body_hash = passed.body_hash
    where rejections.rejection_number = 1 and passed.event_id is null
),

-- An event that the gateway deferred is failed until it comes in after all, replayed or posted again, and
-- is staged, or rejected.
deferred as (
    select
        deferrals.stage,
        deferrals.reason,
        deferrals.detail,
        deferrals.topic,
        cast(null as varchar) as topic_id,
        cast(null as bigint) as kafka_partition,
        cast(null as bigint) as kafka_offset,
        cast(null as integer) as event_index,
        deferrals.failed_at,
        deferrals.tenant_id,
        deferrals.event_id,
        deferrals.body_hash,
        deferrals.data_class,
        deferrals.received_at,
        deferrals.event_bytes is not null as has_event_bytes,
        cast(null as bigint) as record_size_bytes,
        deferrals.landed_seq
    from numbered_deferrals as deferrals
    left join passed
        on deferrals.topic = passed.topic
        and deferrals.tenant_id = passed.tenant_id
        and deferrals.event_id = passed.event_id
        and deferrals.body_hash = passed.body_hash
    left join rejected
        on deferrals.topic = rejected.topic
        and deferrals.tenant_id = rejected.tenant_id
        and deferrals.event_id = rejected.event_id
        and deferrals.body_hash = rejected.body_hash
    where
        deferrals.deferral_number = 1
        and passed.event_id is null
        and rejected.event_id is null
),

conflicts as (
    select
        'staging' as stage,
        'conflict' as reason,
        'another body under an event_id that is already known' as detail,
        topic,
        topic_id,
        cast(kafka_partition as bigint) as kafka_partition,
        kafka_offset,
        event_index,
        landed_at as failed_at,
        tenant_id,
        event_id,
        body_hash,
        cast(null as varchar) as data_class,
        cast(null as timestamp with time zone) as received_at,
        false as has_event_bytes,
        cast(null as bigint) as record_size_bytes,
        landed_seq
    from {{ ref('stg_failures__conflicts') }}
)

select * from set_aside
union all
select * from rejected
union all
select * from deferred
union all
select * from conflicts
