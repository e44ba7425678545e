{#
  Studies of what is written, from their protocols, as a list of mappings: `study`, the `dictionary` that its features are
  of, `windows` of days with the day of the interruption in each, the `main_year` of these, how many authors a community
  needs in it (`min_authors`), `topics`, features that are `undivided`, and how many days a `step` of its series has.
#}
{% macro text_studies() -%}
    {{ return(fromjson(env_var('CIRCLES_DBT_TEXT_STUDIES', '[]'))) }}
{%- endmacro %}

{# Their windows, a row each: of one study they have no day in common. #}
{% macro text_windows() -%}
    {% set rows = [] %}
    {% for each in text_studies() %}
    {% for window in each.windows %}
    {% do rows.append([
        each.study, each.dictionary, each.main_year, each.min_authors,
        window.year, window.first_day, window.last_day, window.interrupted_on
    ]) %}
    {% endfor %}
    {% endfor %}
    select
        cast(study_code as varchar) as study_code,
        cast(dictionary as varchar) as dictionary,
        cast(main_year as bigint) as main_year,
        cast(min_authors as bigint) as min_authors,
        cast(window_year as bigint) as window_year,
        cast(first_day as date) as first_day,
        cast(last_day as date) as last_day,
        cast(interrupted_on as date) as interrupted_on
    from (
        {{ table_of(
            [
                'study_code', 'dictionary', 'main_year', 'min_authors', 'window_year', 'first_day', 'last_day',
                'interrupted_on',
            ],
            rows,
        ) }}
    ) as windows
{%- endmacro %}

{# What each of them names under `part`, a row each. #}
{% macro text_study_values(part, name, kind) -%}
    {% set rows = [] %}
    {% for each in text_studies() %}
    {% for value in each[part] %}
    {% do rows.append([each.study, value]) %}
    {% endfor %}
    {% endfor %}
    select cast(study_code as varchar) as study_code, cast({{ name }} as {{ kind }}) as {{ name }}
    from ({{ table_of(['study_code', name], rows) }}) as listed
{%- endmacro %}

{# Topics of all studies, for a list in SQL. #}
{% macro all_topics() -%}
    {% set topics = [] %}
    {% for each in text_studies() %}{% do topics.extend(each.topics) %}{% endfor %}
    {% for topic in topics | unique %}{{ literal(topic) }}{{ ', ' if not loop.last }}{% else %}''{% endfor %}
{%- endmacro %}

{#
  What posts of consenting authors are about: a row for each post and topic that was measured, and one under the name
  `n_posts` for every post. `which` is a condition on posts.
#}
{% macro topics_of_posts(which) -%}
    {% set posts %}
    (select * from {{ ref('int_posts_measured') }} where has_research_consent and is_large_enough and {{ which }}) as posts
    {% endset %}
    select posts.community_number, posts.participant_id, posts.days_after, topics.feature, pairs.value > 0 as is_about
    from {{ posts }}
    {{ with_pairs_of('posts.topics', 'pairs') }}
    inner join ({{ text_study_values('topics', 'feature', 'varchar') }}) as topics
        on posts.study_code = topics.study_code and pairs.code = topics.feature
    union all
    select posts.community_number, posts.participant_id, posts.days_after, 'n_posts' as feature, true as is_about
    from {{ posts }}
{%- endmacro %}
