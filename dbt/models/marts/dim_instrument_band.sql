{{ config(materialized='table') }}

{% set rows = [] %}
{% for each in instruments() %}{% for scale in each.scales %}{% for version in each.versions %}
    {% for name, least in (scale.bands.least or {}).items() %}
        {% do rows.append([each.code, version, scale.name, name, least, scale.bands.mark, scale.bands.source]) %}
    {% endfor %}
{% endfor %}{% endfor %}{% endfor %}

select
    cast(instrument as varchar) as instrument,
    cast(instrument_version as varchar) as instrument_version,
    cast(scale as varchar) as scale,
    cast(band as varchar) as band,
    cast(least_score as double) as least_score,
    -- NULL: up to the end of the range.
    lead(cast(least_score as double)) over (
        partition by instrument, instrument_version, scale order by cast(least_score as double)
    ) as below_score,
    cast(mark as varchar) as mark,
    cast(source as varchar) as source
from (
    {{ table_of(['instrument', 'instrument_version', 'scale', 'band', 'least_score', 'mark', 'source'], rows) }}
) as bands
