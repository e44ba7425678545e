{#
  The registry of instruments, as a list of mappings: files that the gateway reads as well, handed over by whoever starts
  dbt. What a figure means stands beside it in `services/runtime/instruments.py`.
#}
{% macro instruments() -%}
    {{ return(fromjson(env_var('CIRCLES_DBT_INSTRUMENTS', '[]'))) }}
{%- endmacro %}

{# Studies whose protocol has a period, as rows of study, first and last day. #}
{% macro study_periods() -%}
    {{ return(fromjson(env_var('CIRCLES_DBT_PERIODS', '[]'))) }}
{%- endmacro %}

{# A table of these rows, each a list of values, under these names. Without rows it has none. #}
{% macro table_of(names, rows) -%}
    select * from (
        values
        {% for row in rows or [[none] * names | length] %}
        ({% for value in row %}{{ literal(value) }}{{ ', ' if not loop.last }}{% endfor %}){{ ',' if not loop.last }}
        {% endfor %}
    ) as listed ({{ names | join(', ') }})
    {{ 'where false' if not rows }}
{%- endmacro %}

{% macro literal(value) -%}
    {% if value is none or value is undefined %}null
    {%- elif value is boolean %}{{ 'true' if value else 'false' }}
    {%- elif value is number %}{{ value }}
    {%- else %}'{{ value | replace("'", "''") }}'
    {%- endif %}
{%- endmacro %}
