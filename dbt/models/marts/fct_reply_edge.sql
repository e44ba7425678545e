{% set touched = {'model': 'int_groups_touched', 'columns': ['tenant_id', 'group_id']} %}
{{ config(
    unique_key=['tenant_id', 'group_id', 'from_participant_id', 'to_participant_id'], meta={'touched': touched}
) }}

with posts as (
    select
        tenant_id,
        group_id,
        data_class,
        participant_id,
        kind,
        act_id,
        in_reply_to_act_id,
        occurred_at,
        row_number() over (
            partition by tenant_id, group_id, act_id
            order by {{ seconds_of('occurred_at') }}, participant_id, {{ arrival_order() }}
        ) as act_number
    from {{ touched_participation(touched) }} as events
    where kind in ('thread_started', 'reply_posted') and participant_id is not null
)

select
    replies.tenant_id,
    replies.group_id,
    replies.participant_id as from_participant_id,
    answered.participant_id as to_participant_id,
    min(replies.data_class) as data_class,
    bool_and(senders.has_research_consent and receivers.has_research_consent) as has_research_consent,
    cast(count(*) as bigint) as count_replies,
    min(replies.occurred_at) as first_replied_at,
    max(replies.occurred_at) as last_replied_at
from posts as replies
inner join posts as answered
    on replies.tenant_id = answered.tenant_id
    and replies.group_id = answered.group_id
    and replies.in_reply_to_act_id = answered.act_id
    and replies.participant_id <> answered.participant_id
inner join {{ ref('dim_participant') }} as senders
    on replies.tenant_id = senders.tenant_id and replies.participant_id = senders.participant_id
inner join {{ ref('dim_participant') }} as receivers
    on answered.tenant_id = receivers.tenant_id and answered.participant_id = receivers.participant_id
where replies.kind = 'reply_posted' and answered.act_number = 1
group by replies.tenant_id, replies.group_id, replies.participant_id, answered.participant_id
