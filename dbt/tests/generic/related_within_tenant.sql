{# Each `column_name` that is set exists as `field` of `to` for the same tenant. #}
{% test related_within_tenant(model, column_name, to, field) %}
with children as (
    select distinct tenant_id, {{ column_name }} as child_id from {{ model }} where {{ column_name }} is not null
),

parents as (
    select distinct tenant_id, {{ field }} as parent_id from {{ to }}
)

select children.tenant_id, children.child_id
from children
left join parents on children.tenant_id = parents.tenant_id and children.child_id = parents.parent_id
where parents.parent_id is null
{% endtest %}
