{% set touched = {
    'model': 'int_participants_touched', 'columns': ['tenant_id', 'participant_id'],
    'where': 'has_changed_outcome or has_changed_consent',
} %}

with answered as (
    select *
    from {{ of_touched(touched_outcomes(), touched) }} as events
    where kind = 'questionnaire_answered'
),

-- Each item once for each scale that it belongs to.
summed as (
    select
        answered.tenant_id,
        answered.event_id,
        items.scale,
        count(*) as count_items,
        sum(
            case
                when items.is_reversed then items.least_value + items.most_value - told.value
                else told.value
            end
        ) as sum_of_items
    from answered
    {{ with_pairs_of('answered.items', 'told', 'item', 'value') }}
    inner join {{ ref('dim_instrument_item') }} as items
        on answered.instrument = items.instrument
        and answered.instrument_version = items.instrument_version
        and told.item = items.item
    group by answered.tenant_id, answered.event_id, items.scale
),

scales as (
    select
        answered.*,
        coalesce(scales.scale, 'total') as scale,
        scales.times,
        scales.count_items as count_items_asked,
        scales.count_missing_allowed,
        scales.is_scored_from_items,
        coalesce(summed.count_items, 0) as count_items,
        summed.sum_of_items
    from answered
    -- Of a posted total only the total is known.
    left join {{ ref('dim_instrument') }} as scales
        on answered.instrument = scales.instrument
        and answered.instrument_version = scales.instrument_version
        and (answered.total is null or scales.scale = 'total')
    left join summed
        on answered.tenant_id = summed.tenant_id
        and answered.event_id = summed.event_id
        and scales.scale = summed.scale
),

decided as (
    select
        *,
        case
            when total is not null then 'total'
            when not is_scored_from_items then null
            when count_items = count_items_asked then 'sum_of_items'
            when count_items > 0 and count_items_asked - count_items <= count_missing_allowed then 'prorated'
        end as scoring
    from scales
)

select
    tenant_id,
    data_class,
    event_id,
    scale,
    participant_id,
    group_id,
    study_code,
    time_point,
    instrument,
    instrument_version,
    case scoring
        when 'total' then total
        when 'sum_of_items' then times * sum_of_items
        -- The mean of the answered items stands for each missing one.
        when 'prorated' then times * sum_of_items * count_items_asked / count_items
    end as score,
    scoring,
    case
        when scoring is not null then null
        when count_items_asked is null then 'the registry has no such instrument and version'
        when not is_scored_from_items then 'items of this instrument are not scored: post its total'
        else
            cast(count_items_asked - count_items as varchar) || ' of ' || cast(count_items_asked as varchar)
            || ' items missing, allowed are ' || cast(count_missing_allowed as varchar)
    end as not_scored_reason,
    cast(count_items as bigint) as count_items,
    occurred_at,
    is_late,
    landed_seq,
    topic_id,
    kafka_partition,
    kafka_offset,
    event_index
from decided
