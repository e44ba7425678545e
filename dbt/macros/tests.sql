{#
  What tests look at: those of an update at the rows that it has written, unless the variable `test_all_rows` is set;
  `dbt test` and a build that computes everything at all rows.
#}
{% macro tests_new_rows() -%}
    {{ return(flags.WHICH == 'build' and not var('test_all_rows', false) and is_update()) }}
{%- endmacro %}

{#
  What dbt puts for the relation that a test is about: in an update the rows that it has written, and of those the ones
  of the test's own `where`. Whether a staged event is there a second time, in an older slice, is for
  `every_acknowledged_event_is_in_one_place` to find.
#}
{% macro get_where_subquery(relation) -%}
    {% set tested = (graph.nodes if execute else {}).get(model.attached_node) %}
    {% set rows = written_by_this_build(relation, tested) if tested is not none and tests_new_rows() else relation %}
    {% set where = config.get('where') %}
    {% do return('(select * from ' ~ rows ~ ' as tested where ' ~ where ~ ') as tested_rows' if where else rows) %}
{%- endmacro %}

{# Of the relation of `tested`, a node: the rows that this build has written. #}
{% macro written_by_this_build(relation, tested) -%}
    {% set touched = tested.config.meta.touched %}
    {% if touched and touched.writes_new_landings and not var('recompute_landed_from', none) %}
    (select * from {{ relation }} as tested where {{ is_newly_landed('tested') }})
    {% elif touched %}
    (
        select tested.*
        from {{ relation }} as tested
        inner join ({{ touched_keys(touched) }}) as touched on {{ equal(touched.columns, 'tested', 'touched') }}
    )
    {% else %}
    {% set staging_table = tested.name | replace('__identities', '__events') %}
    {% if staging_table in last_build() %}
    (select * from {{ relation }} as tested where {{ is_changed(staging_table, 'tested') }})
    {% else %}
    {{ relation }}
    {% endif %}
    {% endif %}
{%- endmacro %}

{# In the tests of an update: the last slice of a staging table's events that need not be looked at. Else none. #}
{% macro slices_before_this_build(staging_table) -%}
    {{ return(last_build().get(staging_table, 0) if tests_new_rows() else none) }}
{%- endmacro %}
