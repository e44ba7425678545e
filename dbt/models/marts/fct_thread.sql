{% set touched = {'model': 'int_groups_touched', 'columns': ['tenant_id', 'group_id']} %}
{{ config(unique_key=['tenant_id', 'group_id', 'thread_id'], meta={'touched': touched}) }}

with events as (
    select *
    from {{ touched_participation(touched) }} as events
    where
        participant_id is not null
        and (
            kind in ('thread_started', 'reply_posted', 'moderation_acted')
            or (kind = 'session_attended' and attendance_role = 'facilitator')
        )
),

posts as (
    select * from events where kind in ('thread_started', 'reply_posted') and thread_id is not null
),

-- Whoever moderates the group at any time is its moderator at all times.
moderators as (
    select distinct tenant_id, group_id, participant_id
    from events
    where kind in ('moderation_acted', 'session_attended')
),

moderations as (
    select tenant_id, group_id, act_id, participant_id, moderation_action, occurred_at
    from events
    where kind = 'moderation_acted' and act_id is not null
),

thread_starts as (
    select
        tenant_id,
        group_id,
        thread_id,
        act_id,
        participant_id,
        occurred_at,
        row_number() over (
            partition by tenant_id, group_id, thread_id
            order by {{ seconds_of('occurred_at') }}, participant_id, act_id, {{ arrival_order() }}
        ) as start_number
    from posts
    where kind = 'thread_started'
),

openings as (
    select tenant_id, group_id, thread_id, act_id, participant_id, occurred_at
    from thread_starts
    where start_number = 1
),

moderated_acts as (
    select distinct tenant_id, group_id, act_id from moderations
),

act_places as (
    select
        posts.tenant_id,
        posts.group_id,
        posts.act_id,
        posts.thread_id,
        row_number() over (
            partition by posts.tenant_id, posts.group_id, posts.act_id
            order by {{ seconds_of('posts.occurred_at') }}, posts.participant_id, {{ arrival_order() }}
        ) as act_number
    from posts
    inner join moderated_acts
        on posts.tenant_id = moderated_acts.tenant_id
        and posts.group_id = moderated_acts.group_id
        and posts.act_id = moderated_acts.act_id
),

-- Who answered counts where the moderator consented; that a thread was closed is so, whoever did it.
moderated as (
    select
        act_places.tenant_id,
        act_places.group_id,
        act_places.thread_id,
        min(moderations.occurred_at) filter (
            where moderations.moderation_action = 'reply'
            and people.has_research_consent
            and moderations.participant_id <> openings.participant_id
        ) as answered_at,
        min(moderations.occurred_at) filter (
            where moderations.moderation_action = 'remove_act' and moderations.act_id = openings.act_id
        ) as removed_at,
        min(moderations.occurred_at) filter (where moderations.moderation_action = 'lock_thread') as locked_at
    from moderations
    inner join act_places
        on moderations.tenant_id = act_places.tenant_id
        and moderations.group_id = act_places.group_id
        and moderations.act_id = act_places.act_id
    inner join openings
        on act_places.tenant_id = openings.tenant_id
        and act_places.group_id = openings.group_id
        and act_places.thread_id = openings.thread_id
    inner join {{ ref('dim_participant') }} as people
        on moderations.tenant_id = people.tenant_id and moderations.participant_id = people.participant_id
    where act_places.act_number = 1
    group by act_places.tenant_id, act_places.group_id, act_places.thread_id
),

-- Only messages of people who consented to research count.
written as (
    select
        posts.tenant_id,
        posts.group_id,
        posts.thread_id,
        min(posts.data_class) as data_class,
        cast(count_if(people.has_research_consent) as bigint) as count_messages,
        min(posts.occurred_at) filter (
            where posts.kind = 'reply_posted'
            and people.has_research_consent
            and posts.participant_id <> openings.participant_id
        ) as first_reply_at,
        min(posts.occurred_at) filter (
            where posts.kind = 'reply_posted'
            and people.has_research_consent
            and posts.participant_id <> openings.participant_id
            and moderators.participant_id is not null
        ) as moderator_post_at
    from posts
    inner join {{ ref('dim_participant') }} as people
        on posts.tenant_id = people.tenant_id and posts.participant_id = people.participant_id
    left join openings
        on posts.tenant_id = openings.tenant_id
        and posts.group_id = openings.group_id
        and posts.thread_id = openings.thread_id
    left join moderators
        on posts.tenant_id = moderators.tenant_id
        and posts.group_id = moderators.group_id
        and posts.participant_id = moderators.participant_id
    group by posts.tenant_id, posts.group_id, posts.thread_id
)

select
    written.tenant_id,
    written.group_id,
    written.thread_id,
    written.data_class,
    openings.participant_id as starter_participant_id,
    coalesce(starters.has_research_consent, false) as has_research_consent,
    openings.occurred_at as started_at,
    written.count_messages,
    written.first_reply_at,
    case
        when moderated.answered_at is null or written.moderator_post_at < moderated.answered_at
            then written.moderator_post_at
        else moderated.answered_at
    end as moderator_reply_at,
    moderated.removed_at,
    moderated.locked_at
from written
left join openings
    on written.tenant_id = openings.tenant_id
    and written.group_id = openings.group_id
    and written.thread_id = openings.thread_id
left join {{ ref('dim_participant') }} as starters
    on openings.tenant_id = starters.tenant_id and openings.participant_id = starters.participant_id
left join moderated
    on written.tenant_id = moderated.tenant_id
    and written.group_id = moderated.group_id
    and written.thread_id = moderated.thread_id
