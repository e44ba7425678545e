{# Lists of structs: the engines have no common form for their rows. #}

{# For a from clause: the rows of a list of struct(first, second), as `alias` with these two columns. #}
{% macro with_pairs_of(list, alias, first='code', second='value') -%}
    {{ return(adapter.dispatch('with_pairs_of')(list, alias, first, second)) }}
{%- endmacro %}

{% macro duckdb__with_pairs_of(list, alias, first, second) -%}
    cross join lateral (
        select pair.{{ first }}, pair.{{ second }} from unnest({{ list }}) as listed (pair)
    ) as {{ alias }}
{%- endmacro %}

{% macro trino__with_pairs_of(list, alias, first, second) -%}
    cross join unnest({{ list }}) as {{ alias }} ({{ first }}, {{ second }})
{%- endmacro %}
