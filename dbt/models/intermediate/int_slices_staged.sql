{{ config(materialized='table') }}

{% set staging_tables = [
    'stg_participation__events', 'stg_outcomes__events', 'stg_groups__events', 'stg_studies__events'
] %}

{% for staging_table in staging_tables %}
select
    '{{ staging_table }}' as staging_table,
    coalesce(max(slice_id), 0) as through_slice_id
from {{ ref(staging_table) }}
{{ 'union all' if not loop.last }}
{% endfor %}
