{# Kept by themselves: they are few, and stand among all identities. #}
{% set domains = ['participation', 'outcomes', 'groups', 'studies'] %}

{% for domain in domains %}
select
    '{{ domain }}' as domain,
    topic,
    topic_id,
    kafka_partition,
    kafka_offset,
    event_index,
    landed_at,
    tenant_id,
    event_id,
    body_hash,
    landed_seq,
    slice_id
from {{ ref('stg_' ~ domain ~ '__identities') }}
where is_conflict
{% if is_incremental() %}
    and slice_id > {{ newest_slice(this ~ " where domain = '" ~ domain ~ "'") }}
{% endif %}
{{ 'union all' if not loop.last }}
{% endfor %}
