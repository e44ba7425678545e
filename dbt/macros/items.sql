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

{# The number under a code in a list of struct(code, value), NULL where it has none. #}
{% macro value_under(list, code) -%}
    {{ return(adapter.dispatch('value_under')(list, code)) }}
{%- endmacro %}

{% macro duckdb__value_under(list, code) -%}
    list_filter({{ list }}, lambda pair: pair.code = '{{ code }}')[1].value
{%- endmacro %}

{% macro trino__value_under(list, code) -%}
    element_at(filter({{ list }}, pair -> pair.code = '{{ code }}'), 1).value
{%- endmacro %}

{# Of a list of struct(code, value) what is under one of the codes, which are SQL: texts with commas. #}
{% macro pairs_under(list, codes) -%}
    {{ return(adapter.dispatch('pairs_under')(list, codes)) }}
{%- endmacro %}

{% macro duckdb__pairs_under(list, codes) -%}
    list_filter({{ list }}, lambda pair: pair.code in ({{ codes }}))
{%- endmacro %}

{% macro trino__pairs_under(list, codes) -%}
    filter({{ list }}, pair -> pair.code in ({{ codes }}))
{%- endmacro %}

{# Whether a list of struct(code, value) has no code twice. #}
{% macro has_each_code_once(list) -%}
    {{ return(adapter.dispatch('has_each_code_once')(list)) }}
{%- endmacro %}

{% macro duckdb__has_each_code_once(list) -%}
    list_unique(list_transform({{ list }}, lambda pair: pair.code)) = len({{ list }})
{%- endmacro %}

{% macro trino__has_each_code_once(list) -%}
    cardinality(array_distinct(transform({{ list }}, pair -> pair.code))) = cardinality({{ list }})
{%- endmacro %}
