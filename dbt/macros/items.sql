{# Lists of structs: the engines have no common form for a sum over a list, nor for its rows. #}

{# Sum of the values of a list of item answers, as double. #}
{% macro sum_of_items(items) -%}
    {{ return(adapter.dispatch('sum_of_items')(items)) }}
{%- endmacro %}

{% macro duckdb__sum_of_items(items) -%}
    cast(list_sum(list_transform({{ items }}, lambda answer: answer.value)) as double)
{%- endmacro %}

{% macro trino__sum_of_items(items) -%}
    cast(reduce({{ items }}, 0, (total, answer) -> total + answer.value, total -> total) as double)
{%- endmacro %}

{# How many items were answered, as bigint. #}
{% macro count_of_items(items) -%}
    {{ return(adapter.dispatch('count_of_items')(items)) }}
{%- endmacro %}

{% macro duckdb__count_of_items(items) -%}
    cast(len({{ items }}) as bigint)
{%- endmacro %}

{% macro trino__count_of_items(items) -%}
    cast(cardinality({{ items }}) as bigint)
{%- endmacro %}

{# For a from clause: the rows of a list of struct(code, value), as `alias` with these two columns. #}
{% macro with_pairs_of(list, alias) -%}
    {{ return(adapter.dispatch('with_pairs_of')(list, alias)) }}
{%- endmacro %}

{% macro duckdb__with_pairs_of(list, alias) -%}
    cross join lateral (
        select pair.code, pair.value from unnest({{ list }}) as listed (pair)
    ) as {{ alias }}
{%- endmacro %}

{% macro trino__with_pairs_of(list, alias) -%}
    cross join unnest({{ list }}) as {{ alias }} (code, value)
{%- endmacro %}
