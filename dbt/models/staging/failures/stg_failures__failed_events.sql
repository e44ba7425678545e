{{ config(materialized='table') }}

{% set identity_models = [
    'stg_participation__identities',
    'stg_outcomes__identities',
    'stg_groups__identities',
    'stg_studies__identities',
] %}

with passed_slices as (
    select tenant_id, first_landed_seq, last_landed_seq
    from {{ source('admission', 'failed_events') }}
    where raw_table = 'failed_events' and verdict = 'passed'
),

reported as (
    select source_rows.*
    from {{ source('raw', 'failed_events') }} as source_rows
    inner join passed_slices
        -- The tenant of a foreign record is unknown; its slice is under the empty name.
        on coalesce(source_rows.tenant_id, '') = passed_slices.tenant_id
        and source_rows.landed_seq between passed_slices.first_landed_seq and passed_slices.last_landed_seq
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
),

first_reports as (
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
        event_bytes is not null as has_event_bytes,
        record_size_bytes,
        landed_seq
    from numbered_reports
    where report_number = 1
),

conflicts as (
    {% for identities in identity_models %}
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
        false as has_event_bytes,
        cast(null as bigint) as record_size_bytes,
        landed_seq
    from {{ ref(identities) }}
    where is_conflict
    {{ 'union all' if not loop.last }}
    {% endfor %}
)

select * from first_reports
union all
select * from conflicts
