{{ config(materialized='table') }}

{% set figures = ['case_at', 'reliable_change', 'minimal_change', 'reliability'] %}
{% set names = [
    'instrument', 'instrument_version', 'scale', 'instrument_name', 'direction', 'licence', 'source', 'times',
    'count_items', 'is_scored_from_items', 'count_missing_allowed', 'missing_mark', 'missing_source', 'least_total', 'most_total',
    'loinc_total', 'norm_mean', 'norm_sd', 'norm_mark', 'norm_source',
] %}
{% for figure in figures %}
    {% do names.extend([figure, figure ~ '_mark', figure ~ '_source']) %}
{% endfor %}
{% set rows = [] %}
{% for each in instruments() %}{% for scale in each.scales %}{% for version in each.versions %}
    {% set row = [
        each.code, version, scale.name, each.name, each.direction, each.licence, each.source, scale.times,
        scale['items'] | length, each.is_scored, scale.missing.at_most, scale.missing.mark, scale.missing.source,
        scale.total.least, scale.total.most,
        each.loinc_total if scale.name == 'total',
        scale.norm.mean, scale.norm.sd, scale.norm.mark, scale.norm.source,
    ] %}
    {% for figure in figures %}
        {% do row.extend([scale[figure].value, scale[figure].mark, scale[figure].source]) %}
    {% endfor %}
    {% do rows.append(row) %}
{% endfor %}{% endfor %}{% endfor %}

select
    cast(instrument as varchar) as instrument,
    cast(instrument_version as varchar) as instrument_version,
    cast(scale as varchar) as scale,
    cast(instrument_name as varchar) as instrument_name,
    cast(direction as varchar) as direction,
    cast(licence as varchar) as licence,
    cast(source as varchar) as source,
    cast(times as double) as times,
    cast(count_items as bigint) as count_items,
    cast(is_scored_from_items as boolean) as is_scored_from_items,
    cast(coalesce(count_missing_allowed, 0) as bigint) as count_missing_allowed,
    cast(missing_mark as varchar) as missing_mark,
    cast(missing_source as varchar) as missing_source,
    cast(least_total as double) as least_total,
    cast(most_total as double) as most_total,
    cast(loinc_total as varchar) as loinc_total,
    cast(norm_mean as double) as norm_mean,
    cast(norm_sd as double) as norm_sd,
    cast(norm_mark as varchar) as norm_mark,
    cast(norm_source as varchar) as norm_source,
    {% for figure in figures %}
    cast({{ figure }} as double) as {{ figure }},
    cast({{ figure }}_mark as varchar) as {{ figure }}_mark,
    cast({{ figure }}_source as varchar) as {{ figure }}_source{{ ',' if not loop.last }}
    {% endfor %}
from ({{ table_of(names, rows) }}) as scales
