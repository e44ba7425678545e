{# Each `column_name` that is set exists as `field` of `to` for the same tenant. #}
{% test related_within_tenant(model, column_name, to, field) %}
with children as (
    select distinct tenant_id, {{ column_name }} as child_id from {{ model }} where {{ column_name }} is not null
)

select children.tenant_id, children.child_id
from children
where not exists (
    select 1 from {{ to }} as parents
    where parents.tenant_id = children.tenant_id and parents.{{ field }} = children.child_id
)
{% endtest %}
