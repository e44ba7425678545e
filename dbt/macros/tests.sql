{#
  What tests look at: those of an update at the rows that it has written, unless the variable `test_all_rows` is set;
  `dbt test` and a build that computes everything at all rows.
#}
{% macro tests_new_rows() -%}
    {{ return(flags.WHICH == 'build' and not var('test_all_rows', false) and is_update()) }}
{%- endmacro %}

{# What dbt puts for the relation that a test is about. #}
{% macro get_where_subquery(relation) -%}
    {% set conditions = [config.get('where')] if config.get('where') else [] %}
    {% set tested = (graph.nodes if execute else {}).get(model.attached_node) %}
    {% if tested is not none and tests_new_rows() %}
        {% do conditions.append(is_of_this_build(tested)) %}
    {% endif %}
    {% do return('(select * from ' ~ relation ~ ' as tested where ' ~ conditions | join(' and ') ~ ') as tested_rows'
        if conditions else relation) %}
{%- endmacro %}

{#
  Condition on rows of `tested`, a node: those that this build has written. Whether a staged event is there a second
  time, in an older slice, is for `every_acknowledged_event_is_in_one_place` to find.
#}
{% macro is_of_this_build(tested) -%}
    {% set touched = tested.config.meta.touched %}
    {% if touched and touched.writes_new_landings and not var('recompute_landed_from', none) %}
    {{ is_newly_landed('tested') }}
    {% elif touched %}
    exists (
        select 1 from ({{ touched_keys(touched) }}) as touched where {{ equal(touched.columns, 'tested', 'touched') }}
    )
    {% else %}
    {% set staging_table = tested.name | replace('__identities', '__events') %}
    {{ is_changed(staging_table, 'tested') if staging_table in last_build() else 'true' }}
    {% endif %}
{%- endmacro %}

{# In the tests of an update: the last slice of a staging table's events that need not be looked at. Else none. #}
{% macro slices_before_this_build(staging_table) -%}
    {{ return(last_build().get(staging_table, 0) if tests_new_rows() else none) }}
{%- endmacro %}
