{# No two rows share the values of `columns`. #}
{% test unique_together(model, columns) %}
select {{ columns | join(', ') }}, count(*) as count_rows
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}
