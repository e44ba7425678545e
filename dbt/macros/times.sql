{# Times as whole seconds since 1970, and back, and days between dates: the engines have no common form. #}

{# Seconds from 1970 to a timestamp with time zone, fractions cut off towards the past, as bigint. #}
{% macro seconds_of(moment) -%}
    {{ return(adapter.dispatch('seconds_of')(moment)) }}
{%- endmacro %}

{% macro duckdb__seconds_of(moment) -%}
    cast(floor(epoch({{ moment }})) as bigint)
{%- endmacro %}

{% macro trino__seconds_of(moment) -%}
    cast(floor(to_unixtime({{ moment }})) as bigint)
{%- endmacro %}

{# The timestamp with time zone that is so many seconds after 1970. #}
{% macro moment_of(seconds) -%}
    {{ return(adapter.dispatch('moment_of')(seconds)) }}
{%- endmacro %}

{% macro duckdb__moment_of(seconds) -%}
    to_timestamp({{ seconds }})
{%- endmacro %}

{% macro trino__moment_of(seconds) -%}
    cast(from_unixtime({{ seconds }}) as timestamp(6) with time zone)
{%- endmacro %}

{# How many days the date `one` is after the date `other`, as bigint. #}
{% macro days_from(one, other) -%}
    {{ return(adapter.dispatch('days_from')(one, other)) }}
{%- endmacro %}

{% macro duckdb__days_from(one, other) -%}
    cast({{ one }} - {{ other }} as bigint)
{%- endmacro %}

{% macro trino__days_from(one, other) -%}
    date_diff('day', {{ other }}, {{ one }})
{%- endmacro %}
