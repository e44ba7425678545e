{# Least squares of one variable on another: the engines have not all of it in common. #}

{# r², the share of the variance of y that its line over x explains. Of a constant it is for the model to say nothing. #}
{% macro r_squared(y, x) -%}
    {{ return(adapter.dispatch('r_squared')(y, x)) }}
{%- endmacro %}

{% macro duckdb__r_squared(y, x) -%}
    regr_r2({{ y }}, {{ x }})
{%- endmacro %}

{% macro trino__r_squared(y, x) -%}
    power(corr({{ y }}, {{ x }}), 2)
{%- endmacro %}
