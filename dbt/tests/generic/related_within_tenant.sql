{# Each `column_name` that is set exists as `field` of `to` for the same tenant. #}
{% test related_within_tenant(model, column_name, to, field) %}
with children as (
    select distinct tenant_id, {{ column_name }} as child_id from {{ model }} where {{ column_name }} is not null
),

-- Of an update's few rows: their parents are picked out, rather than all parents put in order.
found as (
    select children.tenant_id, children.child_id
    from {{ to }} as parents
    inner join children on parents.tenant_id = children.tenant_id and parents.{{ field }} = children.child_id
)

select tenant_id, child_id from children
except
select tenant_id, child_id from found
{% endtest %}
