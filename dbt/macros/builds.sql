{#
  What a build looks at. `marts.fct_build` tells how far the last complete build had read each table of staging
  events, and from which definition of the project. A build after it is an update: the tables
  `int_*_changed` and `int_*_touched` name what the slices since then concern, and each mart replaces the rows of
  what was touched in one commit. Without a last build of this definition everything is computed anew.

  An update may be repeated, and may find its work half done: to replace the same rows twice changes nothing.
#}

{# A mart as the last build has left it, for a model that comes before the mart in this one. #}
{% macro as_last_built(mart) -%}
    {{ return(adapter.get_relation(target.database, 'marts', mart)) }}
{%- endmacro %}

{# The fingerprint of the project, from whoever starts dbt. #}
{% macro definition() -%}
    {{ return(env_var('CIRCLES_DBT_DEFINITION', '')) }}
{%- endmacro %}

{#
  `{table of staging events: highest slice_id}` of the last complete build of this definition, or none. Asked once in a
  process, before any model of it writes; `graph` is what all nodes of a process share. Else the tests that come after
  `fct_build` would take this build for the last one, and three hundred nodes and macros would ask.
#}
{% macro last_build() -%}
    {% if not execute or flags.FULL_REFRESH %}{{ return(none) }}{% endif %}
    {% if 'last_build' not in graph %}{% do graph.update({'last_build': read_last_build()}) %}{% endif %}
    {{ return(graph['last_build']) }}
{%- endmacro %}

{% macro read_last_build() -%}
    {% set builds = adapter.get_relation(target.database, 'marts', 'fct_build') %}
    {% if builds is none %}{{ return(none) }}{% endif %}
    {% set found = run_query(
        "select staging_table, through_slice_id from " ~ builds ~ " where definition = '" ~ definition() ~ "'"
    ) %}
    {% if not found.rows %}{{ return(none) }}{% endif %}
    {{ return(dict(zip(found.columns[0].values(), found.columns[1].values()))) }}
{%- endmacro %}

{# Whether this build goes on from a last one. #}
{% macro is_update() -%}
    {{ return(last_build() is not none) }}
{%- endmacro %}

{# dbt asks whether an incremental model is made from nothing, and put in the place of what is there. #}
{% macro should_full_refresh() -%}
    {% set asked = config.get('full_refresh') %}
    {% set asked = flags.FULL_REFRESH if asked is none else asked %}
    {{ return(asked or (config.get('incremental_strategy') == 'touched' and not is_update())) }}
{%- endmacro %}

{#
  Condition on the events of a staging table: staged since the last build, or landed on the days of the variables
  `recompute_landed_from` and `recompute_landed_to` (both included, UTC). Numbers, not a subquery: files whose
  slices are older are not opened. Nothing has changed in a build that computes everything anyway.
#}
{% macro is_changed(staging_table, alias) -%}
    {% set builds = last_build() %}
    {% if builds is none %}
    false
    {% else %}
    (
        {{ alias }}.slice_id > {{ builds.get(staging_table, 0) }}
        {% if var('recompute_landed_from', none) %}
        or cast({{ alias }}.landed_at at time zone 'UTC' as date)
        between date '{{ var('recompute_landed_from') }}' and date '{{ var('recompute_landed_to') }}'
        {% endif %}
    )
    {% endif %}
{%- endmacro %}

{#
  In an update, condition on rows of a mart of participation that writes rows of new slices only
  (`writes_new_landings` of its `touched`): landed with slices that are new to it. Some others may
  have landed then as well. Numbers: files of other landings are not opened.
#}
{% macro is_newly_landed(alias) -%}
    {% set slices = adapter.get_relation(target.database, 'admission', 'slices') %}
    {% set are_new %}
    raw_table = 'participation_events' and slice_id > {{ last_build().get('stg_participation__events', 0) }}
    {% endset %}
    {{ return(landed_with(slices, are_new, alias ~ '.landed_seq')) }}
{%- endmacro %}

{#
  What is touched: distinct values of `columns` in `model`, rows of `where` only. `touched` is a mapping of these,
  written once in a mart and read by its SQL, by the replacement of its rows and by its tests. The latter two find
  the model by name: where they are compiled, dbt knows no `ref`.
#}
{% macro touched_keys(touched, relation=none) -%}
    select distinct {{ touched.columns | join(', ') }}
    from {{ relation or touched_relation(touched) }}
    {{ 'where ' ~ touched.where if touched.where }}
{%- endmacro %}

{% macro touched_relation(touched) -%}
    {{ return(adapter.get_relation(target.database, 'intermediate', touched.model)) }}
{%- endmacro %}

{# Of a relation, in an update: the rows that are touched. `touched.model` becomes a dependency. #}
{% macro of_touched(relation, touched) -%}
    {# A unit test knows its inputs only, and is no update. #}
    {% set dependency = ref(touched.model) if model.resource_type != 'unit_test' %}
    {% if is_update() -%}
    (
        select events.*
        from {{ relation }} as events
        inner join ({{ touched_keys(touched, dependency) }}) as touched
            on {{ equal(touched.columns, 'events', 'touched') }}
        where {{ among('events', touched.columns[1], dependency) }}
    )
    {%- else -%}
    {{ relation }}
    {%- endif %}
{%- endmacro %}

{# In an update, staged participation of the groups that are touched, read once for all models; else `everything`. #}
{% macro of_touched_groups(everything) -%}
    {% set of_groups = ref('int_participation_touched') if model.resource_type != 'unit_test' %}
    {{ return(of_groups if is_update() else everything) }}
{%- endmacro %}

{# Outcomes that count, of people who are touched. #}
{% macro touched_outcomes() -%}
    {% set of_people = ref('int_outcomes_touched') if model.resource_type != 'unit_test' %}
    {% set everything = ref('int_outcome_events_kept') %}
    {{ return(of_people if is_update() else everything) }}
{%- endmacro %}

{# Participation that counts, of what is touched. #}
{% macro touched_participation(touched) -%}
    {% set events = of_touched_groups(ref('fct_participation')) %}
    {% set kept = '(select * from ' ~ events ~ ' where is_kept)' if is_update() else events %}
    {{ return(kept if touched.model == 'int_groups_touched' else of_touched(kept, touched)) }}
{%- endmacro %}

{#
  Condition on rows that are joined with `keys` anyway, on several columns of which `column` tells most apart. Where
  a join is on one column and its keys are filtered, DuckDB skips rows by a Bloom filter before it reads their other
  columns: hence this one, and the comparison, which is true for every tenant.
#}
{% macro among(alias, column, keys) -%}
    {{ alias }}.{{ column }} in (select distinct {{ column }} from {{ keys }} where tenant_id > '')
{%- endmacro %}

{# The columns of two relations are equal. #}
{% macro equal(columns, one, other) -%}
    {% for column in columns %}{{ one }}.{{ column }} = {{ other }}.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
{%- endmacro %}

{# Incremental strategy `touched`: the rows of what is touched are replaced, in one commit. #}
{% macro get_incremental_touched_sql(arguments) -%}
    {{ return(adapter.dispatch('replace_touched')(arguments)) }}
{%- endmacro %}

{% macro duckdb__replace_touched(arguments) -%}
    {% set columns = get_quoted_csv(arguments.dest_columns | map(attribute='name')) %}
    {% set touched = config.require('meta').touched %}
    delete from {{ arguments.target_relation }} as target
    using ({{ touched_keys(touched) }}) as touched
    where
        {{ equal(touched.columns, 'target', 'touched') }}
        {% if touched.found_by %}
        and {{ among('target', touched.found_by, touched_relation(touched)) }}
        {% endif %}
    ;
    insert into {{ arguments.target_relation }} ({{ columns }}) (select {{ columns }} from {{ arguments.temp_relation }})
{%- endmacro %}

{# Two statements would be two commits. Rows that are gone come as rows of nothing but their key. #}
{% macro trino__replace_touched(arguments) -%}
    {% set touched = config.require('meta').touched %}
    {% set names = arguments.dest_columns | map(attribute='name') | list %}
    merge into {{ arguments.target_relation }} as target
    using (
        select {{ names | join(', ') }}, true as is_there from {{ arguments.temp_relation }}
        union all
        select
            {% for name in names %}
            {{ 'present.' ~ name if name in arguments.unique_key else 'null' }} as {{ name }},
            {% endfor %}
            false as is_there
        from {{ arguments.target_relation }} as present
        inner join ({{ touched_keys(touched) }}) as touched on {{ equal(touched.columns, 'present', 'touched') }}
        left join {{ arguments.temp_relation }} as computed
            on {{ equal(arguments.unique_key, 'present', 'computed') }}
        where computed.{{ arguments.unique_key[0] }} is null
    ) as source
    on {{ equal(arguments.unique_key, 'target', 'source') }}
    when matched and not source.is_there then delete
    when matched then update set
        {% for name in names %}{{ name }} = source.{{ name }}{{ ', ' if not loop.last }}{% endfor %}
    when not matched and source.is_there then
        insert ({{ names | join(', ') }})
        values ({% for name in names %}source.{{ name }}{{ ', ' if not loop.last }}{% endfor %})
{%- endmacro %}

{#
  A staging table's events that an update has to look at: new ones, and those that new ones take back. The latter are
  looked for by their ids alone, which costs enough; their other columns are then read where they landed.
#}
{% macro changed_events(staging_table, columns) -%}
    with retractions as (
        {{ retractions(ref(staging_table) ~ ' as events') }} and {{ is_changed(staging_table, 'events') }}
    ),

    taken_back as (
        select events.tenant_id, events.event_id, events.landed_seq
        from {{ ref(staging_table) }} as events
        inner join retractions
            on events.tenant_id = retractions.tenant_id
            and events.event_id = retractions.retracted_event_id
    )

    select {% for column in columns %}events.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
    from {{ ref(staging_table) }} as events
    where {{ is_changed(staging_table, 'events') }}
    union all
    select {% for column in columns %}events.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
    from {{ ref(staging_table) }} as events
    inner join taken_back on {{ equal(['tenant_id', 'event_id', 'landed_seq'], 'events', 'taken_back') }}
    where {{ among('events', 'landed_seq', 'taken_back') }}
{%- endmacro %}
