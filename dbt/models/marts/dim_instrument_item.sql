{{ config(materialized='table') }}

{% set rows = [] %}
{% for each in instruments() %}{% for scale in each.scales %}{% for version in each.versions %}{% for item in scale['items'] %}
    {% do rows.append([each.code, version, scale.name, item, each.least, each.most, item in each.reversed]) %}
{% endfor %}{% endfor %}{% endfor %}{% endfor %}

select
    cast(instrument as varchar) as instrument,
    cast(instrument_version as varchar) as instrument_version,
    cast(scale as varchar) as scale,
    cast(item as bigint) as item,
    cast(least_value as bigint) as least_value,
    cast(most_value as bigint) as most_value,
    cast(is_reversed as boolean) as is_reversed
from (
    {{ table_of(['instrument', 'instrument_version', 'scale', 'item', 'least_value', 'most_value', 'is_reversed'], rows) }}
) as items
