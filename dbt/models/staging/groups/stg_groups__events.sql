with source as (
    {{ new_events('group_events', 'stg_groups__identities') }}
),

renamed as (
    select
        tenant_id,
        data_class,
        event_id,
        body_hash,
        occurred_at,
        received_at,
        coalesce(is_late, false) as is_late,
        group_ref as group_id,
        kind,
        coalesce(group_registered__facts__format, group_changed__facts__format) as format,
        coalesce(group_registered__facts__moderation, group_changed__facts__moderation) as moderation,
        coalesce(group_registered__facts__condition, group_changed__facts__condition) as condition,
        coalesce(group_registered__facts__population, group_changed__facts__population) as population,
        coalesce(group_registered__facts__capacity, group_changed__facts__capacity) as capacity,
        coalesce(group_registered__facts__time_zone, group_changed__facts__time_zone) as time_zone,
        coalesce(
            group_registered__facts__reads_collected, group_changed__facts__reads_collected
        ) as has_reads_collected,
        event_retracted__retracted_event_id as retracted_event_id,
        topic_id,
        kafka_partition,
        kafka_offset,
        event_index,
        landed_seq,
        landed_at,
        slice_id
    from source
)

select * from renamed
