{#
  The steps that all event domains share between raw and staging. What the columns of a domain are
  stands in its own model.
#}

{# Order of arrival: earlier landing first, within a landing by position in Kafka. #}
{% macro arrival_order() -%}
    landed_seq, topic_id, kafka_partition, kafka_offset, event_index
{%- endmacro %}

{#
  The raw rows of the slices with a verdict, each with the number of its slice, the reason and the time. Rows of a
  slice that was let through twice come twice. `after`: only of slices with a higher number.
#}
{% macro rows_of_slices(raw_table, verdict, after=none) -%}
    {% set are_wanted %}
    raw_table = '{{ raw_table }}' and verdict = '{{ verdict }}' {{ 'and slice_id > ' ~ after if after is not none }}
    {% endset %}
    {% set is_landed_then = landed_with(source('admission', raw_table), are_wanted) %}
    with slices as (
        select slice_id, tenant_id, first_landed_seq, last_landed_seq, reason, checked_at
        from {{ source('admission', raw_table) }}
        where {{ are_wanted }}
    ),

    -- Few. Rows then find their slice by equality; by range each row would be held against all its tenant's slices.
    landings as (
        -- The tenant of a foreign record is unknown; its slice is under the empty name.
        select distinct coalesce(tenant_id, '') as tenant_id, landed_seq
        from {{ source('raw', raw_table) }}
        where {{ is_landed_then }}
    ),

    landed_slices as (
        select
            landings.tenant_id,
            landings.landed_seq as slice_landing,
            slices.slice_id,
            slices.reason as verdict_reason,
            slices.checked_at as verdict_at
        from landings
        inner join slices
            on landings.tenant_id = slices.tenant_id
            and landings.landed_seq between slices.first_landed_seq and slices.last_landed_seq
    )

    select source_rows.*, landed_slices.slice_id, landed_slices.verdict_reason, landed_slices.verdict_at
    from {{ source('raw', raw_table) }} as source_rows
    inner join landed_slices
        on coalesce(source_rows.tenant_id, '') = landed_slices.tenant_id
        and source_rows.landed_seq = landed_slices.slice_landing
    where {{ is_landed_then }}
{%- endmacro %}

{#
  Condition on raw rows: landed between the first and the last landing of the wanted slices. Adds nothing to a join
  with them, but, being numbers, keeps files of other landings closed.
#}
{% macro landed_with(slices, are_wanted, landed_seq='landed_seq') -%}
    {% if not execute %}{{ return('true') }}{% endif %}
    {% set query %}
    select min(first_landed_seq), max(last_landed_seq) from {{ slices }} where {{ are_wanted }}
    {% endset %}
    {% set first, last = run_query(query).rows[0].values() %}
    {{ return('false' if first is none else landed_seq ~ ' between ' ~ first ~ ' and ' ~ last) }}
{%- endmacro %}

{#
  One row per identity (tenant_id, event_id, body_hash) of the rows whose slice passed admission.
  The first body under an event_id is the event; another body under the same id is a conflict. First is
  what was admitted first, then what arrived first: so it is the same whether slices are staged one by
  one or all at once, also when an operator released an older one later.
  Slice numbers only grow, also when an operator releases an older slice, so what is new are the
  slices above the highest number seen here. Handling a slice twice adds nothing.
#}
{% macro admitted_identities(raw_table) %}
with received as (
    {{ rows_of_slices(raw_table, 'passed', newest_slice(this) if is_incremental() else none) }}
),

numbered_copies as (
    select
        *,
        row_number() over (
            partition by tenant_id, event_id, body_hash order by slice_id, {{ arrival_order() }}
        ) as copy_number
    from received
),

bodies as (
    select
        numbered_copies.*,
        row_number() over (
            partition by tenant_id, event_id order by slice_id, {{ arrival_order() }}
        ) as body_number
    from numbered_copies
    where copy_number = 1
){% if is_incremental() %},

received_ids as (
    select distinct tenant_id, event_id from bodies
),

known_bodies as (
    select known.tenant_id, known.event_id, known.body_hash
    from {{ this }} as known
    inner join received_ids
        on known.tenant_id = received_ids.tenant_id
        and known.event_id = received_ids.event_id
),

known_events as (
    select distinct tenant_id, event_id, true as is_known from known_bodies
){% endif %}

select
    bodies.tenant_id,
    bodies.event_id,
    bodies.body_hash,
    {% if is_incremental() %}
    bodies.body_number > 1 or coalesce(known_events.is_known, false) as is_conflict,
    {% else %}
    bodies.body_number > 1 as is_conflict,
    {% endif %}
    bodies.topic,
    bodies.topic_id,
    bodies.kafka_partition,
    bodies.kafka_offset,
    bodies.event_index,
    bodies.landed_seq,
    bodies.landed_at,
    bodies.slice_id
from bodies
{% if is_incremental() %}
left join known_bodies
    on bodies.tenant_id = known_bodies.tenant_id
    and bodies.event_id = known_bodies.event_id
    and bodies.body_hash = known_bodies.body_hash
left join known_events
    on bodies.tenant_id = known_events.tenant_id
    and bodies.event_id = known_events.event_id
where known_bodies.event_id is null
{% endif %}
{% endmacro %}

{#
  The highest slice in a table. A number, not a subquery: files whose slices are older are not opened.
#}
{% macro newest_slice(relation) -%}
    {% if not execute %}{{ return(0) }}{% endif %}
    {# The tables of a unit test are part of its statement. #}
    {% if model.resource_type == 'unit_test' %}{{ return('(select coalesce(max(slice_id), 0) from ' ~ relation ~ ')') }}{% endif %}
    {{ return(run_query('select coalesce(max(slice_id), 0) from ' ~ relation).rows[0][0]) }}
{%- endmacro %}

{# The raw rows of the events that are new in `identities`: one row per event, conflicts left out. #}
{% macro new_events(raw_table, identities) %}
    select source_rows.*, identities.slice_id
    from {{ source('raw', raw_table) }} as source_rows
    inner join {{ ref(identities) }} as identities
        on source_rows.landed_seq = identities.landed_seq
        and source_rows.topic_id = identities.topic_id
        and source_rows.kafka_partition = identities.kafka_partition
        and source_rows.kafka_offset = identities.kafka_offset
        and source_rows.event_index = identities.event_index
    where not identities.is_conflict
    {% if is_incremental() %}
        {% set newest = newest_slice(this) %}
        and identities.slice_id > {{ newest }}
        and {{ landed_with(source('admission', raw_table), 'slice_id > ' ~ newest, 'source_rows.landed_seq') }}
    {% endif %}
{% endmacro %}

{# What the retractions of a relation take back. #}
{% macro retractions(events) -%}
    select distinct tenant_id, retracted_event_id
    from {{ events }}
    where kind = 'event_retracted'
{%- endmacro %}

{#
  The events of a relation that count: without those that were taken back, and without the
  retractions themselves. A retraction is final: retracting it has no effect. `retracting`: a relation with the
  retractions of these, and maybe of others.
#}
{% macro kept_events(events, retracting=none) %}
with retractions as (
    {{ retractions(retracting or events) }}
)

select events.*
from {{ events }} as events
left join retractions
    on events.tenant_id = retractions.tenant_id
    and events.event_id = retractions.retracted_event_id
where events.kind <> 'event_retracted' and retractions.retracted_event_id is null
{% endmacro %}
